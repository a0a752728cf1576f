//! Everything that is promised, held against what several ways of reading show.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use serde_json::{Value, json};

use super::{
    answer::{Answer, Fate},
    claims,
    operation::Sent,
    read::{self, History, Snapshot, State},
};

pub async fn everything(sent: &BTreeMap<String, Sent>, snapshots: &[Snapshot], nodes: &[SocketAddr]) {
    let log = read::log(nodes[0]).await;
    let history = read::replay(nodes[0], &log).await;
    for (index, node) in nodes.iter().enumerate() {
        assert!(index == 0 || read::log(*node).await == log, "the log is the same on every node");
        the_state_is_the_replay(&history, *node, index).await;
    }
    assert!(!snapshots.is_empty(), "some were taken in the middle");
    for snapshot in snapshots {
        a_snapshot_and_its_tail_make_the_state(snapshot, &history);
    }
    let places = places(sent, &history);
    for (id, sent) in sent {
        what_was_answered_is_so(sent, places.get(&**id).copied(), &history);
    }
    let open = read::open(nodes[0]).await;
    what_waits_lies_open(sent, &places, &open);
    for states in history.values() {
        claims::nothing_is_lost_silently(states, sent);
    }
    report(sent, &history, open.len());
}

/// So that whoever reads the output sees that things of every kind happened.
fn report(sent: &BTreeMap<String, Sent>, history: &History, open: usize) {
    let mut fates: BTreeMap<String, usize> = BTreeMap::new();
    for answer in sent.values().flat_map(|sent| &sent.answers) {
        let repeat = if answer.is_repeat { " again" } else { "" };
        let what = ["code", "resolution"].iter().find_map(|name| answer.data[*name].as_str()).unwrap_or_default();
        *fates.entry(format!("{:?}{repeat} {what}", answer.fate)).or_default() += 1;
    }
    let records: usize = history.values().map(Vec::len).sum();
    let several = history.values().flatten().filter(|state| state.ops.len() > 1).count();
    println!("{} operations, {records} records, {several} of several, {open} open: {fates:?}", sent.len());
}

async fn the_state_is_the_replay(history: &History, node: SocketAddr, index: usize) {
    let there = |(id, states): (&String, &Vec<State>)| {
        let last = states.last().expect("it was made");
        last.is_there.then(|| (id.clone(), (last.version, last.data.clone())))
    };
    let state: BTreeMap<_, _> = history.iter().filter_map(there).collect();
    for (id, states) in history {
        let last = states.last().expect("it was made");
        let shown = read::entity(node, id).await;
        assert_eq!(shown, (last.version, last.is_there.then(|| last.data.clone())), "{id} on node {index}");
    }
    // A socket has no tail to make up for what lies behind.
    assert_eq!(read::graph_sync(node, &format!("asker-{index}")).await, state, "the state from node {index}");
    let paged = read::try_snapshot(&[node], 1).await.expect("nothing is broken any more");
    a_snapshot_and_its_tail_make_the_state(&paged, history);
    let last = history.values().flatten().map(|state| state.version).max();
    read::until_pages_reach(node, last.unwrap_or_default()).await;
    let paged = read::try_snapshot(&[node], 1).await.expect("nothing is broken any more");
    assert_eq!(paged.entities, state, "the pages of node {index}");
    let replayed = read::newcomer(node, &format!("newcomer-{index}")).await;
    for (id, states) in history {
        let same = states
            .iter()
            .zip(&replayed[id])
            .all(|(one, other)| (one.version, one.is_there, &one.data) == (other.version, other.is_there, &other.data));
        assert!(same && states.len() == replayed[id].len(), "{id} replayed from node {index}");
    }
}

/// With the tail from its position on, and from far before it: what is in it already comes again.
fn a_snapshot_and_its_tail_make_the_state(snapshot: &Snapshot, history: &History) {
    for from in [snapshot.position, snapshot.position / 2, 0] {
        for (id, states) in history {
            let mut known = snapshot.entities.get(id).map(|(version, data)| (*version, Some(data.clone())));
            for state in states.iter().filter(|state| state.version > from) {
                if known.as_ref().is_none_or(|(version, _)| *version < state.version) {
                    known = Some((state.version, state.is_there.then(|| state.data.clone())));
                }
            }
            let last = states.last().expect("it was made");
            let data = last.is_there.then(|| last.data.clone());
            // What was deleted before is in no page.
            let known = known.and_then(|(_, data)| data);
            assert_eq!(known, data, "{id}: a snapshot at {} with the tail after {from}", snapshot.position);
        }
    }
}

/// Where each operation is in the log: at most once.
fn places<'a>(sent: &BTreeMap<String, Sent>, history: &'a History) -> HashMap<&'a str, (&'a str, usize)> {
    let mut places = HashMap::new();
    for (id, states) in history {
        for (index, state) in states.iter().enumerate() {
            for op in &state.ops {
                let sent = sent.get(op).unwrap_or_else(|| panic!("nobody sent {op} of {id}"));
                assert_eq!(sent.operation.entity, id);
                let earlier = places.insert(&**op, (&**id, index));
                assert_eq!(earlier, None, "done twice: {sent:?}");
            }
        }
    }
    places
}

fn what_was_answered_is_so(sent: &Sent, place: Option<(&str, usize)>, history: &History) {
    let operation = &sent.operation;
    let states = history.get(operation.entity).map_or(&[][..], Vec::as_slice);
    let at = |version: u64| states.iter().position(|state| state.version == version);
    let finals: Vec<&Answer> = sent.answers.iter().filter(|answer| answer.is_final()).collect();
    assert!(!finals.is_empty(), "each was repeated until it was answered: {sent:?}");
    for answer in &finals {
        let index = at(answer.version);
        assert!(index.is_some() || answer.version == 0, "a version of something else: {answer:?} to {operation:?}");
        what_it_shows_stands_there(answer, index.map(|index| &states[index]), states);
        if answer.fate == Fate::RolledBack {
            let code = answer.data["code"].as_str().expect("a code");
            assert!(!["version_ahead", "base_gone", "too_large"].contains(&code), "{answer:?} to {operation:?}");
            continue;
        }
        match place {
            None => assert!(nothing_was_to_do(sent, answer, index.map(|index| &states[index])), "lost: {sent:?}"),
            Some((_, place)) if answer.is_repeat => {
                assert!(answer.version >= states[place].version, "{sent:?} stands at {}", states[place].version);
            }
            // A copy may have found that nothing was to do, and another one that there was.
            Some((_, place)) => assert!(
                answer.version == states[place].version || nothing_was_to_do(sent, answer, index.map(|i| &states[i])),
                "{sent:?} stands at {}",
                states[place].version
            ),
        }
        if let Some((_, place)) = place.filter(|_| !answer.is_repeat) {
            what_it_wrote_over_stood_there(answer, place, states);
        }
    }
    what_was_rolled_back_is_not_done(sent, place.map(|(_, place)| &states[place]), &finals);
}

/// With one exception: a copy that was sent to another node before, and whose answer was lost, may still be under way when
/// the repeat is rolled back, and be done on what stands later. A node does not remember what it rolled back.
fn what_was_rolled_back_is_not_done(sent: &Sent, place: Option<&State>, finals: &[&Answer]) {
    let mut refusals = finals.iter().filter(|answer| answer.fate == Fate::RolledBack).peekable();
    let (Some(place), Some(_)) = (place, refusals.peek()) else { return };
    assert!(sent.copies > 1, "rolled back and done: {sent:?} stands at {}", place.version);
    // Whoever saw it in the log must not have taken it for something new.
    assert!(
        refusals.all(|answer| answer.version < place.version),
        "done and rolled back: {sent:?} at {}",
        place.version
    );
}

/// Whether an answer may say that all is well without a record.
fn nothing_was_to_do(sent: &Sent, answer: &Answer, state: Option<&State>) -> bool {
    let is_alone = state.is_none_or(|state| state.ops.len() == 1);
    match (sent.operation.action, answer.fate) {
        ("delete", Fate::Confirmed) if !answer.is_repeat => !is_alone || state.is_none_or(|state| !state.is_there),
        ("restore", Fate::Confirmed) if !answer.is_repeat => !is_alone || state.is_some_and(|state| state.is_there),
        // What was to be settled has changed, and is shown anew.
        ("resolve", Fate::Pending) => true,
        _ => false,
    }
}

fn what_it_shows_stands_there(answer: &Answer, state: Option<&State>, states: &[State]) {
    let Some(state) = state else { return };
    let current = &answer.data["current"];
    if !current.is_null() {
        assert!(state.is_there && state.data == *current, "{answer:?} shows what never stood there: {state:?}");
    }
    let base = answer.data["base_version"].as_u64().filter(|_| answer.says_done() && !answer.is_repeat);
    let before = base.and_then(|base| states.iter().find(|state| state.version == base));
    if let Some(before) = before.filter(|before| before.is_there && state.is_there) {
        let led_to = read::delta(&answer.data).apply(&before.data).expect("made for it");
        assert_eq!(led_to, state.data, "{answer:?} on {before:?}");
    }
}

/// Of a record with several operations nobody sees what stood between them.
fn what_it_wrote_over_stood_there(answer: &Answer, place: usize, states: &[State]) {
    if states[place].ops.len() > 1 || place == 0 {
        return;
    }
    let before = &states[place - 1];
    for over in answer.data["overwritten"].as_array().into_iter().flatten() {
        let path = over["path"].as_str().expect("a path");
        let stood = before.data.pointer(path).cloned().unwrap_or(Value::Null);
        assert_eq!(over["value"], stood, "{answer:?} on {before:?}");
        assert!(over["version"].as_u64() <= Some(before.version), "{answer:?} on {before:?}");
    }
}

fn what_waits_lies_open(
    sent: &BTreeMap<String, Sent>,
    places: &HashMap<&str, (&str, usize)>,
    open: &[(String, String)],
) {
    let settled: Vec<&str> = sent
        .iter()
        .filter(|(id, _)| places.contains_key(&***id))
        .filter_map(|(_, sent)| sent.operation.settles.as_deref())
        .collect();
    for sent in sent.values().filter(|sent| sent.operation.action != "resolve") {
        for conflict in sent.answers.iter().filter_map(Answer::opens) {
            let is_open = open.iter().any(|(entity, id)| (&**entity, id) == (sent.operation.entity, &conflict));
            let is_settled = settled.contains(&&*conflict);
            assert!(is_open != is_settled, "open: {is_open}, settled: {is_settled}: {sent:?}");
        }
    }
    for (entity, id) in open {
        let place = places.get(&**id).map(|(entity, _)| *entity);
        assert_eq!(place, Some(&**entity), "what lies open was proposed once: {}", json!(id));
    }
}
