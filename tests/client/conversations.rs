//! clients/vectors, run by the client in Rust: conversations with a real node and with a recording. README.md there has the format.
//!
//! Owns: the order of steps, and what names stand for. What must come out stands in the vectors alone.

#[path = "conversations/guards.rs"]
mod guards;
#[path = "conversations/notebook.rs"]
mod notebook;
#[path = "conversations/room.rs"]
mod room;
#[path = "conversations/stage.rs"]
mod stage;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

use self::{notebook::Notebook, room::Room, stage::Stage};

/// Longest time for what a step waits for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many conversations are held at a time.
const AT_A_TIME: usize = 4;
/// What only a client that keeps entities does.
const OF_ENTITIES: [&str; 4] = ["change", "entity", "conflicts", "resolve"];

/// What the client in Rust does not do: pending edits of a text are carried over those of others by the node alone.
const LACKING: [&str; 1] = ["text_carried"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Real,
    Recorded,
}

#[tokio::test]
async fn conversations_go_as_written_with_a_real_node() {
    all(Mode::Real).await;
}

#[tokio::test]
async fn conversations_go_as_written_with_a_recording() {
    all(Mode::Recorded).await;
}

async fn all(mode: Mode) {
    let folder = vectors().join("conversations");
    let paths = fs::read_dir(&folder).expect("there are conversations").map(|entry| entry.expect("a file").path());
    let wanted = std::env::var("VECTOR").unwrap_or_default();
    let paths: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().contains(&wanted)).collect();
    assert!(!paths.is_empty(), "no conversation is called so");
    let held = paths
        .iter()
        .map(|path| async move { hold(path, mode).await.err().map(|wrong| format!("{}: {wrong}", path.display())) });
    let wrong: Vec<String> = futures_util::stream::iter(held)
        .buffer_unordered(AT_A_TIME)
        .filter_map(|wrong| async { wrong })
        .collect()
        .await;
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/vectors")
}

fn conversation(name: &str) -> PathBuf {
    vectors().join(format!("conversations/{name}.json"))
}

fn recording(name: &str) -> PathBuf {
    vectors().join(format!("recorded/{name}.json"))
}

/// Goes through one conversation.
async fn hold(path: &Path, mode: Mode) -> Result<(), String> {
    hold_with(path, Stage::start(path, mode, None).await?).await
}

/// The same with a real node, which has to speak as in this recording.
async fn hold_like(path: &Path, like: &Path) -> Result<(), String> {
    hold_with(path, Stage::start(path, Mode::Real, Some(like)).await?).await
}

async fn hold_with(path: &Path, stage: Stage) -> Result<(), String> {
    let vector: Value = serde_json::from_str(&fs::read_to_string(path).expect("readable")).expect("JSON");
    let steps = vector["steps"].as_array().expect("steps");
    let keeps_entities =
        |name: &str| steps.iter().any(|step| step["client"] == name && OF_ENTITIES.contains(&text(step, "do")));
    let (mut clients, mut names) = (HashMap::new(), Names::default());
    for (number, step) in steps.iter().enumerate() {
        stage.step(number).await?;
        let Some(name) = step["client"].as_str() else { continue };
        if step.get("needs").is_some_and(|need| LACKING.contains(&need.as_str().unwrap_or_default())) {
            continue;
        }
        let failed = |why| format!("step {number} ({} of {name}): {why}", text(step, "do"));
        if step["do"] == "connect" {
            let client = match keeps_entities(name) {
                true => Client::Notebook(Notebook::connect(stage.options(name)).await.map_err(failed)?),
                false => Client::Room(Room::connect(stage.options(name), step).await.map_err(failed)?),
            };
            if let Some(Client::Room(before)) = clients.insert(name.to_owned(), client) {
                before.nothing_is_left().map_err(failed)?;
            }
            continue;
        }
        let client = clients.get_mut(name).expect("a client connects first");
        match client {
            Client::Room(room) => room.perform(step, &mut names).await,
            Client::Notebook(notebook) => notebook.perform(step, &mut names).await,
        }
        .map_err(failed)?;
    }
    for (name, client) in &clients {
        match client {
            Client::Room(room) => room.nothing_is_left(),
            Client::Notebook(notebook) => notebook.nothing_is_left().await,
        }
        .map_err(|left| format!("at the end {name} still has {left}"))?;
    }
    stage.end().await
}

/// One client of a conversation, in one of the halves that this crate has.
enum Client {
    Room(Room),
    Notebook(Notebook),
}

/// What the names of a conversation stand for.
#[derive(Clone, Default)]
struct Names(HashMap<String, Value>);

impl Names {
    /// Binds a step's `as`, if it has one.
    fn bind(&mut self, step: &Value, value: impl Into<Value>) {
        if let Some(name) = step["as"].as_str() {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    /// What a name stands for.
    fn get(&self, step: &Value, field: &str) -> Value {
        let name = text(step, field);
        self.0.get(name).cloned().unwrap_or_else(|| panic!("{name} stands for nothing"))
    }

    /// Whether a value is as expected; names in what is expected are bound, or have to stand for it.
    fn agree(&mut self, expected: &Value, actual: &Value) -> bool {
        match (expected, actual) {
            (Value::String(name), _) if name.starts_with('$') => {
                self.0.entry(name.clone()).or_insert_with(|| actual.clone()) == actual
            }
            (Value::Object(expected), Value::Object(actual)) => {
                expected.len() == actual.len()
                    && expected
                        .iter()
                        .all(|(name, part)| actual.get(name).is_some_and(|actual| self.agree(part, actual)))
            }
            (Value::Array(expected), Value::Array(actual)) => {
                expected.len() == actual.len()
                    && expected.iter().zip(actual).all(|(part, actual)| self.agree(part, actual))
            }
            (Value::Number(expected), Value::Number(actual)) => {
                expected == actual || expected.as_f64().is_some_and(|number| Some(number) == actual.as_f64())
            }
            _ => expected == actual,
        }
    }

    /// The same for those of some fields that a step has.
    fn agree_in(&mut self, step: &Value, fields: &[&str], actual: &Value) -> bool {
        fields.iter().all(|field| step.get(*field).is_none_or(|expected| self.agree(expected, &actual[*field])))
    }
}

fn text<'a>(step: &'a Value, field: &str) -> &'a str {
    step[field].as_str().unwrap_or_else(|| panic!("{field} in {step}"))
}

/// The fields of this name that a step has.
fn fields(step: &Value, names: &[&str]) -> Map<String, Value> {
    let had = names.iter().filter_map(|name| Some(((*name).to_owned(), step.get(*name)?.clone())));
    had.collect()
}

/// Looks again whenever something has moved, until it is as expected; then the names that were bound on the way hold.
async fn until(
    names: &mut Names,
    mut look: impl AsyncFnMut(&mut Names) -> (bool, Value),
    mut moved: impl AsyncFnMut(),
) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut tried = names.clone();
        let (is_so, there) = look(&mut tried).await;
        if is_so {
            *names = tried;
            return Ok(());
        }
        if timeout_at(deadline, moved()).await.is_err() {
            return Err(format!("there is {there}"));
        }
    }
}

/// A fate as the vectors have it: what a step says of it must be so.
fn is_fate(step: &Value, names: &mut Names, status: &str, answer: &Value) -> bool {
    let overwritten = answer["overwritten"]
        .as_array()
        .map(|list| list.iter().map(|one| json!({"path": one["path"], "value": one["value"]})).collect::<Value>());
    let shown = json!({"status": status, "code": answer["code"], "resolution": answer["resolution"],
        "duplicate": answer["duplicate"].as_bool().unwrap_or(false), "overwritten": overwritten});
    names.agree_in(step, &["status", "code", "resolution", "duplicate", "overwritten"], &shown)
}
