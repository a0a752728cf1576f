//! One publisher: a connection that keeps a window of events in flight, or sends so many a second come what may.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use hdrhistogram::Histogram;
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use crate::client::Since;

use super::{
    crowd::histogram,
    frames::{self, CLOSE, PING, PONG, Stamp, TEXT},
    seat::close_text,
    tally::Tally,
    target::{Guest, Target},
};

/// Without an ack or a delivery for so long, the next event is sent all the same: what is missing is counted, not waited for.
const STALL: Duration = Duration::from_millis(250);
/// Without an ack for so long, the run is over.
const SILENCE: Duration = Duration::from_secs(20);
/// Nobody looks at the clock more often than this.
const SOON: Duration = Duration::from_millis(1);
/// Frames are added to the send buffer up to here.
const MOST_UNSENT: usize = 256 * 1024;

/// When the next event may go.
#[derive(Clone, Debug)]
pub enum Pace {
    /// At most so many without an ack, or without having been delivered to every member of the crowd.
    Window(usize, Option<(Arc<Tally>, usize)>),
    /// So many a second, counted from when each was due.
    Rate(f64),
}

/// Whether an event is due of a publisher that sends so many a second: the moment that it counts from, else when to look
/// again. It counts from when it was due: a publisher that is held up must not make the figures look better.
pub fn due(start: Instant, rate: f64, number: u64, now: Instant) -> Result<u64, Instant> {
    let due = start + Duration::from_secs_f64(number as f64 / rate);
    if due > now { Err(due.max(now + SOON)) } else { Ok(frames::nanos_at(due.into_std())) }
}

/// What the frames look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A publish, as the protocol has it.
    Publish,
    /// What a node would make of it: the reference passes it on as it is, so that both deliver the same bytes.
    ReadyMade,
    /// An operation that makes or changes an entity.
    Operation {
        /// Of so many entities, in turn; 0: a new one each time.
        entities: u64,
    },
}

/// What to publish.
#[derive(Clone, Debug)]
pub struct Order {
    /// Where to.
    pub target: Target,
    /// Which publisher of the run.
    pub publisher: usize,
    /// How many events.
    pub events: u64,
    /// Bytes of `data`.
    pub size: usize,
    /// When.
    pub pace: Pace,
    /// How.
    pub shape: Shape,
    /// When the run is over, finished or not.
    pub deadline: Instant,
}

/// What became of it.
#[derive(Debug)]
pub struct Published {
    /// Events that went out.
    pub sent: u64,
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// Events that the node refused.
    pub refused: u64,
    /// The first refusal.
    pub refusal: Option<String>,
    /// Nanoseconds from sending to the ack.
    pub latency: Histogram<u64>,
    /// From the first event to the last ack.
    pub took: Duration,
}

/// A publisher's connection.
pub struct Publisher {
    order: Order,
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    run_id: Uuid,
    sent_at: Vec<u64>,
    written_off: u64,
    done: Published,
}

impl Publisher {
    /// Connects; nothing is published yet.
    pub async fn connect(order: Order) -> anyhow::Result<Self> {
        let name = format!("bench-publisher-{}", order.publisher);
        let guest = Guest { index: 0, name, since: Some(Since::Latest) };
        let (stream, input) = order.target.connect(&guest).await?;
        let done = Published {
            sent: 0,
            acknowledged: 0,
            refused: 0,
            refusal: None,
            latency: histogram(),
            took: Duration::ZERO,
        };
        let run_id = Uuid::new_v4();
        Ok(Self { order, stream, input, output: Vec::new(), run_id, sent_at: Vec::new(), written_off: 0, done })
    }

    /// Publishes everything that was ordered.
    pub async fn run(mut self) -> anyhow::Result<Published> {
        let start = Instant::now();
        let mut last_answer = (0, start);
        self.read()?;
        while self.answered() < self.order.events {
            self.reclaim();
            let next = match self.order.pace {
                Pace::Window(..) => self.fill_window(),
                Pace::Rate(rate) => self.fill_by_rate(start, rate),
            };
            self.wait(next).await?;
            if self.answered() > last_answer.0 {
                last_answer = (self.answered(), Instant::now());
            }
            if last_answer.1.elapsed() > SILENCE || Instant::now() > self.order.deadline {
                let (answered, events) = (self.answered(), self.order.events);
                bail!("publishing did not finish: {answered} of {events} events were answered");
            }
        }
        self.done.took = start.elapsed();
        Ok(self.done)
    }

    fn answered(&self) -> u64 {
        self.done.acknowledged + self.done.refused
    }

    /// What was written off and came after all narrows the window again.
    fn reclaim(&mut self) {
        if let Pace::Window(_, Some((tally, members))) = &self.order.pace {
            let missing = (self.done.sent * *members as u64).saturating_sub(tally.accounted());
            self.written_off = self.written_off.min(missing);
        }
    }

    /// Deliveries that must be there before the next event may go.
    fn wanted(&self) -> Option<(Arc<Tally>, u64)> {
        let Pace::Window(window, Some((tally, members))) = &self.order.pace else { return None };
        let before = (self.done.sent + 1).saturating_sub(*window as u64);
        Some((Arc::clone(tally), (before * *members as u64).saturating_sub(self.written_off)))
    }

    fn fill_window(&mut self) -> Instant {
        let Pace::Window(window, _) = self.order.pace else { return Instant::now() };
        while self.done.sent < self.order.events
            && self.done.sent - self.answered() < window as u64
            && self.output.len() < MOST_UNSENT
            && self.wanted().is_none_or(|(tally, wanted)| tally.accounted() >= wanted)
        {
            self.put(frames::now());
        }
        Instant::now() + STALL
    }

    fn fill_by_rate(&mut self, start: Instant, rate: f64) -> Instant {
        let now = Instant::now();
        while self.done.sent < self.order.events && self.output.len() < MOST_UNSENT {
            match due(start, rate, self.done.sent, now) {
                Ok(moment) => self.put(moment),
                Err(later) => return later,
            }
        }
        now + SOON
    }

    fn put(&mut self, moment: u64) {
        let number = self.done.sent;
        let id = Uuid::from_fields(
            self.run_id.as_fields().0,
            self.run_id.as_fields().1,
            self.run_id.as_fields().2,
            &number_bytes(number),
        );
        let data = Stamp { sent: moment, number, publisher: self.order.publisher }.data(self.order.size);
        let text = match self.order.shape {
            Shape::Publish => format!(r#"{{"event_type":"bench","event_id":"{id}","data":{data}}}"#),
            Shape::Operation { entities: 0 } => {
                self.operation(&id, &format!("{}-{number}", self.order.publisher), "create", &data)
            }
            Shape::Operation { entities } => self.operation(&id, &(number % entities).to_string(), "put", &data),
            Shape::ReadyMade => format!(
                r#"{{"event_type":"bench","seq":{},"prev":{number},"event_id":"{id}","tenant_id":"{}","timestamp":"2025-12-06T10:00:00.000Z","instance_id":"bench-publisher-{}","data":{data}}}"#,
                number + 1,
                self.order.target.tenant,
                self.order.publisher
            ),
        };
        frames::put_client_frame(&mut self.output, TEXT, text.as_bytes());
        self.sent_at.push(moment);
        self.done.sent += 1;
    }

    /// Every publisher writes a field of its own: on one entity they meet, but do not clash.
    fn operation(&self, id: &Uuid, entity: &str, action: &str, data: &str) -> String {
        let (field, number) = (self.order.publisher, self.done.sent + 1);
        format!(
            r#"{{"event_type":"sync_event","event_id":"{id}","data":{{"event":{{"id":"{id}","entity_type":"bench","entity_id":"{entity}","action":"{action}","op_number":{number},"patch":{{"p{field}":{data}}}}}}}}}"#
        )
    }

    /// Writes and reads what is possible, else sleeps until something is, deliveries included.
    async fn wait(&mut self, until: Instant) -> anyhow::Result<()> {
        self.write()?;
        let interest =
            if self.output.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        let wanted = self.wanted().filter(|(tally, wanted)| tally.accounted() < *wanted);
        let delivered = async {
            match &wanted {
                Some((tally, deliveries)) => tally.reach(*deliveries).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.stream.ready(interest) => {
                if ready?.is_readable() {
                    self.read()?;
                }
            }
            () = delivered => {}
            () = sleep_until(until) => {
                // Until the node has acknowledged an event it is slow, not lossy.
                if let Some((tally, deliveries)) = wanted.as_ref().filter(|_| self.answered() == self.done.sent) {
                    self.written_off += deliveries.saturating_sub(tally.accounted());
                }
            }
        }
        self.write()
    }

    fn write(&mut self) -> anyhow::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        match self.stream.try_write(&self.output) {
            Ok(written) => drop(self.output.drain(..written)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn read(&mut self) -> anyhow::Result<()> {
        loop {
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => bail!("the node ended the publisher's connection without a close"),
                Ok(_) => self.take()?,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return self.take(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self) -> anyhow::Result<()> {
        let input = std::mem::take(&mut self.input);
        let mut used = 0;
        while let Some(frame) = frames::header(&input[used..])? {
            let payload = &input[used + frame.payload.start..used + frame.payload.end];
            used += frame.payload.end;
            match frame.opcode {
                TEXT => self.message(payload)?,
                PING => frames::put_client_frame(&mut self.output, PONG, payload),
                CLOSE => bail!("the publisher was {}", close_text(payload)),
                _ => {}
            }
        }
        self.input = input;
        self.input.drain(..used);
        Ok(())
    }

    fn message(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        match frames::event_type(payload) {
            // What was queued counts when the log has it.
            Some("ack" | "stored") => {
                let number = frames::text_after(payload, b"\"event_id\":\"").and_then(number_of);
                let Some(sent_at) = number.and_then(|number| self.sent_at.get(number)) else {
                    bail!("an ack for something that was never sent");
                };
                self.done.latency.record(frames::now().saturating_sub(*sent_at))?;
                self.done.acknowledged += 1;
            }
            Some("update.confirmed" | "update.conflict_resolved") => {
                let number = frames::text_after(payload, b"\"updateId\":\"").and_then(number_of);
                let Some(sent_at) = number.and_then(|number| self.sent_at.get(number)) else {
                    bail!("an answer for something that was never sent");
                };
                self.done.latency.record(frames::now().saturating_sub(*sent_at))?;
                self.done.acknowledged += 1;
            }
            Some(kind @ ("update.retry" | "update.rollback" | "update.conflict_pending")) => {
                self.done.refused += 1;
                self.done.refusal.get_or_insert_with(|| kind.to_owned());
            }
            Some("error") => {
                let code = frames::text_after(payload, b"\"code\":\"").unwrap_or("?");
                if matches!(code, "rate_limited" | "limit_reached") {
                    bail!(
                        "the node answered {code}; start it with --config config/bench.toml, which raises its limits"
                    );
                }
                self.done.refused += 1;
                let message = frames::text_after(payload, b"\"message\":\"").unwrap_or_default();
                self.done.refusal.get_or_insert_with(|| format!("{code}: {message}"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A UUID's last eight bytes: the variant's bits, then the event's number.
fn number_bytes(number: u64) -> [u8; 8] {
    let mut bytes = number.to_be_bytes();
    bytes[0] = 0x80;
    bytes
}

fn number_of(id: &str) -> Option<usize> {
    // Without the variant's byte: three hexadecimal digits of the fourth group and the last twelve.
    let digits: String = id.get(19..)?.chars().filter(|c| *c != '-').skip(2).collect();
    usize::from_str_radix(&digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_carries_its_number() {
        for number in [0, 1, 255, 1 << 20, (1 << 56) - 1] {
            let id = Uuid::from_fields(1, 2, 0x4003, &number_bytes(number));
            assert_eq!(number_of(&id.to_string()), usize::try_from(number).ok());
        }
    }
}
