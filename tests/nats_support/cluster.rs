//! Three servers that are one.

use std::net::SocketAddr;

use futures_util::future::join_all;
use serde_json::Value;

use super::{config::NatsConfig, port::Port, server::NatsServer, until};

/// How many servers there are.
const SIZE: usize = 3;

/// Three servers with JetStream in a cluster; `n0`, `n1` and `n2`. Clients are told of no other addresses than the one they
/// used: behind a [`Line`](super::Line) they stay behind it.
pub struct NatsCluster {
    servers: Vec<NatsServer>,
    _routes: Vec<Port>,
}

impl NatsCluster {
    /// Starts three servers on fresh stores and waits until they are healthy.
    pub async fn start() -> Self {
        Self::start_with(NatsConfig::new()).await
    }

    /// The same with more settings, for each of them.
    pub async fn start_with(config: NatsConfig) -> Self {
        let routes: Vec<Port> = (0..SIZE).map(|_| Port::reserve()).collect();
        let urls: Vec<String> = routes.iter().map(|port| format!("\"nats://{}\"", port.address())).collect();
        let prepare = |(index, port): (usize, &Port)| {
            let (listen, urls) = (port.address(), urls.join(", "));
            let text =
                format!("cluster {{\n name: test\n listen: \"{listen}\"\n routes: [{urls}]\n no_advertise: true\n}}\n");
            NatsServer::prepare(&format!("n{index}"), config.clone().text(&text))
        };
        let servers = routes.iter().enumerate().map(prepare).collect();
        Self::of(servers, routes).await
    }

    /// Starts servers that know of each other, on ports for routes that are held for them, and waits until they are healthy.
    pub(super) async fn of(servers: Vec<NatsServer>, routes: Vec<Port>) -> Self {
        let cluster = Self { servers, _routes: routes };
        // At once: one alone waits for the others.
        join_all(cluster.servers.iter().map(NatsServer::launch)).await;
        cluster.wait_healthy().await;
        cluster
    }

    /// The addresses of all, with commas between, as async-nats takes them.
    pub fn urls(&self) -> String {
        self.servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    /// The same as sockets have them.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(NatsServer::address).collect()
    }

    /// One of the servers, from 0.
    pub fn server(&self, index: usize) -> &NatsServer {
        &self.servers[index]
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(&self, index: usize) {
        self.servers[index].kill().await;
    }

    /// SIGTERM, and waits until it has handed over and is gone.
    pub async fn stop(&self, index: usize) {
        self.servers[index].stop().await;
    }

    /// Starts it on the same port and store and waits until it takes clients; see [`NatsCluster::wait_healthy`].
    pub async fn start_again(&self, index: usize) {
        self.servers[index].launch().await;
    }

    /// Starts all at once, after all of them were killed, and waits until they are healthy.
    pub async fn start_all_again(&self) {
        join_all(self.servers.iter().map(NatsServer::launch)).await;
        self.wait_healthy().await;
    }

    /// SIGSTOP: stands still, with its connections open.
    pub async fn pause(&self, index: usize) {
        self.servers[index].pause().await;
    }

    /// SIGCONT.
    pub fn resume(&self, index: usize) {
        self.servers[index].resume();
    }

    /// The server that leads a stream and is awake, once there is one. Says what that server thinks of itself: a follower
    /// names the leader before for a while.
    pub async fn leader_of(&self, stream: &str) -> usize {
        until(&format!("{stream} has a leader"), async || {
            let names = join_all(self.servers.iter().map(|server| stream_leader(server, stream))).await;
            names.iter().zip(&self.servers).position(|(leader, server)| leader.as_deref() == Some(server.name()))
        })
        .await
    }

    /// A server that does not lead a stream, and is awake.
    pub async fn follower_of(&self, stream: &str) -> usize {
        let leader = self.leader_of(stream).await;
        let others = (0..SIZE).filter(|index| *index != leader);
        others.into_iter().find(|index| self.servers[*index].is_awake()).expect("a leader has a majority behind it")
    }

    /// Waits until one of the servers that are awake leads JetStream, it finds the others that are awake up to date, and
    /// each of them finds itself healthy.
    pub async fn wait_healthy(&self) {
        until("the cluster is healthy", async || {
            let awake: Vec<_> = self.servers.iter().filter(|server| server.is_awake()).collect();
            let healthy = join_all(awake.iter().map(|server| server.is_healthy())).await;
            let views = join_all(awake.iter().map(|server| meta_group(server))).await;
            let led = awake.iter().zip(&views).any(|(server, view)| leads_all(server, view.as_ref(), &awake));
            (led && healthy.iter().all(|healthy| *healthy)).then_some(())
        })
        .await;
    }
}

/// Who leads a stream in the eyes of one server.
async fn stream_leader(server: &NatsServer, stream: &str) -> Option<String> {
    if !server.is_awake() {
        return None;
    }
    let (_, page) = server.monitor("/jsz?streams=1").await?;
    let accounts = page["account_details"].as_array()?;
    let mut streams = accounts.iter().filter_map(|account| account["stream_detail"].as_array()).flatten();
    let found = streams.find(|found| found["name"] == stream)?;
    Some(found["cluster"]["leader"].as_str()?.to_owned())
}

async fn meta_group(server: &NatsServer) -> Option<Value> {
    let (_, mut page) = server.monitor("/jsz").await?;
    Some(page["meta_cluster"].take())
}

/// Whether a server leads JetStream and finds all these up to date.
fn leads_all(server: &NatsServer, view: Option<&Value>, awake: &[&NatsServer]) -> bool {
    let Some(view) = view.filter(|view| view["leader"] == server.name()) else { return false };
    let Some(replicas) = view["replicas"].as_array() else { return false };
    let current = |name: &str| {
        let found = replicas.iter().find(|replica| replica["name"] == name);
        found.is_some_and(|replica| replica["current"] == true && replica["offline"] != true)
    };
    awake.iter().all(|other| other.name() == server.name() || current(other.name()))
}
