//! What the stage notices: a client that does not do what was recorded, and a recording that is not what a node says.

use std::fs;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{Mode, PATIENCE, conversation, hold_like, recording, stage::Stage};

/// A client that says what it is told to.
struct Raw(WebSocketStream<TcpStream>);

impl Raw {
    async fn join(stage: &Stage, name: &str, query: &str) -> Self {
        let options = stage.options(name);
        let stream = TcpStream::connect(options.url.authority()).await.expect("the stage listens");
        let url = format!("ws://{}{}{query}", options.url.authority(), options.target(None));
        Self(client_async(url, stream).await.expect("an upgrade").0)
    }

    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.expect("the stage hears");
    }

    /// Goes on until this comes.
    async fn hear(&mut self, kind: &str) -> Value {
        self.hear_up_to(kind).await.pop().expect("it came")
    }

    /// All that comes up to this.
    async fn hear_up_to(&mut self, kind: &str) -> Vec<Value> {
        let mut heard = Vec::new();
        loop {
            let message =
                timeout(PATIENCE, self.0.next()).await.expect("in time").expect("more comes").expect("it reads");
            let message: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
            heard.push(message);
            if heard.last().is_some_and(|last| last["event_type"] == kind) {
                return heard;
            }
        }
    }

    /// What was said until here was heard. Gives the types of what came meanwhile.
    async fn settle(&mut self) -> Vec<Value> {
        self.say(json!({"event_type": "ping"})).await;
        self.hear_up_to("pong").await.into_iter().map(|heard| heard["event_type"].clone()).collect()
    }
}

async fn steps(stage: &Stage, numbers: std::ops::Range<usize>) {
    for number in numbers {
        stage.step(number).await.expect("the stage does its part");
    }
}

const FIRST: &str = "What is a wave? 🌊";

#[tokio::test]
async fn a_recording_answers_under_the_client_s_own_names_and_takes_the_same_once_more() {
    let stage = Stage::start(&conversation("first_message"), Mode::Recorded, None).await.expect("it starts");
    steps(&stage, 0..1).await;
    let mut a = Raw::join(&stage, "a", "").await;
    a.hear("caught_up").await;
    steps(&stage, 1..5).await;
    let id = "77777777-7777-4777-8777-777777777777";
    let first =
        json!({"event_type": "memory_added", "event_id": id, "data": {"user_message": FIRST, "message_id": 1.0}});
    a.say(first.clone()).await;
    a.say(first).await;
    assert_eq!(a.hear("ack").await["data"]["event_id"], id);
    let wrong = stage.end().await.expect_err("the rest was not said");
    assert!(wrong.contains("a did not say") && wrong.contains("team.note"), "{wrong}");
    assert!(!wrong.contains(FIRST), "{wrong}");
}

#[tokio::test]
async fn nothing_is_told_before_what_led_to_it_was_said() {
    let stage = Stage::start(&conversation("follow_ids"), Mode::Recorded, None).await.expect("it starts");
    steps(&stage, 0..13).await;
    let (mut a, mut b) = (Raw::join(&stage, "a", "").await, Raw::join(&stage, "b", "").await);
    a.say(json!({"event_type": "node.create", "data": {"node": {"id": "n1", "x": 1}}})).await;
    let ids = json!(["n1", {"entity_type": "task", "entity_id": "t1"}]);
    b.say(json!({"event_type": "subscribe", "data": {"subscription": "mine", "ids": ids}})).await;
    assert_eq!(b.hear("ids.sync").await["data"]["subscription"], "mine");
    let task = json!({"entity_type": "task", "entity_id": "t1", "action": "create", "data": {"n": 1}});
    a.say(json!({"event_type": "sync_event", "data": {"event": task}})).await;
    a.say(json!({"event_type": "node.create", "data": {"node": {"id": "n2", "x": 9}}})).await;
    b.hear("ids.update").await;
    // The next that it hears of what it follows names nothing but a position: that of a change that nobody made yet.
    assert!(!b.settle().await.contains(&json!("ids.update")));
    a.say(json!({"event_type": "node.update", "data": {"node_id": "n1", "patch": {"x": 2}, "base_version": 1}})).await;
    assert_eq!(b.hear("ids.update").await["data"]["changed"][0]["data"]["x"], 2);
    stage.end().await.expect_err("the rest was not said");
}

#[tokio::test]
async fn another_content_than_the_recorded_one_is_wrong() {
    let stage = Stage::start(&conversation("first_message"), Mode::Recorded, None).await.expect("it starts");
    steps(&stage, 0..4).await;
    let mut a = Raw::join(&stage, "a", "").await;
    a.say(json!({"event_type": "memory_added", "data": {"user_message": FIRST, "message_id": 2}})).await;
    a.say(json!({"event_type": "typing", "data": {}})).await;
    a.settle().await;
    let wrong = stage.end().await.expect_err("it is wrong");
    assert!(wrong.contains(r#"\"message_id\":2"#) && wrong.contains("typing"), "{wrong}");
}

#[tokio::test]
async fn a_cursor_beyond_what_was_told_is_wrong() {
    for (back, is_wrong) in [(0, false), (1, true)] {
        let stage = Stage::start(&conversation("resume_complete"), Mode::Recorded, None).await.expect("it starts");
        steps(&stage, 0..3).await;
        let (mut a, mut b) = (Raw::join(&stage, "a", "").await, Raw::join(&stage, "b", "").await);
        let epoch = a.hear("session_ready").await["data"]["epoch"].as_str().expect("epoch").to_owned();
        a.say(json!({"event_type": "team.note", "data": {"n": 0}})).await;
        let seen = b.hear("team.note").await["seq"].as_u64().expect("a position");
        steps(&stage, 3..12).await;
        for n in [1, 2] {
            a.say(json!({"event_type": "team.note", "data": {"n": n}})).await;
        }
        a.settle().await;
        let mut b = Raw::join(&stage, "b", &format!("&since={epoch}.{}", seen + back)).await;
        b.hear("caught_up").await;
        let wrong = stage.end().await.expect_err("the rest was not said");
        assert_eq!(wrong.contains("b returns with"), is_wrong, "{wrong}");
    }
}

#[tokio::test]
async fn an_operation_means_the_same_in_any_message_and_needs_the_version_that_was_seen() {
    for (base, is_wrong) in [(json!(1), false), (json!(null), true), (json!(7), true)] {
        let stage = Stage::start(&conversation("two_edit_merge"), Mode::Recorded, None).await.expect("it starts");
        steps(&stage, 0..10).await;
        let mut a = Raw::join(&stage, "a", "").await;
        let content = json!({"state": "open", "owner": "nobody"});
        let event = json!({"id": "one", "entity_type": "task", "entity_id": "t1", "action": "create", "data": content, "base_version": 0});
        a.say(json!({"event_type": "sync_event", "data": {"event": event}})).await;
        assert_eq!(a.hear("update.confirmed").await["data"]["updateId"], "one");
        let mut operation = json!({"op_id": "two", "entity_type": "task", "entity_id": "t1", "action": "update",
            "changes": {"owner": null, "state": "a's"}, "base_version": base});
        if base.is_null() {
            operation.as_object_mut().expect("an object").shift_remove("base_version");
        }
        a.say(json!({"event_type": "batch.update", "data": {"operations": [operation]}})).await;
        assert_eq!(a.hear("update.confirmed").await["data"]["updateId"], "two");
        let wrong = stage.end().await.expect_err("b said nothing");
        assert_eq!(wrong.contains("on version"), is_wrong, "{base}: {wrong}");
        assert!(!wrong.contains("a did not say"), "{wrong}");
    }
}

#[tokio::test]
async fn a_recording_that_is_out_of_date_is_noticed() {
    let kept = fs::read_to_string(recording("first_message")).expect("readable");
    let dir = tempfile::TempDir::new().expect("a directory");
    for (from, to, noticed) in [
        (r#""duplicate":"#, r#""twice":"#, "'ack' differs in /data/duplicate, /data/twice"),
        (r#""event_type":"ack""#, r#""event_type":"nod""#, "'nod' is not said any more"),
    ] {
        let like = dir.path().join("first_message.json");
        fs::write(&like, kept.replace(from, to)).expect("writable");
        let wrong = hold_like(&conversation("first_message"), &like).await.expect_err("it is out of date");
        assert!(wrong.contains(noticed), "{wrong}");
    }
}
