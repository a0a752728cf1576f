//! The streams as they must be: `nats/streams/*.json`, filled in with what the configuration says.
//!
//! Owns: what a stream is made with and what counts as a difference. A stream that stands is never altered.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::names::Names;

const LOG: &str = include_str!("../../../nats/streams/log.json");
const STATE: &str = include_str!("../../../nats/streams/state.json");
const KEPT: &str = include_str!("../../../nats/streams/kept.json");

/// The key in a log's metadata under which its epoch stands.
pub const EPOCH: &str = "sync_epoch";

/// How long the server remembers the ids of what was appended; shorter if the log's age is.
pub const DEDUPE_WINDOW: Duration = Duration::from_secs(120);

/// What the definitions take from the configuration.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Subjects and stream names.
    pub names: Names,
    /// Copies of each stream: 1, 3 or 5.
    pub replicas: u16,
    /// Age at which a record is trimmed; `None` keeps it.
    pub max_age: Option<Duration>,
    /// Bytes of one shard's log; `None` sets no bound.
    pub max_bytes: Option<u64>,
}

/// One stream as it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    config: Map<String, Value>,
}

fn parsed(text: &str) -> Map<String, Value> {
    match serde_json::from_str(text) {
        Ok(Value::Object(config)) => config,
        _ => unreachable!("a test reads every definition"),
    }
}

impl Definition {
    fn new(text: &str, shape: &Shape, name: String, changes: Value) -> Self {
        let mut config = parsed(text);
        config.insert("name".into(), json!(name));
        config.insert("num_replicas".into(), json!(shape.replicas));
        if let Value::Object(changes) = changes {
            config.extend(changes);
        }
        Self { name, config }
    }

    /// A shard's log.
    pub fn log(shape: &Shape, shard: u16) -> Self {
        let window = shape.max_age.map_or(DEDUPE_WINDOW, |age| DEDUPE_WINDOW.min(age));
        let changes = json!({
            "subjects": [shape.names.log_subjects(shard)],
            "max_age": shape.max_age.map_or(0, nanos),
            "max_bytes": shape.max_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            "duplicate_window": nanos(window),
        });
        Self::new(LOG, shape, shape.names.log_stream(shard), changes)
    }

    /// A shard's state.
    pub fn state(shape: &Shape, shard: u16) -> Self {
        let source = json!({
            "name": shape.names.log_stream(shard),
            "filter_subject": shape.names.entity_subjects(shard),
        });
        Self::new(STATE, shape, shape.names.state_stream(shard), json!({ "sources": [source] }))
    }

    /// Cursors and tallies.
    pub fn kept(shape: &Shape) -> Self {
        Self::new(KEPT, shape, shape.names.kept_stream(), json!({ "subjects": shape.names.kept_subjects() }))
    }

    /// The request that makes it. A log gets its epoch, and its first position if that is not 1.
    pub fn to_request(&self, epoch: Option<&str>, first: Option<u64>) -> Vec<u8> {
        let mut config = self.config.clone();
        if let Some(epoch) = epoch {
            config.insert("metadata".into(), json!({ EPOCH: epoch }));
        }
        if let Some(first) = first {
            config.insert("first_seq".into(), json!(first));
        }
        Value::Object(config).to_string().into_bytes()
    }

    /// Where a stream that stands differs: each setting with what stands and what must. Settings that we do not name
    /// are the operator's.
    pub fn differences(&self, stands: &Map<String, Value>) -> Vec<String> {
        let is_same = |key: &str, wanted: &Value, found: Option<&Value>| match (wanted, found) {
            (Value::Array(wanted), Some(Value::Array(found))) if key == "sources" => {
                wanted.len() == found.len()
                    && wanted.iter().zip(found).all(|(wanted, found)| {
                        ["name", "filter_subject"].iter().all(|key| wanted.get(key) == found.get(key))
                    })
            }
            (wanted, Some(found)) => wanted == found,
            (wanted, None) => [json!(false), json!(0), json!("")].contains(wanted),
        };
        let rows = self.config.iter().filter(|(key, _)| *key != "description");
        rows.filter(|(key, wanted)| !is_same(key, wanted, stands.get(*key)))
            .map(|(key, wanted)| {
                let found = stands.get(key).map_or("nothing".to_owned(), Value::to_string);
                format!("{key} is {found} and must be {wanted}")
            })
            .collect()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            names: Names::new("sync", 1),
            replicas: 1,
            max_age: Some(Duration::from_secs(30 * 24 * 3600)),
            max_bytes: Some(10 << 30),
        }
    }

    #[test]
    fn the_files_are_what_the_default_configuration_makes() {
        let shape = shape();
        for (text, definition) in
            [(LOG, Definition::log(&shape, 0)), (STATE, Definition::state(&shape, 0)), (KEPT, Definition::kept(&shape))]
        {
            assert_eq!(parsed(text), definition.config);
        }
    }

    #[test]
    fn a_difference_names_both_sides() {
        let definition = Definition::log(&shape(), 0);
        let mut stands = definition.config.clone();
        assert_eq!(definition.differences(&stands), Vec::<String>::new());
        stands.insert("num_replicas".into(), json!(3));
        stands.insert("metadata".into(), json!({"anything": "else"}));
        stands.remove("allow_msg_ttl");
        let mut differences = definition.differences(&stands);
        differences.sort();
        let both = ["allow_msg_ttl is nothing and must be true", "num_replicas is 3 and must be 1"];
        assert_eq!(differences, both.map(str::to_owned));
    }

    #[test]
    fn the_dedupe_window_is_never_longer_than_the_logs_age() {
        let definition = Definition::log(&Shape { max_age: Some(Duration::from_secs(5)), ..shape() }, 0);
        assert_eq!(definition.config["duplicate_window"], json!(5_000_000_000_u64));
    }
}
