//! What each tenant takes on this node, and what it may: shared by its sessions, its room and the requests over HTTP.
//!
//! Owns: that a tenant's figures are counted in one place, however it comes in. A tenant of which nothing is left to count is
//! forgotten, which changes nothing: its budgets would be full. Messages are counted over the cluster: each room tells the
//! others what its tenant took (`room/spending.rs`). Must not know: what is counted.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    config::Limits,
    model::{
        EntityKey, IdError, Position, TenantId,
        erasure::Floor,
        limits::{LimitChanges, TenantLimits},
        rate::{RateBudget, Verdict},
    },
};

/// Tenants, or users of a tenant, that are looked through for such as nothing is known of any more, at first.
const SWEEP: usize = 256;
/// Users of one tenant that are counted one by one; those beyond share one budget.
const USERS: usize = 10_000;

/// Under which type records of tenants are kept.
pub const KIND: &str = "tenant";

/// What differs for a tenant, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRecord {
    /// Of its limits.
    #[serde(default)]
    pub limits: LimitChanges,
    /// How long its records are kept.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub retention_age: Option<Duration>,
    /// Up to where its records are trimmed for that, or will be in a moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trimmed: Option<Floor>,
}

/// Where the record of a tenant is kept.
pub fn place_of(tenant: &TenantId) -> EntityKey {
    EntityKey::new(KIND, tenant.as_str()).expect("a tenant's name is an entity's id")
}

/// All tenants that this node counts for.
#[derive(Debug)]
pub struct Tenants {
    usual: TenantLimits,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    tenants: HashMap<TenantId, Arc<Tenant>>,
    changed: HashMap<TenantId, (Position, TenantRecord)>,
    sweep_at: usize,
}

/// One tenant's.
#[derive(Debug)]
pub struct Tenant {
    limits: RwLock<TenantLimits>,
    messages: Mutex<RateBudget>,
    /// Messages that the other nodes have not been told of.
    untold: AtomicU32,
    requests: Mutex<RateBudget>,
    users: Mutex<Users>,
}

#[derive(Debug)]
struct Users {
    budgets: HashMap<Arc<str>, UserBudgets>,
    sweep_at: usize,
}

#[derive(Debug)]
struct UserBudgets {
    requests: RateBudget,
    messages: RateBudget,
}

/// Which limit somebody is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// `limits.requests_per_minute`
    Requests,
    /// `limits.tenant_requests_per_minute`
    TenantRequests,
    /// `limits.http_messages_per_minute`
    HttpMessages,
    /// `limits.tenant_messages_per_minute`
    TenantMessages,
}

/// Over a limit, and how long to wait.
pub type TooFast = (Over, Duration);

/// How much of a minute's budgets is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Of the messages, on all nodes.
    pub messages: u64,
    /// Of the requests, on this node.
    pub requests: u64,
}

impl Tenants {
    /// With the limits for all.
    pub fn new(limits: &Limits) -> Self {
        let usual = TenantLimits {
            messages_per_minute: limits.messages_per_minute,
            tenant_messages_per_minute: limits.tenant_messages_per_minute,
            http_messages_per_minute: limits.http_messages_per_minute,
            requests_per_minute: limits.requests_per_minute,
            tenant_requests_per_minute: limits.tenant_requests_per_minute,
            signals_per_minute: limits.signals_per_minute,
            connections_per_user: limits.connections_per_user,
            connections_per_tenant: limits.connections_per_tenant,
            subscriptions_per_room: limits.subscriptions_per_room,
            keys_per_tenant: limits.keys_per_tenant,
        };
        let known = Known { tenants: HashMap::new(), changed: HashMap::new(), sweep_at: SWEEP };
        Self { usual, known: Mutex::new(known) }
    }

    /// What is counted of a tenant.
    pub fn of(&self, tenant: &TenantId, now: Duration) -> Arc<Tenant> {
        let mut known = lock(&self.known);
        if let Some(found) = known.tenants.get(tenant) {
            return found.clone();
        }
        if known.tenants.len() >= known.sweep_at {
            known.tenants.retain(|_, tenant| Arc::strong_count(tenant) > 1 || !tenant.is_idle(now));
            known.sweep_at = SWEEP.max(known.tenants.len() * 2);
        }
        let changes = known.changed.get(tenant).map(|(_, record)| record.limits).unwrap_or_default();
        let made = Arc::new(Tenant::new(self.usual.with(&changes), now));
        known.tenants.insert(tenant.clone(), made.clone());
        made
    }

    /// The limits of a tenant.
    pub fn limits(&self, tenant: &TenantId) -> TenantLimits {
        self.usual.with(&self.record(tenant).1.limits)
    }

    /// What differs for a tenant, and where that is written.
    pub fn record(&self, tenant: &TenantId) -> (Position, TenantRecord) {
        lock(&self.known).changed.get(tenant).cloned().unwrap_or_default()
    }

    /// The tenants whose records are kept for a time of their own.
    pub fn with_retention(&self) -> Vec<TenantId> {
        let known = lock(&self.known);
        let own = known.changed.iter().filter(|(_, (_, record))| record.retention_age.is_some());
        own.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// Takes a record in that says what differs for a tenant; one that is older than what is known changes nothing.
    ///
    /// # Errors
    ///
    /// In words: it cannot be read. What was known before holds.
    pub fn learn(&self, key: &EntityKey, position: Position, body: &[u8]) -> Result<(), String> {
        let tenant: TenantId = key.id.parse().map_err(|error: IdError| error.to_string())?;
        let record: TenantRecord = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let mut known = lock(&self.known);
        if known.changed.get(&tenant).is_some_and(|(before, _)| *before >= position) {
            return Ok(());
        }
        if let Some(tenant) = known.tenants.get(&tenant) {
            tenant.set(self.usual.with(&record.limits));
        }
        known.changed.insert(tenant, (position, record));
        Ok(())
    }

    /// A tenant was erased: what was said of it before that differs no more.
    pub fn forget(&self, tenant: &TenantId, before: Position) {
        let mut known = lock(&self.known);
        if known.changed.get(tenant).is_some_and(|(position, _)| *position < before) {
            known.changed.remove(tenant);
            if let Some(tenant) = known.tenants.get(tenant) {
                tenant.set(self.usual);
            }
        }
    }

    /// Everybody has the limits for all again, until their changes were read anew.
    pub fn forget_changes(&self) {
        let mut known = lock(&self.known);
        known.changed.clear();
        known.tenants.values().for_each(|tenant| tenant.set(self.usual));
    }
}

impl Tenant {
    fn new(limits: TenantLimits, now: Duration) -> Self {
        let users = Users { budgets: HashMap::new(), sweep_at: SWEEP };
        Self {
            limits: RwLock::new(limits),
            messages: Mutex::new(RateBudget::new(now)),
            untold: AtomicU32::new(0),
            requests: Mutex::new(RateBudget::new(now)),
            users: Mutex::new(users),
        }
    }

    /// Its limits now.
    pub fn limits(&self) -> TenantLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, limits: TenantLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn is_idle(&self, now: Duration) -> bool {
        let Taken { messages, requests } = self.taken(now);
        let limits = self.limits();
        lock(&self.users).budgets.retain(|_, user| user.is_in_use(limits, now));
        messages == 0 && requests == 0 && lock(&self.users).budgets.is_empty()
    }

    /// Takes messages that somebody sent, on whichever way.
    ///
    /// # Errors
    ///
    /// The tenant has none left.
    pub fn take_messages(&self, count: u32, now: Duration) -> Result<(), TooFast> {
        let limit = self.limits().tenant_messages_per_minute;
        if limit == 0 {
            return Ok(());
        }
        match lock(&self.messages).take(count, limit, now) {
            Verdict::Pass => {
                self.untold.fetch_add(count, Ordering::Relaxed);
                Ok(())
            }
            Verdict::Refuse { retry_after } => Err((Over::TenantMessages, retry_after)),
        }
    }

    /// Messages that were taken here since this was asked last.
    pub fn take_untold(&self) -> u32 {
        self.untold.swap(0, Ordering::Relaxed)
    }

    /// Messages were taken on another node.
    pub fn charge(&self, count: u32, now: Duration) {
        let limit = self.limits().tenant_messages_per_minute;
        lock(&self.messages).charge(count, limit, now);
    }

    /// Takes a request over HTTP; `user` is whoever it acts for, in whatever way that is named.
    ///
    /// # Errors
    ///
    /// The user or the tenant has none left.
    pub fn take_request(&self, user: &str, now: Duration) -> Result<(), TooFast> {
        let limits = self.limits();
        let taken = self.of_user(user, limits, now, |user| user.requests.take(1, limits.requests_per_minute, now));
        if let Verdict::Refuse { retry_after } = taken {
            return Err((Over::Requests, retry_after));
        }
        match lock(&self.requests).take(1, limits.tenant_requests_per_minute, now) {
            Verdict::Pass => Ok(()),
            Verdict::Refuse { retry_after } => {
                // What is not done does not count.
                self.of_user(user, limits, now, |user| user.requests.give_back(1));
                Err((Over::TenantRequests, retry_after))
            }
        }
    }

    /// Takes messages that came over HTTP.
    ///
    /// # Errors
    ///
    /// The user or the tenant has none left.
    pub fn take_http_messages(&self, user: &str, count: u32, now: Duration) -> Result<(), TooFast> {
        let limits = self.limits();
        let taken =
            self.of_user(user, limits, now, |user| user.messages.take(count, limits.http_messages_per_minute, now));
        if let Verdict::Refuse { retry_after } = taken {
            return Err((Over::HttpMessages, retry_after));
        }
        self.take_messages(count, now)
            .inspect_err(|_| self.of_user(user, limits, now, |user| user.messages.give_back(count)))
    }

    fn of_user<T>(
        &self,
        user: &str,
        limits: TenantLimits,
        now: Duration,
        act: impl FnOnce(&mut UserBudgets) -> T,
    ) -> T {
        let mut users = lock(&self.users);
        if let Some(known) = users.budgets.get_mut(user) {
            return act(known);
        }
        if users.budgets.len() >= users.sweep_at {
            users.budgets.retain(|_, user| user.is_in_use(limits, now));
            users.sweep_at = SWEEP.max(users.budgets.len() * 2);
        }
        let user = if users.budgets.len() < USERS { user } else { "" };
        act(users
            .budgets
            .entry(user.into())
            .or_insert_with(|| UserBudgets { requests: RateBudget::new(now), messages: RateBudget::new(now) }))
    }

    /// How much is taken.
    pub fn taken(&self, now: Duration) -> Taken {
        let limits = self.limits();
        Taken {
            messages: lock(&self.messages).taken(limits.tenant_messages_per_minute, now),
            requests: lock(&self.requests).taken(limits.tenant_requests_per_minute, now),
        }
    }
}

impl UserBudgets {
    fn is_in_use(&mut self, limits: TenantLimits, now: Duration) -> bool {
        self.requests.taken(limits.requests_per_minute, now) > 0
            || self.messages.taken(limits.http_messages_per_minute, now) > 0
    }
}

impl Over {
    /// The limit's key, and the label of its metric.
    pub fn key(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_minute",
            Self::TenantRequests => "tenant_requests_per_minute",
            Self::HttpMessages => "http_messages_per_minute",
            Self::TenantMessages => "tenant_messages_per_minute",
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
