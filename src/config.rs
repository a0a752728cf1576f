//! Configuration: layers of settings in, one checked value out. Owns: the order of the sources, and which of them set what.
//! Must not know: what the node does with a value.
//!
//! Order, later wins: `config/default.toml`, the environment's file (both built in), the file given by `--config`,
//! variables `CONTINUUM__SECTION__KEY`, flags. Each source is checked by itself against `default.toml`, where every key
//! stands, before the `config` crate lays them over each other: so every error names its source.

mod error;
mod rules;
mod schema;
mod secret;
mod source;
pub mod watched;

use std::{collections::HashMap, fmt::Write as _, fs, io, path::PathBuf};

pub use error::{ConfigError, Origin};
pub use schema::{
    Auth, AuthMode, BackboneChoice, BackboneKind, Chaos, Config, Drain, Heartbeat, Hook, Limits, Log, LogFormat,
    Logging, Nats, Rooms, Server, WhenDown,
};

pub use rules::is_loopback;
pub use secret::without_credentials;

use source::{Keys, Setting};

use crate::model::TenantId;

const DEFAULTS: &str = include_str!("../config/default.toml");

/// The environments: name, file, text. The first one holds when none is named.
const ENVIRONMENTS: [(&str, &str, &str); 4] = [
    ("development", "development.toml", include_str!("../config/development.toml")),
    ("staging", "staging.toml", include_str!("../config/staging.toml")),
    ("production", "production.toml", include_str!("../config/production.toml")),
    ("bench", "bench.toml", include_str!("../config/bench.toml")),
];

/// The variable that names the environment.
pub const ENVIRONMENT_VARIABLE: &str = "CONTINUUM_ENV";

const VARIABLE_PREFIX: &str = "CONTINUUM__";

/// Keys with a flag of their own, for errors and `config show`. `--set` for one of them goes by this flag's name too.
const OWN_FLAGS: [(&str, &str); 3] = [("server.host", "--host"), ("server.port", "--port"), ("data_dir", "--data-dir")];

/// Where settings come from, beside the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Name of the environment; `None` or empty is `development`.
    pub environment: Option<String>,
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Variables by name; those that do not begin with `CONTINUUM__` are passed over.
    pub variables: Vec<(String, String)>,
    /// Dotted keys with their values as typed, from flags.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    /// The environment's name and the variables of this process, with a file and flags.
    pub fn of_process(file: Option<PathBuf>, overrides: Vec<(String, String)>) -> Self {
        // A text that is not UTF-8 is no good value for any key; its replacement is refused with the key's name.
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        let variables: Vec<_> = variables.filter(|(name, _)| name.starts_with("CONTINUUM_")).collect();
        let environment = variables.iter().find(|(name, _)| name == ENVIRONMENT_VARIABLE);
        Self { environment: environment.map(|(_, value)| value.clone()), file, variables, overrides }
    }
}

/// A configuration together with its history.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// One for each key, in the order of `default.toml`.
    settings: Vec<Setting>,
    sources: Vec<Origin>,
}

impl Loaded {
    /// What was read, in the order in which it was laid over each other.
    pub fn sources(&self) -> &[Origin] {
        &self.sources
    }

    /// Which source set this key; `None` if there is no such key.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.settings.iter().find(|setting| setting.key == key).map(|setting| &setting.origin)
    }

    /// The merged settings as TOML, each with its source in a comment and without secrets.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for Setting { key, value, origin } in &self.settings {
            let (of, name) = key.split_once('.').unwrap_or(("", key));
            if of != section {
                section = of;
                // Writing to a String does not fail, here and below.
                let _ = writeln!(text, "\n[{section}]");
            }
            let _ = writeln!(text, "{name} = {} # {}", value.printable(key), origin);
        }
        text
    }
}

impl Config {
    /// Whether whoever can reach this node may use it: there is nothing to prove, and no list of pages.
    pub fn is_open(&self) -> bool {
        self.auth.mode == AuthMode::None && self.server.allowed_origins.is_empty()
    }

    /// How chaos spreads in a tenant's room: the one place that knows whether tenants differ in it. They do not yet.
    pub fn chaos_of(&self, _: &TenantId) -> &Chaos {
        &self.chaos
    }

    /// Reads all sources, checks each and all of them together.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, in the order of the sources.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
        let keys = defaults()?;
        let mut layers = vec![keys.read_toml(DEFAULTS, &Origin::BuiltIn("default.toml"))?];
        let mut read = vec![Origin::BuiltIn("default.toml")];

        let (file, text) = environment(sources.environment.as_deref())?;
        layers.push(keys.read_toml(text, &Origin::BuiltIn(file))?);
        read.push(Origin::BuiltIn(file));

        if let Some(path) = &sources.file {
            let origin = Origin::File(path.clone());
            let unreadable = |error: io::Error| {
                let cause = one_line(&error.to_string());
                ConfigError::Unreadable { origin: origin.clone(), cause }
            };
            let text = fs::read_to_string(path).map_err(unreadable)?;
            layers.push(keys.read_toml(&text, &origin)?);
            read.push(origin);
        }

        let variables = from_variables(&keys, &sources.variables)?;
        let flags = from_flags(&keys, &sources.overrides)?;
        read.extend(variables.iter().chain(&flags).map(|setting| setting.origin.clone()));
        layers.extend([variables, flags]);

        merge(&keys, layers, read)
    }
}

/// The name of the variable that sets a key.
fn variable_of(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

fn defaults() -> Result<Keys, ConfigError> {
    Keys::from_defaults(DEFAULTS)
}

fn environment(name: Option<&str>) -> Result<(&'static str, &'static str), ConfigError> {
    let found = name.filter(|name| !name.is_empty()).unwrap_or(ENVIRONMENTS[0].0);
    let names = ENVIRONMENTS.map(|(name, _, _)| name);
    match ENVIRONMENTS.iter().find(|(name, _, _)| *name == found) {
        Some((_, file, text)) => Ok((file, text)),
        None => Err(ConfigError::UnknownEnvironment {
            found: found.to_owned(),
            expected: names.join(", "),
            mend: source::nearest(found, names.into_iter())
                .map_or_else(String::new, |near| format!(": did you mean \"{near}\"?")),
        }),
    }
}

fn from_variables(keys: &Keys, variables: &[(String, String)]) -> Result<Vec<Setting>, ConfigError> {
    let mut ours: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)).collect();
    // A process's variables have no order; an error should not change from run to run.
    ours.sort();
    let read = ours.into_iter().map(|(name, value)| {
        let key = name[VARIABLE_PREFIX.len()..].replace("__", ".").to_lowercase();
        // Capitals only: two spellings of one key would have no order.
        if variable_of(&key) != *name {
            return Err(keys.unknown(key, Origin::Variable(name.clone())));
        }
        keys.read_word(&key, value, Origin::Variable(name.clone()))
    });
    read.collect()
}

fn from_flags(keys: &Keys, flags: &[(String, String)]) -> Result<Vec<Setting>, ConfigError> {
    let read = flags.iter().map(|(key, value)| {
        let own = OWN_FLAGS.iter().find(|(name, _)| name == key);
        let flag = own.map_or_else(|| format!("--set {key}"), |(_, flag)| (*flag).to_owned());
        keys.read_word(key, value, Origin::Flag(flag))
    });
    read.collect()
}

fn merge(keys: &Keys, layers: Vec<Vec<Setting>>, sources: Vec<Origin>) -> Result<Loaded, ConfigError> {
    let mut last: HashMap<String, Setting> = HashMap::new();
    let mut builder = config::Config::builder();
    for setting in layers.into_iter().flatten() {
        builder = builder
            .set_override(&setting.key, setting.value.clone())
            .expect("every key was found in default.toml, so it is a path");
        last.insert(setting.key.clone(), setting);
    }
    let config: Config = builder
        .build()
        .and_then(config::Config::try_deserialize)
        .expect("every value has its key's kind and range, and the keys of default.toml are the fields of Config");

    let collision = rules::collision(&config);
    if let Some(collision) = collision {
        let origin = |key: &&str| last.get(*key).map(|setting| format!("{key} is set in {}", setting.origin));
        let origins: Vec<_> = collision.keys.iter().filter_map(origin).collect();
        return Err(ConfigError::Impossible { problem: collision.problem, origins: origins.join(", ") });
    }
    let settings = keys.iter().filter_map(|(key, _)| last.remove(key)).collect();
    Ok(Loaded { config, settings, sources })
}

/// A system's message must not break the line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
