//! The crowd: thousands of members on a thread or two, each a task that holds one socket.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::ready,
    thread,
};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    sync::{Semaphore, mpsc},
    task::{AbortHandle, LocalSet, spawn_local},
};

use crate::client::Since;

use super::{
    frames,
    seat::Seat,
    tally::Tally,
    target::{Guest, Target},
};

/// One buffer a thread, not one a connection.
const SCRATCH_BYTES: usize = 256 * 1024;
/// Upgrades under way at once, a thread; a listener's backlog is finite.
const CONNECTING: usize = 512;

/// How large a crowd, and what it expects.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// How many.
    pub members: usize,
    /// Whose events are counted.
    pub publishers: usize,
    /// Threads that carry them.
    pub threads: usize,
    /// What their names begin with: crowds of one room at a time differ in it.
    pub name: String,
}

#[derive(Clone, Copy, Debug)]
enum Command {
    /// Connect; those who were connected drop that connection first, without a word.
    Join(Start),
}

/// From where members receive.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// All from the same place.
    At(Since),
    /// Each from what it has seen.
    WhereTheyWere,
}

/// What is left when the crowd has gone.
#[derive(Debug)]
pub struct Harvest {
    /// Nanoseconds from sending to reading, all deliveries.
    pub latency: Histogram<u64>,
    seats: Vec<Seat>,
}

impl Harvest {
    /// Deliveries that never came, when each publisher sent so many.
    pub fn missing(&self, sent: &[u64]) -> u64 {
        self.seats.iter().map(|seat| seat.missing(sent)).sum()
    }

    /// The orders in which events came, each once; members who saw the same in the same order have the same.
    pub fn orders(&self) -> BTreeSet<u64> {
        self.seats.iter().map(|seat| seat.order).collect()
    }
}

/// Members on threads of their own.
#[derive(Debug)]
pub struct Crowd {
    /// What they see.
    pub tally: Arc<Tally>,
    threads: Vec<(mpsc::Sender<Command>, thread::JoinHandle<anyhow::Result<Harvest>>)>,
}

impl Crowd {
    /// Starts the threads; nobody is connected yet.
    pub fn start(plan: &Plan) -> Self {
        let tally = Arc::new(Tally::default());
        let count = plan.threads.clamp(1, plan.members.max(1));
        let threads = (0..count)
            .map(|at| {
                let (commands, inbox) = mpsc::channel(4);
                let (plan, tally) = (plan.clone(), Arc::clone(&tally));
                let members: Vec<usize> = (at..plan.members).step_by(count).collect();
                (commands, thread::spawn(move || carry(&plan, &members, tally, inbox)))
            })
            .collect();
        Self { tally, threads }
    }

    /// Everybody connects, or drops the connection and connects again; what was counted of joining starts from zero.
    pub async fn join(&self, start: Start) -> anyhow::Result<()> {
        self.tally.joined.store(0, SeqCst);
        self.tally.caught_up.store(0, SeqCst);
        for (commands, _) in &self.threads {
            commands.send(Command::Join(start)).await.context("a thread of the crowd has died")?;
        }
        Ok(())
    }

    /// Everybody leaves.
    pub fn finish(self) -> anyhow::Result<Harvest> {
        let mut all = Harvest { latency: histogram(), seats: Vec::new() };
        for (commands, thread) in self.threads {
            drop(commands);
            let Ok(harvest) = thread.join() else { bail!("a thread of the crowd has panicked") };
            let harvest = harvest?;
            all.latency.add(&harvest.latency)?;
            all.seats.extend(harvest.seats);
        }
        Ok(all)
    }
}

/// Nanoseconds with three digits, growing with what it is given.
pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are within hdrhistogram's range")
}

/// What the members of one thread share.
struct Desk {
    target: Target,
    name: String,
    tally: Arc<Tally>,
    scratch: RefCell<Box<[u8]>>,
    latency: RefCell<Histogram<u64>>,
    connecting: Semaphore,
}

fn carry(
    plan: &Plan,
    members: &[usize],
    tally: Arc<Tally>,
    mut inbox: mpsc::Receiver<Command>,
) -> anyhow::Result<Harvest> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let desk = Rc::new(Desk {
        target: plan.target.clone(),
        name: plan.name.clone(),
        tally,
        scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
        latency: RefCell::new(histogram()),
        connecting: Semaphore::new(CONNECTING),
    });
    let seats: Vec<_> =
        members.iter().map(|index| (*index, Rc::new(RefCell::new(Seat::new(plan.publishers))))).collect();
    LocalSet::new().block_on(&runtime, async {
        let mut sitting: Vec<AbortHandle> = Vec::new();
        while let Some(Command::Join(start)) = inbox.recv().await {
            sitting.drain(..).for_each(|task| task.abort());
            // An aborted task drops its socket when it is next looked at: before anyone connects again.
            tokio::task::yield_now().await;
            sitting.extend(seats.iter().map(|(index, seat)| {
                spawn_local(attend(Rc::clone(&desk), *index, Rc::clone(seat), start)).abort_handle()
            }));
        }
        sitting.drain(..).for_each(|task| task.abort());
    });
    let latency = desk.latency.borrow().clone();
    let seats = seats.into_iter().map(|(_, seat)| seat.replace(Seat::new(0))).collect();
    Ok(Harvest { latency, seats })
}

async fn attend(desk: Rc<Desk>, index: usize, seat: Rc<RefCell<Seat>>, start: Start) {
    if let Err(why) = sit(&desk, index, &seat, start).await {
        desk.tally.fail(&why);
    }
}

async fn sit(desk: &Desk, index: usize, seat: &RefCell<Seat>, start: Start) -> anyhow::Result<()> {
    seat.borrow_mut().sit_down();
    let since = match start {
        Start::At(since) => Some(since),
        Start::WhereTheyWere => seat.borrow().since(),
    };
    let permit = desk.connecting.acquire().await?;
    let (mut stream, mut rest) =
        desk.target.connect(&Guest { index, name: format!("{}-{index}", desk.name), since }).await?;
    drop(permit);
    desk.tally.joined.fetch_add(1, SeqCst);
    if !rest.is_empty() {
        let used = desk.take(&stream, seat, &rest)?;
        rest.drain(..used);
    }
    loop {
        poll_fn(|cx| {
            let mut scratch = desk.scratch.borrow_mut();
            let kept = rest.len();
            if kept >= scratch.len() {
                return std::task::Poll::Ready(Err(anyhow::anyhow!("a frame of over {SCRATCH_BYTES} bytes")));
            }
            scratch[..kept].copy_from_slice(&rest);
            let mut buffer = ReadBuf::new(&mut scratch[kept..]);
            // Unlike `try_read`, this remembers after a short read that the socket is empty: one call a delivery, not two.
            ready!(Pin::new(&mut stream).poll_read(cx, &mut buffer))?;
            let filled = kept + buffer.filled().len();
            if filled == kept {
                return std::task::Poll::Ready(Err(anyhow::anyhow!("the node ended the connection without a close")));
            }
            let used = desk.take(&stream, seat, &scratch[..filled])?;
            rest.clear();
            rest.extend_from_slice(&scratch[used..filled]);
            std::task::Poll::Ready(Ok(()))
        })
        .await?;
    }
}

impl Desk {
    fn take(&self, stream: &TcpStream, seat: &RefCell<Seat>, bytes: &[u8]) -> anyhow::Result<usize> {
        let taken = seat.borrow_mut().take(bytes, frames::now(), &mut self.latency.borrow_mut())?;
        if !taken.answers.is_empty() {
            // A few bytes on a socket that we never write to otherwise; if they do not fit, the node will cut us, and say so.
            let _ = stream.try_write(&taken.answers);
        }
        self.tally.add(taken.used, taken.seen);
        if taken.caught_up {
            self.tally.caught_up.fetch_add(1, SeqCst);
        }
        Ok(taken.used)
    }
}
