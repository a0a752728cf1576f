//! What can be wrong with a configuration, each in one line: the key, where it was set, and the mend.

use std::{fmt, path::PathBuf};

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file that is built into the binary, by name.
    BuiltIn(&'static str),
    /// The file given by `--config`.
    File(PathBuf),
    /// An environment variable, by name.
    Variable(String),
    /// A flag as one would type it.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::BuiltIn(name) => format!("{name} (built in)"),
            Self::File(path) => path.display().to_string(),
            Self::Variable(name) | Self::Flag(name) => name.clone(),
        };
        // Names come from outside; none may break the one line.
        f.write_str(&text.replace(char::is_control, "?"))
    }
}

/// Why there is no configuration. The text is one line for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such key.
    #[error("config: unknown key {key:?} in {origin}: {mend}")]
    UnknownKey {
        /// As it was written.
        key: String,
        /// Where.
        origin: Origin,
        /// The nearest key, or where all of them are listed.
        mend: String,
    },
    /// A wrong type or a value out of range.
    #[error("config: {key:?} in {origin} is {found}, expected {expected}")]
    WrongValue {
        /// Whose value.
        key: String,
        /// Where it was set.
        origin: Origin,
        /// What stands there, secrets masked.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// Values that are fine one by one but cannot hold together.
    #[error("config: {problem} ({origins})")]
    Impossible {
        /// What collides and how to mend it.
        problem: String,
        /// Where each of the colliding values was set.
        origins: String,
    },
    /// The file given by `--config` cannot be read.
    #[error("config: cannot read {origin}: {cause}; give --config a readable TOML file")]
    Unreadable {
        /// Which file.
        origin: Origin,
        /// The system's reason.
        cause: String,
    },
    /// The file given by `--config` is not TOML.
    #[error("config: cannot parse {origin}: {cause}; mend the TOML there")]
    Syntax {
        /// Which file.
        origin: Origin,
        /// The parser's reason with line and column.
        cause: String,
    },
    /// `CONTINUUM_ENV` names no environment.
    #[error("config: CONTINUUM_ENV is {found:?}, expected one of {expected}{mend}")]
    UnknownEnvironment {
        /// As it was set.
        found: String,
        /// The known ones.
        expected: String,
        /// The nearest one, if one is near.
        mend: String,
    },
}
