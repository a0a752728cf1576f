//! The log on NATS in the suite, on a real server.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use continuum::{
    backbone::{
        SharedBackbone,
        nats::{Credentials, NatsConfig, NatsLog, Tls},
    },
    model::Position,
};
use serde_json::json;

use crate::{
    nats_support::{Admin, NatsServer, until},
    support::{Backend, Options},
};

/// Settings for a log on some servers.
pub fn config(urls: &str, feed_bytes: usize) -> NatsConfig {
    NatsConfig {
        urls: urls.split(',').map(str::to_owned).collect(),
        credentials: Credentials::None,
        tls: Tls::default(),
        prefix: "sync".into(),
        shards: 1,
        replicas: 1,
        retention_age: Some(Duration::from_secs(3_600)),
        retention_bytes: None,
        queue_appends: 10_000,
        window: 1_024,
        feed_bytes,
        largest_body: 1 << 19,
        subscription_capacity: 1 << 16,
    }
}

/// A log on a server of its own.
pub struct Nats {
    log: SharedBackbone,
    server: NatsServer,
    options: Options,
}

async fn open(server: &NatsServer, options: Options) -> SharedBackbone {
    let log = NatsLog::open(config(&server.url(), options.feed_bytes)).await.expect("opens");
    Arc::new(log)
}

impl Backend for Nats {
    async fn make(options: Options) -> Self {
        let server = NatsServer::start().await;
        Self { log: open(&server, options).await, server, options }
    }

    fn log(&self) -> &SharedBackbone {
        &self.log
    }

    async fn reopen(&mut self) {
        self.log.close().await;
        self.log = open(&self.server, self.options).await;
    }

    async fn crash_and_reopen(&mut self) {
        self.server.kill().await;
        self.server.start_again().await;
        self.log = open(&self.server, self.options).await;
    }

    async fn trim(&self, to: Position) {
        trim(&Admin::connect(&self.server.url()).await, "sync", to).await;
    }
}

/// Does what retention does. That is slow, and STATE quick: it has taken what LOG is about to forget.
pub async fn trim(admin: &Admin, prefix: &str, to: Position) {
    let stream = |what: &str| format!("{}_{what}_0", prefix.to_uppercase());
    let (log, state) = (stream("LOG"), stream("STATE"));
    let last_entity = json!({"last_by_subj": format!("{prefix}.log.0.*.entity.>")});
    if let Ok(last) = admin.api(&format!("STREAM.MSG.GET.{log}"), last_entity.clone()).await {
        let last = last["message"]["seq"].as_u64().expect("a position");
        until("STATE has the last entity", async || {
            let kept = admin.api(&format!("STREAM.MSG.GET.{state}"), last_entity.clone()).await.ok()?;
            let headers = BASE64_STANDARD.decode(kept["message"]["hdrs"].as_str()?).ok()?;
            String::from_utf8(headers).ok()?.contains(&format!("Nats-Stream-Source: {log} {last} ")).then_some(())
        })
        .await;
    }
    admin.purge_to(&log, to.0).await;
}
