//! No silent loss: what somebody was told is there has to be there, until somebody replaces it who has seen it, or who is
//! told.
//!
//! It is known which fields an operation may write, which record did it, and which version its sender had named by then; so
//! each loss of a value, a mark in a text or an element of a list has to be explained by one of the operations since it was
//! last there. What this does not see:
//!
//! * the order of values inside one record of several operations: one of them has to explain the loss, whichever it was;
//! * what was written by an operation of which only a repeat's answer arrived, and whether the sender of such an operation
//!   was told what it wrote over: as much as it could have been told is believed;
//! * which field of a whole content (`data`, `put`, `create`, `resolve`) was meant: such an operation may explain the loss of
//!   any field, if its sender had seen it, or was told of that field;
//! * what a tombstone holds: it is judged when it is restored, and what is made anew in its place is another one;
//! * who saw what without ever naming the version: a sender counts as having seen less than it did, but one that names no
//!   version at all writes over what stands, as the protocol has it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    answer::{Answer, Fate},
    operation::{Operation, Sent, What},
    read::State,
};

/// Something that holds.
#[derive(Debug)]
struct Claim<'a> {
    what: &'a What,
    by: &'a Operation,
    version: u64,
    /// Who knows of it beside its maker, whatever it has named: who was told of it, or wrote it anew itself.
    known_to: Vec<&'a str>,
    /// What was done since it was last there.
    since: Vec<&'a Sent>,
    /// How often it was there then.
    count: usize,
}

/// Whether a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Yes,
    /// No, and rightly so.
    NoMore,
    /// No, and nobody may have changed that.
    Lost,
    /// Twice.
    Doubled,
}

pub fn nothing_is_lost_silently(states: &[State], sent: &BTreeMap<String, Sent>) {
    let mut claims: Vec<Claim<'_>> = Vec::new();
    let mut was_there = false;
    for state in states {
        let done: Vec<&Sent> = state.ops.iter().map(|op| &sent[op]).collect();
        // One that was asked for twice may have found nothing to delete, and have been kept for a choice later.
        if let ([alone], true, false) = (&done[..], was_there, state.is_there) {
            nobody_deletes_what_it_has_not_seen(alone, &claims);
        }
        claims.iter_mut().for_each(|claim| claim.since.extend(&done));
        for (index, sent) in done.iter().enumerate().filter(|(_, sent)| has_written(sent)) {
            let claim = |what| {
                let since = done[index + 1..].to_vec();
                Claim { what, by: &sent.operation, version: state.version, known_to: Vec::new(), since, count: 0 }
            };
            claims.extend(sent.operation.claims.iter().map(claim));
        }
        was_there = state.is_there;
        if state.is_there {
            claims.retain_mut(|claim| {
                let holds = claim.holds(state);
                assert_ne!(holds, Holds::Lost, "lost without a word: {}", claim.story(states, state, sent));
                assert_ne!(holds, Holds::Doubled, "done twice: {}", claim.story(states, state, sent));
                holds == Holds::Yes
            });
        }
    }
}

/// Whether it is known that an operation wrote what it was to write.
fn has_written(sent: &Sent) -> bool {
    sent.answers.iter().any(|answer| match answer.fate {
        Fate::Confirmed => !answer.is_repeat,
        Fate::Resolved => answer.data["resolution"] != "variant",
        Fate::Pending | Fate::RolledBack | Fate::SendAgain => false,
    })
}

/// A deletion under these strategies is rolled back or waits where others wrote what its sender has not seen.
fn nobody_deletes_what_it_has_not_seen(sent: &Sent, claims: &[Claim<'_>]) {
    let operation = &sent.operation;
    if operation.action != "delete" || operation.strategy == "last_write_wins" || operation.base.is_none() {
        return;
    }
    if !sent.answers.iter().any(|answer| answer.fate == Fate::Confirmed && !answer.is_repeat) {
        return; // it waits for somebody's choice, or nobody knows
    }
    let is_value = |claim: &&Claim<'_>| matches!(claim.what, What::Value(_, value) if !value.is_null());
    for claim in claims.iter().filter(is_value) {
        let is_seen = claim.version <= operation.seen || claim.by.replica == operation.replica;
        assert!(is_seen, "deleted unseen: {claim:?} by {sent:?}");
    }
}

impl Claim<'_> {
    fn holds(&mut self, state: &State) -> Holds {
        let count = self.count_in(&state.data);
        if self.is_of_one_made_anew() {
            return Holds::NoMore;
        }
        if count == 0 {
            let is_released = self.since.iter().any(|sent| self.is_released_by(sent));
            return if is_released { Holds::NoMore } else { Holds::Lost };
        }
        // An insertion that both sides of a merge of whole texts have can stand there twice.
        let edits_alone = self.since.iter().all(|sent| sent.operation.is_edit || !sent.operation.touches(self.path()));
        if edits_alone && self.path() != "/body" && count > self.count.max(1) {
            return Holds::Doubled;
        }
        self.count = count;
        for sent in self.since.drain(..).collect::<Vec<_>>() {
            if self.is_told_to(sent) {
                self.known_to.push(&sent.operation.replica);
            }
        }
        Holds::Yes
    }

    /// What happened to its field since it was promised, for whoever has to find out why.
    fn story(&self, states: &[State], end: &State, sent: &BTreeMap<String, Sent>) -> String {
        let mut story = format!("{:?} of {}\n", self.what, self.by.message);
        for state in states.iter().filter(|state| (self.version..=end.version).contains(&state.version)) {
            let value = state.data.pointer(self.path());
            story += &format!("{} there: {}, {value:?}\n", state.version, state.is_there);
            for Sent { operation, answers, .. } in state.ops.iter().map(|op| &sent[op]) {
                let said: Vec<_> = answers.iter().map(|answer| answer.data.to_string()).collect();
                story +=
                    &format!("   seen {}: {}\n      {}\n", operation.seen, operation.message, said.join("\n      "));
            }
        }
        story
    }

    /// It was deleted, and another one was made in its place: everybody was told both.
    fn is_of_one_made_anew(&self) -> bool {
        let action = |sent: &&Sent, of: [&str; 2]| of.contains(&sent.operation.action);
        let deleted = self.since.iter().position(|sent| action(sent, ["delete", "resolve"]));
        deleted.is_some_and(|at| self.since[at..].iter().any(|sent| action(sent, ["create", "put"])))
    }

    fn path(&self) -> &str {
        match self.what {
            What::Value(path, _) | What::Mark(path, _) | What::Element(path, _) => path,
        }
    }

    /// How often it is there.
    fn count_in(&self, data: &Value) -> usize {
        let at = data.pointer(self.path());
        match self.what {
            What::Value(_, value) => usize::from(at.unwrap_or(&Value::Null) == value),
            What::Mark(_, mark) => at.and_then(Value::as_str).map_or(0, |text| text.matches(*mark).count()),
            What::Element(_, element) => {
                at.and_then(Value::as_array).map_or(0, |list| list.iter().filter(|one| *one == element).count())
            }
        }
    }

    fn is_released_by(&self, sent: &Sent) -> bool {
        let operation = &sent.operation;
        let is_known = operation.replica == self.by.replica || self.known_to.contains(&&*operation.replica);
        let first = sent.answers.iter().find(|answer| answer.says_done());
        let is_unknown = first.is_some_and(|answer| answer.is_repeat);
        let touches = operation.touches(self.path());
        touches && (is_known || is_unknown || operation.seen >= self.version || operation.is_blind())
            || self.is_told_to(sent)
    }

    /// Whether an operation's sender was told that it writes over this, or asked for no more than to write over whatever
    /// stands: from then on it stands there in its own name, even if it wrote the same.
    fn is_told_to(&self, sent: &Sent) -> bool {
        let operation = &sent.operation;
        let is_told = sent.answers.iter().flat_map(Answer::told).any(|path| overlap(path, self.path()));
        let is_whole = match self.what {
            What::Value(..) => true,
            What::Mark(..) => !operation.is_edit,
            What::Element(..) => operation.message.get("ops").is_none(),
        };
        operation.touches(self.path()) && (is_told || is_whole && operation.is_blind())
    }
}

impl Operation {
    /// Whether it writes over what stands, whatever that is.
    fn is_blind(&self) -> bool {
        self.base.is_none() && self.action != "create"
    }

    fn touches(&self, path: &str) -> bool {
        self.touches.iter().any(|touched| overlap(touched, path))
    }
}

fn overlap(one: &str, other: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(one, other) || within(other, one)
}
