//! What stands between clients and pods: new connections go in turn to those that are ready, as a Service sends them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{interval, timeout},
};

use super::{Numbers, Probe};

/// A pod that may take connections.
#[derive(Clone, Copy, Debug)]
struct Endpoint {
    address: SocketAddr,
    ready: bool,
}

type Endpoints = Arc<watch::Sender<Vec<Option<Endpoint>>>>;

/// Dropped, everything of it ends.
pub struct Service {
    address: SocketAddr,
    endpoints: Endpoints,
    probes: Mutex<Vec<Option<AbortHandle>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Service {
    /// One without pods.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let endpoints: Endpoints = Arc::new(watch::Sender::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, endpoints.clone()));
        Self { address, endpoints, probes: Mutex::default(), tasks: Mutex::new(tasks) }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A pod listens: from now on it is asked whether it is ready.
    pub fn begin(&self, index: usize, address: SocketAddr, numbers: &Numbers) {
        self.set(index, Some(Endpoint { address, ready: false }));
        let probing = probe(index, address, numbers.clone(), self.endpoints.clone());
        let handle = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(probing);
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = probes.len().max(index + 1);
        probes.resize_with(count, || None);
        probes[index] = Some(handle);
    }

    /// A pod goes: nobody is sent there any more.
    pub fn remove(&self, index: usize) {
        if let Some(probe) = self.probes.lock().unwrap_or_else(PoisonError::into_inner)[index].take() {
            probe.abort();
        }
        self.set(index, None);
    }

    /// Waits until a pod is ready; its probes fail before that takes for ever.
    pub async fn until_ready(&self, index: usize) {
        let mut endpoints = self.endpoints.subscribe();
        let state = endpoints.wait_for(|all| all[index].is_none_or(|endpoint| endpoint.ready)).await;
        assert!(state.expect("the service lives")[index].is_some(), "pod {index} did not get ready in its time");
    }

    /// Waits until a pod is not ready any more.
    pub async fn until_unready(&self, index: usize) {
        let mut endpoints = self.endpoints.subscribe();
        let state = endpoints.wait_for(|all| all[index].is_none_or(|endpoint| !endpoint.ready)).await;
        drop(state.expect("the service lives"));
    }

    fn set(&self, index: usize, endpoint: Option<Endpoint>) {
        self.endpoints.send_modify(|all| {
            let count = all.len().max(index + 1);
            all.resize(count, None);
            all[index] = endpoint;
        });
    }
}

async fn accept(listener: TcpListener, endpoints: Endpoints) {
    let mut connections = JoinSet::new();
    let mut turn = 0;
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let ready: Vec<_> =
            endpoints.borrow().iter().flatten().filter(|pod| pod.ready).map(|pod| pod.address).collect();
        turn += 1;
        // Nobody is there, or nobody listens: the client's connection breaks, and it comes again.
        let Some(address) = ready.get(turn % ready.len().max(1)).copied() else { continue };
        connections.spawn(pass_on(client, address));
    }
}

async fn pass_on(mut client: TcpStream, address: SocketAddr) {
    let Ok(mut node) = TcpStream::connect(address).await else { return };
    // Small messages must not wait for each other here.
    let _ = (client.set_nodelay(true), node.set_nodelay(true));
    // However it ends, both ends learn of it.
    let _ = copy_bidirectional(&mut client, &mut node).await;
}

/// First whether it has started, then whether it is ready, as the kubelet does it.
async fn probe(index: usize, address: SocketAddr, numbers: Numbers, endpoints: Endpoints) {
    let set = |ready: bool| {
        endpoints.send_if_modified(|all| {
            let known = all[index].as_mut().filter(|endpoint| endpoint.ready != ready);
            known.map(|endpoint| endpoint.ready = ready).is_some()
        });
    };
    let Numbers { startup, readiness, .. } = numbers;
    let mut failures = 0;
    let mut ticks = interval(startup.period);
    loop {
        ticks.tick().await;
        if answers(&startup, address).await {
            break;
        }
        failures += 1;
        if failures == startup.failures {
            endpoints.send_modify(|all| all[index] = None);
            return;
        }
    }
    let mut ticks = interval(readiness.period);
    loop {
        ticks.tick().await;
        failures = if answers(&readiness, address).await { 0 } else { failures + 1 };
        if failures == 0 {
            set(true);
        } else if failures >= readiness.failures {
            set(false);
        }
    }
}

/// Whether a probe succeeds: 2xx or 3xx in time.
async fn answers(probe: &Probe, address: SocketAddr) -> bool {
    timeout(probe.timeout, status(address, &probe.path))
        .await
        .ok()
        .flatten()
        .is_some_and(|status| (200..400).contains(&status))
}

async fn status(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(1 << 16).read_to_end(&mut answer).await.ok()?;
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}
