//! The log on three servers in the suite. The tests share a cluster; each has subjects and streams of its own.

use std::sync::{Arc, Weak};

use continuum::{
    backbone::{
        SharedBackbone,
        nats::{NatsConfig, NatsLog},
    },
    model::Position,
};
use tokio::sync::Mutex;

use crate::{
    nats_support::{Admin, NatsCluster},
    single::{config, trim},
    support::{Backend, Options},
};

/// A log in a shared cluster.
pub struct ThreeServers {
    log: SharedBackbone,
    cluster: Arc<NatsCluster>,
    settings: NatsConfig,
}

/// The cluster that is running, if a test has one. The last one that needs it ends it.
static RUNNING: Mutex<Weak<NatsCluster>> = Mutex::const_new(Weak::new());

async fn cluster() -> Arc<NatsCluster> {
    let mut running = RUNNING.lock().await;
    if let Some(cluster) = running.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(NatsCluster::start().await);
    *running = Arc::downgrade(&cluster);
    cluster
}

async fn open(settings: &NatsConfig) -> SharedBackbone {
    Arc::new(NatsLog::open(settings.clone()).await.expect("opens"))
}

impl Backend for ThreeServers {
    async fn make(options: Options) -> Self {
        let cluster = cluster().await;
        let prefix = format!("t{}", uuid::Uuid::new_v4().simple())[..20].to_owned();
        let settings = NatsConfig { prefix, replicas: 3, ..config(&cluster.urls(), options.feed_bytes) };
        Self { log: open(&settings).await, cluster, settings }
    }

    fn log(&self) -> &SharedBackbone {
        &self.log
    }

    async fn reopen(&mut self) {
        self.log.close().await;
        self.log = open(&self.settings).await;
    }

    async fn crash_and_reopen(&mut self) {
        let crashed = std::mem::replace(&mut self.log, open(&self.settings).await);
        // Its end waits for nothing; the runtime underneath may not be dropped on this one.
        tokio::task::spawn_blocking(move || drop(crashed)).await.expect("dropped");
    }

    async fn trim(&self, to: Position) {
        trim(&Admin::connect(&self.cluster.urls()).await, &self.settings.prefix, to).await;
    }
}
