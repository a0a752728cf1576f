//! A simulated room: replicas that see the log late, nodes that race for it, a network that delays, repeats and reorders,
//! and crashes between an append and its answer.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{super::*, ledger::Ledger, support::*};
use crate::model::text::TextOps;

/// One thing that happens; the numbers choose among what is possible then.
#[derive(Clone, Debug)]
pub enum Event {
    /// A replica sends an operation.
    Send { replica: u8, kind: u8, pick: u8, strategy: Strategy },
    /// A node takes some of what is under way and decides it, as one record.
    Decide { node: u8, picks: Vec<u8>, fault: Fault },
    /// A replica learns of some of what it has not seen.
    See { replica: u8, records: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// What was taken arrives once more, later.
    Twice,
    /// The node dies after the append, before it answers.
    Crash,
}

/// An operation that was applied, as a step from one state to the next.
pub struct Step {
    pub operation: Operation,
    pub outcome: Outcome,
    pub before: Entity,
    pub after: Entity,
}

struct Record {
    delta: Delta,
    deleted: bool,
}

#[derive(Default)]
struct Replica {
    /// Everything up to this version was seen.
    seen: Position,
    /// Its own text, while it is known: that at its base, with its own edits.
    text: Option<String>,
    /// Its text edits whose fate it does not know.
    edits_open: usize,
    /// The latest version that it was told of for one of its text edits.
    edited: Position,
    numbers: Option<u64>,
}

#[derive(Default)]
pub struct World {
    pub log: Log,
    records: Vec<Record>,
    pub ledger: Ledger,
    replicas: Vec<Replica>,
    /// How many records each node knows.
    nodes: Vec<usize>,
    under_way: Vec<Operation>,
    sent: u32,
    /// Of every operation: how often it was applied, and the answers that its sender got.
    pub fates: HashMap<OpId, (usize, Vec<Outcome>)>,
}

impl World {
    pub fn new() -> Self {
        let replica = |index| Replica { numbers: (index % 2 == 0).then_some(0), ..Replica::default() };
        let mut world = Self { replicas: (0..4).map(replica).collect(), nodes: vec![0; 3], ..Self::default() };
        let start = json!({ "n0": 0, "n1": 1, "o": { "x": 0, "y": 1 }, "list": [], "body": "start" });
        world.under_way.push(by("maker").create(start));
        world.decide(0, &[0], Fault::None);
        world
    }

    pub fn happen(&mut self, event: &Event) {
        match event {
            Event::Send { replica, kind, pick, strategy } => self.send(*replica as usize % 4, *kind, *pick, *strategy),
            Event::Decide { node, picks, fault } => self.decide(*node as usize % 3, picks, *fault),
            Event::See { replica, records } => self.see(*replica as usize % 4, *records as usize),
        }
    }

    /// Delivers what is left.
    pub fn settle(&mut self) {
        while !self.under_way.is_empty() {
            self.decide(0, &[0], Fault::None);
        }
    }

    fn see(&mut self, index: usize, records: usize) {
        let replica = &mut self.replicas[index];
        let later = self.log.states.iter().filter(|state| state.version > replica.seen);
        let Some(state) = later.take(records % 5 + 1).last() else { return };
        // Between its own edits it has no text to stand on: it waits for all of them.
        if replica.edits_open > 0 || state.version < replica.edited {
            return;
        }
        replica.seen = state.version;
        replica.text = state.data["body"].as_str().map(str::to_owned);
    }

    fn send(&mut self, index: usize, kind: u8, pick: u8, strategy: Strategy) {
        self.sent += 1;
        let mark = char::from_u32(0x4E00 + self.sent).expect("a character");
        let replica = &mut self.replicas[index];
        let seen = self.log.states.iter().rev().find(|state| state.version <= replica.seen);
        let seen = seen.cloned().unwrap_or_else(Entity::none);
        let mut ask = by(&format!("r{index}")).id(self.sent.into()).with(strategy);
        if !pick.is_multiple_of(16) {
            ask = ask.on(replica.seen.0);
        }
        if let Some(number) = &mut replica.numbers {
            *number += 1;
            ask = ask.number(*number);
        }
        let is_text = matches!(kind % 16, 8..=10);
        let operation = match (kind % 16, is_text.then(|| replica.text.clone()).flatten()) {
            (8..=10, None) => return,
            (8..=10, Some(_)) if pick.is_multiple_of(16) => return, // its text is that of its base
            (8 | 9, Some(text)) => edit(replica, ask, &text, mark, pick),
            (10, Some(text)) if replica.edits_open == 0 => {
                replica.edits_open += 1;
                let text = format!("{text}{mark}");
                replica.text = Some(text.clone());
                ask.whole("/body", &text)
            }
            (10, Some(_)) => return,
            (kind, _) => other(&seen, ask, kind, pick, mark),
        };
        self.under_way.push(operation);
    }

    /// A node decides some operations on the head that it knows, and appends them as one record if that was the head.
    fn decide(&mut self, node: usize, picks: &[u8], fault: Fault) {
        let taken: Vec<Operation> = picks.iter().filter_map(|pick| self.take(*pick)).collect();
        if taken.is_empty() {
            return;
        }
        let known = self.nodes[node];
        let mut steps = self.steps(known, &taken);
        if known != self.log.states.len() {
            // Refused: it had expected another version. It reads the head and begins anew.
            steps = self.steps(self.log.states.len(), &taken);
        }
        let (steps, answers, texts) = steps.expect("nobody has seen more than the head");
        if let Some(last) = steps.last() {
            self.append(&last.after.clone(), &steps, &texts);
        }
        self.nodes[node] = self.log.states.len();
        if fault != Fault::None {
            self.under_way.extend(taken.iter().cloned());
        }
        if fault != Fault::Crash {
            for (operation, outcome) in taken.into_iter().zip(answers) {
                self.answer(&operation, outcome);
            }
        }
    }

    /// What arrives next. A replica's operations come in order, but what was applied may come again at any time.
    fn take(&mut self, pick: u8) -> Option<Operation> {
        let picked = &self.under_way.get(pick as usize % self.under_way.len().max(1))?;
        let is_new = |operation: &&Operation| !self.fates.contains_key(&operation.id);
        let replica = picked.replica.clone();
        let first = self.under_way.iter().filter(is_new).filter(|operation| operation.replica == replica);
        let first = first.min_by_key(|operation| operation.id.0).filter(|_| is_new(picked)).map(|first| first.id);
        let id = first.unwrap_or(picked.id);
        let index = self.under_way.iter().position(|operation| operation.id == id)?;
        let operation = self.under_way.swap_remove(index);
        let is_refused = self.fates.get(&id).is_some_and(|(applied, _)| *applied == 0);
        // Nobody repeats what was answered; that something applied nevertheless comes twice is the network's doing.
        (!is_refused).then_some(operation)
    }

    /// `None`: somebody has seen more than the head that is known there.
    #[allow(clippy::type_complexity)]
    fn steps(&self, known: usize, taken: &[Operation]) -> Option<(Vec<Step>, Vec<Outcome>, Vec<(String, TextOps)>)> {
        let mut head = self.log.states[..known].last().cloned().unwrap_or_else(Entity::none);
        let (mut steps, mut answers, mut edits) = (Vec::new(), Vec::new(), Vec::new());
        for operation in taken {
            let decision = self.log.decide(&head, operation);
            assert_eq!(decision, self.log.decide(&head, operation), "the same is decided the same");
            match decision {
                Decision::Append { next, outcome, texts } => {
                    let before = std::mem::replace(&mut head, *next);
                    let after = head.clone();
                    steps.push(Step { operation: operation.clone(), outcome: outcome.clone(), before, after });
                    answers.push(outcome);
                    edits.extend(texts);
                }
                Decision::Answer(outcome) => answers.push(outcome),
                Decision::Ahead => return None,
                Decision::NeedsBase => panic!("the log gives what it holds"),
            }
        }
        Some((steps, answers, edits))
    }

    fn append(&mut self, next: &Entity, steps: &[Step], texts: &[(String, TextOps)]) {
        let old = self.log.head();
        let delta = Delta::between(old.was_made().then_some(&old.data), &next.data, texts);
        self.records.push(Record { delta, deleted: next.state.deleted });
        let position = self.log.append(next);
        for step in steps {
            self.fates.entry(step.operation.id).or_default().0 += 1;
            self.ledger.step(step, position);
        }
    }

    fn answer(&mut self, operation: &Operation, outcome: Outcome) {
        let (_, answers) = self.fates.entry(operation.id).or_default();
        answers.push(outcome.clone());
        let is_first = answers.len() == 1;
        let index = operation.replica.0.strip_prefix('r').and_then(|index| index.parse::<usize>().ok());
        let (Some(index), Action::Update(Change::Text(_))) = (index, &operation.action) else { return };
        let replica = &mut self.replicas[index];
        if is_first {
            replica.edits_open -= 1;
        }
        match outcome {
            Outcome::Confirmed(_) | Outcome::Resolved { how: Settled::Merged, .. } | Outcome::Repeat(_) => {
                replica.edited = self.log.head().version.max(replica.edited);
            }
            // What it shows is not what is there: it starts again from what it sees next.
            _ => replica.text = None,
        }
    }

    /// What somebody has who took the state after some records, and then records from an earlier one on.
    pub fn replayed(&self, snapshot: usize, from: usize) -> (Value, bool) {
        let state = &self.log.states[snapshot];
        let (mut data, mut deleted, mut version) = (Value::clone(&state.data), state.state.deleted, state.version);
        for (record, state) in self.records.iter().zip(&self.log.states).skip(from) {
            if state.version > version {
                data = record.delta.apply(&data).expect("made for it");
                (deleted, version) = (record.deleted, state.version);
            }
        }
        (data, deleted)
    }
}

fn edit(replica: &mut Replica, ask: Ask, text: &str, mark: char, pick: u8) -> Operation {
    let length = text.chars().count();
    let at = pick as usize % (length + 1);
    let mut ops = vec![json!(at), json!(mark.to_string())];
    // Taking away is only safe for who knows exactly what stands there.
    if replica.edits_open == 0 && pick.is_multiple_of(3) && at < length {
        ops.push(json!(-1));
    }
    let ops: TextOps = text_ops(ops.into_iter().filter(|part| *part != json!(0)).collect());
    replica.text = Some(ops.apply(text).expect("made for it"));
    replica.edits_open += 1;
    let edit = TextEdit::Ops(ops);
    ask.act(Action::Update(Change::Text(TextChange { path: "/body".to_owned(), edit })))
}

/// All but edits of the text, made by somebody who sees this.
fn other(seen: &Entity, ask: Ask, kind: u8, pick: u8, mark: char) -> Operation {
    let value = u32::from(mark);
    let field = ["n0", "n1", "n2", "o"][pick as usize % 4];
    let inner = ["x", "y", "z"][pick as usize % 3];
    let open = seen.state.open.get(pick as usize % seen.state.open.len().max(1));
    match kind {
        0 => ask.merge(json!({ field: value })),
        1 => ask.merge(json!({ "o": { inner: value } })),
        2 => ask.merge(json!({ field: null, "n3": value })),
        3 => ask.patch(json!([{ "op": "add", "path": "/list/0", "value": value }])),
        4 => ask.patch(json!([{ "op": "add", "path": format!("/{field}"), "value": value }])),
        5 => ask.patch(json!([{ "op": "move", "from": format!("/o/{inner}"), "path": "/n4" }])),
        6 | 7 => {
            let mut content = if seen.was_made() { Value::clone(&seen.data) } else { json!({}) };
            content[field] = json!(value);
            ask.replace(content)
        }
        11 => ask.merge(json!({ "body": format!("{}{mark}", seen.data["body"].as_str().unwrap_or_default()) })),
        12 => ask.create(json!({ "n0": value, "o": { inner: value }, "body": mark.to_string() })),
        13 if pick.is_multiple_of(2) => ask.delete(),
        13 => ask.restore(),
        _ => match open {
            None => ask.merge(json!({ "o": {}, "n0": value })),
            Some(open) => {
                let choice = match pick % 3 {
                    0 => Choice::Current,
                    1 => Choice::Proposed,
                    _ => Choice::Merged(json!({ field: value })),
                };
                ask.resolve(open.id.as_u128(), choice)
            }
        },
    }
}
