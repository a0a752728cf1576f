//! Random operations, made by somebody who has seen a part of the log.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::{KIND, answer::Answer};
use crate::support::new_id;

/// An operation, and what it means.
#[derive(Clone, Debug)]
pub struct Operation {
    pub id: String,
    pub replica: String,
    pub number: u64,
    pub entity: &'static str,
    pub action: &'static str,
    pub strategy: &'static str,
    /// The version that it names.
    pub base: Option<u64>,
    /// The latest version that its sender has named so far.
    pub seen: u64,
    /// The fields that it may write; an empty one is the whole.
    pub touches: Vec<String>,
    /// What is there once it is done.
    pub claims: Vec<What>,
    /// Whether it is an edit of a text as such.
    pub is_edit: bool,
    /// The conflict that it settles.
    pub settles: Option<String>,
    /// As it is sent.
    pub message: Value,
}

/// Something that stands in an entity.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// This value at the path; `null`: nothing.
    Value(String, Value),
    /// This mark in the text at the path.
    Mark(String, char),
    /// This element in the list at the path.
    Element(String, Value),
}

/// An operation with its answers.
#[derive(Clone, Debug)]
pub struct Sent {
    pub operation: Operation,
    /// In the order in which they came.
    pub answers: Vec<Answer>,
    /// How often it was sent before it was answered: more than once, and copies of it may have raced.
    pub copies: u32,
}

impl Sent {
    pub fn is_answered(&self) -> bool {
        self.answers.iter().any(Answer::is_final)
    }
}

/// What somebody knows of an entity.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The versions that it was shown, `None` for one that is deleted.
    pub history: Vec<(u64, Option<Value>)>,
    /// The latest version that it has named.
    pub named: u64,
    /// Its edits of texts that are not answered.
    pub edits: usize,
    /// The latest version that one of them made.
    pub edited: u64,
    /// While it is away: its own text, and the version that it was made of.
    pub own: Option<(u64, String)>,
}

/// Whether the sender is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Node,
    /// Nothing is sent or heard until it is back.
    Away,
}

/// What an operation changes.
struct Change {
    action: &'static str,
    fields: Value,
    touches: Vec<String>,
    claims: Vec<What>,
    is_edit: bool,
    settles: Option<String>,
}

impl Change {
    fn new(action: &'static str, fields: Value, touches: &[&str], claims: Vec<What>) -> Self {
        let touches = touches.iter().map(|path| (*path).to_owned()).collect();
        Self { action, fields, touches, claims, is_edit: false, settles: None }
    }
}

/// Makes one operation. `count` is its own number among all.
pub struct Maker<'a> {
    pub random: &'a mut Rng,
    pub view: &'a mut View,
    pub entity: &'static str,
    pub replica: &'a str,
    pub number: u64,
    pub count: u32,
    pub at: At,
    /// A conflict or variant of this entity that was heard of.
    pub open: Option<String>,
}

impl Maker<'_> {
    /// Whatever chance wants.
    pub fn make(mut self) -> Operation {
        let (base, content) = self.base();
        let strategies = ["merge", "merge", "merge", "last_write_wins", "last_write_wins", "version", "manual"];
        let mut strategy = strategies[self.random.usize(0..strategies.len())];
        let change = match self.random.u8(0..100) {
            0..26 => self.merge(),
            26..42 => self.patch(content.as_ref()),
            42..62 => match self.edit(base, content.as_ref()) {
                Some(change) => {
                    if self.at == At::Away {
                        // What is made on top of it needs it to be done.
                        strategy = "merge";
                    }
                    change
                }
                None => self.merge(),
            },
            62..70 => match content {
                Some(content) => self.replace("update", content),
                None => self.merge(),
            },
            70..75 => self.put(content),
            75..80 => self.create(),
            80..84 => Change::new("delete", json!({}), &[], Vec::new()),
            84..90 => Change::new("restore", json!({}), &[], Vec::new()),
            _ => match self.open.take() {
                Some(id) => self.resolve(id),
                None => self.merge(),
            },
        };
        self.finish(change, strategy, base)
    }

    /// Makes the entity.
    pub fn make_first(mut self) -> Operation {
        let change = self.create();
        self.finish(change, "merge", None)
    }

    fn finish(self, change: Change, strategy: &'static str, base: Option<u64>) -> Operation {
        let Change { action, fields, touches, claims, is_edit, settles } = change;
        let id = new_id();
        self.view.named = self.view.named.max(base.unwrap_or_default());
        self.view.edits += usize::from(is_edit);
        let mut message = json!({"op_id": id, "op_number": self.number, "replica_id": self.replica, "entity_type": KIND,
            "entity_id": self.entity, "action": action, "strategy": strategy});
        let members = message.as_object_mut().expect("an object");
        members.extend(fields.as_object().expect("fields").clone());
        if let Some(base) = base {
            members.insert("base_version".to_owned(), json!(base));
        }
        Operation {
            id,
            replica: self.replica.to_owned(),
            number: self.number,
            entity: self.entity,
            action,
            strategy,
            base,
            seen: self.view.named,
            touches,
            claims,
            is_edit,
            settles,
            message,
        }
    }

    /// The version to name, and what stood there: the latest one mostly, an older one, or none.
    fn base(&mut self) -> (Option<u64>, Option<Value>) {
        let history = &self.view.history;
        let latest = history.last().cloned();
        match (self.random.u8(0..10), latest) {
            (_, None) => (None, None),
            (0..2, Some((_, content))) => (None, content),
            (2..5, Some(_)) => {
                let back = self.random.usize(0..history.len().min(6));
                let (version, content) = history[history.len() - 1 - back].clone();
                (Some(version), content)
            }
            (_, Some((version, content))) => (Some(version), content),
        }
    }

    fn field(&mut self) -> &'static str {
        ["/n0", "/n1", "/n2", "/o/x", "/o/y", "/o/z"][self.random.usize(0..6)]
    }

    fn merge(&mut self) -> Change {
        let (one, other) = (self.field(), self.field());
        let mut patch = json!({});
        let value = if self.random.u8(0..10) == 0 { Value::Null } else { json!(self.count) };
        set(&mut patch, one, value.clone());
        if other == one || self.random.bool() {
            return Change::new("update", json!({"patch": patch}), &[one], vec![What::Value(one.to_owned(), value)]);
        }
        set(&mut patch, other, json!(self.count));
        let claims = vec![What::Value(one.to_owned(), value), What::Value(other.to_owned(), json!(self.count))];
        Change::new("update", json!({"patch": patch}), &[one, other], claims)
    }

    fn patch(&mut self, content: Option<&Value>) -> Change {
        let value = json!(self.count);
        let (path, claims, added) = match self.random.u8(0..8) {
            0..3 => ("/list/0", vec![What::Element("/list".to_owned(), value.clone())], value),
            3 => ("/o", vec![What::Value("/o/z".to_owned(), value.clone())], json!({"z": value})),
            _ => {
                let field = self.field();
                (field, vec![What::Value(field.to_owned(), value.clone())], value)
            }
        };
        let mut ops = vec![json!({"op": "add", "path": path, "value": added})];
        if let (0..3, Some(stood)) = (self.random.u8(0..8), content.and_then(|content| content.pointer("/n0"))) {
            ops.insert(0, json!({"op": "test", "path": "/n0", "value": stood}));
        }
        let touched = if path == "/list/0" { "/list" } else { path };
        Change::new("update", json!({"ops": ops}), &[touched], claims)
    }

    /// An edit of a text that its sender really has before its eyes; `None`: it has none now.
    fn edit(&mut self, base: Option<u64>, content: Option<&Value>) -> Option<Change> {
        let mark = self.mark();
        let own = self.view.own.clone().filter(|(made_of, _)| Some(*made_of) == base);
        let is_first = self.view.edits == 0;
        if !is_first && (self.at == At::Node || own.is_none()) {
            return None;
        }
        if let Some(base) = base.filter(|base| *base < self.view.edited) {
            let _ = base; // its own last edit is not in what it would stand on
            return None;
        }
        if is_first && self.random.u8(0..4) == 0 {
            return self.whole_text(base?, content?, mark);
        }
        let ops = match base {
            // It need not know what stands to put something before it.
            None => json!([mark]),
            Some(base) => {
                let text = match own {
                    Some((_, text)) => text,
                    None => content?["log"].as_str()?.to_owned(),
                };
                self.edit_of(base, &text, mark)
            }
        };
        let mut change = Change::new(
            "update",
            json!({"text": {"path": "/log", "ops": ops}}),
            &["/log"],
            vec![What::Mark("/log".to_owned(), mark)],
        );
        change.is_edit = true;
        Some(change)
    }

    fn edit_of(&mut self, base: u64, text: &str, mark: char) -> Value {
        let characters: Vec<char> = text.chars().collect();
        let at = self.random.usize(0..=characters.len());
        let mut ops = vec![json!(mark)];
        if at > 0 {
            ops.insert(0, json!(at));
        }
        if self.at == At::Node && at < characters.len() && self.random.u8(0..3) == 0 {
            ops.push(json!(-1));
        }
        if self.at == At::Away {
            let (before, behind) = characters.split_at(at);
            self.view.own = Some((base, before.iter().chain([&mark]).chain(behind).collect()));
        }
        ops.into()
    }

    fn whole_text(&mut self, base: u64, content: &Value, mark: char) -> Option<Change> {
        let text = format!("{}{mark}", content["body"].as_str()?);
        let fields = json!({"text": {"path": "/body", "value": text}});
        let mut change = Change::new("update", fields, &["/body"], vec![What::Mark("/body".to_owned(), mark)]);
        change.is_edit = true;
        let _ = base; // only to have one: blindly the whole text would be somebody else's
        Some(change)
    }

    fn mark(&self) -> char {
        char::from_u32(0x4E00 + self.count).expect("so many ideographs")
    }

    /// The content that it has seen, with one field changed.
    fn replace(&mut self, action: &'static str, mut content: Value) -> Change {
        let field = self.field();
        set(&mut content, field, json!(self.count));
        let claims = vec![What::Value(field.to_owned(), json!(self.count))];
        Change::new(action, json!({"data": content}), &[""], claims)
    }

    fn put(&mut self, content: Option<Value>) -> Change {
        match content {
            Some(content) if self.random.bool() => self.replace("put", content),
            _ => Change { action: "put", touches: vec![String::new()], ..self.merge() },
        }
    }

    fn create(&mut self) -> Change {
        let value = json!(self.count);
        let content = json!({"n0": value, "o": {"x": value}, "list": [], "log": "", "body": ""});
        let claims = vec![What::Value("/n0".to_owned(), value.clone()), What::Value("/o/x".to_owned(), value)];
        Change::new("create", json!({"data": content}), &[""], claims)
    }

    fn resolve(&mut self, id: String) -> Change {
        let field = self.field();
        let mut merged = json!({});
        set(&mut merged, field, json!(self.count));
        let (choice, claims) = match self.random.u8(0..3) {
            0 => (json!({"choice": "current"}), Vec::new()),
            1 => (json!({"choice": "proposed"}), Vec::new()),
            _ => (json!({"choice": "merged", "data": merged}), vec![What::Value(field.to_owned(), json!(self.count))]),
        };
        let mut fields = json!({"conflict_id": id});
        fields.as_object_mut().expect("an object").extend(choice.as_object().expect("an object").clone());
        Change { settles: Some(id), ..Change::new("resolve", fields, &[""], claims) }
    }
}

/// Writes a field of one or two levels.
fn set(content: &mut Value, path: &str, value: Value) {
    let mut place = content;
    for key in path[1..].split('/') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = place.as_object_mut().expect("made one just now").entry(key).or_insert(Value::Null);
    }
    *place = value;
}
