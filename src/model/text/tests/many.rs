//! Many people on one text: each queues edits while it is cut off, and one log takes them in whatever order they arrive.

use std::collections::{BTreeSet, VecDeque};

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::json;

use super::{Step, edit, edit_of, list, steps, text};
use crate::model::text::{Edit, MAX_PARTS, RebaseError, TextError, TextOps, rebase};

// --- A simulated log with its writers ---

#[derive(Clone, Debug)]
enum Action {
    /// Edits what it has before it; nobody hears of it yet.
    Edit(Vec<Step>),
    /// Its oldest edit that still waits comes through.
    Deliver,
    /// Takes the text of the log for its own, if none of its edits waits.
    CatchUp,
}

fn actions() -> impl Strategy<Value = Vec<(Index, Action)>> {
    let action =
        prop_oneof![4 => steps().prop_map(Action::Edit), 3 => Just(Action::Deliver), 1 => Just(Action::CatchUp)];
    vec((any::<Index>(), action), 0..30)
}

struct Writer {
    /// How many edits of the log it has seen.
    version: usize,
    text: String,
    waiting: VecDeque<TextOps>,
}

struct Logged {
    writer: usize,
    applied: TextOps,
    sent: TextOps,
}

/// Every code point that is ever inserted is a different one, so each can be found again.
struct World {
    text: String,
    log: Vec<Logged>,
    writers: Vec<Writer>,
    marks: u32,
    deleted: BTreeSet<char>,
}

fn mark(number: u32) -> char {
    char::from_u32(0x1_0000 + number).expect("beyond the surrogates")
}

impl World {
    fn new(writers: usize, length: u32) -> Self {
        let text: String = (0..length).map(mark).collect();
        let writer = |_| Writer { version: 0, text: text.clone(), waiting: VecDeque::new() };
        let writers = (0..writers).map(writer).collect();
        Self { text, log: Vec::new(), writers, marks: length, deleted: BTreeSet::new() }
    }

    fn run(&mut self, actions: &[(Index, Action)]) {
        for (writer, action) in actions {
            let writer = writer.index(self.writers.len());
            match action {
                Action::Edit(steps) => self.edit(writer, steps),
                Action::Deliver => self.deliver(writer),
                Action::CatchUp => self.catch_up(writer),
            }
        }
        while let Some(writer) = self.writers.iter().position(|writer| !writer.waiting.is_empty()) {
            self.deliver(writer);
        }
    }

    fn edit(&mut self, writer: usize, steps: &[Step]) {
        let marked: Vec<Step> = steps
            .iter()
            .map(|(kind, count, text)| {
                let first = self.marks;
                self.marks += text.chars().count() as u32;
                // What stands in a step that inserts nothing is never seen.
                self.deleted.extend((first..self.marks).map(mark).filter(|_| *kind != 0));
                (*kind, *count, (first..self.marks).map(mark).collect())
            })
            .collect();
        let writer = &mut self.writers[writer];
        let ops = edit_of(&writer.text, &marked);
        let after = ops.apply(&writer.text).expect("in range");
        self.deleted.extend(writer.text.chars().filter(|mark| !after.contains(*mark)));
        writer.text = after;
        writer.waiting.push_back(ops);
    }

    fn deliver(&mut self, writer: usize) {
        let Some(sent) = self.writers[writer].waiting.pop_front() else { return };
        let applied = rebase(&sent, &self.unseen_by(writer)).expect("each edit has its sent form");
        self.text = applied.apply(&self.text).expect("in range");
        self.log.push(Logged { writer, applied, sent });
    }

    fn catch_up(&mut self, writer: usize) {
        let writer = &mut self.writers[writer];
        if writer.waiting.is_empty() {
            writer.version = self.log.len();
            writer.text = self.text.clone();
        }
    }

    /// The text of a writer that is sent the log edit by edit and makes its waiting edits give way to each of others.
    fn seen_live_by(&self, number: usize) -> Result<String, TestCaseError> {
        let writer = &self.writers[number];
        let unseen = &self.log[writer.version..];
        let mut text = writer.text.clone();
        let mut waiting: VecDeque<TextOps> =
            unseen.iter().filter(|logged| logged.writer == number).map(|logged| logged.sent.clone()).collect();
        for logged in unseen {
            if logged.writer == number {
                prop_assert_eq!(waiting.pop_front(), Some(logged.applied.clone()));
                continue;
            }
            let mut others = logged.applied.clone();
            for own in &mut waiting {
                (others, *own) = TextOps::transform_pair(&others, own).expect("within limits");
            }
            text = others.apply(&text).expect("in range");
        }
        Ok(text)
    }

    fn unseen_by(&self, writer: usize) -> Vec<Edit> {
        let unseen = self.log[self.writers[writer].version..].iter();
        let edit = |logged: &Logged| match logged {
            Logged { applied, sent, .. } if logged.writer == writer => {
                Edit::Mine { applied: applied.clone(), sent: Some(sent.clone()) }
            }
            Logged { applied, .. } => Edit::Others(applied.clone()),
        };
        unseen.map(edit).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_the_order_nothing_is_lost_doubled_or_moved(
        writers in 1..5_usize, length in 0..12_u32, actions in actions(),
    ) {
        let mut world = World::new(writers, length);
        let start = world.text.clone();
        world.run(&actions);

        let replayed = world.log.iter().try_fold(start, |text, logged| logged.applied.apply(&text));
        prop_assert_eq!(replayed.as_ref(), Ok(&world.text));

        let mut found: Vec<char> = world.text.chars().collect();
        found.sort_unstable();
        let kept: Vec<char> = (0..world.marks).map(mark).filter(|mark| !world.deleted.contains(mark)).collect();
        prop_assert_eq!(found, kept);

        for (number, writer) in world.writers.iter().enumerate() {
            let order = |text: &str, other: &str| text.chars().filter(|mark| other.contains(*mark)).collect::<String>();
            prop_assert_eq!(order(&writer.text, &world.text), order(&world.text, &writer.text));
            prop_assert_eq!(world.seen_live_by(number)?, world.text.clone());
        }
    }

    #[test]
    fn what_reached_beyond_its_text_still_does_after_rebasing(
        base in text(0..12), others in vec(steps(), 0..4), ops in steps(), beyond in 0..6_usize,
    ) {
        let length = base.chars().count();
        let ops = edit(length + beyond, &ops);
        let mut now = base;
        let mut seen = Vec::new();
        for steps in others {
            let edit = edit_of(&now, &steps);
            now = edit.apply(&now).expect("in range");
            seen.push(Edit::Others(edit));
        }
        let rebased = rebase(&ops, &seen).expect("only others");
        prop_assert_eq!(rebased.apply(&now).is_ok(), ops.reach() <= length);
    }
}

// --- Single cases ---

fn mine(applied: serde_json::Value, sent: Option<serde_json::Value>) -> Edit {
    Edit::Mine { applied: list(applied), sent: sent.map(list) }
}

fn others(applied: serde_json::Value) -> Edit {
    Edit::Others(list(applied))
}

#[test]
fn two_edits_made_offline_come_out_as_they_were_meant() {
    // On "ab", somebody wrote "12" in front, while the sender wrote "X" and then "Y" at the end.
    let seen = [others(json!(["12"])), mine(json!([4, "X"]), Some(json!([2, "X"])))];
    assert_eq!(rebase(&list(json!([3, "Y"])), &seen), Ok(list(json!([5, "Y"]))));
}

#[test]
fn an_own_edit_needs_its_sent_form_only_behind_an_edit_of_others() {
    let second = list(json!([1, "b"]));
    assert_eq!(rebase(&second, &[]), Ok(second.clone()));
    assert_eq!(rebase(&second, &[mine(json!(["a"]), None)]), Ok(second.clone()));
    let idle = [others(json!([])), others(json!([7])), mine(json!(["a"]), None)];
    assert_eq!(rebase(&second, &idle), Ok(second.clone()));
    let behind = [others(json!(["x"])), mine(json!([1, "a"]), None)];
    assert_eq!(rebase(&second, &behind), Err(RebaseError::OwnEditUnknown));
}

#[test]
fn an_own_edit_that_was_sent_on_another_version_is_told_from_the_right_one() {
    let seen = [others(json!(["x"])), mine(json!([4, "a"]), Some(json!([2, "a"])))];
    assert_eq!(rebase(&list(json!(["b"])), &seen), Err(RebaseError::OwnEditDiffers));
}

#[test]
fn a_rebased_edit_keeps_the_limits_of_a_sent_one() {
    let every_other = (0..MAX_PARTS).map(|at| if at % 2 == 0 { json!(-2) } else { json!(2) });
    let ops: TextOps = list(every_other.collect());
    let within_each =
        (0..MAX_PARTS).map(|at| if at % 2 == 0 { json!(if at == 0 { 1 } else { 4 }) } else { json!("x") });
    let error = rebase(&ops, &[others(within_each.collect())]);
    assert!(matches!(error, Err(RebaseError::Text(TextError::TooManyParts { .. }))), "{error:?}");
}
