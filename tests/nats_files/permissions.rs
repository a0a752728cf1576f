//! The nodes' nkey of the cluster: everything that a node does works, and nothing else.

use std::{sync::Arc, time::Duration};

use async_nats::{ConnectOptions, Event, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    nats_support::{
        Admin, Refused, SecuredCluster,
        secured::{INBOX_PREFIX, file},
        within,
    },
    streams::{self, CURSOR, ENTITY, EVENT, KEPT, LOG, OTHERS, STATE},
};

/// What servers complain about to a client, in order.
struct Complaints(mpsc::Receiver<String>);

impl Complaints {
    /// Adds what listens to a connection's options.
    fn of(options: ConnectOptions) -> (Self, ConnectOptions) {
        let (tell, told) = mpsc::channel(1000);
        let tell = Arc::new(tell);
        let options = options.event_callback(move |event| {
            let tell = tell.clone();
            async move {
                if let Event::ServerError(error) = event {
                    // The test may be over.
                    let _ = tell.send(error.to_string()).await;
                }
            }
        });
        (Self(told), options)
    }

    /// Waits for the next one, which must be about this.
    async fn next(&mut self, kind: &str, subject: &str) {
        let complaint = within(&format!("{kind} {subject} is refused"), self.0.recv()).await;
        let complaint = complaint.expect("the client lives").to_lowercase();
        let expected = format!("permissions violation for {kind} to \"{subject}\"").to_lowercase();
        assert!(complaint.contains(&expected), "{complaint:?} is not about {kind} {subject}");
    }

    /// Whether there are none.
    fn none(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

/// Reads a shard as nodes do: a consumer without acks, in memory, with flow control and heartbeats.
async fn read_all(node: &Admin, stream: &str, last: u64) -> u64 {
    let inbox = format!("{INBOX_PREFIX}.tail.1");
    let mut records = node.subscribe(&inbox).await;
    let config = json!({
        "name": "node-1", "deliver_subject": inbox, "deliver_policy": "all", "ack_policy": "none", "max_deliver": 1,
        "flow_control": true, "idle_heartbeat": 1_000_000_000_u64, "mem_storage": true, "num_replicas": 1,
        "inactive_threshold": 10_000_000_000_u64, "filter_subject": "sync.log.0.>",
    });
    let body = json!({"stream_name": stream, "config": config, "action": "create"});
    let made = node.api(&format!("CONSUMER.CREATE.{stream}.node-1.sync.log.0.>"), body).await;
    made.expect("a consumer of its own");
    let (mut expected, mut controlled) = (1, 0);
    while expected <= last {
        let message = within("a record", records.next()).await.expect("subscribed");
        let stalled = || message.headers.as_ref()?.get("Nats-Consumer-Stalled").map(|reply| reply.to_string());
        match message.status.map(|status| status.as_u16()) {
            // Flow control: the answer says that everything before it was taken in.
            Some(100) => {
                if let Some(reply) = message.reply.as_ref().map(ToString::to_string).or_else(stalled) {
                    assert!(reply.starts_with(&format!("$JS.FC.{stream}.")), "{reply}");
                    node.client().publish(reply, Bytes::new()).await.expect("connected");
                    controlled += 1;
                }
            }
            Some(status) => panic!("{status} {:?}", message.description),
            None => {
                // $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<timestamp>.<pending>
                let reply = message.reply.expect("a consumer's message says where it stands");
                assert_eq!(reply.split('.').nth(5), Some(expected.to_string().as_str()), "{reply}");
                expected += 1;
            }
        }
    }
    node.api(&format!("CONSUMER.DELETE.{stream}.node-1"), Value::Null).await.expect("its own consumer");
    controlled
}

/// The rights that the page lists, for every stream of an installation with four shards.
#[test]
fn the_rights_are_those_that_the_page_lists() {
    let page = file("README.md");
    let listed = |heading: &str| -> Vec<String> {
        let row = page.lines().find(|line| line.starts_with(&format!("| {heading} |"))).expect("the page has the row");
        row.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let shards = (0..4).flat_map(|shard| ["LOG", "STATE"].map(|kind| format!("SYNC_{kind}_{shard}")));
    let streams: Vec<_> = shards.chain([KEPT.to_owned()]).collect();
    let mut expected = listed("publish to");
    for right in listed("publish to, for each stream") {
        expected.extend(streams.iter().map(|stream| right.replace("<stream>", stream)));
    }
    expected.extend(listed("subscribe to"));
    let text = file("cluster/common.conf");
    let of_node = text.split("nkey: $NODE_NKEY").nth(1).and_then(|rest| rest.split("$OPERATOR_NKEY").next());
    let mut granted: Vec<_> = Vec::new();
    for line in of_node.expect("the nodes' rights come before the operator's").lines() {
        let code = line.trim_start();
        if !code.starts_with('#') {
            granted.extend(code.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    expected.sort();
    granted.sort();
    assert_eq!(granted, expected);
}

#[tokio::test]
async fn a_node_can_do_what_it_needs() {
    let secured = SecuredCluster::start().await;
    let (mut complaints, options) = Complaints::of(secured.options("node"));
    let node = secured.connect_with("node", options).await;
    let other = secured.connect("node").await;

    node.account_info().await;
    streams::make(&node, 3).await;
    for shard in 1..4 {
        let [log, state, _] = streams::settings(shard, 1);
        node.create_stream(log).await;
        node.create_stream(state).await;
    }
    let info = node.stream_info(LOG).await.expect("it was made");
    assert_eq!(info["config"]["metadata"]["sync_epoch"], "00112233445566aa");

    let once = [("Nats-Msg-Id", "1"), ("Nats-Expected-Last-Subject-Sequence", "3")];
    assert_eq!(node.publish(ENTITY, &once, "{}").await, Ok(5));
    let lost = other.publish(ENTITY, &[("Nats-Expected-Last-Subject-Sequence", "3")], "{}").await;
    assert!(matches!(lost, Err(Refused::Error { err_code: 10071 | 10164, .. })), "{lost:?}");
    let led = node.api(&format!("STREAM.MSG.GET.{LOG}"), json!({"last_by_subj": ENTITY})).await.expect("the leader's");
    assert_eq!(led["message"]["seq"], 5);
    let page = node.direct_get(LOG, json!({"seq": 1, "next_by_subj": "sync.log.0.acme.>", "batch": 100})).await;
    let page: Vec<_> = page.expect("a page").iter().map(|message| message.seq).collect();
    assert_eq!(page, [1, 2, 3, 5]);
    let heads = node.direct_get(STATE, json!({"multi_last": ["sync.log.0.other.entity.>"], "batch": 100})).await;
    assert_eq!(heads.expect("a page")[0].subject, OTHERS);
    let kept = node.api(&format!("STREAM.MSG.GET.{KEPT}"), json!({"last_by_subj": CURSOR})).await.expect("a cursor");
    assert_eq!(kept["message"]["seq"], 1);

    let body = Bytes::from(vec![7; 32 << 10]);
    for seq in 6..=105 {
        assert_eq!(node.publish(EVENT, &[], body.clone()).await, Ok(seq));
    }
    assert_ne!(read_all(&node, LOG, 105).await, 0, "3 MiB ask for flow control");

    let mut signals = other.subscribe("sync.signal.*").await;
    let mut nodes = other.subscribe("sync.nodes").await;
    node.client().publish("sync.signal.acme", "{}".into()).await.expect("connected");
    node.client().publish("sync.nodes", "{}".into()).await.expect("connected");
    assert_eq!(within("a signal", signals.next()).await.expect("subscribed").subject.as_str(), "sync.signal.acme");
    assert_eq!(within("a heartbeat", nodes.next()).await.expect("subscribed").subject.as_str(), "sync.nodes");
    node.round_trip().await;
    assert!(complaints.none(), "nothing of all this was refused");
}

#[tokio::test]
async fn a_node_can_do_nothing_else() {
    let secured = SecuredCluster::start().await;
    let (mut complaints, options) = Complaints::of(secured.options("node"));
    let node = secured.connect_with("node", options.request_timeout(Some(Duration::from_secs(2)))).await;
    let operator = secured.connect("operator").await;
    streams::make(&node, 3).await;
    operator.create_stream(json!({"name": "OTHER", "subjects": ["other.>"], "allow_direct": true})).await;

    for subject in [
        "$JS.API.STREAM.CREATE.MINE",
        "$JS.API.STREAM.CREATE.SYNC_LOG_4",
        "$JS.API.STREAM.UPDATE.SYNC_LOG_0",
        "$JS.API.STREAM.DELETE.SYNC_LOG_0",
        "$JS.API.STREAM.PURGE.SYNC_LOG_0",
        "$JS.API.STREAM.MSG.DELETE.OTHER",
        "$JS.API.STREAM.SNAPSHOT.SYNC_LOG_0",
        "$JS.API.STREAM.RESTORE.SYNC_LOG_0",
        "$JS.API.STREAM.LEADER.STEPDOWN.SYNC_LOG_0",
        "$JS.API.STREAM.PEER.REMOVE.SYNC_LOG_0",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.INFO.OTHER",
        "$JS.API.STREAM.MSG.GET.OTHER",
        "$JS.API.DIRECT.GET.OTHER",
        "$JS.API.CONSUMER.CREATE.OTHER.mine",
        "$JS.API.CONSUMER.LIST.SYNC_LOG_0",
        "$JS.API.CONSUMER.MSG.NEXT.SYNC_LOG_0.node-1",
        "$JS.API.META.LEADER.STEPDOWN",
        "$JS.FC.OTHER.a.b",
        "$JS.SNAPSHOT.RESTORE.SYNC_LOG_0.a",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.ACCOUNT.SYNC.CONNZ",
        "other.subject",
        "sync",
        "_INBOX.somebody",
    ] {
        node.client().publish(subject, Bytes::new()).await.expect("connected");
        complaints.next("publish", subject).await;
    }
    for subject in [">", "*", "sync.>", "sync.log.>", "sync.cursor.*.*", "_INBOX.>", "$JS.>", "$SYS.>"] {
        let _held = node.client().subscribe(subject).await.expect("connected");
        complaints.next("subscription", subject).await;
    }
    // Refused means: no answer, and nothing has happened.
    let unheard = node.request("$JS.API.STREAM.DELETE.SYNC_LOG_0", HeaderMap::new(), Bytes::new()).await;
    assert_eq!(unheard.map(|_| ()), Err(Refused::Silent));
    assert_eq!(operator.stream_info(LOG).await.expect("it is still there")["state"]["messages"], 4);
    assert_eq!(operator.stream_info("OTHER").await.expect("it is still there")["state"]["messages"], 0);
}
