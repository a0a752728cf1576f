//! One server on loopback.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::{config::NatsConfig, log::Log, monitor, port::Port, process::Process, program::program, until, within};

/// A server with a name, two ports and a store that it keeps over restarts. Dropped, it is killed and its store removed;
/// if the test is failing, its log is printed.
///
/// Everything takes `&self`, so that one task may break what another one uses.
pub struct NatsServer {
    name: String,
    clients: Port,
    monitoring: Port,
    dir: TempDir,
    config: Mutex<NatsConfig>,
    life: Mutex<Life>,
}

/// Its processes, one after the other.
#[derive(Default)]
struct Life {
    process: Option<Arc<Process>>,
    paused: bool,
    logs: Vec<Arc<Log>>,
}

impl NatsServer {
    /// Starts a server with JetStream on a fresh store and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_with(NatsConfig::new()).await
    }

    /// The same with more settings.
    pub async fn start_with(config: NatsConfig) -> Self {
        let server = Self::prepare("nats", config);
        server.start_again().await;
        server
    }

    /// Has its ports and its store, but does not run yet.
    pub(super) fn prepare(name: &str, config: NatsConfig) -> Self {
        Self {
            name: name.to_owned(),
            clients: Port::reserve(),
            monitoring: Port::reserve(),
            dir: TempDir::new().expect("a temporary directory can be made"),
            config: Mutex::new(config),
            life: Mutex::default(),
        }
    }

    /// `nats://127.0.0.1:port`, the same over restarts.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Where it listens for clients.
    pub fn address(&self) -> SocketAddr {
        self.clients.address()
    }

    /// Where its monitoring listens.
    pub fn monitoring(&self) -> SocketAddr {
        self.monitoring.address()
    }

    /// What it calls itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory that it is started in: relative paths of its configuration begin here.
    pub fn home(&self) -> &Path {
        self.dir.path()
    }

    /// Its store, in which JetStream keeps `jetstream/…`.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Removes its store; it must not run.
    pub fn lose_store(&self) {
        assert!(!self.is_running(), "a store is lost while its server is down");
        if self.store().exists() {
            fs::remove_dir_all(self.store()).expect("a directory of ours can be removed");
        }
    }

    /// Changes its configuration from the next [`NatsServer::start_again`] on.
    pub fn reconfigure(&self, change: impl FnOnce(NatsConfig) -> NatsConfig) {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        *config = change(config.clone());
    }

    /// SIGKILL, and waits until it is gone. Nothing happens if it does not run.
    pub async fn kill(&self) {
        self.end_by(Signal::KILL).await;
    }

    /// SIGTERM, and waits until it has shut down as it does when nothing is wrong.
    pub async fn stop(&self) {
        // Standing still it would not even notice.
        self.resume();
        self.end_by(Signal::TERM).await;
    }

    /// Starts it on the same port and store and waits until it is ready; if it still runs, it is killed first.
    pub async fn start_again(&self) {
        self.launch().await;
        until("a server is healthy", async || {
            assert!(self.is_running(), "the server ended:\n{}", self.log().join("\n"));
            self.is_healthy().await.then_some(())
        })
        .await;
    }

    /// Starts it and waits until clients can connect: JetStream may not be there yet.
    pub(super) async fn launch(&self) {
        self.kill().await;
        let process = Arc::new(Process::spawn(self.command()));
        let log = process.log().clone();
        self.change(|life| {
            life.logs.push(log.clone());
            life.process = Some(process);
        });
        let ready = log.find(|line| line.contains("Server is ready").then_some(()));
        let ready = within("a server says that it is ready", ready).await;
        ready.unwrap_or_else(|| panic!("the server ended at once:\n{}", log.lines().join("\n")));
    }

    /// SIGSTOP: stands still until [`NatsServer::resume`]; connections stay open.
    pub async fn pause(&self) {
        let process = self.process().expect("a server that is paused runs");
        process.signal(Signal::STOP);
        process.stopped().await;
        self.change(|life| life.paused = true);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        if let Some(process) = self.process() {
            process.signal(Signal::CONT);
        }
        self.change(|life| life.paused = false);
    }

    /// Whether there is a process, paused or not.
    pub fn is_running(&self) -> bool {
        self.process().is_some_and(|process| process.is_running())
    }

    /// Whether it runs and does not stand still.
    pub fn is_awake(&self) -> bool {
        self.is_running() && !self.life.lock().unwrap_or_else(PoisonError::into_inner).paused
    }

    /// Whether `/healthz` says that everything of it works: in a cluster, that it keeps up.
    pub async fn is_healthy(&self) -> bool {
        self.monitor("/healthz").await.is_some_and(|(status, _)| status == 200)
    }

    /// The status and body of one of its monitoring pages (`/jsz?streams=1`); `None` when it does not answer.
    pub async fn monitor(&self, target: &str) -> Option<(u16, Value)> {
        monitor::get(self.monitoring.address(), target).await
    }

    /// All that it has logged, over restarts.
    pub fn log(&self) -> Vec<String> {
        let logs = self.life.lock().unwrap_or_else(PoisonError::into_inner).logs.clone();
        logs.iter().flat_map(|log| log.lines()).collect()
    }

    /// Waits until its present process has logged a line with this in it.
    pub async fn logs(&self, part: &str) -> String {
        let log = self.process().expect("a server that logs runs").log().clone();
        let found = log.find(|line| line.contains(part).then(|| line.to_owned()));
        within(&format!("a server logs {part:?}"), found).await.expect("it logs that before it ends")
    }

    /// The process's id.
    pub fn pid(&self) -> Option<u32> {
        self.process().map(|process| process.pid())
    }

    fn command(&self) -> Command {
        let (clients, monitoring) = (self.clients.address(), self.monitoring.address());
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.home().join("server.conf");
        fs::write(&file, config.render(&self.name, clients, monitoring, &self.store())).expect("a file of ours");
        let mut command = Command::new(program());
        command.arg("-c").arg(file).current_dir(self.home());
        command
    }

    async fn end_by(&self, signal: Signal) {
        if let Some(process) = self.process() {
            process.signal(signal);
            process.ended().await;
        }
        self.change(|life| (life.process, life.paused) = (None, false));
    }

    fn process(&self) -> Option<Arc<Process>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).process.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Life)) {
        change(&mut self.life.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
