//! A node as its operator has it: a process with a data directory and signals.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;

use super::{
    client::Client,
    http::{self, Response},
    log::Log,
    sse::EventStream,
    until, within,
    written::Written,
};

/// Settings of every test node unless a test sets them itself: no limit to run into by accident, and no pause on the way out.
const SETTINGS: &[(&str, &str)] = &[
    ("limits.messages_per_minute", "0"),
    ("limits.tenant_messages_per_minute", "0"),
    ("limits.http_messages_per_minute", "0"),
    ("limits.requests_per_minute", "0"),
    ("limits.tenant_requests_per_minute", "0"),
    ("limits.connections_per_user", "0"),
    ("drain.spread", "0s"),
    ("drain.timeout", "5s"),
    ("server.workers", "2"),
    // All of it is looked through for secrets in the end.
    ("logging.level", "info,continuum=debug,async_nats=off,fjall=warn,lsm_tree=warn,actix_server=warn"),
];

/// A running node. Dropped, it is killed; if the test is failing, its log is printed.
pub struct Node {
    settings: BTreeMap<String, String>,
    data: Arc<TempDir>,
    process: Process,
    address: SocketAddr,
}

/// Which port a node takes when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Any.
    New,
    /// The one that it had.
    Same,
}

struct Process {
    child: Arc<Mutex<Child>>,
    pid: Pid,
    ended: watch::Receiver<Option<ExitStatus>>,
    waiter: Option<JoinHandle<()>>,
    log: Arc<Log>,
}

impl Node {
    /// Starts a node on a fresh data directory and a free port, and waits until it is ready. `settings` are as in
    /// `--set`: `("limits.json_depth", "5")`.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let owned = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let settings = owned(SETTINGS).into_iter().chain(owned(settings)).collect();
        let data = Arc::new(TempDir::new().expect("a temporary directory can be made"));
        let (process, address) = Self::launch(&settings, data.path(), 0).await;
        Self { settings, data, process, address }
    }

    /// The same with a command that a test has changed: more arguments, or another program around it. What was changed
    /// does not hold after [`Node::restart`].
    pub async fn start_through(change: impl FnOnce(Command) -> Command, settings: &[(&str, &str)]) -> Self {
        let pairs = SETTINGS.iter().chain(settings);
        let settings = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let data = Arc::new(TempDir::new().expect("a temporary directory can be made"));
        let command = change(Self::command(&settings, data.path(), 0));
        let (process, address) = Self::until_ready(Process::spawn(command)).await;
        Self { settings, data, process, address }
    }

    /// Starts a node that may have nothing to stand on, and waits until it listens.
    pub async fn start_unready(settings: &[(&str, &str)]) -> Self {
        let pairs = SETTINGS.iter().chain(settings);
        let settings = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let data = Arc::new(TempDir::new().expect("a temporary directory can be made"));
        let (process, address) = Self::until_listening(Process::spawn(Self::command(&settings, data.path(), 0))).await;
        Self { settings, data, process, address }
    }

    async fn launch(settings: &BTreeMap<String, String>, data: &Path, port: u16) -> (Process, SocketAddr) {
        Self::until_ready(Process::spawn(Self::command(settings, data, port))).await
    }

    async fn until_ready(process: Process) -> (Process, SocketAddr) {
        let (process, address) = Self::until_listening(process).await;
        until("/readyz answers 200", async || (http::get(address, "/readyz").await.status == 200).then_some(())).await;
        (process, address)
    }

    async fn until_listening(process: Process) -> (Process, SocketAddr) {
        let ready = |line: &str| -> Option<SocketAddr> {
            if let Ok(line) = serde_json::from_str::<Value>(line) {
                return (line["message"] == "ready").then(|| line["address"].as_str()?.parse().ok())?;
            }
            line.contains(" ready ").then(|| line.split_once("address=")?.1.split_whitespace().next()?.parse().ok())?
        };
        let address = within("the node says on which address it is ready", process.log.find(ready)).await;
        let address = address.unwrap_or_else(|| panic!("the node ended at once:\n{}", process.log.lines().join("\n")));
        (process, address)
    }

    /// The command that starts a node, for tests that want it to fail.
    pub fn command(settings: &BTreeMap<String, String>, data: &Path, port: u16) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_continuum"));
        command.arg("serve").arg("--port").arg(port.to_string()).arg("--data-dir").arg(data);
        for (key, value) in settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        // What whoever runs the tests has set for a node of their own must not matter here.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CONTINUUM_")) {
            command.env_remove(name);
        }
        command
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The WebSocket address of its rooms, without a query.
    pub fn url(&self) -> String {
        format!("ws://{}/ws/sync", self.address)
    }

    /// The base of its HTTP addresses.
    pub fn http(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its data directory; it outlives the node's process and goes with this value.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.process.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// What it has written to standard error so far.
    pub fn log(&self) -> Vec<String> {
        self.process.log.lines()
    }

    /// Waits until it has logged a line with this in it.
    pub async fn logs(&self, part: &str) -> String {
        let what = format!("the node logs {part:?}");
        let found = self.process.log.find(|line| line.contains(part).then(|| line.to_owned()));
        within(&what, found).await.unwrap_or_else(|| panic!("the node ended before it logged {part:?}"))
    }

    /// Connects an instance to a room and waits for `session_ready`.
    pub async fn join(&self, tenant: &str, instance: &str) -> Client {
        self.join_with(tenant, instance, "").await
    }

    /// The same with more of a query: `since=earliest&echo=1`.
    pub async fn join_with(&self, tenant: &str, instance: &str, query: &str) -> Client {
        Client::connect(self, &format!("tenant_id={tenant}&instance_id={instance}&{query}")).await
    }

    /// Opens a tenant's event stream: `since=earliest`.
    pub async fn stream(&self, tenant: &str, query: &str) -> EventStream {
        EventStream::open(self.address, &format!("tenants/{tenant}/stream?{query}"), None).await
    }

    /// Comes back to a tenant's event stream as a browser does.
    pub async fn stream_after(&self, tenant: &str, query: &str, last: &str) -> EventStream {
        EventStream::open(self.address, &format!("tenants/{tenant}/stream?{query}"), Some(last)).await
    }

    /// `GET`.
    pub async fn get(&self, target: &str) -> Response {
        http::get(self.address, target).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, target: &str, body: &Value) -> Response {
        http::post(self.address, target, body.to_string().as_bytes()).await
    }

    /// A figure of `/metrics`, summed over its labels; 0 if it is not there (yet).
    pub async fn metric(&self, name: &str) -> f64 {
        http::metric(self.address, name).await
    }

    /// Waits until a figure of `/metrics` is as wanted, and returns it.
    pub async fn until_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        http::until_metric(self.address, name, wanted).await
    }

    /// SIGKILL, and waits until the process is gone.
    pub async fn kill9(&mut self) -> ExitStatus {
        self.process.signal(Signal::KILL);
        self.ended().await
    }

    /// SIGSTOP: the process stands still until [`Node::resume`].
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process.signal(Signal::CONT);
    }

    /// SIGTERM, and waits until the process is gone.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.ended().await
    }

    /// SIGINT; does not wait: see [`Node::ended`].
    pub fn interrupt(&self) {
        self.process.signal(Signal::INT);
    }

    /// SIGTERM; does not wait: see [`Node::ended`].
    pub fn ask_to_stop(&self) {
        self.process.signal(Signal::TERM);
    }

    /// Waits until the process is gone.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = within("the node's process ends", self.process.ended.wait_for(Option::is_some)).await;
        ended.expect("the waiter outlives the process").expect("it was waited for")
    }

    /// Starts a process on the same data directory and settings; one that still runs is killed first.
    pub async fn restart(&mut self, port: Port) {
        self.kill9().await;
        let port = match port {
            Port::New => 0,
            Port::Same => self.address.port(),
        };
        (self.process, self.address) = Self::launch(&self.settings, self.data.path(), port).await;
    }

    /// Changes a setting for the next [`Node::restart`].
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.insert(key.to_owned(), value.to_owned());
    }
}

impl Process {
    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the node's binary can be started");
        let mut written = Written::new("node");
        let log = Log::follow(child.stderr.take().expect("stderr is piped"), move |line| written.add(line));
        let pid = Pid::from_child(&child);
        let child = Arc::new(Mutex::new(child));
        let (tell, ended) = watch::channel(None);
        let waited_for = child.clone();
        let waiter = thread::spawn(move || {
            // Not reaped here: as long as nobody holds the lock the pid stays this process's own.
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            let status = waited_for.lock().unwrap_or_else(PoisonError::into_inner).wait();
            // Nobody may be interested any more.
            let _ = tell.send(status.ok());
        });
        Self { child, pid, ended, waiter: Some(waiter), log }
    }

    /// Sends a signal, if the process still runs.
    fn signal(&self, signal: Signal) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(child.try_wait(), Ok(None)) {
            kill_process(self.pid, signal).expect("a process of ours takes signals");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        if let Some(waiter) = self.waiter.take() {
            // It cannot panic, and the process is going.
            let _ = waiter.join();
        }
        if thread::panicking() {
            eprintln!("--- the log of node {} ---\n{}\n---", self.pid.as_raw_nonzero(), self.log.lines().join("\n"));
        }
    }
}
