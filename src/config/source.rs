//! Reading one source of settings: a TOML text, a variable or a flag. Owns: the walk that meets every key of a source
//! with the key's own kind and range, so that an error can name the key and the source.

use std::fmt;

use config::{File, FileFormat, FileSourceString, Map, Source as _, ValueKind};

use super::{
    error::{ConfigError, Origin},
    rules, secret,
};

/// A value of the kind that its key has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Time(String),
    Whole(i64),
    Flag(bool),
    List(Vec<String>),
}

/// As TOML. JSON's escapes are TOML's too.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Time(text) => write!(f, "{}", serde_json::Value::from(text.as_str())),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::List(items) => {
                let items: Vec<_> =
                    items.iter().map(|item| serde_json::Value::from(item.as_str()).to_string()).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

impl Value {
    /// As TOML, without secrets.
    pub(super) fn printable(&self, key: &str) -> String {
        let hide = |text: &String| secret::printable(key, text);
        match self {
            Self::Text(text) | Self::Time(text) => Self::Text(hide(text)).to_string(),
            Self::List(items) => Self::List(items.iter().map(hide).collect()).to_string(),
            Self::Whole(_) | Self::Flag(_) => self.to_string(),
        }
    }
}

impl From<Value> for config::Value {
    fn from(value: Value) -> Self {
        let kind: ValueKind = match value {
            Value::Text(text) | Value::Time(text) => text.into(),
            Value::Whole(number) => number.into(),
            Value::Flag(flag) => flag.into(),
            Value::List(items) => ValueKind::Array(items.into_iter().map(Self::from).collect()),
        };
        Self::new(None, kind)
    }
}

/// A checked value and where it was set.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

// By hand, so that a printed history does not give secrets away.
impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} # {}", self.key, self.value.printable(&self.key), self.origin)
    }
}

/// Every key there is, in the order of `default.toml`, with its default (which also says what kind it is).
#[derive(Debug)]
pub(super) struct Keys(Vec<(String, Value)>);

impl Keys {
    /// Reads them from the text of `default.toml`.
    pub(super) fn from_defaults(text: &str) -> Result<Self, ConfigError> {
        let mut found = Vec::new();
        flatten("", parse(text, &Origin::BuiltIn("default.toml"))?, &mut found);
        Ok(Self(found.into_iter().filter_map(|(key, value)| Some((key, default_value(value)?))).collect()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, Value)> {
        self.0.iter()
    }

    fn find(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    fn is_section(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key.split_once('.').is_some_and(|(section, _)| section == name))
    }

    /// The key that was probably meant.
    fn nearest(&self, wrong: &str) -> Option<&str> {
        let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
        let names = self.0.iter().map(|(key, _)| key.as_str());
        // The right name in the wrong section is nearer than any spelling.
        if let Some(key) = names.clone().find(|key| last(key) == last(wrong)) {
            return Some(key);
        }
        nearest(wrong, names)
    }

    /// Reads a TOML text.
    pub(super) fn read_toml(&self, text: &str, origin: &Origin) -> Result<Vec<Setting>, ConfigError> {
        let mut found = Vec::new();
        flatten("", parse(text, origin)?, &mut found);
        found
            .into_iter()
            .map(|(key, value)| {
                let Some(default) = self.find(&key) else { return Err(self.stray(key, &value, origin)) };
                let typed = of_same_kind(&value, default);
                accept(key, default, typed, || show(&value), origin.clone())
            })
            .collect()
    }

    /// Reads one key from a text without type: a variable's or a flag's.
    pub(super) fn read_word(&self, key: &str, word: &str, origin: Origin) -> Result<Setting, ConfigError> {
        let Some(default) = self.find(key) else { return Err(self.unknown(key.to_owned(), origin)) };
        let typed = match default {
            Value::Text(_) => Some(Value::Text(word.to_owned())),
            Value::Time(_) => Some(Value::Time(word.to_owned())),
            Value::Whole(_) => word.parse().ok().map(Value::Whole),
            Value::Flag(_) => word.parse().ok().map(Value::Flag),
            Value::List(_) => {
                let items = word.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(Value::List(items.map(str::to_owned).collect()))
            }
        };
        accept(key.to_owned(), default, typed, || format!("{word:?}"), origin)
    }

    /// The error for a key that is none.
    pub(super) fn unknown(&self, key: String, origin: Origin) -> ConfigError {
        let mend = match (self.nearest(&key), &origin) {
            (Some(near), Origin::Variable(_)) => format!("did you mean {} (\"{near}\")?", super::variable_of(near)),
            (Some(near), _) => format!("did you mean \"{near}\"?"),
            (None, _) => "`continuum config show` lists every key".to_owned(),
        };
        ConfigError::UnknownKey { key, origin, mend }
    }

    /// The error for something in a file that is no key: perhaps a section that is not written as one.
    fn stray(&self, key: String, value: &ValueKind, origin: &Origin) -> ConfigError {
        if self.is_section(&key) {
            let expected = format!("a section: [{key}]");
            return ConfigError::WrongValue { key, origin: origin.clone(), found: show(value), expected };
        }
        if let Some((parent, _)) = key.rsplit_once('.').filter(|(parent, _)| self.find(parent).is_some()) {
            let (key, found) = (parent.to_owned(), "a section".to_owned());
            let expected = self.find(parent).map(|default| rules::expected(parent, default)).unwrap_or_default();
            return ConfigError::WrongValue { key, origin: origin.clone(), found, expected };
        }
        self.unknown(key, origin.clone())
    }
}

/// The candidate that is spelled most alike, if one is alike at all.
pub(super) fn nearest<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::jaro_winkler(wrong, candidate), candidate))
        .filter(|(alike, _)| *alike > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn accept(
    key: String,
    default: &Value,
    typed: Option<Value>,
    found: impl Fn() -> String,
    origin: Origin,
) -> Result<Setting, ConfigError> {
    match typed.filter(|value| rules::allows(&key, value)) {
        Some(value) => Ok(Setting { key, value, origin }),
        None => {
            let expected = rules::expected(&key, default);
            Err(ConfigError::WrongValue { found: secret::printable(&key, &found()), expected, key, origin })
        }
    }
}

fn parse(text: &str, origin: &Origin) -> Result<Map<String, config::Value>, ConfigError> {
    let file: File<FileSourceString, FileFormat> = File::from_str(text, FileFormat::Toml);
    file.collect().map_err(|error| {
        // The parser draws a picture of the place over several lines; its first line says where, its last says what.
        let picture = error.to_string();
        let mut lines = picture.lines().map(str::trim).filter(|line| !line.is_empty());
        let place = lines.next().unwrap_or_default().to_owned();
        let cause = lines.next_back().map_or(place.clone(), |what| format!("{place}: {what}"));
        ConfigError::Syntax { origin: origin.clone(), cause }
    })
}

/// Every leaf with its dotted key, in order. An empty table is a leaf too, or an unknown one would go unseen.
fn flatten(prefix: &str, table: Map<String, config::Value>, into: &mut Vec<(String, ValueKind)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value.kind {
            ValueKind::Table(inner) if !inner.is_empty() => flatten(&key, inner, into),
            kind => into.push((key, kind)),
        }
    }
}

/// A default as a value. A text that reads as a duration makes its key a duration.
fn default_value(value: ValueKind) -> Option<Value> {
    match &value {
        ValueKind::String(text) if humantime::parse_duration(text).is_ok() => Some(Value::Time(text.clone())),
        ValueKind::String(_) => of_same_kind(&value, &Value::Text(String::new())),
        ValueKind::I64(_) => of_same_kind(&value, &Value::Whole(0)),
        ValueKind::Boolean(_) => of_same_kind(&value, &Value::Flag(false)),
        ValueKind::Array(_) => of_same_kind(&value, &Value::List(Vec::new())),
        _ => None,
    }
}

fn of_same_kind(value: &ValueKind, default: &Value) -> Option<Value> {
    match (default, value) {
        (Value::Text(_), ValueKind::String(text)) => Some(Value::Text(text.clone())),
        (Value::Time(_), ValueKind::String(text)) => Some(Value::Time(text.clone())),
        (Value::Whole(_), ValueKind::I64(number)) => Some(Value::Whole(*number)),
        (Value::Flag(_), ValueKind::Boolean(flag)) => Some(Value::Flag(*flag)),
        (Value::List(_), ValueKind::Array(items)) => items
            .iter()
            .map(|item| match &item.kind {
                ValueKind::String(text) => Some(text.clone()),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(Value::List),
        _ => None,
    }
}

/// A value as an error shows it, on one line.
fn show(value: &ValueKind) -> String {
    match value {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(items) => {
            format!("[{}]", items.iter().map(|item| show(&item.kind)).collect::<Vec<_>>().join(", "))
        }
        ValueKind::Table(_) => "a section".to_owned(),
        other => other.to_string(),
    }
}
