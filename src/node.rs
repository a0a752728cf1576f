//! The composition root: configuration in, running node out, and its orderly end.
//!
//! Owns: what is started in which order and stopped in the reverse. Must not know: what any part does inside.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use actix::{Actor, Addr, Arbiter};
use actix_server::ServerHandle;
use anyhow::Context as _;
use futures_util::future::join_all;
use prometheus_client::registry::Registry;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    actors::{
        authority,
        context::NodeContext,
        directory::Directory,
        erasure,
        heartbeat::{HeartbeatSupervisor, SayFarewell},
        messages::{AllRooms, Drain},
        metrics::Metrics,
        nodes::Nodes,
        retention,
        session::Addresses,
    },
    auth::Authority,
    backbone::{
        SharedBackbone,
        embedded::{EmbeddedConfig, EmbeddedLog},
        nats::{Credentials, NatsConfig, NatsLog, Tls},
    },
    config::{AuthMode, BackboneKind, Config, watched},
    http::{
        Certificate, Imports, JournalFigures, LogFigures, ProcessFigures, Surveys,
        server::{self, Shared},
    },
    journal::{Journal, JournalConfig},
    memory,
};

/// How often a draining node looks whether everyone has left.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// How often the node looks whether a crowd has come or gone.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Messages that may wait in one subscription to NATS.
const SUBSCRIPTION: usize = 65_536;
/// Connections made or ended that make a crowd.
const CROWD: u64 = 256;

/// A node that serves.
#[derive(Debug)]
pub struct Node {
    address: SocketAddr,
    context: Arc<NodeContext>,
    addresses: Arc<Addresses>,
    server: ServerHandle,
}

/// Runs a node until it is told to stop: SIGTERM or SIGINT drain it, a second SIGINT ends it at once.
///
/// # Errors
///
/// When it cannot start: the log does not open, the address is taken.
pub fn run(config: Config) -> anyhow::Result<ExitCode> {
    actix::System::new().block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let node = Node::start(config).await?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::select! {
            () = node.stop() => Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => {
                tracing::warn!("interrupted again: stopping at once");
                // What was acknowledged is on disk; everything else was never promised.
                std::process::exit(130)
            }
        }
    })
}

impl Node {
    /// Starts a node within a running actor system.
    ///
    /// # Errors
    ///
    /// When the log or the journal does not open or the address cannot be bound.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        // Before the log is opened: whoever cannot listen should not take the lock.
        let listener = bind(&config)?;
        let authority = open_authority(&config)?;
        let tls = Certificate::load(&config.server)?;
        let backbone = open_backbone(&config).await?;
        // A log on this machine's own disk is never out of reach.
        let journal = match config.backbone.kind {
            BackboneKind::Embedded => None,
            BackboneKind::Nats => Some(open_journal(&config, &backbone).await?),
        };
        Self::serve(config, (listener, tls), authority, backbone, journal)
    }

    /// Starts a node on a log that the caller has opened and that may be out of reach: with a journal, whatever the
    /// configuration says of the log.
    ///
    /// # Errors
    ///
    /// When the journal does not open or the address cannot be bound.
    pub async fn start_on(config: Config, backbone: SharedBackbone) -> anyhow::Result<Self> {
        let (listener, authority) = (bind(&config)?, open_authority(&config)?);
        let tls = Certificate::load(&config.server)?;
        let journal = open_journal(&config, &backbone).await?;
        Self::serve(config, (listener, tls), authority, backbone, Some(journal))
    }

    fn serve(
        config: Config,
        (listener, tls): (TcpListener, Option<Certificate>),
        authority: Authority,
        backbone: SharedBackbone,
        journal: Option<Arc<Journal>>,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr().context("the listener has no address")?;
        if config.auth.mode == AuthMode::None {
            tracing::warn!(%address, "auth.mode is none: every client is who it says it is");
        }
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let process = ProcessFigures::new(&mut registry);
        if let Some(hook) = authority.hook() {
            hook.register(&mut registry);
        }
        registry.register_collector(Box::new(LogFigures::new(backbone.clone())));
        if let Some(journal) = &journal {
            registry.register_collector(Box::new(JournalFigures::new(journal.clone())));
        }
        let context = NodeContext::new(config, authority, backbone, journal, metrics, Nodes::new(&name_of(address)));
        let addresses = start_actors(&context);
        let (imports, surveys) = (Imports::default(), Surveys::default());
        let shared =
            Shared { context: context.clone(), addresses: addresses.clone(), registry, process, imports, surveys };
        let running = server::serve(listener, tls, shared).context("cannot serve")?;
        let server = running.handle();
        actix_rt::spawn(async move {
            if let Err(error) = running.await {
                tracing::error!(%error, "the server ended");
            }
        });
        actix_rt::spawn(keep_house(context.clone()));
        if context.authority.asks() {
            actix_rt::spawn(authority::follow(context.clone()));
            actix_rt::spawn(erasure::keep(context.clone(), addresses.directory.clone()));
            actix_rt::spawn(retention::keep(context.clone()));
            actix_rt::spawn(keep_issuers(context.clone()));
        }
        tracing::info!(%address, "ready");
        Ok(Self { address, context, addresses, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its directory, for drills.
    pub fn directory(&self) -> &Addr<Directory> {
        &self.addresses.directory
    }

    /// Lets nobody new in, sends everyone home spread out over time, finishes what is being stored, then stops.
    pub async fn stop(self) {
        let Self { context, addresses, server, .. } = self;
        let deadline = Instant::now() + context.config.drain.timeout;
        tracing::info!(connections = context.connections.taken(), "draining");
        context.start_draining();
        let rooms = timeout(context.config.drain.timeout, addresses.directory.send(AllRooms)).await;
        let rooms = rooms.ok().and_then(Result::ok).unwrap_or_default();
        // A room that is gone has nobody to send home. The others are waited for: they keep their cursors and tallies,
        // and the log must not close before that.
        let _ = timeout_at(deadline, join_all(rooms.iter().map(|room| room.send(Drain)))).await;
        let is_busy = || context.connections.taken() > 0 || context.requests.taken() > 0;
        while is_busy() && Instant::now() < deadline {
            sleep(DRAIN_POLL).await;
        }
        let left = context.connections.taken();
        if left > 0 {
            tracing::warn!(left, "drain.timeout is over: closing the rest");
        }
        if let Some(journal) = &context.journal {
            let entries = journal.settle(deadline).await;
            if entries > 0 {
                tracing::warn!(entries, "publishes stay in the journal; they are stored when this node runs again");
            }
        }
        // Gracefully: answers that are ready are still written.
        server.stop(true).await;
        // It ends only with the process.
        let _ = addresses.supervisor.send(SayFarewell).await;
        context.backbone.close().await;
        if let Some(journal) = &context.journal {
            // Behind the log: what that gave up at its end is kept.
            journal.close().await;
        }
        tracing::info!("stopped");
    }
}

/// When a crowd has come or gone and the number of connections is steady again, gives memory back.
async fn keep_house(context: Arc<NodeContext>) {
    let (mut settled, mut before) = (0, 0);
    loop {
        sleep(HOUSEKEEPING).await;
        let now = context.connections.moves();
        if now == before && now - settled >= CROWD {
            settled = now;
            // Not on the thread that accepts and drains. It cannot fail, and nobody waits for it.
            drop(tokio::task::spawn_blocking(memory::give_back));
        }
        before = now;
    }
}

/// Reads the issuers' file again when it or a key that it names has changed.
async fn keep_issuers(context: Arc<NodeContext>) {
    let path = context.config.auth.issuers.clone();
    if path.as_os_str().is_empty() {
        return;
    }
    let of_keys = context.clone();
    let reload = move || match context.authority.reload(&context.config.auth.issuers) {
        Ok(()) => tracing::info!("auth.issuers was read again"),
        Err(error) => {
            tracing::error!(error, "auth.issuers has changed and cannot be used; what was there before holds");
        }
    };
    let files = move || [vec![path.clone()], of_keys.authority.key_files()].concat();
    watched::watch(files, reload).await;
}

fn start_actors(context: &Arc<NodeContext>) -> Arc<Addresses> {
    // On a thread of their own: neither the accept loop nor a busy room delays deadlines or the way to a room.
    let arbiter = Arbiter::new();
    let (of_directory, of_supervisor) = (context.clone(), context.clone());
    let directory = Directory::start_in_arbiter(&arbiter.handle(), move |_| Directory::new(of_directory));
    let told = directory.clone();
    let supervisor = HeartbeatSupervisor::start_in_arbiter(&arbiter.handle(), move |_| {
        HeartbeatSupervisor::new(of_supervisor, told)
    });
    Arc::new(Addresses { directory, supervisor })
}

fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    Ok(server::bind(&config.server.host, config.server.port, config.server.backlog)?)
}

fn open_authority(config: &Config) -> anyhow::Result<Authority> {
    Authority::open(&config.auth).map_err(anyhow::Error::msg).context("cannot tell who may come in")
}

/// The machine's name and the port, for people.
fn name_of(address: SocketAddr) -> String {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{machine}:{}", address.port())
}

async fn open_journal(config: &Config, backbone: &SharedBackbone) -> anyhow::Result<Arc<Journal>> {
    let dir = config.data_dir.join("journal");
    let opening = JournalConfig {
        dir: dir.clone(),
        max_bytes: config.journal.max_bytes,
        commit_records: config.log.commit_records,
        commit_bytes: config.log.commit_bytes,
        queue_appends: config.log.queue_appends,
    };
    let journal = Journal::open(opening, backbone.clone()).await;
    journal.with_context(|| format!("cannot open the journal in {}", dir.display()))
}

async fn open_backbone(config: &Config) -> anyhow::Result<SharedBackbone> {
    match config.backbone.kind {
        BackboneKind::Embedded => {
            let log = &config.log;
            let opened = EmbeddedLog::open(EmbeddedConfig {
                data_dir: config.data_dir.clone(),
                retention_age: (!log.retention_age.is_zero()).then_some(log.retention_age),
                retention_bytes: (log.retention_bytes > 0).then_some(log.retention_bytes),
                sweep_interval: log.sweep_interval,
                commit_records: log.commit_records,
                commit_bytes: log.commit_bytes,
                queue_appends: log.queue_appends,
                feed_bytes: log.feed_bytes,
            });
            Ok(Arc::new(opened.with_context(|| format!("cannot open the log in {}", config.data_dir.display()))?))
        }
        BackboneKind::Nats => Ok(Arc::new(NatsLog::open(nats_config(config)).await?)),
    }
}

/// What the configuration says of the log on NATS.
pub fn nats_config(config: &Config) -> NatsConfig {
    let (nats, log) = (&config.nats, &config.log);
    let file = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
    NatsConfig {
        urls: nats.urls.clone(),
        credentials: file(&nats.credentials).map_or(Credentials::None, Credentials::File),
        tls: Tls {
            required: nats.tls,
            ca: file(&nats.tls_ca),
            identity: file(&nats.tls_certificate).zip(file(&nats.tls_key)),
        },
        prefix: nats.prefix.clone(),
        shards: nats.shards,
        replicas: nats.replicas,
        retention_age: (!log.retention_age.is_zero()).then_some(log.retention_age),
        retention_bytes: (log.retention_bytes > 0).then_some(log.retention_bytes),
        queue_appends: log.queue_appends,
        window: nats.window,
        feed_bytes: log.feed_bytes,
        largest_body: config.limits.max_message_bytes,
        subscription_capacity: SUBSCRIPTION,
    }
}
