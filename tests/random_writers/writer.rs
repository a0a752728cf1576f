//! One who writes: with a replica of its own, on whichever node serves, at times without any.

use std::{collections::BTreeMap, net::SocketAddr};

use fastrand::Rng;
use serde_json::{Value, json};

use super::{
    ENTITIES, Room, TENANT,
    answer::Answer,
    operation::{At, Maker, Operation, Sent, View},
};
use crate::support::{Client, Event, http, new_id};

/// Operations that may wait for their answers.
const WINDOW: usize = 8;
/// How many of its own operations back one may repeat an answered one: well within what an entity remembers.
const BACK: usize = 20;
/// How many of its operations may lie between the first that is not answered and the newest.
const SPAN: u64 = 40;

pub struct Writer<'r> {
    room: &'r Room,
    index: usize,
    name: String,
    random: Rng,
    /// `None` while it is away.
    client: Option<Client>,
    cursor: String,
    views: BTreeMap<&'static str, View>,
    /// What is not answered, by number.
    open: BTreeMap<u64, String>,
    /// What is answered, as far as it was done.
    done: Vec<String>,
    number: u64,
}

impl<'r> Writer<'r> {
    pub fn new(room: &'r Room, index: usize) -> Self {
        let random = Rng::with_seed(room.plan.seed * 1_000 + index as u64);
        let (views, open) = (ENTITIES.map(|entity| (entity, View::default())).into(), BTreeMap::new());
        let (cursor, done) = ("earliest".to_owned(), Vec::new());
        Self { room, index, name: format!("w{index}"), random, client: None, cursor, views, open, done, number: 0 }
    }

    /// Sends so many operations and waits until all are answered.
    pub async fn run(mut self, operations: usize) {
        self.come_back().await;
        while self.number < operations as u64 {
            match self.random.u8(0..100) {
                0..4 => self.work_offline(operations).await,
                4..10 => self.repeat().await,
                10..14 => self.send_twice().await,
                _ => {
                    let operation = self.make(At::Node);
                    self.send(&[operation]).await;
                }
            }
            let most = self.random.usize(0..WINDOW);
            self.answers(most).await;
            while self.open.first_key_value().is_some_and(|(first, _)| first + SPAN < self.number) {
                self.answers(self.open.len() - 1).await;
            }
        }
        self.answers(0).await;
    }

    fn make(&mut self, at: At) -> Operation {
        self.number += 1;
        let entity = ENTITIES[if self.number == 1 { self.index % 4 } else { self.random.usize(0..4) }];
        let mut book = self.room.book.borrow_mut();
        book.count += 1;
        let heard: Vec<_> = book.open.iter().filter(|(of, _)| *of == entity).collect();
        let open = (!heard.is_empty()).then(|| heard[self.random.usize(0..heard.len())].1.clone());
        let maker = Maker {
            random: &mut self.random,
            view: self.views.get_mut(entity).expect("each has one"),
            entity,
            replica: &format!("replica-{}", self.name),
            number: self.number,
            count: book.count,
            at,
            open,
        };
        let operation = if self.number == 1 { maker.make_first() } else { maker.make() };
        let sent = Sent { operation: operation.clone(), answers: Vec::new(), copies: 0 };
        book.sent.insert(operation.id.clone(), sent);
        self.open.insert(operation.number, operation.id.clone());
        operation
    }

    /// Sends what was just made. If the connection is gone, coming back repeats it.
    async fn send(&mut self, operations: &[Operation]) {
        let messages: Vec<_> = operations.iter().map(|operation| operation.message.clone()).collect();
        for operation in operations {
            self.room.book.borrow_mut().sent.get_mut(&operation.id).expect("just made").copies += 1;
        }
        let message = json!({"id": new_id(), "type": "batch.update", "data": {"operations": messages}});
        let is_sent = match &mut self.client {
            Some(client) => client.try_send(message).await,
            None => false,
        };
        if !is_sent {
            self.come_back().await;
        }
    }

    /// Leaves without a word, whatever is under way, writes on what it has seen, and sends all of that when it is back.
    async fn work_offline(&mut self, most: usize) {
        let client = self.client.take().expect("it is connected");
        client.vanish();
        for _ in 0..self.random.usize(2..10) {
            if self.number < most as u64 {
                self.make(At::Away);
            }
        }
        self.views.values_mut().for_each(|view| view.own = None);
        self.come_back().await;
    }

    /// Connects to any node, and repeats there what was not answered, in the order in which it was made.
    async fn come_back(&mut self) {
        loop {
            let places = self.room.places.read().await;
            let serving: Vec<SocketAddr> = places.iter().flatten().copied().collect();
            let place = serving[self.random.usize(0..serving.len())];
            let query = format!("tenant_id={TENANT}&instance_id={}&echo=1&since={}", self.name, self.cursor);
            self.client = Some(Client::typed(place, &query).await);
            drop(places);
            let open: Vec<_> = {
                let book = self.room.book.borrow();
                self.open.values().map(|id| book.sent[id].operation.clone()).collect()
            };
            if open.is_empty() || Box::pin(self.try_send_all(&open)).await {
                return;
            }
        }
    }

    async fn try_send_all(&mut self, operations: &[Operation]) -> bool {
        let messages: Vec<_> = operations.iter().map(|operation| operation.message.clone()).collect();
        for operation in operations {
            self.room.book.borrow_mut().sent.get_mut(&operation.id).expect("made before").copies += 1;
        }
        let message = json!({"id": new_id(), "type": "batch.update", "data": {"operations": messages}});
        self.client.as_mut().expect("just connected").try_send(message).await
    }

    /// Repeats something that was done, at any node.
    async fn repeat(&mut self) {
        let recent = &self.done[self.done.len().saturating_sub(BACK)..];
        if let Some(id) = recent.get(self.random.usize(0..recent.len().max(1))).cloned() {
            let is_near = self.room.book.borrow().sent[&id].operation.number + BACK as u64 > self.number;
            if is_near {
                self.post(&id).await;
            }
        }
    }

    /// Sends something new at two nodes at once. Nothing of its own may be under way: it would be overtaken at the other node,
    /// and a replica's operations have to come in the order in which it made them.
    async fn send_twice(&mut self) {
        self.answers(0).await;
        let operation = self.make(At::Node);
        self.send(std::slice::from_ref(&operation)).await;
        self.room.book.borrow_mut().sent.get_mut(&operation.id).expect("just made").copies += 1;
        self.post(&operation.id).await;
    }

    async fn post(&mut self, id: &str) {
        let serving: Vec<SocketAddr> = self.room.places.read().await.iter().flatten().copied().collect();
        let mut message = self.room.book.borrow().sent[id].operation.message.clone();
        message["instance_id"] = json!(self.name);
        let place = serving[self.random.usize(0..serving.len())];
        let target = format!("/v1/tenants/{TENANT}/operations");
        // The node may die before it answers: then nobody was told anything.
        if let Some(answer) = http::try_post(place, &target, message.to_string().as_bytes()).await {
            self.room.note(id, Answer::over_http(&answer.json()));
        }
    }

    /// Reads until at most so many wait for their answer.
    async fn answers(&mut self, most: usize) {
        while self.open.len() > most {
            let client = self.client.as_mut().expect("it is connected");
            let event = client.next_event().await;
            if let Some(cursor) = Some(client.cursor()).filter(|cursor| !cursor.is_empty()) {
                cursor.clone_into(&mut self.cursor);
            }
            match event {
                Event::Message(message) => self.hear(&message).await,
                Event::Closed(_) => self.come_back().await,
            }
        }
    }

    async fn hear(&mut self, message: &Value) {
        if let Some((id, answer)) = Answer::on_socket(message) {
            return self.take(&id, answer).await;
        }
        let Some(version) = message["seq"].as_u64() else { return };
        let event = if message["event"].is_object() { &message["event"] } else { &message["data"] };
        let id = event["entity_id"].as_str().expect("an entity's record");
        let (_, view) = self.views.iter_mut().find(|(entity, _)| **entity == id).expect("one of ours");
        let content = match (message["type"].as_str(), event["action"].as_str()) {
            (Some("sync_event"), Some("delete")) => None,
            (Some("sync_event"), _) => Some(event["data"].clone()),
            _ => view.history.last().and_then(|(_, content)| content.clone()),
        };
        view.history.push((version, content));
    }

    async fn take(&mut self, id: &str, answer: Answer) {
        let operation = self.room.book.borrow().sent[id].operation.clone();
        let (is_done, version) = (answer.says_done(), answer.version);
        let is_waited_for = self.open.contains_key(&operation.number);
        let is_unknown = answer.data["code"] == "unknown";
        if !self.room.note(id, answer) {
            if is_waited_for {
                if !is_unknown {
                    // Nothing was done, so no copy of it is on its way, unless there were more.
                    let mut book = self.room.book.borrow_mut();
                    let sent = book.sent.get_mut(id).expect("it was sent");
                    sent.copies = sent.copies.saturating_sub(1);
                }
                self.send(&[operation]).await;
            }
            return;
        }
        if self.open.remove(&operation.number).is_none() {
            return; // answered before
        }
        let view = self.views.get_mut(operation.entity).expect("each has one");
        if operation.is_edit {
            view.edits -= 1;
            view.edited = view.edited.max(version);
        }
        if is_done {
            self.done.push(id.to_owned());
        }
    }
}
