//! Who may do what. A grant is a value that the code needs to have: nobody publishes, joins or reads without one.
//!
//! Owns: turning what a client presents into a [`Grant`], and whether that holds. Must not know: sockets, where keys are kept.

pub mod agent;
pub mod claims;
pub mod erasures;
mod error;
pub mod hook;
mod issuers;
mod jwks;
mod keys;
pub mod mint;
pub mod registry;
pub mod secret;
pub mod tickets;
mod token;
mod url;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use lru::LruCache;
use sha2::{Digest as _, Sha256};

pub use self::{agent::agent, error::TokenError};
use self::{
    claims::{Identity, Instances},
    hook::Hook,
    issuers::Issuers,
    registry::Registry,
};
use crate::{
    config::{Auth, AuthMode},
    model::{
        InstanceId, TenantId, Timestamp,
        entity::Author,
        record::Viewer,
        rights::{Admin, Patterns, Rights},
    },
};

/// Verified tokens that are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).expect("above zero");
/// For how long: a key that its issuer took back is believed no longer than this.
const FOR: Duration = Duration::from_secs(60);

/// Somebody whose token or key was found to be good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Who it is and what it may do.
    pub identity: Identity,
    /// What it showed.
    pub origin: Origin,
    /// When that was issued, if it says.
    pub issued_at: Option<Timestamp>,
    /// When that ends; `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// What somebody showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A token, with its `jti`.
    Token {
        /// The `jti`.
        id: Option<Arc<str>>,
    },
    /// An API key.
    Key {
        /// Its id.
        id: String,
    },
    /// The key in `auth.admin_key`.
    AdminKey,
}

/// The right of one instance to be in its tenant's room, and what it may do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    tenant: TenantId,
    author: Author,
    rights: Arc<Rights>,
    bearer: Option<Arc<Bearer>>,
}

impl Grant {
    /// `auth.mode = none`: clients are who they say they are. The configuration lets this mode bind loopback only,
    /// unless told otherwise.
    pub fn unauthenticated(tenant: TenantId, instance: InstanceId) -> Self {
        let author = Author { instance, user: None, name: None };
        Self { tenant, author, rights: Arc::new(Rights::all()), bearer: None }
    }

    /// The same for an instance that acts for a user.
    pub fn acting_for(mut self, user: Option<Arc<str>>, name: Option<Arc<str>>) -> Self {
        self.author.user = user;
        self.author.name = name;
        self
    }

    /// What somebody may do as one of its instances, in a tenant that is its own.
    fn of(bearer: Arc<Bearer>, tenant: TenantId, instance: InstanceId) -> Self {
        let Identity { name, rights, .. } = &bearer.identity;
        let author = Author { instance, user: bearer.user_in(&tenant).cloned(), name: name.clone() };
        Self { tenant, author, rights: rights.clone(), bearer: Some(bearer) }
    }

    /// The tenant whose room it opens.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The instance it speaks for.
    pub fn instance(&self) -> &InstanceId {
        &self.author.instance
    }

    /// Who changes what it changes.
    pub fn author(&self) -> &Author {
        &self.author
    }

    /// What it may see.
    pub fn viewer(&self) -> Viewer {
        let is_own = self.bearer.as_ref().is_none_or(|bearer| bearer.is_of(&self.tenant));
        Viewer::new(is_own.then(|| self.author.owner()), self.rights.clone())
    }

    /// What it may do.
    pub fn rights(&self) -> &Arc<Rights> {
        &self.rights
    }

    /// Whether whoever has it has proven who it is.
    pub fn is_proven(&self) -> bool {
        self.bearer.is_some()
    }

    /// When it ends; `None`: never.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.bearer.as_ref()?.expires_at
    }
}

/// Why somebody cannot be who it wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The token is another tenant's.
    #[error("the token is not for this tenant")]
    Tenant,
    /// The token is not for this instance.
    #[error("the token is not for this instance")]
    Instance,
    /// The request names another user than the token.
    #[error("the token is for another user")]
    User,
}

impl Bearer {
    /// Whether this tenant is its own.
    pub fn is_of(&self, tenant: &TenantId) -> bool {
        self.identity.tenant == *tenant
    }

    /// Whether it may be in this tenant.
    pub fn may_enter(&self, tenant: &TenantId) -> bool {
        // In the system's own tenant is nobody: what stands there is the node's.
        *tenant != TenantId::system() && (self.is_of(tenant) || self.identity.rights.admin == Admin::System)
    }

    /// For whom it acts in a tenant. In another than its own for nobody: users of the same name are others there.
    pub fn user_in(&self, tenant: &TenantId) -> Option<&Arc<str>> {
        self.identity.user.as_ref().filter(|_| self.is_of(tenant))
    }

    /// Which instance it is, of those that it may be: the one that it asks for, else the only one.
    ///
    /// # Errors
    ///
    /// [`Mismatch::Instance`].
    pub fn instance(&self, asked: Option<InstanceId>) -> Result<Option<InstanceId>, Mismatch> {
        match (&self.identity.instances, asked) {
            (Instances::One(only), None) => Ok(Some(only.clone())),
            (Instances::One(only), Some(asked)) if asked == *only => Ok(Some(asked)),
            (Instances::Any(_), None) => Ok(None),
            (Instances::Any(pattern), Some(asked)) if pattern.admits(asked.as_str()) => Ok(Some(asked)),
            _ => Err(Mismatch::Instance),
        }
    }

    /// Which instance it is in a tenant, where a request names these.
    ///
    /// # Errors
    ///
    /// Neither tenant nor instance may be another's, nor the user whom the request names.
    pub fn enter(
        &self,
        tenant: &TenantId,
        instance: Option<InstanceId>,
        user: Option<&str>,
    ) -> Result<Option<InstanceId>, Mismatch> {
        if !self.may_enter(tenant) {
            return Err(Mismatch::Tenant);
        }
        if user.is_some() && user != self.user_in(tenant).map(|user| &**user) {
            return Err(Mismatch::User);
        }
        self.instance(instance)
    }

    /// What it may do in a tenant as an instance.
    ///
    /// # Errors
    ///
    /// As [`Bearer::enter`].
    pub fn grant(
        self: &Arc<Self>,
        tenant: TenantId,
        instance: InstanceId,
        user: Option<&str>,
    ) -> Result<Grant, Mismatch> {
        let instance = self.enter(&tenant, Some(instance), user)?.ok_or(Mismatch::Instance)?;
        Ok(Grant::of(self.clone(), tenant, instance))
    }
}

/// Tokens that were found to be good, by their hash, and when.
type Verified = LruCache<[u8; 32], (Arc<Bearer>, Instant)>;

/// Decides who is let in.
#[derive(Debug)]
pub struct Authority {
    mode: AuthMode,
    issuers: RwLock<Arc<Issuers>>,
    /// Of the key in `auth.admin_key`.
    admin_hash: Option<String>,
    registry: Registry,
    verified: Mutex<Verified>,
    /// The owner's own rules, if there are any.
    hook: Option<Arc<Hook>>,
}

impl Authority {
    /// As the configuration says.
    ///
    /// # Errors
    ///
    /// In words: a file that it names cannot be used.
    pub fn open(config: &Auth) -> Result<Self, String> {
        let file =
            |path: &Path| (!path.as_os_str().is_empty() && config.mode == AuthMode::Token).then(|| path.to_owned());
        let issuers = match file(&config.issuers) {
            Some(path) => Issuers::read(&path)?,
            None => Issuers::default(),
        };
        let admin_hash = file(&config.admin_key).map(|path| admin_hash(&path)).transpose()?;
        Ok(Self {
            mode: config.mode,
            issuers: RwLock::new(Arc::new(issuers)),
            admin_hash,
            registry: Registry::default(),
            verified: Mutex::new(LruCache::new(REMEMBERED)),
            hook: Hook::open(&config.hook)?,
        })
    }

    /// Whether clients have to prove who they are.
    pub fn asks(&self) -> bool {
        self.mode == AuthMode::Token
    }

    /// The owner's own rules, if there are any: asked in either mode.
    pub fn hook(&self) -> Option<&Arc<Hook>> {
        self.hook.as_ref()
    }

    /// API keys, and what was called back.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The files that hold the issuers' keys.
    pub fn key_files(&self) -> Vec<PathBuf> {
        self.issuers.read().unwrap_or_else(PoisonError::into_inner).files().to_vec()
    }

    /// Reads the issuers' file again; what is there holds from now on.
    ///
    /// # Errors
    ///
    /// In words. What held before still does.
    pub fn reload(&self, path: &Path) -> Result<(), String> {
        let issuers = Issuers::read(path)?;
        *self.issuers.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(issuers);
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// Whose token or API key this is. Says nothing of whether it was revoked: see [`Authority::holds`].
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Bearer>, TokenError> {
        if let Some(hash) = &self.admin_hash
            && secret::is_the_one(token, hash)
        {
            return Ok(Arc::new(admin()));
        }
        let bearer = if token.starts_with(secret::PREFIX) {
            self.registry.bearer_of(token)?
        } else {
            self.verify_token(token, now).await?
        };
        if bearer.expires_at.is_some_and(|end| end <= now) {
            return Err(TokenError::Expired);
        }
        Ok(bearer)
    }

    async fn verify_token(&self, token: &str, now: Timestamp) -> Result<Arc<Bearer>, TokenError> {
        let id: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some((bearer, at)) = known
            && at.elapsed() < FOR
        {
            return Ok(bearer);
        }
        let issuers = self.issuers.read().unwrap_or_else(PoisonError::into_inner).clone();
        let bearer = Arc::new(token::verify(&issuers, token, now).await?);
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        // What was found with issuers that hold no more is not remembered.
        if Arc::ptr_eq(&issuers, &self.issuers.read().unwrap_or_else(PoisonError::into_inner)) {
            verified.put(id, (bearer.clone(), Instant::now()));
        }
        Ok(bearer)
    }

    /// Whether a bearer holds now, in this tenant (its own, if it is none) as this instance.
    ///
    /// # Errors
    ///
    /// [`TokenError::Expired`], [`TokenError::Revoked`], [`TokenError::NotReady`].
    pub fn holds(
        &self,
        bearer: &Bearer,
        (tenant, instance): (Option<&TenantId>, Option<&InstanceId>),
        now: Timestamp,
    ) -> Result<(), TokenError> {
        if bearer.expires_at.is_some_and(|end| end <= now) {
            return Err(TokenError::Expired);
        }
        self.registry.check(bearer, tenant, instance)
    }

    /// Whether a grant holds now.
    ///
    /// # Errors
    ///
    /// As [`Authority::holds`].
    pub fn still_holds(&self, grant: &Grant, now: Timestamp) -> Result<(), TokenError> {
        match &grant.bearer {
            Some(bearer) => self.holds(bearer, (Some(grant.tenant()), Some(grant.instance())), now),
            None => Ok(()),
        }
    }
}

/// Whoever has the key in `auth.admin_key`: it may administer everything.
fn admin() -> Bearer {
    let rights = Rights { admin: Admin::System, ..Rights::all() };
    Bearer {
        identity: Identity {
            tenant: TenantId::system(),
            user: Some("admin".into()),
            name: None,
            instances: Instances::Any(Patterns::all()),
            rights: Arc::new(rights),
        },
        origin: Origin::AdminKey,
        issued_at: None,
        expires_at: None,
    }
}

fn admin_hash(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    match text.trim() {
        key if key.len() < 32 => {
            Err(format!("the key in {shown} has fewer than 32 bytes: `continuum key new` makes one"))
        }
        key => Ok(secret::hash_of(key)),
    }
}
