//! Batches of which all is done or nothing, from several nodes: money goes from account to account, and none is made or lost.

use std::{cell::Cell, collections::BTreeMap, net::SocketAddr};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    nats_support::{NatsCluster, NatsServer},
    node_on,
    support::{http, new_id},
};

const ACCOUNTS: usize = 5;
const EACH: i64 = 100;
const TRANSFERS: usize = 12;

fn name(account: usize) -> String {
    format!("a{account}")
}

/// Asks a node; `None` when it is gone.
async fn post(node: SocketAddr, operations: &[Value]) -> Option<http::Response> {
    let body = json!(operations).to_string();
    http::try_post(node, "/v1/tenants/t/operations?atomic=1", body.as_bytes()).await
}

async fn balance(node: SocketAddr, account: usize) -> (i64, u64) {
    let entity = http::get(node, &format!("/v1/tenants/t/entities/account/{}", name(account))).await.json();
    (entity["data"]["n"].as_i64().expect("a balance"), entity["version"].as_u64().expect("a version"))
}

/// One amount from one account to another, as they stand.
async fn transfer(node: SocketAddr, from: usize, to: usize, amount: i64) -> Vec<Value> {
    let mut operations = Vec::new();
    for (account, change) in [(from, -amount), (to, amount)] {
        let (stands, version) = balance(node, account).await;
        // A replica of its own each time: nothing but what it has read is known to it.
        operations.push(
            json!({"op_id": new_id(), "instance_id": "clerk", "replica_id": new_id(), "entity_type": "account",
            "entity_id": name(account), "action": "update", "base_version": version, "strategy": "version",
            "patch": {"n": stands + change}}),
        );
    }
    operations
}

/// Makes transfers, on another node once its own is gone; returns how often it had to begin anew.
async fn clerk(number: usize, node: SocketAddr, other: SocketAddr, done: impl Fn()) -> usize {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let (mut again, mut at) = (0, node);
    for _ in 0..TRANSFERS {
        let from = random.usize(..ACCOUNTS);
        let to = (from + random.usize(1..ACCOUNTS)) % ACCOUNTS;
        let amount = random.i64(1..10);
        // What stands is read on a node that lives; what is asked for, perhaps on one that dies.
        let mut operations = transfer(other, from, to, amount).await;
        loop {
            let Some(answer) = post(at, &operations).await else {
                at = other; // perhaps done: the same again
                continue;
            };
            match answer.status {
                200 => break,
                503 => {}
                409 => {
                    again += 1;
                    operations = transfer(other, from, to, amount).await;
                }
                _ => panic!("{}", answer.text()),
            }
        }
        done();
    }
    again
}

async fn nothing_is_made_or_lost_on(urls: &str) {
    let settings = [("limits.messages_per_minute", "0")];
    let (first, mut second) = (node_on(urls, &settings).await, node_on(urls, &settings).await);
    let opening: Vec<_> = (0..ACCOUNTS)
        .map(|n| json!({"instance_id": "bank", "entity_type": "account", "entity_id": name(n), "action": "create", "data": {"n": EACH}}))
        .collect();
    let opened = post(first.address(), &opening).await.expect("it lives");
    assert_eq!(opened.status, 201, "{}", opened.text());
    let (lives, dies, count) = (first.address(), second.address(), Cell::new(0));
    let done = || count.set(count.get() + 1);
    let clerks = join_all([lives, lives, dies, dies].into_iter().enumerate().map(|(n, at)| clerk(n, at, lives, done)));
    let kill = async {
        while count.get() < TRANSFERS {
            tokio::task::yield_now().await;
        }
        second.kill9().await;
    };
    let (again, ()) = tokio::join!(clerks, kill);
    println!("{again:?} transfers began anew");
    let page = first.get("/v1/tenants/t/events?limit=1000").await.json();
    let records = page["events"].as_array().expect("a list");
    let mut stands: BTreeMap<String, i64> = BTreeMap::new();
    let shown = |record: &Value| {
        let event = &record["data"]["event"];
        (event["entity_id"].as_str().expect("an id").to_owned(), event["data"]["n"].as_i64().expect("a balance"))
    };
    stands.extend(records[..ACCOUNTS].iter().map(shown));
    for pair in records[ACCOUNTS..].chunks(2) {
        assert_eq!(pair[0]["seq"].as_u64().map(|seq| seq + 1), pair[1]["seq"].as_u64(), "{pair:?}");
        stands.extend(pair.iter().map(shown));
        assert_eq!(stands.values().sum::<i64>(), EACH * ACCOUNTS as i64, "after {pair:?}");
    }
    assert_eq!(records.len(), ACCOUNTS + 2 * 4 * TRANSFERS, "each transfer once");
    for account in 0..ACCOUNTS {
        assert_eq!(balance(lives, account).await.0, stands[&name(account)]);
    }
}

#[tokio::test]
async fn batches_from_two_nodes_keep_the_sum_when_one_dies() {
    let server = NatsServer::start().await;
    nothing_is_made_or_lost_on(&server.url()).await;
}

#[tokio::test]
async fn batches_keep_the_sum_on_three_replicas_of_the_log() {
    let cluster = NatsCluster::start().await;
    nothing_is_made_or_lost_on(&cluster.urls()).await;
}
