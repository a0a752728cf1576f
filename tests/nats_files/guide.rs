//! The operator's page: every command on it is known, and what it sends works on a real cluster as the page says.

use std::collections::BTreeMap;

use async_nats::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::{
    nats_support::{Admin, NatsCluster, SecuredCluster, secured, until, within},
    page::{COMMANDS, Does, Setting, fenced},
    streams::{self, ENTITY, LOG, STATE},
};

/// A stream, taken out.
struct Backup {
    config: Value,
    state: Value,
    chunks: Vec<Bytes>,
}

/// Who carries out the page's commands.
struct Operator<'a> {
    cluster: &'a NatsCluster,
    operator: Admin,
    system: Admin,
    node: Admin,
    backups: BTreeMap<&'static str, Backup>,
}

impl Operator<'_> {
    async fn does(&mut self, command: &str, what: Does) {
        match what {
            Does::Local => {}
            Does::Asks { api, body, holds } => {
                let answer = self.operator.api(api, json_of(body)).await;
                check(command, &answer.unwrap_or_else(|refused| panic!("{command}: {refused:?}")), holds);
            }
            Does::AsksServers { subject, body, holds } => self.asks_servers(command, subject, body, holds).await,
            Does::Watches { subject, published } => {
                let mut heard = self.operator.subscribe(subject).await;
                self.node.client().publish(published, "{}".into()).await.expect("connected");
                let message = within(command, heard.next()).await.expect("subscribed");
                assert_eq!(message.subject.as_str(), published, "{command}");
            }
            Does::Reads { stream, consumer, positions } => {
                assert_eq!(self.reads(stream, consumer).await, positions, "{command}");
            }
            Does::Sets { stream, at, to } => self.sets(command, stream, at, to).await,
            Does::StepsDown(stream) => {
                let before = self.cluster.leader_of(stream).await;
                self.operator.step_down(stream).await;
                until(command, async || (self.cluster.leader_of(stream).await != before).then_some(())).await;
            }
            Does::BacksUp(stream) => {
                let backup = self.backs_up(stream).await;
                self.backups.insert(stream, backup);
            }
            Does::Removes(stream) => {
                self.operator.delete_stream(stream).await;
                assert_eq!(self.operator.stream_info(stream).await, None, "{command}");
            }
            Does::Restores(stream) => self.restores(stream).await,
        }
    }

    /// The command itself waits a moment for who answers; here everybody must, or the leader for all.
    async fn asks_servers(&self, command: &str, subject: &str, body: &str, holds: &[(&str, &str)]) {
        let client = self.system.client();
        let inbox = client.new_inbox();
        let mut answers = self.system.subscribe(&inbox).await;
        client.publish_with_reply(subject.to_owned(), inbox, body.to_owned().into()).await.expect("connected");
        let expected = if body.contains("leader_only") { 1 } else { 3 };
        for _ in 0..expected {
            let answer = within(command, answers.next()).await.expect("subscribed");
            check(command, &serde_json::from_slice(&answer.payload).expect("servers answer JSON"), holds);
        }
    }

    /// As `nats sub --stream` does: a consumer for the moment, asked until nothing is pending.
    async fn reads(&self, stream: &str, consumer: &str) -> Vec<u64> {
        let mut config = json_of(consumer);
        if config["deliver_policy"] == "by_start_time" {
            config["opt_start_time"] = json!("2020-01-01T00:00:00Z");
        }
        for (key, value) in
            [("ack_policy", json!("none")), ("replay_policy", json!("instant")), ("num_replicas", json!(0))]
        {
            config[key] = value;
        }
        let name = format!("reader-{:016x}", fastrand::u64(..));
        let filter = config["filter_subject"].as_str().expect("every command has a filter").to_owned();
        let body = json!({"stream_name": stream, "config": config, "action": "create"});
        let made = self.operator.api(&format!("CONSUMER.CREATE.{stream}.{name}.{filter}"), body).await.expect("made");
        let count = made["num_pending"].as_u64().expect("it says how many are pending");
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        // Not a request: what comes has its own subject, not that of an answer.
        let inbox = self.operator.client().new_inbox();
        let mut messages = self.operator.subscribe(&inbox).await;
        let mut positions = Vec::new();
        while positions.len() as u64 != count {
            let (to, body) = (next.clone(), r#"{"batch":1}"#.into());
            self.operator.client().publish_with_reply(to, inbox.clone(), body).await.expect("connected");
            let message = within("a record", messages.next()).await.expect("subscribed");
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                // The consumer is so new that this server has not heard of it.
                continue;
            }
            let reply = message.reply.expect("a consumer's message says where it stands");
            // $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<timestamp>.<pending>
            let position = reply.split('.').nth(5).and_then(|text| text.parse().ok());
            positions.push(position.unwrap_or_else(|| panic!("{reply}")));
        }
        self.operator.api(&format!("CONSUMER.DELETE.{stream}.{name}"), Value::Null).await.expect("removed");
        positions
    }

    async fn sets(&self, command: &str, stream: &str, at: &str, to: Setting) {
        let to = match to {
            Setting::To(value) => json_of(value),
            Setting::Random => json!(format!("{:016x}", fastrand::u64(..))),
        };
        let changed = self
            .operator
            .update_stream(stream, |config| {
                *config.pointer_mut(at).unwrap_or_else(|| panic!("{command}: no {at}")) = to.clone();
            })
            .await;
        assert_eq!(changed["config"].pointer(at), Some(&to), "{command}");
    }

    async fn backs_up(&self, stream: &str) -> Backup {
        let inbox = self.operator.client().new_inbox();
        let mut chunks = self.operator.subscribe(&inbox).await;
        let body = json!({"deliver_subject": inbox, "chunk_size": 128 << 10});
        let mut answer = self.operator.api(&format!("STREAM.SNAPSHOT.{stream}"), body).await.expect("a snapshot");
        let mut backup = Backup { config: answer["config"].take(), state: answer["state"].take(), chunks: Vec::new() };
        loop {
            let chunk = within("a piece of a snapshot", chunks.next()).await.expect("subscribed");
            if chunk.payload.is_empty() {
                return backup;
            }
            if let Some(reply) = chunk.reply {
                self.operator.client().publish(reply, Bytes::new()).await.expect("connected");
            }
            backup.chunks.push(chunk.payload);
        }
    }

    async fn restores(&self, stream: &str) {
        let backup = &self.backups[stream];
        let body = json!({"config": backup.config, "state": backup.state});
        let begun = self.operator.api(&format!("STREAM.RESTORE.{stream}"), body).await.expect("it may be restored");
        let to = begun["deliver_subject"].as_str().expect("it says where to").to_owned();
        for chunk in &backup.chunks {
            self.operator.request_until_heard(&to, chunk.clone()).await.expect("a piece is taken");
        }
        let done = self.operator.request_until_heard(&to, Bytes::new()).await.expect("the end is taken");
        let done: Value = serde_json::from_slice(&done.payload).expect("JetStream answers JSON");
        assert_eq!(done["config"]["name"], stream, "{done}");
        assert_eq!(done["state"]["messages"], backup.state["messages"], "{done}");
    }
}

fn json_of(text: &str) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }
}

fn check(command: &str, answer: &Value, holds: &[(&str, &str)]) {
    for (pointer, expected) in holds {
        assert_eq!(answer.pointer(pointer), Some(&json_of(expected)), "{command}: {pointer} in {answer}");
    }
}

#[test]
fn every_command_of_the_page_is_known_and_in_its_place() {
    let page = secured::file("README.md");
    let known: Vec<_> = COMMANDS.iter().map(|(command, _)| *command).collect();
    assert_eq!(fenced(&page, "sh"), known);
}

#[tokio::test]
async fn every_command_of_the_page_does_what_the_page_says() {
    let secured = SecuredCluster::start().await;
    let mut operator = Operator {
        cluster: secured.cluster(),
        operator: secured.connect("operator").await,
        system: secured.connect("system").await,
        node: secured.connect("node").await,
        backups: BTreeMap::new(),
    };
    streams::make(&operator.node, 3).await;
    for (command, what) in COMMANDS {
        if command.starts_with("nats consumer report") {
            a_node_is_behind(&operator.node).await;
        }
        operator.does(command, *what).await;
    }
    // The log was restored and goes on: new positions follow, and STATE follows LOG.
    let info = operator.node.stream_info(LOG).await.expect("it was restored");
    assert_ne!(info["config"]["metadata"]["sync_epoch"], "00112233445566aa");
    let next = info["state"]["last_seq"].as_u64().expect("a position") + 1;
    assert_eq!(operator.node.put(ENTITY, "{}").await, next);
    until("STATE follows the restored LOG", async || {
        let head = operator.operator.direct_get(STATE, json!({"last_by_subj": ENTITY})).await.ok()?.pop()?;
        let source = head.headers.get("Nats-Stream-Source")?.to_string();
        (source.split(' ').nth(1) == Some(next.to_string().as_str())).then_some(())
    })
    .await;
}

/// A node's consumer that has still three records to get: it takes them only as somebody listens, and nobody does.
async fn a_node_is_behind(node: &Admin) {
    let config = json!({
        "name": "node-1", "deliver_subject": "_INBOX_sync.gone", "deliver_policy": "by_start_sequence", "opt_start_seq": 3,
        "ack_policy": "none", "mem_storage": true, "num_replicas": 1, "inactive_threshold": 60_000_000_000_u64,
    });
    let body = json!({"stream_name": LOG, "config": config, "action": "create"});
    node.api(&format!("CONSUMER.CREATE.{LOG}.node-1"), body).await.expect("a consumer of its own");
}
