//! The yardstick: the least a server can do that passes a publisher's frames on to everybody else. No log, no JSON, no
//! limits; one thread a core, members sharded over them, one write a member for all that is pending.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    num::NonZeroU64,
    rc::Rc,
    sync::Arc,
    thread,
};

use anyhow::Context;
use bytes::{Buf, Bytes};
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc},
    task::{LocalSet, spawn_local},
};

use super::reference_guest;

/// Batches under way to one thread; a publisher waits when it is full.
const BATCHES: usize = 256;
/// Connections that were accepted and not yet taken over by their thread.
const ACCEPTED: usize = 1024;
/// A member that leaves more than this unread is dropped.
const MOST_UNREAD: usize = 64 << 20;
/// As large as systems allow, for crowds that come at once.
const BACKLOG: i32 = 4096;

/// A bare server for comparison: passes on what it gets.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Leave out every Nth delivery, to see that a run notices.
    #[arg(long)]
    drop_every: Option<NonZeroU64>,
    /// Send every Nth delivery twice, to see that a run notices.
    #[arg(long)]
    double_every: Option<NonZeroU64>,
    /// Threads; one a core when left out.
    #[arg(long)]
    threads: Option<usize>,
    /// End with standard input: a parent that dies takes this process along.
    #[arg(long)]
    until_input_ends: bool,
}

/// What goes wrong on purpose.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    drop_every: Option<NonZeroU64>,
    double_every: Option<NonZeroU64>,
}

/// How often a frame goes to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copies {
    None,
    One,
    Two,
}

impl Faults {
    fn copies(self, delivery: u64) -> Copies {
        let hits = |every: Option<NonZeroU64>| every.is_some_and(|every| delivery.is_multiple_of(every.get()));
        match (hits(self.drop_every), hits(self.double_every)) {
            (true, _) => Copies::None,
            (_, true) => Copies::Two,
            _ => Copies::One,
        }
    }
}

/// Serves until the process ends; prints its address first.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let listener = listen(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("listening on {}", listener.local_addr()?);
    io::stdout().flush()?;
    if args.until_input_ends {
        thread::spawn(|| {
            // Ended or broken, there is no parent any more.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            std::process::exit(0);
        });
    }
    let faults = Faults { drop_every: args.drop_every, double_every: args.double_every };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (hub, inboxes): (Vec<_>, Vec<_>) =
        (0..args.threads.unwrap_or(cores).max(1)).map(|_| mpsc::channel(BATCHES)).unzip();
    let hub: Hub = hub.into();
    let mut doors = Vec::new();
    for inbox in inboxes {
        let (door, guests) = mpsc::channel(ACCEPTED);
        doors.push(door);
        let hub = Arc::clone(&hub);
        thread::spawn(move || work(guests, inbox, hub, faults));
    }
    for (stream, door) in listener.incoming().zip(doors.iter().cycle()) {
        match stream {
            Ok(stream) => door.blocking_send(stream).context("a worker has died")?,
            // One connection that failed before it was accepted is the other side's loss.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The way to every worker.
pub type Hub = Arc<[mpsc::Sender<Bytes>]>;

fn work(
    mut guests: mpsc::Receiver<std::net::TcpStream>,
    mut batches: mpsc::Receiver<Bytes>,
    hub: Hub,
    faults: Faults,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let worker = Rc::new(Worker { hub, members: RefCell::default(), deliveries: Cell::new(0), faults });
    LocalSet::new().block_on(&runtime, async {
        loop {
            tokio::select! {
                guest = guests.recv() => {
                    let Some(guest) = guest else { return Ok(()) };
                    guest.set_nonblocking(true)?;
                    guest.set_nodelay(true)?;
                    let stream = TcpStream::from_std(guest)?;
                    spawn_local(reference_guest::welcome(Rc::clone(&worker), stream));
                }
                batch = batches.recv() => {
                    let Some(batch) = batch else { return Ok(()) };
                    worker.fan_out(gather(batch, &mut batches));
                }
            }
        }
    })
}

/// Joins what is pending into one buffer, so that each member costs one write.
fn gather(first: Bytes, batches: &mut mpsc::Receiver<Bytes>) -> Bytes {
    let Ok(second) = batches.try_recv() else { return first };
    let mut all = Vec::from(first);
    all.extend_from_slice(&second);
    while let Ok(next) = batches.try_recv() {
        all.extend_from_slice(&next);
    }
    all.into()
}

/// One thread's share of the members.
pub struct Worker {
    /// The way to every worker, this one included.
    pub hub: Hub,
    members: RefCell<Vec<Rc<Member>>>,
    deliveries: Cell<u64>,
    faults: Faults,
}

impl Worker {
    /// A member that gets what is passed on from now on.
    pub fn add(&self, stream: TcpStream) -> Rc<Member> {
        let member = Rc::new(Member {
            stream,
            role: Cell::new(Role::Receives),
            unsent: RefCell::default(),
            blocked: Notify::new(),
        });
        self.members.borrow_mut().push(Rc::clone(&member));
        member
    }

    /// Writes a batch to every member of this thread.
    fn fan_out(&self, batch: Bytes) {
        let mut members = self.members.borrow_mut();
        members.retain(|member| member.role.get() == Role::Receives);
        for member in members.iter() {
            let delivery = self.deliveries.get() + 1;
            self.deliveries.set(delivery);
            match self.faults.copies(delivery) {
                Copies::None => {}
                Copies::One => member.send(&batch),
                Copies::Two => {
                    member.send(&batch);
                    member.send(&batch);
                }
            }
        }
    }
}

/// What a connection is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Gets what is passed on.
    Receives,
    /// Has published, and gets only acks.
    Publishes,
    /// Is closed or too far behind.
    Gone,
}

/// One upgraded connection.
pub struct Member {
    /// Its socket.
    pub stream: TcpStream,
    /// What it is there for.
    pub role: Cell<Role>,
    unsent: RefCell<VecDeque<Bytes>>,
    /// Rings when something could not be written at once.
    pub blocked: Notify,
}

impl Member {
    /// Writes at once if nothing waits, else queues.
    pub fn send(&self, bytes: &Bytes) {
        let mut unsent = self.unsent.borrow_mut();
        let mut written = 0;
        if unsent.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(n) if n == bytes.len() => return,
                Ok(n) => written = n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.role.set(Role::Gone),
            }
        }
        if unsent.iter().map(Bytes::len).sum::<usize>() > MOST_UNREAD {
            return self.role.set(Role::Gone);
        }
        unsent.push_back(bytes.slice(written..));
        self.blocked.notify_one();
    }

    /// Whether something waits for the socket.
    pub fn is_blocked(&self) -> bool {
        !self.unsent.borrow().is_empty()
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&self) {
        let mut unsent = self.unsent.borrow_mut();
        while let Some(first) = unsent.front_mut() {
            match self.stream.try_write(first) {
                Ok(n) if n == first.len() => drop(unsent.pop_front()),
                Ok(n) => first.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.role.set(Role::Gone),
            }
        }
    }
}
