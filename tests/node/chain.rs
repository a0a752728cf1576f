//! The project's own client in a room of which it does not get all: its chain holds, whatever the node says in between.

use continuum::client::{ClientOptions, Connection, Frame, Incoming, track::Tracker};
use serde_json::{Value, json};

use crate::support::{Client, Node, within};

/// The next message that is as wanted; a missing record is a failure.
async fn find(reader: &mut Connection, wanted: impl Fn(&Frame) -> bool) -> Frame {
    within("the node's message", async {
        loop {
            let frame = reader.next().await.expect("the chain holds and the connection lives");
            if wanted(&frame) {
                return frame;
            }
        }
    })
    .await
}

fn position(frame: &Frame) -> Option<u64> {
    let data: Value = serde_json::from_str(frame.envelope.data.get()).ok()?;
    data["position"].as_u64()
}

/// Somebody who wants notes only, and somebody who may not see what is private to others.
async fn readers(node: &Node) -> Vec<Connection> {
    let url: continuum::client::BaseUrl = format!("ws://{}", node.address()).parse().expect("a URL");
    let options = |name: &str| {
        ClientOptions::new(url.clone(), "t".parse().expect("a tenant"), name.parse().expect("an instance"))
    };
    let (mut picky, mut ann) = (options("picky"), options("ann"));
    picky.types = vec!["note".to_owned()];
    ann.user = Some("ann".to_owned());
    let mut readers = Vec::new();
    for options in [picky, ann] {
        let tracker = Tracker::new(options.echo, None);
        let (mut reader, _) = within("the join", Connection::join(&options, None, tracker)).await.expect("a member");
        find(&mut reader, |frame| matches!(frame.message, Incoming::CaughtUp(_))).await;
        readers.push(reader);
    }
    readers
}

/// Writes what neither reader gets; its position.
async fn hide(bob: &mut Client, id: &str) -> u64 {
    let memory = json!({"id": id, "visibility": "private"});
    let done = bob
        .ask(json!({"event_type": "memory.created", "event_id": format!("{id:0>8}-0000-4000-8000-000000000000"),
            "data": {"memory": memory}}))
        .await;
    assert_eq!(done["event_type"], "update.confirmed", "{done}");
    done["data"]["version"].as_u64().expect("a version")
}

/// Then a note, which both get.
async fn note(bob: &mut Client, readers: &mut [Connection]) {
    let ack = bob.publish("note", json!({})).await;
    for reader in readers {
        let frame = find(reader, |frame| matches!(frame.message, Incoming::Record(_))).await;
        assert_eq!(frame.envelope.seq, ack["seq"].as_u64());
    }
}

#[tokio::test]
async fn an_answer_that_names_a_position_comes_behind_what_moves_the_cursor_there() {
    let node = Node::start(&[]).await;
    let mut bob = node.join_with("t", "bob", "user_id=bob").await;
    let mut readers = readers(&node).await;
    for id in ["1", "2"] {
        let hidden = hide(&mut bob, id).await;
        for reader in &mut readers {
            reader.enqueue(r#"{"event_type":"sync_request"}"#.to_owned()).await.expect("the node takes it");
            reader.flush().await.expect("the node takes it");
            let answer = find(reader, |frame| frame.envelope.event_type == "sync_response").await;
            assert_eq!(position(&answer), Some(hidden));
            assert_eq!(reader.tracker().cursor().map(|cursor| cursor.position.0), Some(hidden));
        }
        note(&mut bob, &mut readers).await;
    }
}

#[tokio::test]
async fn so_does_a_heartbeat() {
    let node = Node::start(&[("heartbeat.interval", "100ms")]).await;
    let mut bob = node.join_with("t", "bob", "user_id=bob").await;
    let mut readers = readers(&node).await;
    let hidden = hide(&mut bob, "1").await;
    for reader in &mut readers {
        let beat = |frame: &Frame| matches!(frame.message, Incoming::Heartbeat) && position(frame) == Some(hidden);
        find(reader, beat).await;
        assert_eq!(reader.tracker().cursor().map(|cursor| cursor.position.0), Some(hidden));
    }
    note(&mut bob, &mut readers).await;
}
