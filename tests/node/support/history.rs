//! What was sent, what was acknowledged and what was delivered, held against what a node promises.
//!
//! Owns: the promises as rules. Must not know: sockets. Writers and readers tell it what they see; [`History::verify`]
//! says what was broken.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tokio::sync::watch;

/// What a reader is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Goes on by its own cursor, or reads the whole history: everything once, in order, without gap.
    ExactlyOnce,
    /// Comes back with its name only: repeats may come, under the same position, nothing is left out.
    AtLeastOnce,
}

/// A record as a reader got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub seq: u64,
    pub prev: u64,
    pub id: String,
}

/// What one reader got: one section for each of its connections.
#[derive(Clone, Debug)]
pub struct Reading {
    pub name: String,
    pub promise: Promise,
    /// Everything acknowledged before this moment must be in it.
    pub complete_to: u64,
    sections: Vec<Section>,
}

#[derive(Clone, Debug)]
struct Section {
    after: u64,
    records: Vec<Delivered>,
}

#[derive(Clone, Copy, Debug)]
struct Acked {
    seq: u64,
    at: u64,
}

/// The account.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Moments: one passes with everything that is told.
    clock: u64,
    /// When each event was sent for the first time.
    sent: BTreeMap<String, u64>,
    acked: BTreeMap<String, Acked>,
    problems: Vec<String>,
    readings: Vec<Reading>,
}

impl Reading {
    pub fn new(name: impl Into<String>, promise: Promise) -> Self {
        Self { name: name.into(), promise, complete_to: u64::MAX, sections: Vec::new() }
    }

    /// A connection began, behind a position.
    pub fn begin(&mut self, after: u64) {
        self.sections.push(Section { after, records: Vec::new() });
    }

    /// A record came.
    pub fn take(&mut self, record: &Value) {
        let number = |name: &str| record[name].as_u64().unwrap_or_else(|| panic!("{name} in {record}"));
        let id = record["event_id"].as_str().unwrap_or_else(|| panic!("event_id in {record}")).to_owned();
        self.push(Delivered { seq: number("seq"), prev: number("prev"), id });
    }

    pub fn push(&mut self, delivered: Delivered) {
        self.sections.last_mut().expect("a connection begins before it delivers").records.push(delivered);
    }

    /// How many different events came.
    pub fn distinct(&self) -> usize {
        self.records().map(|record| &record.id).collect::<BTreeSet<_>>().len()
    }

    fn records(&self) -> impl Iterator<Item = &Delivered> {
        self.sections.iter().flat_map(|section| &section.records)
    }

    /// The chain and the order, which need nothing but the reading itself.
    fn check_itself(&self, problems: &mut Vec<String>) {
        let name = &self.name;
        let mut furthest = self.sections.first().map_or(0, |section| section.after);
        let mut known = BTreeMap::new();
        for section in &self.sections {
            if section.after > furthest {
                problems.push(format!("{name}: went on after {} but had come only to {furthest}", section.after));
            }
            if self.promise == Promise::ExactlyOnce && section.after != furthest {
                problems.push(format!("{name}: went on after {}, not from its cursor {furthest}", section.after));
            }
            let mut last = section.after;
            for Delivered { seq, prev, id } in &section.records {
                if !(*prev <= last && last < *seq) {
                    problems.push(format!("{name}: the chain broke at {last}: {seq} after {prev}"));
                }
                last = *seq;
                match known.insert(id.clone(), *seq) {
                    Some(before) if before != *seq => {
                        problems.push(format!("{name}: {id} came as {before} and as {seq}"));
                    }
                    Some(_) if self.promise == Promise::ExactlyOnce => {
                        problems.push(format!("{name}: {id} came twice"));
                    }
                    None if *seq <= furthest => {
                        problems.push(format!("{name}: {id} came late, as {seq} after {furthest}"));
                    }
                    _ => {}
                }
                furthest = furthest.max(*seq);
            }
        }
    }
}

impl History {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// An event is about to be sent, perhaps again.
    pub fn sent(&mut self, id: &str) {
        let now = self.tick();
        self.sent.entry(id.to_owned()).or_insert(now);
    }

    /// An event was acknowledged.
    pub fn acked(&mut self, id: &str, seq: u64) {
        let at = self.tick();
        let known = self.acked.entry(id.to_owned()).or_insert(Acked { seq, at });
        if known.seq != seq {
            self.problems.push(format!("{id} was acknowledged as {} and as {seq}", known.seq));
        }
    }

    /// Now: for [`Reading::complete_to`].
    pub fn now(&self) -> u64 {
        self.clock + 1
    }

    /// How many events were acknowledged.
    pub fn acked_count(&self) -> usize {
        self.acked.len()
    }

    /// How many events were sent.
    pub fn sent_count(&self) -> usize {
        self.sent.len()
    }

    /// A reader is done.
    pub fn read(&mut self, reading: Reading) {
        self.readings.push(reading);
    }

    /// Everything that is wrong so far.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.problems.clone();
        self.check_acks(&mut problems);
        let mut places = BTreeMap::new();
        for reading in &self.readings {
            reading.check_itself(&mut problems);
            self.check_against_acks(reading, &mut problems);
            for record in reading.records() {
                let known = places.entry(record.id.clone()).or_insert(record.seq);
                if *known != record.seq {
                    let Delivered { seq, id, .. } = record;
                    problems.push(format!("{}: {id} is {seq} here and {known} elsewhere", reading.name));
                }
            }
        }
        problems
    }

    /// Fails with everything that is wrong.
    pub fn verify(&self) {
        let problems = self.problems();
        let first: Vec<_> = problems.iter().take(20).cloned().collect();
        assert!(problems.is_empty(), "{} broken promises, the first:\n{}", problems.len(), first.join("\n"));
    }

    fn check_acks(&self, problems: &mut Vec<String>) {
        let mut by_seq = BTreeMap::new();
        for (id, acked) in &self.acked {
            if !self.sent.contains_key(id) {
                problems.push(format!("{id} was acknowledged but never sent"));
            }
            if let Some(other) = by_seq.insert(acked.seq, id) {
                problems.push(format!("{other} and {id} were both acknowledged as {}", acked.seq));
            }
        }
        // Whatever was acknowledged before an event was sent stands before it.
        let mut acked: Vec<_> = self.acked.iter().map(|(id, acked)| (acked.at, acked.seq, id)).collect();
        acked.sort_unstable();
        let mut sent: Vec<_> =
            self.sent.iter().filter_map(|(id, at)| Some((*at, self.acked.get(id)?.seq, id))).collect();
        sent.sort_unstable();
        let mut before = acked.iter().peekable();
        let mut highest: Option<(u64, &String)> = None;
        for (sent_at, seq, id) in sent {
            while let Some((_, seq, id)) = before.next_if(|(acked_at, ..)| *acked_at < sent_at) {
                highest = highest.max(Some((*seq, *id)));
            }
            if let Some((highest, other)) = highest.filter(|(highest, _)| *highest > seq) {
                problems.push(format!("{other} was acknowledged as {highest} before {id} was sent, which is {seq}"));
            }
        }
    }

    fn check_against_acks(&self, reading: &Reading, problems: &mut Vec<String>) {
        let name = &reading.name;
        let mut places = BTreeMap::new();
        for record in reading.records() {
            if !self.sent.contains_key(&record.id) {
                problems.push(format!("{name}: {} was never sent", record.id));
            }
            places.insert(&record.id, record.seq);
        }
        for (id, acked) in self.acked.iter().filter(|(_, acked)| acked.at < reading.complete_to) {
            match places.get(id) {
                None => problems.push(format!("{name}: {id} was acknowledged as {} and did not come", acked.seq)),
                Some(seq) if *seq != acked.seq => {
                    problems.push(format!("{name}: {id} was acknowledged as {} and came as {seq}", acked.seq));
                }
                Some(_) => {}
            }
        }
    }
}

/// One account for many tasks.
#[derive(Clone, Debug)]
pub struct Recorder {
    history: Arc<Mutex<History>>,
    acked: Arc<watch::Sender<usize>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { history: Arc::default(), acked: Arc::new(watch::Sender::new(0)) }
    }
}

impl Recorder {
    /// Does something with the account.
    pub fn with<T>(&self, act: impl FnOnce(&mut History) -> T) -> T {
        act(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn sent(&self, id: &str) {
        self.with(|history| history.sent(id));
    }

    pub fn acked(&self, id: &str, seq: u64) {
        let count = self.with(|history| {
            history.acked(id, seq);
            history.acked_count()
        });
        self.acked.send_replace(count);
    }

    /// Waits until so many events were acknowledged.
    pub async fn until_acked(&self, count: usize) {
        let mut acked = self.acked.subscribe();
        let what = format!("{count} acknowledged events");
        super::within(&what, acked.wait_for(|acked| *acked >= count)).await.expect("the sender lives in here");
    }

    /// A copy of the account as it stands.
    pub fn snapshot(&self) -> History {
        self.with(|history| history.clone())
    }
}

mod tests {
    use super::*;

    const IDS: [&str; 4] = ["a", "b", "c", "d"];

    /// Four events, one after the other, read by one reader.
    fn good(promise: Promise) -> (History, Reading) {
        let mut history = History::default();
        let mut reading = Reading::new("reader", promise);
        reading.begin(0);
        for (index, id) in IDS.iter().enumerate() {
            let seq = index as u64 + 1;
            history.sent(id);
            history.acked(id, seq);
            reading.push(Delivered { seq, prev: seq - 1, id: (*id).to_owned() });
        }
        (history, reading)
    }

    fn problems(doctor: impl FnOnce(&mut History, &mut Vec<Delivered>)) -> String {
        let (mut history, mut reading) = good(Promise::ExactlyOnce);
        doctor(&mut history, &mut reading.sections[0].records);
        history.read(reading);
        history.problems().join("; ")
    }

    #[test]
    fn a_good_history_has_no_problems() {
        assert_eq!(problems(|_, _| {}), "");
    }

    #[test]
    fn a_dropped_event_is_caught() {
        assert!(problems(|_, records| drop(records.remove(1))).contains("did not come"));
        assert!(problems(|_, records| drop(records.remove(1))).contains("the chain broke"));
        assert!(problems(|_, records| drop(records.pop())).contains("did not come"));
    }

    #[test]
    fn a_doubled_event_is_caught() {
        let doubled = problems(|_, records| {
            let again = Delivered { seq: 5, prev: 4, id: "b".to_owned() };
            records.push(again);
        });
        assert!(doubled.contains("came as 2 and as 5"), "{doubled}");
        let repeated = problems(|_, records| records.push(records[3].clone()));
        assert!(repeated.contains("d came twice"), "{repeated}");
    }

    #[test]
    fn swapped_events_are_caught() {
        let swapped = problems(|_, records| records.swap(1, 2));
        assert!(swapped.contains("the chain broke"), "{swapped}");
        let renamed = problems(|_, records| {
            records[1].id = "c".to_owned();
            records[2].id = "b".to_owned();
        });
        assert!(renamed.contains("b was acknowledged as 2 and came as 3"), "{renamed}");
    }

    #[test]
    fn a_wrong_position_is_caught() {
        let wrong = problems(|_, records| records[3].seq = 9);
        assert!(wrong.contains("d was acknowledged as 4 and came as 9"), "{wrong}");
    }

    #[test]
    fn an_event_that_was_never_sent_is_caught() {
        let strange = problems(|_, records| records.push(Delivered { seq: 5, prev: 4, id: "strange".to_owned() }));
        assert!(strange.contains("strange was never sent"), "{strange}");
    }

    #[test]
    fn acknowledgements_that_contradict_each_other_are_caught() {
        assert!(problems(|history, _| history.acked("a", 7)).contains("acknowledged as 1 and as 7"));
        assert!(problems(|history, _| history.acked("never", 7)).contains("acknowledged but never sent"));
        let shared = problems(|history, _| {
            history.sent("e");
            history.acked("e", 4);
        });
        assert!(shared.contains("both acknowledged as 4"), "{shared}");
    }

    #[test]
    fn an_event_that_stands_before_one_that_was_acknowledged_before_it_was_sent_is_caught() {
        let mut history = History::default();
        history.sent("a");
        history.acked("a", 5);
        history.sent("b");
        history.acked("b", 3);
        assert!(history.problems().join("; ").contains("before b was sent"));
        let mut history = History::default();
        history.sent("b");
        history.sent("a");
        history.acked("a", 5);
        history.acked("b", 3);
        assert_eq!(history.problems(), Vec::<String>::new(), "both were under way at once");
    }

    #[test]
    fn a_repeat_is_allowed_where_at_least_once_is_promised_and_a_gap_is_not() {
        let (mut history, mut reading) = good(Promise::AtLeastOnce);
        reading.begin(2);
        for seq in 3..=4 {
            reading.push(Delivered { seq, prev: seq - 1, id: IDS[seq as usize - 1].to_owned() });
        }
        history.read(reading.clone());
        assert_eq!(history.problems(), Vec::<String>::new());
        let (mut history, mut gap) = good(Promise::AtLeastOnce);
        gap.sections[0].records.truncate(2);
        gap.begin(3);
        gap.push(Delivered { seq: 4, prev: 3, id: "d".to_owned() });
        history.read(gap);
        let found = history.problems().join("; ");
        assert!(found.contains("went on after 3 but had come only to 2") && found.contains("did not come"), "{found}");
    }

    #[test]
    fn what_is_acknowledged_after_a_reading_need_not_be_in_it() {
        let (mut history, mut reading) = good(Promise::ExactlyOnce);
        reading.complete_to = history.now();
        history.sent("e");
        history.acked("e", 5);
        history.read(reading.clone());
        assert_eq!(history.problems(), Vec::<String>::new());
        reading.complete_to = u64::MAX;
        history.read(reading);
        assert!(history.problems().join("; ").contains("e was acknowledged as 5 and did not come"));
    }
}
