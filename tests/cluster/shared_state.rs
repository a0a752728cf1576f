//! Shared state across nodes: several nodes change one entity, and nothing is lost or done twice, whatever dies.

use std::collections::{BTreeMap, VecDeque};

use continuum::model::text::TextOps;
use serde_json::{Value, json};

use crate::{
    nats_support::{NatsCluster, NatsServer},
    node_on,
    support::{Client, Event, Node, new_id},
};

/// Operations of one client that may wait for their answer.
const WINDOW: usize = 32;

async fn typed(node: &Node, instance: &str, more: &str) -> Client {
    Client::typed(node.address(), &format!("tenant_id=t&instance_id={instance}&user_id={instance}{more}")).await
}

/// A client that inserts marks into one text, and repeats at another node what was not answered.
struct Marker {
    name: String,
    client: Client,
    open: BTreeMap<String, Value>,
}

impl Marker {
    async fn new(node: &Node, name: &str) -> Self {
        Self { name: name.to_owned(), client: typed(node, name, "").await, open: BTreeMap::new() }
    }

    /// Inserts a mark; `false`: the connection ended, and what was not answered stays open.
    async fn mark(&mut self, number: usize) -> bool {
        let id = new_id();
        let text = json!({"path": "/log", "ops": [format!("<{}-{number}>", self.name)]});
        // Numbered: what is repeated after a while is known by its number, however much others have done meanwhile.
        let event = json!({"id": id, "entity_type": "doc", "entity_id": "hot", "action": "update", "text": text,
            "op_number": number + 1});
        let message = json!({"type": "sync_event", "event": event});
        self.open.insert(id, message.clone());
        self.client.try_send(message).await && self.answers(WINDOW).await
    }

    /// Waits until at most so many are open; `false`: the connection ended before.
    async fn answers(&mut self, most: usize) -> bool {
        while self.open.len() > most {
            let Event::Message(message) = self.client.next_event().await else { return false };
            let data = &message["data"];
            if let Some(id) = data["updateId"].as_str().or(data["id"].as_str()) {
                let Some(sent) = self.open.remove(id) else { continue };
                if message["success"] != true {
                    assert!(data["code"] == "contended" || data["code"] == "unavailable", "{message}");
                    self.open.insert(id.to_owned(), sent.clone());
                    self.client.send(sent).await;
                }
            }
        }
        true
    }

    async fn move_to(&mut self, node: &Node) {
        self.client = typed(node, &self.name, "").await;
        for message in self.open.values() {
            self.client.send(message.clone()).await;
        }
    }
}

async fn three_nodes_on(urls: &str) -> Vec<Node> {
    let limits = [("limits.messages_per_minute", "0")];
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(node_on(urls, &limits).await);
    }
    nodes
}

/// Three clients on three nodes write to one entity; the third node dies in the middle.
async fn nothing_is_lost_on(urls: &str) {
    const EACH: usize = 120;
    let mut nodes = three_nodes_on(urls).await;
    let mut first = typed(&nodes[0], "maker", "").await;
    let event =
        json!({"id": new_id(), "entity_type": "doc", "entity_id": "hot", "action": "create", "data": {"log": ""}});
    assert_eq!(first.ask(json!({"type": "sync_event", "event": event})).await["success"], true);
    let mut markers = Vec::new();
    for (node, name) in nodes.iter().zip(["a", "b", "c"]) {
        markers.push(Marker::new(node, name).await);
    }
    let mut dying = markers.pop().expect("the third");
    let write = async |mut marker: Marker| {
        for number in 0..EACH {
            assert!(marker.mark(number).await, "these nodes live");
        }
        assert!(marker.answers(0).await);
    };
    let writers = futures_util::future::join_all(markers.into_iter().map(write));
    let (last, others) = nodes.split_last_mut().expect("three");
    let die = async {
        for number in 0..EACH {
            if number == EACH / 2 {
                last.kill9().await;
            }
            if !dying.mark(number).await {
                dying.move_to(&others[1]).await;
            }
        }
        assert!(dying.answers(0).await);
    };
    tokio::join!(writers, die);
    let mut texts = Vec::new();
    for node in others.iter() {
        let mut reader = typed(node, "reader", "").await;
        reader.send(json!({"id": "s", "type": "graph.sync", "data": {"types": ["doc"]}})).await;
        let page = reader.find(|message| message["type"] == "graph.sync").await;
        texts.push(page["data"]["entities"][0]["data"]["log"].as_str().expect("a text").to_owned());
        reader.close().await;
    }
    assert_eq!(texts[0], texts[1]);
    for name in ["a", "b", "c"] {
        for number in 0..EACH {
            let mark = format!("<{name}-{number}>");
            assert_eq!(texts[0].matches(&mark).count(), 1, "{mark}");
        }
    }
}

#[tokio::test]
async fn one_hot_entity_takes_operations_from_three_nodes_and_loses_none_when_one_dies() {
    let server = NatsServer::start().await;
    nothing_is_lost_on(&server.url()).await;
}

#[tokio::test]
async fn the_same_holds_on_three_replicas_of_the_log() {
    let cluster = NatsCluster::start().await;
    nothing_is_lost_on(&cluster.urls()).await;
}

/// Somebody who types into a text, as a browser would do it: the own edits at once, one message in flight.
struct Typist {
    client: Client,
    /// What the node has said, and at which version.
    text: String,
    version: u64,
    /// Sent and not answered, with its id; without what it does once a record has shown that it was done.
    flying: Option<(String, Option<TextOps>)>,
    /// Made since.
    waiting: VecDeque<TextOps>,
    /// What stands on the screen.
    shown: String,
}

impl Typist {
    async fn new(node: &Node, name: &str, version: u64) -> Self {
        let client = typed(node, name, "&deltas=1").await;
        let (text, shown) = (String::new(), String::new());
        Self { client, text, version, flying: None, waiting: VecDeque::new(), shown }
    }

    /// Types a word at a place, in characters.
    async fn type_at(&mut self, place: usize, word: &str) {
        let place = place.min(self.shown.chars().count());
        let ops = if place == 0 { json!([word]) } else { json!([place, word]) };
        self.edit(serde_json::from_value(ops).expect("ops")).await;
    }

    /// Deletes one character.
    async fn delete_at(&mut self, place: usize) {
        if place < self.shown.chars().count() {
            let ops = if place == 0 { json!([-1]) } else { json!([place, -1]) };
            self.edit(serde_json::from_value(ops).expect("ops")).await;
        }
    }

    async fn edit(&mut self, ops: TextOps) {
        self.shown = ops.apply(&self.shown).expect("it fits");
        self.waiting.push_back(ops);
        self.send_next().await;
    }

    async fn send_next(&mut self) {
        if self.flying.is_some() {
            return;
        }
        let Some(first) = self.waiting.pop_front() else { return };
        let all = self.waiting.drain(..).fold(first, |all, next| all.then(&next).expect("they fit"));
        let id = new_id();
        let text = json!({"path": "/body", "ops": all});
        let event = json!({"id": id, "entity_type": "page", "entity_id": "p", "action": "update", "text": text,
            "base_version": self.version});
        self.flying = Some((id, Some(all)));
        self.client.send(json!({"type": "sync_event", "event": event})).await;
    }

    fn is_done(&self) -> bool {
        self.flying.is_none() && self.waiting.is_empty()
    }

    /// Takes in whatever comes next.
    async fn listen(&mut self) {
        let message = self.client.next().await;
        let data = &message["data"];
        if message["type"] != "sync_event" && message["type"] != "sync_response" {
            return;
        }
        if let Some(id) = data["updateId"].as_str() {
            let (sent, ops) = self.flying.take().expect("something is in flight");
            assert_eq!(id, sent);
            if data["code"] == "contended" {
                self.waiting.push_front(ops.expect("it was not done"));
                return self.send_next().await;
            }
            assert_eq!(message["success"], true, "{message}");
            let Some(ops) = ops else { return self.send_next().await };
            // Where it met what others did, the answer says what became of it.
            let applied = data["text"][0]["ops"].as_array().map(|_| edit_of(data)).unwrap_or(ops);
            self.text = applied.apply(&self.text).expect("it fits");
            self.version = data["version"].as_u64().expect("a version");
            return self.send_next().await;
        }
        if message["event"]["entity_id"] == "p" && message["event"]["action"] == "update" {
            let base = data["base_version"].as_u64().expect("a version");
            if base != self.version {
                // What lies between is our own: its answer is still on its way.
                let (_, ops) = self.flying.as_mut().expect("something is in flight");
                let ops = ops.take().unwrap_or_else(|| panic!("{message} at {}", self.version));
                assert!(base > self.version, "{message} at {}", self.version);
                self.text = ops.apply(&self.text).expect("it fits");
            }
            for edit in data["text"].as_array().expect("edits") {
                self.merge(serde_json::from_value(edit["ops"].clone()).expect("ops"));
            }
            self.version = message["seq"].as_u64().expect("a position");
        }
    }

    /// Somebody else's edit stands before what is not answered.
    fn merge(&mut self, theirs: TextOps) {
        self.text = theirs.apply(&self.text).expect("it fits");
        let mut theirs = theirs;
        let mine = self.flying.iter_mut().filter_map(|(_, ops)| ops.as_mut()).chain(self.waiting.iter_mut());
        for ops in mine {
            let (over, under) = TextOps::transform_pair(&theirs, ops).expect("made on the same text");
            (theirs, *ops) = (over, under);
        }
        self.shown = theirs.apply(&self.shown).expect("it fits");
    }
}

fn edit_of(data: &Value) -> TextOps {
    serde_json::from_value(data["text"][0]["ops"].clone()).expect("ops")
}

#[tokio::test]
async fn two_who_type_into_one_text_on_different_nodes_end_with_the_same_text() {
    let server = NatsServer::start().await;
    let nodes = three_nodes_on(&server.url()).await;
    let mut maker = typed(&nodes[2], "maker", "").await;
    let event =
        json!({"id": new_id(), "entity_type": "page", "entity_id": "p", "action": "create", "data": {"body": ""}});
    let made = maker.ask(json!({"type": "sync_event", "event": event})).await;
    let version = made["data"]["version"].as_u64().expect("a version");
    let mut ann = Typist::new(&nodes[0], "ann", version).await;
    let mut bob = Typist::new(&nodes[1], "bob", version).await;
    for typist in [&mut ann, &mut bob] {
        // Whoever comes has the page before anything is typed.
        typist.client.expect("caught_up").await;
    }
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..150 {
        for (typist, word) in [(&mut ann, format!("é{round} ")), (&mut bob, format!("🌗{round} "))] {
            for _ in 0..random.usize(0..3) {
                let place = random.usize(0..=typist.shown.chars().count());
                if random.u8(0..4) == 0 { typist.delete_at(place).await } else { typist.type_at(place, &word).await }
            }
            if !typist.is_done() {
                typist.listen().await;
            }
        }
    }
    while !(ann.is_done() && bob.is_done()) {
        for typist in [&mut ann, &mut bob] {
            if !typist.is_done() {
                typist.listen().await;
            }
        }
    }
    let last = ann.version.max(bob.version);
    for typist in [&mut ann, &mut bob] {
        while typist.version < last {
            typist.listen().await;
        }
        assert_eq!(typist.shown, typist.text);
    }
    assert_eq!(ann.shown, bob.shown);
    assert!(ann.shown.chars().count() > 100, "{}", ann.shown);
    let mut reader = typed(&nodes[2], "reader", "").await;
    reader.send(json!({"id": "s", "type": "graph.sync", "data": {"types": ["page"]}})).await;
    let page = reader.find(|message| message["type"] == "graph.sync").await;
    assert_eq!(page["data"]["entities"][0]["data"]["body"], ann.shown);
}
