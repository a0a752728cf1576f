//! API keys, and what was called back, as this node knows them.
//!
//! Owns: the form in which they are kept, and whether a bearer still holds. Must not know: where they are kept (whoever
//! follows that gives every record to [`Registry::learn`]).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Bearer, Origin, TokenError,
    claims::Holder,
    erasures::{ClearedRecord, Erasures},
    secret,
    tickets::{TicketRecord, Tickets},
};
use crate::model::{
    EntityKey, IdError, InstanceId, Position, TenantId, Timestamp,
    erasure::{self, Cleared, Erasure},
    rights::Rights,
    unreadable::unreadable,
};

/// Under which types the records are kept.
const KEY: &str = "key";
const REVOCATION: &str = "revocation";

/// An API key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Names it.
    pub id: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Of its secret.
    pub hash: String,
    /// Whose it is and what it may do.
    pub holder: Holder,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Likewise; never, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Likewise; it holds, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<i64>,
}

/// A call back, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Whose.
    pub tenant: String,
    /// What.
    pub what: Revoked,
    /// Whatever was issued up to here does not hold; milliseconds since 1970.
    pub at: i64,
}

/// What was called back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// The token with this `jti`.
    Token(String),
    /// All that act for this user.
    User(String),
    /// All that are this instance.
    Instance(String),
}

/// How much is kept for a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// API keys, revoked ones among them.
    pub keys: usize,
    /// Those that hold.
    pub keys_that_hold: usize,
    /// Revocations.
    pub revocations: usize,
}

#[derive(Debug)]
struct ApiKey {
    hash: String,
    bearer: Arc<Bearer>,
    revoked: bool,
    record: KeyRecord,
}

#[derive(Debug, Default)]
struct Known {
    keys: HashMap<String, ApiKey>,
    revoked: HashMap<(TenantId, Revoked), Timestamp>,
    erasures: Erasures,
    /// Up to where each record is known; what is read twice must not go back.
    versions: HashMap<EntityKey, Position>,
}

/// What this node knows.
#[derive(Debug)]
pub struct Registry {
    known: RwLock<Known>,
    tickets: Mutex<Tickets>,
    is_ready: AtomicBool,
    /// Rises with whatever might end somebody's session.
    changes: watch::Sender<u64>,
}

impl Default for Registry {
    fn default() -> Self {
        let (tickets, changes) = (Mutex::default(), watch::channel(0).0);
        Self { known: RwLock::default(), tickets, is_ready: AtomicBool::new(false), changes }
    }
}

impl Registry {
    /// Everything that was kept is known from here on.
    pub fn is_complete(&self) {
        self.is_ready.store(true, Ordering::Release);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Nothing is known any more, until everything was read again.
    pub fn forget(&self) {
        self.is_ready.store(false, Ordering::Release);
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known::default();
    }

    /// Whether everything that was kept is known.
    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    /// Changes with whatever might end somebody's session.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Takes a record in; one that is older than what is known changes nothing.
    ///
    /// # Errors
    ///
    /// In words: what cannot be read.
    pub fn learn(&self, key: &EntityKey, version: Position, body: &[u8]) -> Result<(), String> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.versions.get(key).is_some_and(|before| *before >= version) {
            return Ok(());
        }
        let mut learned = Ok(());
        match &*key.kind {
            KEY => match ApiKey::read(body) {
                Ok(read) if known.erasures.is_of_old(&read.bearer.identity.tenant, read.bearer.issued_at) => {}
                Ok(read) => drop(known.keys.insert(read.record.id.clone(), read)),
                Err(error) => {
                    // A key of which nobody can tell whether it holds does not.
                    known.keys.remove(&*key.id);
                    learned = Err(error);
                }
            },
            REVOCATION => {
                let record: Revocation = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
                let tenant = record.tenant.parse().map_err(|error: IdError| error.to_string())?;
                if !known.erasures.is_of_old(&tenant, Some(Timestamp(record.at))) {
                    let at = known.revoked.entry((tenant, record.what)).or_default();
                    // Clocks differ, and what was called back once stays so.
                    *at = Timestamp(record.at).max(*at);
                }
            }
            erasure::KIND => {
                let (tenant, erasure) = Erasure::read(body)?;
                known.forget(&tenant, erasure.began_at);
                if !erasure.is_done() {
                    self.tickets.lock().unwrap_or_else(PoisonError::into_inner).forget(&tenant);
                }
                known.erasures.learn(tenant, erasure, version);
            }
            other => return Err(format!("nothing is kept under the type {other:?}")),
        }
        known.versions.insert(key.clone(), version);
        drop(known);
        self.changes.send_modify(|changes| *changes += 1);
        learned
    }

    /// Takes a ticket in.
    ///
    /// # Errors
    ///
    /// In words: it cannot be read.
    pub fn learn_ticket(&self, body: &[u8], now: Timestamp) -> Result<(), String> {
        let record: TicketRecord = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.learn(record, now).map_err(|error| error.to_string())
    }

    /// Whose ticket this is; this node knows it no more with that.
    ///
    /// # Errors
    ///
    /// [`TokenError::UnknownTicket`].
    pub fn take_ticket(&self, ticket: &str, now: Timestamp) -> Result<Arc<Bearer>, TokenError> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).take(ticket, now)
    }

    /// Where a key's record stands, and the record.
    pub fn key(&self, id: &str) -> Option<(KeyRecord, Position)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let record = known.keys.get(id)?.record.clone();
        let version = known.versions.get(&KeyRecord::place(id)).copied().unwrap_or_default();
        Some((record, version))
    }

    /// The keys of a tenant, or all, by age.
    pub fn keys(&self, tenant: Option<&TenantId>) -> Vec<KeyRecord> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let records = known.keys.values().map(|key| &key.record);
        let wanted = records.filter(|record| tenant.is_none_or(|tenant| tenant.as_str() == record.holder.tenant));
        let mut keys: Vec<_> = wanted.cloned().collect();
        keys.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        keys
    }

    /// How much is kept for a tenant.
    pub fn kept(&self, tenant: &TenantId, now: Timestamp) -> Kept {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let keys = known.keys.values().filter(|key| key.record.holder.tenant == tenant.as_str());
        let holds = |key: &&ApiKey| !key.revoked && key.record.expires_at.is_none_or(|end| end > now.0);
        Kept {
            keys: keys.clone().count(),
            keys_that_hold: keys.filter(holds).count(),
            revocations: known.revoked.keys().filter(|(of, _)| of == tenant).count(),
        }
    }

    /// Where a call back is kept, and its version if there was one before.
    pub fn place_of(&self, revocation: &Revocation) -> (EntityKey, Position) {
        let key = revocation.place();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let version = known.versions.get(&key).copied().unwrap_or_default();
        (key, version)
    }

    /// Takes in that a node has let go of everything of a tenant.
    ///
    /// # Errors
    ///
    /// In words: it cannot be read.
    pub fn learn_cleared(&self, body: &[u8]) -> Result<(), String> {
        let record: ClearedRecord = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        self.known.write().unwrap_or_else(PoisonError::into_inner).erasures.learn_cleared(record);
        Ok(())
    }

    /// A tenant's last erasure, and where its record stands.
    pub fn erasure(&self, tenant: &TenantId) -> Option<(Erasure, Position)> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).erasures.of(tenant)
    }

    /// The erasure with a receipt.
    pub fn erasure_with(&self, receipt: Uuid) -> Option<Erasure> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).erasures.with(receipt)
    }

    /// Every tenant's last erasure.
    pub fn erasures(&self) -> Vec<(TenantId, Erasure)> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).erasures.all()
    }

    /// The nodes that have let go of everything of the tenant that is being erased.
    pub fn cleared(&self, receipt: Uuid) -> Vec<Cleared> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).erasures.cleared(receipt)
    }

    /// Whose key this is.
    pub(super) fn bearer_of(&self, key: &str) -> Result<Arc<Bearer>, TokenError> {
        let (id, given) = secret::parts(key)?;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.keys.get(id) {
            Some(key) if secret::is_the_one(given, &key.hash) => Ok(key.bearer.clone()),
            _ if !self.is_ready() => Err(TokenError::NotReady),
            _ => Err(TokenError::UnknownApiKey),
        }
    }

    /// Whether a bearer still holds, as this instance.
    pub(super) fn check(
        &self,
        bearer: &Bearer,
        tenant: Option<&TenantId>,
        instance: Option<&InstanceId>,
    ) -> Result<(), TokenError> {
        if !self.is_ready() {
            return Err(TokenError::NotReady);
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.erasures.check(bearer, tenant)?;
        let (by_key, by_token) = match &bearer.origin {
            Origin::Key { id } => (known.keys.get(id).is_none_or(|key| key.revoked), None),
            Origin::Token { id } => (false, id.as_ref().map(|id| Revoked::Token(id.to_string()))),
            Origin::AdminKey => (false, None),
        };
        let user = bearer.identity.user.as_ref().map(|user| Revoked::User(user.to_string()));
        let instance = instance.map(|instance| Revoked::Instance(instance.to_string()));
        let is_older = |at: &Timestamp| bearer.issued_at.is_none_or(|issued| issued <= *at);
        let is_called_back = |tenant: &TenantId, what: &Revoked| known.revoked.get(&(tenant.clone(), what.clone()));
        let own = &bearer.identity.tenant;
        let is_revoked = by_token.is_some_and(|token| is_called_back(own, &token).is_some())
            || user.is_some_and(|user| is_called_back(own, &user).is_some_and(is_older))
            || instance.is_some_and(|instance| is_called_back(tenant.unwrap_or(own), &instance).is_some_and(is_older));
        if by_key || is_revoked { Err(TokenError::Revoked) } else { Ok(()) }
    }
}

impl Known {
    /// Forgets what was kept of a tenant up to a moment. Their places are free: the log has nothing there any more.
    fn forget(&mut self, tenant: &TenantId, until: i64) {
        let Self { keys, revoked, versions, .. } = self;
        keys.retain(|id, key| {
            let stays = key.bearer.identity.tenant != *tenant || key.record.created_at > until;
            if !stays {
                versions.remove(&KeyRecord::place(id));
            }
            stays
        });
        revoked.retain(|(of, what), at| {
            let stays = of != tenant || at.0 > until;
            if !stays {
                let revocation = Revocation { tenant: of.to_string(), what: what.clone(), at: at.0 };
                versions.remove(&revocation.place());
            }
            stays
        });
    }
}

impl ApiKey {
    fn read(body: &[u8]) -> Result<Self, String> {
        let record = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
        Self::of(record).map_err(|error| error.to_string())
    }

    fn of(record: KeyRecord) -> Result<Self, TokenError> {
        let identity = record.holder.clone().check(&Arc::new(Rights::all()))?;
        let bearer = Bearer {
            identity,
            origin: Origin::Key { id: record.id.clone() },
            issued_at: Some(Timestamp(record.created_at)),
            expires_at: record.expires_at.map(Timestamp),
        };
        let (hash, revoked) = (record.hash.clone(), record.revoked_at.is_some());
        Ok(Self { hash, bearer: Arc::new(bearer), revoked, record })
    }
}

impl KeyRecord {
    /// Where the key with this id is kept.
    pub fn place(id: &str) -> EntityKey {
        EntityKey::new(KEY, id).expect("a key's id is hexadecimal")
    }
}

impl Revocation {
    /// Where it is kept: one place for each thing that may be called back, so that doing it again changes its time.
    pub fn place(&self) -> EntityKey {
        let (what, name) = match &self.what {
            Revoked::Token(id) => ("token", id),
            Revoked::User(user) => ("user", user),
            Revoked::Instance(instance) => ("instance", instance),
        };
        // Hashed, for a token's id may be anything.
        let id = secret::hash_of(&format!("{}:{what}:{name}", self.tenant));
        EntityKey::new(REVOCATION, &id).expect("a hash is hexadecimal")
    }
}
