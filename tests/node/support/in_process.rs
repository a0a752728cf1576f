//! A node within the test's own process, for drills that reach its actors.

use std::{net::SocketAddr, thread};

use actix::Addr;
use continuum::{
    actors::{
        directory::Directory,
        messages::{Fail, Find},
    },
    backbone::SharedBackbone,
    config::{Config, Sources},
    node,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{
    client::Client,
    http::{self, Response},
    until, within,
};

/// A node on a thread of this process. Dropped, it is stopped.
pub struct InProcess {
    address: SocketAddr,
    directory: Addr<Directory>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    data: TempDir,
}

impl InProcess {
    /// Starts a node on a fresh data directory and a free port.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with(settings, None, TempDir::new().expect("a temporary directory can be made")).await
    }

    /// Starts a node with a journal on a log of the test's own.
    pub async fn start_on(log: SharedBackbone, settings: &[(&str, &str)]) -> Self {
        Self::start_with(settings, Some(log), TempDir::new().expect("a temporary directory can be made")).await
    }

    /// The same in a data directory that another node has left.
    pub async fn start_in(data: TempDir, log: SharedBackbone, settings: &[(&str, &str)]) -> Self {
        Self::start_with(settings, Some(log), data).await
    }

    /// Stops the node; its data directory is left.
    pub fn stop_and_keep(mut self) -> TempDir {
        self.stop();
        std::mem::replace(&mut self.data, TempDir::new().expect("a temporary directory can be made"))
    }

    async fn start_with(settings: &[(&str, &str)], log: Option<SharedBackbone>, data: TempDir) -> Self {
        let path = data.path().display().to_string();
        let ours = [
            ("data_dir", path.as_str()),
            ("server.port", "0"),
            ("server.workers", "2"),
            ("limits.messages_per_minute", "0"),
            ("limits.tenant_messages_per_minute", "0"),
            ("limits.http_messages_per_minute", "0"),
            ("limits.requests_per_minute", "0"),
            ("limits.tenant_requests_per_minute", "0"),
            ("drain.spread", "0s"),
            ("drain.timeout", "5s"),
        ];
        let settings =
            ours.iter().chain(settings).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let sources = Sources { overrides: settings, ..Sources::default() };
        let config = Config::load(&sources).expect("the settings are good").config;
        let (tell, told) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            actix::System::new().block_on(async move {
                let node = match log {
                    Some(log) => node::Node::start_on(config, log).await,
                    None => node::Node::start(config).await,
                };
                let node = node.expect("the node starts");
                let _ = tell.send((node.address(), node.directory().clone()));
                // Told, or the test is over.
                let _ = stopped.await;
                node.stop().await;
            });
        });
        let (address, directory) = within("the node starts", told).await.expect("the node starts");
        Self { address, directory, stop: Some(stop), thread: Some(thread), data }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects an instance to a room, with more of a query, and waits for `session_ready`.
    pub async fn join_with(&self, tenant: &str, instance: &str, query: &str) -> Client {
        Client::connect_to(self.address, &format!("tenant_id={tenant}&instance_id={instance}&{query}")).await
    }

    /// `GET`.
    pub async fn get(&self, target: &str) -> Response {
        http::get(self.address, target).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, target: &str, body: &Value) -> Response {
        http::post(self.address, target, body.to_string().as_bytes()).await
    }

    /// A figure of `/metrics`, summed over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        http::metric(self.address, name).await
    }

    /// Waits until a figure of `/metrics` is as wanted.
    pub async fn until_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        http::until_metric(self.address, name, wanted).await
    }

    /// Lets a room panic.
    pub async fn fail_room(&self, tenant: &str) {
        let tenant: continuum::model::TenantId = tenant.parse().expect("a tenant");
        // Between one room and the next there is none for a moment.
        let room = until("the room is there", async || {
            self.directory.send(Find(tenant.clone())).await.expect("the directory lives")
        })
        .await;
        // The room dies of it and cannot answer; one that is dead already is no failure.
        let _ = room.send(Fail).await;
    }
}

impl InProcess {
    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic was printed; the test that waits for it fails by itself.
            let _ = thread.join();
        }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.stop();
    }
}
