//! The clients of a rolling update: each reads its room and comes back as the client library does, some publish at a steady pace.
//!
//! Owns: what they saw and when. Must not know what is done to the nodes.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use continuum::{
    client::{
        Backoff, BaseUrl, ClientOptions, Echo, Frame, Happening, Incoming, Publish, Reconnecting, Since,
        incoming::Place,
    },
    model::EventId,
};
use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{Plan, report::Outcome};
use crate::support::history::{Delivered, Promise, Reading, Recorder};

/// How long everybody may take to come in.
const GATHERED: Duration = Duration::from_secs(60);

/// What the clients are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Course {
    /// Read, and publish if they are publishers.
    Publish,
    /// Wait for what is still to be acknowledged.
    Settle,
    /// Go when everything that was sent has come.
    Finish,
    /// Go.
    GiveUp,
}

/// Before, during and after the roll; each for all deliveries, and for those of which neither side was apart.
pub type Latencies = [[Histogram<u64>; 2]; 3];

/// What all of them share.
struct Common {
    clock: Instant,
    course: watch::Sender<Course>,
    present: watch::Sender<usize>,
    settled: watch::Sender<usize>,
    rooms: Vec<Recorder>,
    queued: Mutex<BTreeSet<EventId>>,
    latencies: Mutex<Latencies>,
    /// When the roll began and ended by the clock, in microseconds; 0 is not yet.
    roll: [AtomicU64; 2],
    pace: Duration,
}

/// All clients.
pub struct Crowd {
    common: Arc<Common>,
    members: JoinSet<Member>,
    publishers: usize,
}

/// What a client saw.
pub struct Member {
    room: usize,
    reading: Reading,
    /// By the clock, in microseconds: when it was back, and how long it had been apart.
    absences: Vec<(u64, u64)>,
    /// How often it was refused or cut off while it tried to come back.
    failed: usize,
}

/// `data` of an event.
#[derive(Deserialize)]
struct Note {
    /// When its publisher wanted it sent, by the clock, in microseconds.
    at: u64,
    /// Whether that one had no connection then.
    apart: bool,
}

impl Common {
    fn now(&self) -> u64 {
        self.clock.elapsed().as_micros() as u64
    }

    fn delivered(&self, note: &Note, apart: bool) {
        let [began, ended] = [0, 1].map(|edge| self.roll[edge].load(SeqCst));
        let phase = match note.at {
            at if began == 0 || at < began => 0,
            at if ended == 0 || at < ended => 1,
            _ => 2,
        };
        let took = self.now().saturating_sub(note.at).max(1);
        let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let [all, joined] = &mut latencies[phase];
        all.record(took).expect("an auto-resizing histogram takes any value");
        if !(apart || note.apart) {
            joined.record(took).expect("an auto-resizing histogram takes any value");
        }
    }
}

impl Crowd {
    /// They come, as fast as they can, and begin to publish.
    pub async fn gather(plan: &Plan, service: SocketAddr) -> Self {
        let histogram = || Histogram::new(3).expect("three digits are allowed");
        let common = Arc::new(Common {
            clock: Instant::now(),
            course: watch::Sender::new(Course::Publish),
            present: watch::Sender::new(0),
            settled: watch::Sender::new(0),
            rooms: (0..plan.tenants).map(|_| Recorder::default()).collect(),
            queued: Mutex::default(),
            latencies: Mutex::new([0; 3].map(|_| [histogram(), histogram()])),
            roll: [AtomicU64::new(0), AtomicU64::new(0)],
            pace: plan.pace,
        });
        let url: BaseUrl = format!("ws://{service}").parse().expect("an address is a URL's");
        let mut members = JoinSet::new();
        for index in 0..plan.clients {
            let (room, seat) = (index % plan.tenants, index / plan.tenants);
            let names = (format!("room-{room}"), format!("client-{index}"));
            let names = (names.0.parse().expect("a name"), names.1.parse().expect("a name"));
            let mut options = ClientOptions::new(url.clone(), names.0, names.1);
            (options.since, options.echo) = (Some(Since::Earliest), Echo::Records);
            // Spread over one pace, so that they do not all publish in one moment.
            let first = (seat < plan.publishers).then(|| plan.pace * index as u32 / plan.clients as u32);
            members.spawn(member(common.clone(), options, room, first));
        }
        let crowd = Self { common, members, publishers: plan.publishers * plan.tenants };
        let mut present = crowd.common.present.subscribe();
        let all = timeout(GATHERED, present.wait_for(|present| *present == plan.clients)).await;
        drop(all.expect("everybody comes in").expect("they share it"));
        crowd
    }

    /// Events from now on count as published during the roll.
    pub fn roll_begins(&self) {
        self.common.roll[0].store(self.common.now(), SeqCst);
    }

    /// Events from now on count as published after it.
    pub fn roll_ends(&self) {
        self.common.roll[1].store(self.common.now(), SeqCst);
    }

    /// Nobody publishes any more; everybody goes when it has everything, or when the time is over.
    pub async fn finish(mut self, time: Duration) -> Outcome {
        let Common { course, settled, .. } = &*self.common;
        course.send_replace(Course::Settle);
        let mut settled = settled.subscribe();
        let all = timeout(time, settled.wait_for(|settled| *settled == self.publishers)).await;
        drop(all.expect("every event is acknowledged or queued").expect("they share it"));
        course.send_replace(Course::Finish);
        let end = Instant::now() + time;
        let (mut members, mut in_time) = (Vec::new(), true);
        while !self.members.is_empty() {
            tokio::select! {
                ended = self.members.join_next() => members.extend(ended.map(|ended| ended.expect("a client ends well"))),
                () = sleep_until(end), if in_time => {
                    in_time = false;
                    course.send_replace(Course::GiveUp);
                }
            }
        }
        self.outcome(members)
    }

    fn outcome(&self, members: Vec<Member>) -> Outcome {
        let Common { rooms, latencies, queued, roll, .. } = &*self.common;
        let mut absences = Vec::new();
        let (mut failed, mut stayed, mut missed) = (0, 0, 0);
        for member in members {
            let sent = rooms[member.room].with(|history| history.sent_count());
            missed += sent.abs_diff(member.reading.distinct());
            stayed += usize::from(member.absences.is_empty());
            failed += member.failed;
            absences.extend(member.absences);
            rooms[member.room].with(|history| history.read(member.reading));
        }
        Outcome {
            rooms: rooms.iter().map(Recorder::snapshot).collect(),
            queued: queued.lock().unwrap_or_else(PoisonError::into_inner).len(),
            latencies: latencies.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            roll: [0, 1].map(|edge| roll[edge].load(SeqCst)),
            absences,
            failed,
            stayed,
            missed,
        }
    }
}

/// One client, until it is told to go.
async fn member(common: Arc<Common>, options: ClientOptions, room: usize, first: Option<Duration>) -> Member {
    let recorder = &common.rooms[room];
    let reading = Reading::new(format!("{} in {}", options.instance, options.tenant), Promise::ExactlyOnce);
    let mut seen = Member { room, reading, absences: Vec::new(), failed: 0 };
    let mut client = Reconnecting::new(options, Backoff::new());
    let mut course = common.course.subscribe();
    let (mut last, mut got) = (0, 0);
    // When it came, or when it was cut off.
    let (mut joined, mut left) = (None, None);
    let mut due = first.map(|first| Instant::now() + first);
    let mut settled = first.is_none();
    loop {
        let now = *course.borrow_and_update();
        if now > Course::Publish {
            due = None;
            if !settled && client.outstanding().is_empty() {
                settled = true;
                common.settled.send_modify(|settled| *settled += 1);
            }
        }
        let all = || recorder.with(|history| history.sent_count());
        if now == Course::GiveUp || now == Course::Finish && got >= all() {
            return seen;
        }
        let happening = tokio::select! {
            happening = client.next() => happening.unwrap_or_else(|fatal| panic!("{}: {fatal}", seen.reading.name)),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let note = format!(r#"{{"at":{},"apart":{}}}"#, common.now(), joined.is_none());
                publish(recorder, &mut client, &note);
                due = due.map(|due| due + common.pace);
                continue;
            }
            changed = course.changed() => {
                changed.expect("the course outlives the clients");
                continue;
            }
        };
        match happening {
            Happening::Waiting { .. } if joined.take().is_some() => left = Some(common.now()),
            Happening::Waiting { .. } => seen.failed += 1,
            Happening::Refused(refused) => panic!("{}: {}", seen.reading.name, refused.1.message),
            Happening::Frame(frame) => match &frame.message {
                Incoming::Ready(ready) => {
                    // A position without a record moves the cursor too.
                    seen.reading.begin(ready.resume.after.min(last));
                    joined = Some(common.now());
                    match left.take() {
                        Some(left) => seen.absences.push((common.now(), common.now() - left)),
                        None => common.present.send_modify(|present| *present += 1),
                    }
                }
                Incoming::Record(place) => {
                    (last, got) = (place.seq, got + 1);
                    take(&common, &mut seen.reading, &frame, *place, joined);
                }
                Incoming::Ack(ack) | Incoming::Stored(ack) => recorder.acked(&ack.event_id.to_string(), ack.seq),
                Incoming::Queued(queued) => {
                    common.queued.lock().unwrap_or_else(PoisonError::into_inner).insert(queued.event_id);
                }
                Incoming::Resync(resync) => panic!("{}: told to begin anew: {}", seen.reading.name, resync.reason),
                _ => {}
            },
        }
    }
}

fn publish(recorder: &Recorder, client: &mut Reconnecting, note: &str) {
    let id = EventId(uuid::Uuid::new_v4());
    recorder.sent(&id.to_string());
    let text = format!(r#"{{"event_type":"note","event_id":"{id}","data":{note}}}"#);
    client.publish(Publish::event(id, text)).expect("so much is never under way");
}

fn take(common: &Common, reading: &mut Reading, frame: &Frame, place: Place, joined: Option<u64>) {
    let Place { seq, prev, event_id } = place;
    reading.push(Delivered { seq, prev, id: event_id.to_string() });
    let note: Note = serde_json::from_str(frame.envelope.data.get()).expect("nobody else publishes here");
    common.delivered(&note, joined.is_none_or(|joined| note.at < joined));
}
