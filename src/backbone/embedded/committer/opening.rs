//! Opening the store again while the log runs: after a failure, or to leave its journals behind.
//!
//! Owns: that the old store is gone before the next is opened, and what is told to those who follow.

use std::time::Instant;

use tracing::{error, info, warn};

use super::{
    super::{health::Health, journal, store::Store},
    Committer, RETRY_AFTER, load,
};
use crate::model::Position;

/// What becomes of the store's own journals when it is opened again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Journals {
    /// They are read.
    Kept,
    /// They are emptied, as all that is in them was written out.
    Begun,
}

impl Committer {
    /// Ends a pause whose time has come.
    pub(super) fn recover(&mut self) {
        let Health::Paused { until, .. } = &self.health else { return };
        if Instant::now() < *until {
            return;
        }
        if self.shared.store().is_none() {
            self.reopen();
        }
        if self.shared.store().is_some() {
            self.health = Health::Well;
        } else if let Health::Paused { until, .. } = &mut self.health {
            *until = Instant::now() + RETRY_AFTER;
        }
    }

    /// Leaves the files behind in which everything stands that was ever written: what counts of it is in the tables.
    pub(super) fn renew(&mut self) -> Result<(), String> {
        if let Some(cause) = self.health.cause() {
            return Err(cause.to_owned());
        }
        match &*self.shared.store() {
            Some(store) => store.write_out().map_err(|fault| fault.to_string())?,
            None => return Err("the log's store is closed".into()),
        }
        self.open_again(Journals::Begun);
        if self.shared.store().is_some() {
            return Ok(());
        }
        self.health = Health::Paused { cause: "the store was renewed".into(), until: Instant::now() + RETRY_AFTER };
        Err("the store could not be opened again".into())
    }

    /// Opens the store anew, which settles what is in it. Waits for the reads under way.
    pub(super) fn reopen(&mut self) {
        self.open_again(Journals::Kept);
    }

    fn open_again(&mut self, journals: Journals) {
        let shared = self.shared.clone();
        let mut slot = shared.store_mut();
        // The old one first: two cannot have the files.
        drop(slot.take());
        if journals == Journals::Begun
            && let Err(error) = journal::leave(&self.config.data_dir.join("log"))
        {
            warn!(%error, "a journal whose records are all in the tables could not be emptied");
        }
        let opened =
            Store::open(&self.config.data_dir).map_err(|error| error.to_string()).and_then(|(store, epoch)| {
                let (rooms, tail) = load(&store).map_err(|fault| fault.to_string())?;
                if epoch != shared.epoch {
                    return Err("the directory now holds another log".into());
                }
                Ok((store, rooms, tail))
            });
        match opened {
            Ok((store, rooms, tail)) => {
                info!(end = tail.end, "the log's store was opened again");
                if tail.end != self.tail.end {
                    // What the failed commit had written after all was given to no feed.
                    shared.live.restart(Position(tail.end));
                }
                (self.rooms, self.tail) = (rooms, tail);
                *slot = Some(store);
            }
            Err(cause) => error!(cause, "the log's store could not be opened again"),
        }
    }
}
