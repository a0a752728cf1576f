//! A line between a node and a server that a test can cut.
//!
//! A line that is cut is silent, as a network that lost a link: both ends keep their connections and learn nothing, what
//! is sent piles up before the cut and passes when the line is healed. A line that is snapped is gone at once, as a machine that
//! was reset: connections are reset and new ones refused. It runs on a thread of its own, so that a test that blocks its
//! runtime does not cut it by accident.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use super::{port::Port, within};

/// How much of one direction is under way at most, in pieces of this many bytes.
const PIECE: usize = 64 << 10;
const PIECES: usize = 64;

/// A TCP proxy on a port of its own, which it keeps. Dropped, its connections are reset.
#[derive(Debug)]
pub struct Line {
    port: Port,
    plan: watch::Sender<Plan>,
    listening: watch::Receiver<bool>,
    carried: Arc<AtomicUsize>,
}

/// What the test wants of it.
#[derive(Clone, Copy, Debug)]
struct Plan {
    snapped: bool,
    to_server: bool,
    from_server: bool,
    delay: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    ToServer,
    FromServer,
}

impl Plan {
    const OPEN: Self = Self { snapped: false, to_server: true, from_server: true, delay: Duration::ZERO };

    fn passes(&self, direction: Direction) -> bool {
        match direction {
            Direction::ToServer => self.to_server,
            Direction::FromServer => self.from_server,
        }
    }
}

impl Line {
    /// A line to a server, or to whatever listens there; open.
    pub async fn to(target: SocketAddr) -> Self {
        let port = Port::reserve();
        let (plan, wanted) = watch::channel(Plan::OPEN);
        let (tell, mut listening) = watch::channel(false);
        let carried = Arc::new(AtomicUsize::new(0));
        let (address, count) = (port.address(), carried.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(run(address, target, wanted, tell, count));
        });
        let ready = listening.wait_for(|listening| *listening);
        within("a line listens", ready).await.expect("its thread waits for orders");
        Self { port, plan, listening, carried }
    }

    /// `nats://127.0.0.1:port`: what to give to a client.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// How many connections it carries, silent ones included.
    pub fn connections(&self) -> usize {
        self.carried.load(Ordering::SeqCst)
    }

    /// Both directions go silent. The kernel still accepts connections, but nothing answers on them until the line is healed.
    pub fn cut(&self) {
        self.change(|plan| (plan.to_server, plan.from_server) = (false, false));
    }

    /// What clients send no longer arrives; what the server sends does. New connections get no answer.
    pub fn cut_to_server(&self) {
        self.change(|plan| plan.to_server = false);
    }

    /// What the server sends no longer arrives; what clients send does. New connections get no answer.
    pub fn cut_from_server(&self) {
        self.change(|plan| plan.from_server = false);
    }

    /// Everything that comes from now on arrives this much later; order and throughput stay.
    pub fn delay(&self, delay: Duration) {
        self.change(|plan| plan.delay = delay);
    }

    /// Resets all connections, with what is under way on them, and refuses new ones. When this returns, it has happened.
    pub async fn snap(&mut self) {
        self.change(|plan| plan.snapped = true);
        let gone = self.listening.wait_for(|listening| !*listening);
        within("a line snaps", gone).await.expect("its thread waits for orders");
    }

    /// Opens both directions again: what piled up passes. When this returns, connections are accepted. A delay stays.
    pub async fn heal(&mut self) {
        self.change(|plan| *plan = Plan { delay: plan.delay, ..Plan::OPEN });
        let back = self.listening.wait_for(|listening| *listening);
        within("a line listens again", back).await.expect("its thread waits for orders");
    }

    fn change(&self, change: impl FnOnce(&mut Plan)) {
        self.plan.send_modify(change);
    }
}

/// The line's thread; ends with the last word of [`Line`].
async fn run(
    address: SocketAddr,
    target: SocketAddr,
    mut wanted: watch::Receiver<Plan>,
    tell: watch::Sender<bool>,
    carried: Arc<AtomicUsize>,
) {
    loop {
        let listener = TcpListener::bind(address).await.expect("the port is held for it");
        let mut connections = JoinSet::new();
        tell.send_replace(true);
        loop {
            let open = {
                let plan = wanted.borrow_and_update();
                if plan.snapped {
                    break;
                }
                plan.to_server && plan.from_server
            };
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                Ok((client, _)) = listener.accept(), if open => {
                    let held = Carried::new(&carried);
                    let plan = wanted.clone();
                    connections.spawn(async move {
                        // A connection that breaks is what this is for.
                        let _ = carry(client, target, plan).await;
                        drop(held);
                    });
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
        drop(listener);
        connections.shutdown().await;
        tell.send_replace(false);
        if wanted.wait_for(|plan| !plan.snapped).await.is_err() {
            return;
        }
    }
}

/// Counts a connection for as long as it lives.
struct Carried(Arc<AtomicUsize>);

impl Carried {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Carries one connection. Dropped or broken, both of its ends are reset.
async fn carry(mut client: TcpStream, target: SocketAddr, plan: watch::Receiver<Plan>) -> io::Result<()> {
    SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    let mut server = TcpStream::connect(target).await?;
    SockRef::from(&server).set_linger(Some(Duration::ZERO))?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
    }
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        pass(from_client, to_server, Direction::ToServer, plan.clone()),
        pass(from_server, to_client, Direction::FromServer, plan),
    )?;
    // Both said goodbye: what is still under way may arrive.
    SockRef::from(&client).set_linger(None)?;
    SockRef::from(&server).set_linger(None)
}

/// Carries one direction to its end.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: Direction,
    mut plan: watch::Receiver<Plan>,
) -> io::Result<()> {
    let (queue, mut queued) = mpsc::channel::<(Instant, io::Result<Bytes>)>(PIECES);
    let read = async move {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            let read = from.read_buf(&mut piece).await;
            // The end and a reset wait in the queue like everything else: a cut keeps them back.
            let is_last = !matches!(read, Ok(1..));
            if queue.send((Instant::now(), read.map(|_| piece.freeze()))).await.is_err() || is_last {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((came, piece)) = queued.recv().await {
            let delay = plan.borrow().delay;
            if !delay.is_zero() {
                tokio::time::sleep_until(came + delay).await;
            }
            if plan.wait_for(|plan| plan.passes(direction)).await.is_err() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            match piece? {
                end if end.is_empty() => return to.shutdown().await,
                piece => to.write_all(&piece).await?,
            }
        }
        Ok(())
    };
    tokio::try_join!(read, write).map(|_| ())
}
