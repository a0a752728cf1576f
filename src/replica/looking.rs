//! What a program sees of a replica. Owns: that what is read says how fresh it is, and changes nothing.

use std::collections::BTreeMap;

use rusqlite::Transaction;
use serde_json::Value;

use super::{
    Replica,
    conflicts::{self, Conflict},
    figures::{self, Figures},
    journal::{self, DeadLetter, Pending},
    lead,
    mirror::{self, Change, Seen},
    search::{self, Hit},
    shared::number,
    status::{Freshness, Link, Status},
    store::{Care, StoreError, fact, set_fact},
};
use crate::model::EntityKey;

impl Replica {
    /// An entity as it is here, with what is pending; `None`: it is not there.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn get(&self, key: EntityKey) -> Result<Option<Seen>, StoreError> {
        self.note_read();
        self.shared.store.read(move |transaction| mirror::get(transaction, &key)).await
    }

    /// Notes that somebody was shown entities, each at a version.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub async fn show(&self, shown: Vec<(EntityKey, u64)>) -> Result<(), StoreError> {
        let note = move |transaction: &Transaction<'_>| {
            shown.iter().try_for_each(|(key, version)| mirror::show(transaction, key, *version))
        };
        self.shared.store.write(Care::Quick, note).await
    }

    /// The version of an entity that was shown last; 0: it never was. Who writes on this base is told of all that it has not seen.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn shown(&self, key: EntityKey) -> Result<u64, StoreError> {
        self.shared.store.read(move |transaction| mirror::shown(transaction, &key)).await
    }

    /// Entities of a type whose ids begin so, by id, behind one.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn list(&self, kind: &str, prefix: &str, after: &str, most: usize) -> Result<Vec<Seen>, StoreError> {
        self.note_read();
        let (kind, prefix, after) = (kind.to_owned(), prefix.to_owned(), after.to_owned());
        self.shared.store.read(move |transaction| mirror::list(transaction, &kind, (&prefix, &after), most)).await
    }

    /// Entities of a type whose ids begin so and that fit some words, the best first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn search(&self, question: &str, kind: &str, prefix: &str, most: usize) -> Result<Vec<Hit>, StoreError> {
        self.note_read();
        let (question, kind, prefix) = (question.to_owned(), kind.to_owned(), prefix.to_owned());
        self.shared.store.read(move |transaction| search::find(transaction, &question, (&kind, &prefix), most)).await
    }

    /// What came from the room behind a place in the list of it, our own too, and where the list ends.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn changes(&self, after: u64, most: usize) -> Result<(Vec<Change>, u64), StoreError> {
        self.shared.store.read(move |transaction| mirror::changes(transaction, after, most)).await
    }

    /// Where that list ends.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn last_change(&self) -> Result<u64, StoreError> {
        self.shared.store.read(mirror::last_change).await
    }

    /// Up to where somebody was told of the changes; `None`: nobody was yet.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn told(&self) -> Result<Option<u64>, StoreError> {
        let told = self.shared.store.read(|transaction| fact(transaction, "told")).await?;
        Ok(told.and_then(|text| text.parse().ok()))
    }

    /// Notes up to where somebody was told of them, for whoever opens this next.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub async fn note_told(&self, number: u64) -> Result<(), StoreError> {
        let note = move |transaction: &Transaction<'_>| {
            let number = number.max(self::number(transaction, "told")?);
            set_fact(transaction, "told", &number.to_string())
        };
        self.shared.store.write(Care::Quick, note).await
    }

    /// Conflicts that wait for a choice, and variants that are kept.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn conflicts(&self) -> Result<Vec<Conflict>, StoreError> {
        self.shared.store.read(conflicts::all).await
    }

    /// Who is in the room, by instance, as far as it is known; empty without a connection.
    pub fn here(&self) -> BTreeMap<String, Value> {
        self.shared.live().0.here.clone()
    }

    /// How it stands.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn status(&self) -> Result<Status, StoreError> {
        let counts =
            self.shared.store.read(|transaction| Ok((journal::count(transaction)?, conflicts::count(transaction)?)));
        let (journal::Counts { pending, refused, .. }, conflicted) = counts.await?;
        let age = self.shared.age();
        let connection = self.shared.live().0.link.clone();
        let blocked = if let Link::Refused { why } = &connection { Some(why.clone()) } else { None };
        let sync = Freshness::of(age);
        Ok(Status { connection, sync, age_s: age.map(|age| age.as_secs()), pending, conflicted, refused, blocked })
    }

    /// How it went so far, in all processes that had this replica open; what cannot be written down now is told later.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        if let Err(error) = lead::write_figures(&self.shared).await {
            tracing::debug!(%error, "the latest figures are not written down yet");
        }
        self.shared.store.read(figures::read).await
    }

    /// What is pending, behind a place.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn pending(&self, after: u64, most: usize) -> Result<Vec<Pending>, StoreError> {
        self.shared.store.read(move |transaction| journal::page(transaction, after, most)).await
    }

    /// What was refused for good.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StoreError> {
        self.shared.store.read(journal::dead).await
    }

    fn note_read(&self) {
        let is_fresh = Freshness::of(self.shared.age()) == Freshness::Synced;
        self.shared.counter.count(|figures| if is_fresh { figures.hits += 1 } else { figures.misses += 1 });
    }
}
