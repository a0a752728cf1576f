//! Tickets: what a page shows in an address instead of a token, as addresses are written into logs on their way. Each is good once,
//! for half a minute.
//!
//! Owns: their form, and what is known of them here. Who uses one up is decided where they are kept (`actors/authority.rs`).

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Bearer, Origin, TokenError, claims::Holder, secret};
use crate::model::{TenantId, Timestamp, rights::Rights};

/// What every ticket begins with.
pub const PREFIX: &str = "tkt_";
/// For how long one is good.
pub const LASTS: Duration = Duration::from_secs(30);
/// Tickets that are remembered; more cannot wait for their use.
const MOST: usize = 100_000;

/// A ticket as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketRecord {
    /// Of the ticket.
    hash: String,
    /// Who gets in with it.
    holder: Holder,
    /// What was shown for it: when that is called back, so is this.
    origin: OriginRecord,
    issued_at: Option<i64>,
    ends_at: Option<i64>,
    /// Until when the ticket is good; milliseconds since 1970 like the others.
    good_until: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OriginRecord {
    Token(Option<String>),
    Key(String),
    AdminKey,
}

/// The tickets that are good, by their hash.
#[derive(Debug, Default)]
pub(super) struct Tickets(HashMap<String, (Arc<Bearer>, Timestamp)>);

/// Makes a ticket for somebody who showed something good, and what is kept of it.
pub fn mint(bearer: &Bearer, now: Timestamp) -> (String, TicketRecord) {
    let ticket = format!("{PREFIX}{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let record = TicketRecord {
        hash: secret::hash_of(&ticket),
        holder: bearer.identity.holder(),
        origin: match &bearer.origin {
            Origin::Token { id } => OriginRecord::Token(id.as_deref().map(str::to_owned)),
            Origin::Key { id } => OriginRecord::Key(id.clone()),
            Origin::AdminKey => OriginRecord::AdminKey,
        },
        issued_at: bearer.issued_at.map(|at| at.0),
        ends_at: bearer.expires_at.map(|at| at.0),
        good_until: now.0 + LASTS.as_millis() as i64,
    };
    (ticket, record)
}

impl TicketRecord {
    /// Until when the ticket is good.
    pub fn good_until(&self) -> Timestamp {
        Timestamp(self.good_until)
    }
}

impl Tickets {
    /// Takes one in.
    pub(super) fn learn(&mut self, record: TicketRecord, now: Timestamp) -> Result<(), TokenError> {
        if self.0.len() >= MOST {
            self.0.retain(|_, (_, until)| *until > now);
        }
        if record.good_until <= now.0 || self.0.len() >= MOST {
            return Ok(());
        }
        let bearer = Bearer {
            // Only the node itself has written this: the tenant may be one that no client can name.
            identity: record.holder.check_stored(&Arc::new(Rights::all()))?,
            origin: match record.origin {
                OriginRecord::Token(id) => Origin::Token { id: id.map(Into::into) },
                OriginRecord::Key(id) => Origin::Key { id },
                OriginRecord::AdminKey => Origin::AdminKey,
            },
            issued_at: record.issued_at.map(Timestamp),
            expires_at: record.ends_at.map(Timestamp),
        };
        self.0.insert(record.hash, (Arc::new(bearer), Timestamp(record.good_until)));
        Ok(())
    }

    /// Forgets those of a tenant.
    pub(super) fn forget(&mut self, tenant: &TenantId) {
        self.0.retain(|_, (bearer, _)| bearer.identity.tenant != *tenant);
    }

    /// Whose ticket this is, if it is good; it is forgotten with that.
    pub(super) fn take(&mut self, ticket: &str, now: Timestamp) -> Result<Arc<Bearer>, TokenError> {
        match self.0.remove(&secret::hash_of(ticket)) {
            Some((bearer, until)) if until > now => Ok(bearer),
            _ => Err(TokenError::UnknownTicket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn bearer(origin: Origin) -> Bearer {
        let holder = Holder { tenant: "acme".into(), user: Some("ada".into()), ..Holder::default() };
        let identity = holder.check(&Arc::new(Rights::all())).expect("a good holder");
        Bearer { identity, origin, issued_at: Some(Timestamp(1)), expires_at: Some(Timestamp(2_000_000)) }
    }

    /// Whom a ticket lets in that is shown so long after it was made.
    fn shown_after(origin: Origin, later: i64) -> Result<Arc<Bearer>, TokenError> {
        let (ticket, record) = mint(&bearer(origin), NOW);
        let stored = serde_json::to_vec(&record).expect("JSON");
        let mut tickets = Tickets::default();
        tickets.learn(serde_json::from_slice(&stored).expect("a record"), NOW)?;
        let taken = tickets.take(&ticket, Timestamp(NOW.0 + later));
        assert_eq!(tickets.take(&ticket, NOW), Err(TokenError::UnknownTicket), "once");
        taken
    }

    #[test]
    fn a_ticket_lets_in_who_asked_for_it_as_long_and_by_what_was_shown_for_it() {
        let origins = [
            Origin::Token { id: None },
            Origin::Token { id: Some("t-1".into()) },
            Origin::Key { id: "k-1".into() },
            Origin::AdminKey,
        ];
        for origin in origins {
            let taken = shown_after(origin.clone(), 0).expect("a good ticket");
            assert_eq!(*taken, bearer(origin));
        }
    }

    #[test]
    fn a_ticket_is_good_for_half_a_minute() {
        let lasts = LASTS.as_millis() as i64;
        assert!(shown_after(Origin::AdminKey, lasts - 1).is_ok());
        assert_eq!(shown_after(Origin::AdminKey, lasts), Err(TokenError::UnknownTicket));
    }

    #[test]
    fn what_is_kept_of_a_ticket_is_not_the_ticket() {
        let (ticket, record) = mint(&bearer(Origin::AdminKey), NOW);
        let stored = serde_json::to_string(&record).expect("JSON");
        assert!(!stored.contains(ticket.trim_start_matches(PREFIX)));
    }
}
