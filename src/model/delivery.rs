//! What one reader of a room is sent for a run of records: the decision, apart from any socket.
//!
//! Owns: invariant **chain** (a reader's next record satisfies `prev <= told < seq`) and invariant **order** (an ack
//! follows everything before its position). Must not know: encodings, outboxes.

use std::{collections::VecDeque, ops::Range};

use super::{Position, RecordMeta};

/// How far a reader has come.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// Everything up to here was sent or rightly left out.
    pub passed: Position,
    /// The last position that closed the reader's chain: of a record, an ack, an advance or `caught_up`.
    pub told: Position,
}

/// One thing to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<A> {
    /// These records, by index.
    Records(Range<usize>),
    /// "Nothing for you between these."
    Advance {
        /// What the reader was told last.
        from: Position,
        /// Where it stands now.
        to: Position,
    },
    /// An acknowledgement whose turn has come.
    Ack(A),
}

/// Acknowledgements that wait until the reader has passed their position.
#[derive(Clone, Debug)]
pub struct HeldAcks<A>(VecDeque<(Position, A)>);

impl<A> Default for HeldAcks<A> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<A> HeldAcks<A> {
    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Holds one more, in order of position.
    pub fn hold(&mut self, position: Position, ack: A) {
        let at = self.0.partition_point(|(held, _)| *held <= position);
        self.0.insert(at, (position, ack));
    }

    /// Takes the next one that stands at or before `passed`.
    pub fn release(&mut self, passed: Position) -> Option<(Position, A)> {
        if self.0.front()?.0 > passed {
            return None;
        }
        let due = self.0.pop_front();
        if self.0.is_empty() {
            self.0 = VecDeque::new(); // an idle reader owns no buffer
        }
        due
    }
}

impl Reader {
    /// A reader that has seen everything up to a position.
    pub fn at(position: Position) -> Self {
        Self { passed: position, told: position }
    }

    /// Whether a whole run can be sent as it stands, by position alone.
    pub fn takes_whole(&self, run: &[RecordMeta]) -> bool {
        run.first().is_some_and(|first| self.passed < first.position && first.prev <= self.told)
    }

    /// Notes that a whole run was sent.
    pub fn took(&mut self, run: &[RecordMeta]) {
        if let Some(last) = run.last() {
            self.passed = last.position;
            self.told = last.position;
        }
    }

    /// Moves through a run of records of the room, in order, and emits what to send. Records already passed are skipped.
    pub fn pass<A>(
        &mut self,
        run: &[RecordMeta],
        wants: impl Fn(&RecordMeta) -> bool,
        acks: &mut HeldAcks<A>,
        mut emit: impl FnMut(Step<A>),
    ) {
        let mut pending: Range<usize> = 0..0;
        let first = run.partition_point(|meta| meta.position <= self.passed);
        for (index, meta) in run.iter().enumerate().skip(first) {
            if wants(meta) {
                if meta.prev > self.told {
                    flush(&mut pending, &mut emit);
                    emit(Step::Advance { from: self.told, to: meta.prev });
                }
                if pending.is_empty() {
                    pending = index..index;
                }
                pending.end = index + 1;
                self.told = meta.position;
            } else {
                flush(&mut pending, &mut emit);
            }
            self.passed = meta.position;
            if !acks.is_empty() {
                self.release(acks, |step| {
                    flush(&mut pending, &mut emit);
                    emit(step);
                });
            }
        }
        flush(&mut pending, &mut emit);
    }

    /// What the reader has to be told before it is told where it stands: from where on there was nothing for it.
    pub fn bridge(&mut self) -> Option<Position> {
        (self.told < self.passed).then(|| std::mem::replace(&mut self.told, self.passed))
    }

    /// Emits the acknowledgements whose turn has come.
    pub fn release<A>(&mut self, acks: &mut HeldAcks<A>, mut emit: impl FnMut(Step<A>)) {
        while let Some((position, ack)) = acks.release(self.passed) {
            self.told = self.told.max(position);
            emit(Step::Ack(ack));
        }
    }
}

fn flush<A>(pending: &mut Range<usize>, emit: &mut impl FnMut(Step<A>)) {
    if pending.start < pending.end {
        emit(Step::Records(pending.clone()));
    }
    *pending = 0..0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EventId;

    fn run(from: u64, senders: &[&str]) -> Vec<RecordMeta> {
        let mut prev = from;
        senders
            .iter()
            .map(|sender| {
                let meta = RecordMeta {
                    places: None,
                    position: Position(prev + 2),
                    prev: Position(prev),
                    id: EventId(uuid::Uuid::nil()),
                    sender: Some(sender.parse().expect("instance")),
                    event_type: "note".parse().expect("type"),
                    about: crate::model::record::About::Event,
                    private: None,
                };
                prev += 2;
                meta
            })
            .collect()
    }

    fn pass(
        reader: &mut Reader,
        run: &[RecordMeta],
        me: &str,
        acks: &mut HeldAcks<&'static str>,
    ) -> Vec<Step<&'static str>> {
        let mut steps = Vec::new();
        reader.pass(
            run,
            |meta| meta.sender.as_ref().is_some_and(|sender| sender.as_str() != me),
            acks,
            |step| steps.push(step),
        );
        steps
    }

    #[test]
    fn a_record_left_out_is_bridged_before_the_next() {
        let mut reader = Reader::at(Position(10));
        let steps = pass(&mut reader, &run(10, &["a", "me", "b"]), "me", &mut HeldAcks::default());
        let advance = Step::Advance { from: Position(12), to: Position(14) };
        assert_eq!(steps, [Step::Records(0..1), advance, Step::Records(2..3)]);
        assert_eq!((reader.passed, reader.told), (Position(16), Position(16)));
    }

    #[test]
    fn a_reader_is_told_once_that_there_was_nothing_for_it() {
        let mut reader = Reader::at(Position(10));
        assert_eq!(reader.bridge(), None);
        assert_eq!(pass(&mut reader, &run(10, &["me", "me"]), "me", &mut HeldAcks::default()), []);
        assert_eq!(reader.bridge(), Some(Position(10)));
        assert_eq!((reader.bridge(), reader.told), (None, Position(14)));
        assert_eq!(pass(&mut reader, &run(14, &["a"]), "me", &mut HeldAcks::default()), [Step::Records(0..1)]);
    }

    #[test]
    fn an_ack_stands_in_its_records_place() {
        let mut reader = Reader::at(Position(10));
        let mut acks = HeldAcks::default();
        acks.hold(Position(14), "mine");
        let steps = pass(&mut reader, &run(10, &["a", "me", "b"]), "me", &mut acks);
        assert_eq!(steps, [Step::Records(0..1), Step::Ack("mine"), Step::Records(2..3)]);
    }

    #[test]
    fn an_ack_never_overtakes_records_that_are_still_to_come() {
        let mut reader = Reader::at(Position(10));
        let mut acks = HeldAcks::default();
        acks.hold(Position(14), "mine");
        let mut early = Vec::new();
        reader.release(&mut acks, |step| early.push(step));
        assert_eq!(early, []);
        pass(&mut reader, &run(10, &["a"]), "me", &mut acks);
        assert!(!acks.is_empty());
    }

    #[test]
    fn what_was_passed_is_not_sent_again() {
        let mut reader = Reader::at(Position(12));
        let steps = pass(&mut reader, &run(10, &["a", "b"]), "me", &mut HeldAcks::default());
        assert_eq!(steps, [Step::Records(1..2)]);
    }
}
