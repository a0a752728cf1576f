//! Who may issue tokens: the file that `auth.issuers` names.
//!
//! Owns: its form, and the rule that an issuer speaks for its own tenants with its own keys only. Keys are looked up under
//! their issuer, so equal ids of two issuers never meet; what a token says of where its key could be had is not even read.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use super::{
    claims::GrantClaim,
    jwks::RemoteKeys,
    keys::{Key, KeySet, Signing},
};
use crate::model::{
    glob::has_one_star,
    rights::{Admin, Patterns, Rights},
};

/// The issuers by name.
#[derive(Debug, Default)]
pub struct Issuers {
    by_name: HashMap<String, Arc<Issuer>>,
    /// The files that keys came from.
    files: Vec<PathBuf>,
}

/// One of them.
#[derive(Debug)]
pub struct Issuer {
    /// What `iss` must be.
    pub name: String,
    /// What `aud` must hold one of.
    pub audience: Vec<String>,
    /// Tenants that it may speak for.
    pub tenants: Patterns,
    /// The tenant of tokens that name none.
    pub only_tenant: Option<String>,
    /// Under which names its tokens carry what we need.
    pub claims: ClaimNames,
    /// What its tokens may do that do not say.
    pub rights: Arc<Rights>,
    /// The most that its tokens may administer.
    pub admin: Admin,
    /// Its keys.
    pub keys: Keys,
}

/// Where an issuer's keys are.
#[derive(Debug)]
pub enum Keys {
    /// In files.
    Here(KeySet),
    /// At a URL.
    There(RemoteKeys),
}

/// Under which names an issuer's tokens carry what we need.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimNames {
    /// The tenant.
    pub tenant: String,
    /// The user.
    pub user: String,
    /// The user's name for people.
    pub name: String,
    /// The instance, or a pattern of them.
    pub instance: String,
    /// The grant.
    pub grant: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        let [tenant, user, name, instance, grant] = ["tenant", "sub", "name", "instance", "grant"].map(str::to_owned);
        Self { tenant, user, name, instance, grant }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    issuer: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    issuer: String,
    audience: OneOrMore,
    tenants: Vec<String>,
    jwks_url: Option<String>,
    #[serde(default)]
    key: Vec<KeyEntry>,
    #[serde(default)]
    claims: ClaimNames,
    grant: Option<GrantClaim>,
    admin: Option<Admin>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: Option<String>,
    algorithm: Signing,
    file: PathBuf,
}

impl Issuers {
    /// Reads the file; the paths in it start at its folder.
    ///
    /// # Errors
    ///
    /// In words, with the path and what to mend.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let parsed = config::Config::builder()
            .add_source(config::File::from_str(&text, config::FileFormat::Toml))
            .build()
            .and_then(config::Config::try_deserialize::<File>);
        let file = parsed.map_err(|error| format!("{shown}: {error}"))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let (mut issuers, mut files) = (HashMap::new(), Vec::new());
        for entry in file.issuer {
            let named = |problem: String| format!("{shown}: issuer {:?}: {problem}", entry.issuer);
            let name = entry.issuer.clone();
            if name.is_empty() || issuers.contains_key(&name) {
                return Err(named("is empty or there twice".into()));
            }
            let issuer = issuer(&entry, folder).map_err(named)?;
            files.extend(entry.key.iter().map(|key| folder.join(&key.file)));
            issuers.insert(name, Arc::new(issuer));
        }
        if issuers.is_empty() {
            return Err(format!("{shown} names no [[issuer]]"));
        }
        Ok(Self { by_name: issuers, files })
    }

    /// The one that a token names.
    pub fn get(&self, name: &str) -> Option<&Arc<Issuer>> {
        self.by_name.get(name)
    }

    /// The files that keys came from.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

fn issuer(entry: &Entry, folder: &Path) -> Result<Issuer, String> {
    let audience = match &entry.audience {
        OneOrMore::One(one) => vec![one.clone()],
        OneOrMore::More(more) => more.clone(),
    };
    if audience.is_empty() || audience.iter().any(String::is_empty) {
        return Err("audience must name at least one".into());
    }
    if entry.tenants.is_empty() {
        return Err("tenants must name those that it may speak for; [\"*\"] is all".into());
    }
    if !entry.tenants.iter().all(|pattern| has_one_star(pattern)) {
        return Err("tenants may have at most one '*' in each".into());
    }
    let keys = match (&entry.jwks_url, &entry.key[..]) {
        (Some(url), []) => Keys::There(RemoteKeys::at(url)?),
        (None, [_, ..]) => Keys::Here(KeySet::new(local(&entry.key, folder)?)),
        _ => return Err("set jwks_url, or at least one [[issuer.key]], and not both".into()),
    };
    let rights = match &entry.grant {
        None => Rights::all(),
        Some(grant) => grant.check().map_err(|error| error.to_string())?,
    };
    let only_tenant = match &entry.tenants[..] {
        [only] if !only.contains('*') => Some(only.clone()),
        _ => None,
    };
    Ok(Issuer {
        name: entry.issuer.clone(),
        audience,
        tenants: Patterns::of(entry.tenants.iter().cloned()),
        only_tenant,
        claims: entry.claims.clone(),
        rights: Arc::new(rights),
        admin: entry.admin.unwrap_or(Admin::Nothing),
        keys,
    })
}

fn local(entries: &[KeyEntry], folder: &Path) -> Result<Vec<Key>, String> {
    if entries.len() > 1 && entries.iter().any(|entry| entry.id.is_none()) {
        return Err("each of several keys needs an id".into());
    }
    let key = |entry: &KeyEntry| Key::from_file(entry.id.clone(), entry.algorithm, &folder.join(&entry.file));
    entries.iter().map(key).collect()
}
