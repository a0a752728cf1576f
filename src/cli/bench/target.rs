//! The server under load, and how a bench connection gets to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, bail};
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    client::{BaseUrl, ClientOptions, Connection, Scheme, Since, handshake, track::Tracker},
    model::{InstanceId, TenantId},
};

/// Connections from one source address before the next one is used; a port range holds some 28,000.
const PER_SOURCE: usize = 20_000;

/// Which addresses may be put under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only this machine.
    Loopback,
    /// Any; somebody asked for it.
    Anywhere,
}

/// The server under load.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    url: BaseUrl,
    /// The room.
    pub tenant: TenantId,
    /// By which door members join; publishers take the first.
    door: Door,
}

/// A WebSocket path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Door {
    /// `/ws/sync`.
    Sync,
    /// `/ws`.
    Ws,
}

/// Who a connection is, and what it receives.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Which of the many, for its name and its source address.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// From where on.
    pub since: Option<Since>,
}

impl Target {
    /// Resolves the URL, once for all connections.
    pub fn new(url: BaseUrl, tenant: TenantId, reach: Reach) -> anyhow::Result<Self> {
        if url.scheme() == Scheme::Tls {
            bail!("a bench speaks without TLS: put the node's plain port under load");
        }
        let mut addresses =
            (url.host(), url.port()).to_socket_addrs().with_context(|| format!("cannot resolve {url}"))?;
        let address = addresses.next().with_context(|| format!("{url} has no address"))?;
        if reach == Reach::Loopback && !address.ip().is_loopback() {
            bail!("{url} is not on this machine; a bench may bring a server down, so say --remote if you mean it");
        }
        Ok(Self { address, url, tenant, door: Door::Sync })
    }

    /// The same server, another room.
    pub fn with_tenant(&self, tenant: TenantId) -> Self {
        Self { tenant, ..self.clone() }
    }

    /// The same room and door on another server of this machine.
    pub fn on(&self, url: &BaseUrl) -> anyhow::Result<Self> {
        let other = Self::new(url.clone(), self.tenant.clone(), Reach::Loopback)?;
        Ok(Self { door: self.door, ..other })
    }

    /// The same server and room, by another door.
    pub fn by(&self, door: Door) -> Self {
        Self { door, ..self.clone() }
    }

    /// An upgraded connection and the bytes that came behind the answer.
    pub async fn connect(&self, guest: &Guest) -> anyhow::Result<(TcpStream, Vec<u8>)> {
        let mut stream = self.dial(guest.index).await.with_context(|| format!("cannot connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        let instance: InstanceId = guest.name.parse()?;
        let options = ClientOptions::new(self.url.clone(), self.tenant.clone(), instance);
        let target = options.target(guest.since);
        let target = match self.door {
            Door::Sync => target,
            // The two take the same parameters.
            Door::Ws => target.replacen("/ws/sync?", "/ws?", 1),
        };
        match handshake::upgrade(&mut stream, &self.url.authority(), &target, None).await {
            Ok(rest) => Ok((stream, rest)),
            Err(handshake::HandshakeError::Refused(refusal)) => bail!("{}", explained(&refusal)),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the room stands, as a cursor.
    pub async fn now(&self) -> anyhow::Result<Since> {
        let options = ClientOptions::new(self.url.clone(), self.tenant.clone(), "bench-scout".parse()?);
        let (connection, _) = Connection::join(&options, Some(Since::Latest), Tracker::new(options.echo, None)).await?;
        let cursor = connection.tracker().cursor().context("session_ready gives a cursor")?;
        connection.close().await;
        Ok(Since::Cursor(cursor))
    }

    async fn dial(&self, index: usize) -> std::io::Result<TcpStream> {
        let SocketAddr::V4(address) = self.address else { return TcpStream::connect(self.address).await };
        let socket = TcpSocket::new_v4()?;
        let source = index / PER_SOURCE;
        if source > 0 && address.ip().is_loopback() {
            let last = u8::try_from(source + 1).unwrap_or(u8::MAX);
            socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0))?;
        }
        socket.connect(self.address).await
    }
}

fn explained(refusal: &handshake::Refusal) -> String {
    match refusal.code.as_deref() {
        Some("limit_reached" | "rate_limited") => {
            format!("{refusal}; start the node with --config config/bench.toml, which raises its limits")
        }
        _ => refusal.to_string(),
    }
}
