//! What passes, and that it passes as it is.

use std::time::Duration;

use continuum::mcp::wrap::Answers;
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use crate::{FOR_EVER, NOWHERE, Wrapped, support::until};

/// Numbers, escapes and fields that a reader and writer of JSON would change.
const WILD: &str = r#""x":{"n":[1.10,1e400,12345678901234567890123],"s":"\ud83d\/","x":1,"y":null } "#;

#[tokio::test]
async fn lines_pass_byte_for_byte() {
    let mut wrapped = Wrapped::start(NOWHERE, "polite", |config| config.answers = Answers::Untouched).await;
    let answer = format!(r#" {{"id":1.0, {WILD},"jsonrpc":"2.0","result":{{{WILD},"content":[ ]}}}}"#);
    let call = format!(
        r#"{{"params":{{{WILD},"arguments":{{"raw":{}}},"name":"\u0072aw"}},"method":"tools\/call", "id":1 ,{WILD}}}"#,
        json!(answer)
    );
    wrapped.say(&call).await;
    assert_eq!(wrapped.hear().await, answer);
    let strange = [
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/strange",{WILD}}}"#),
        format!(r#"[{{"jsonrpc":"2.0","method":"notifications/strange",{WILD}}}]"#),
        "\r".to_owned(),
    ];
    for line in &strange {
        wrapped.say(line).await;
    }
    wrapped.ping(2).await;
    let heard = wrapped.heard();
    let lines: Vec<_> = heard.split('\n').collect();
    assert_eq!(lines[..4], [&call, &strange[0], &strange[1], &strange[2]]);
    // What the server says is passed, whatever it is.
    for (id, line) in [(3, "not json"), (4, r#"[{"id":3,"result":{}}]"#), (5, r#"{"id":3,"id":4,"result":{}}"#)] {
        wrapped.call_raw(id, line).await;
        assert_eq!(wrapped.hear().await, line);
    }
}

#[tokio::test]
async fn only_a_text_is_added_to_an_answer() {
    let mut wrapped = Wrapped::start(NOWHERE, "polite", |_| ()).await;
    let (head, tail) = (r#"{"id":1,"result":{"isError":true,"content":[{"a":1.10}"#, format!(r#"],{WILD}}},{WILD}}}"#));
    wrapped.call_raw(1, &format!("{head}{tail}")).await;
    let heard = wrapped.hear().await;
    let added = heard.strip_prefix(head).and_then(|rest| rest.strip_suffix(&tail)).expect("the rest is as it was");
    assert!(added.starts_with(r#",{"type":"text","text":"[continuum] sync status: "#), "{added}");
    // No list of contents, no place for a text.
    let line = r#"{"id":2,"result":{"structuredContent":{"content":[]}}}"#;
    wrapped.call_raw(2, line).await;
    assert_eq!(wrapped.hear().await, line);
}

#[tokio::test]
async fn both_eras_pass_and_only_the_end_of_a_call_is_changed() {
    let mut wrapped = Wrapped::start(NOWHERE, "polite", |_| ()).await;
    // With a handshake: questions come in between, under numbers that are the client's too.
    let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}},"clientInfo":{"name":"c","version":"1"}}}"#;
    wrapped.say(initialize).await;
    assert_eq!(wrapped.hear_json().await["result"]["method"], "initialize");
    wrapped.say(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    wrapped.call(0, "ask", json!({})).await;
    assert_eq!(
        wrapped.hear().await,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1.0}}"#
    );
    let asked = wrapped.hear_json().await;
    assert_eq!((&asked["id"], &asked["method"]), (&json!(0), &json!("elicitation/create")));
    let says = r#"{"jsonrpc":"2.0","id":0,"result":{"action":"accept","content":[]}}"#;
    wrapped.say(says).await;
    let answer = wrapped.hear_json().await;
    let content = answer["result"]["content"].as_array().expect("contents");
    assert_eq!((content.len(), &content[0]["text"]), (2, &json!(r#"{"action": "accept", "content": []}"#)));
    assert!(wrapped.heard().contains(says), "the client's answer has no text added");

    // Without one: every request stands alone, and a question is an answer that is none yet.
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    wrapped.say(&format!(r#"{{"jsonrpc":"2.0","id":"d","method":"server/discover","params":{{{meta}}}}}"#)).await;
    assert_eq!(wrapped.hear_json().await["result"]["method"], "server/discover");
    for line in [
        r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{},"requestState":"s","content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"task","taskId":"1","content":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"taskId":"1"},"content":[]}}"#,
    ] {
        wrapped.call_raw(1, line).await;
        assert_eq!(wrapped.hear().await, line);
    }
    let before = wrapped.replica.pending(0, 10).await.expect("read").len();
    let line = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}"#;
    let raw = json!(line);
    wrapped
        .say(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"raw","arguments":{{"raw":{raw}}},"requestState":"s",{meta}}}}}"#
        ))
        .await;
    wrapped.hear_notice().await;
    let after = wrapped.replica.pending(0, 10).await.expect("read").len();
    assert_eq!((before, after), (1, 2), "the room is told of calls that have ended");
    assert!(wrapped.heard().contains(meta));
}

#[tokio::test]
async fn what_cannot_be_judged_is_refused_and_not_passed() {
    let mut wrapped = Wrapped::start(NOWHERE, "polite", |_| ()).await;
    for line in [
        r#"{"id":1,"method":"ping","method":"tools/call","params":{"name":"hang","x":"secret"}}"#,
        r#"[{"id":1,"method":"tools/call","params":{"name":"hang","x":"secret"}}]"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"hang","x":"secret"}"#,
        r#"{"method":"tools/call","params":{"name":"hang","x":"secret"}}"#,
    ] {
        wrapped.say(line).await;
        let refused = wrapped.hear_json().await;
        assert_eq!((&refused["error"]["code"], refused.get("id")), (&json!(-32600), None), "{refused}");
    }
    // Who asked is told, where that is clear.
    wrapped.say(r#"{"id":1,"method":"tools/call","params":{"name":"hang","name":"secret"}}"#).await;
    let refused = wrapped.hear_json().await;
    assert_eq!((&refused["error"]["code"], &refused["id"]), (&json!(-32600), &json!(1)), "{refused}");
    wrapped.ping(1).await;
    assert!(!wrapped.heard().contains("secret"), "{}", wrapped.heard());
}

#[tokio::test]
async fn a_tool_that_hangs_holds_up_nothing_else() {
    let mut wrapped = Wrapped::start(NOWHERE, "polite", |_| ()).await;
    wrapped.call(1, "hang", json!({})).await;
    wrapped.until_heard("hang").await;
    wrapped.ping(2).await;
    wrapped.call_raw(3, r#"{"jsonrpc":"2.0","id":3,"result":{"content":[]}}"#).await;
    wrapped.hear_notice().await;
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    wrapped.say(cancelled).await;
    wrapped.until_heard(cancelled).await;
    // A late answer passes as it is, and the room hears what became of the call.
    let late = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
    wrapped.call_raw(4, late).await;
    assert_eq!(wrapped.hear().await, late);
    let cancelled = async || {
        let pending = wrapped.replica.pending(0, 10).await.expect("read");
        pending.iter().any(|write| write.body.contains(r#""ok":false,"cancelled":true"#)).then_some(())
    };
    until("the call is noted as given up", cancelled).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_stalls_the_server() {
    let most: u64 = 64 << 20;
    let mut wrapped = Wrapped::start(NOWHERE, "polite", |_| ()).await;
    wrapped.call(1, "flood", json!({"most": most})).await;
    wrapped.until_heard("said ").await;
    let heard = wrapped.heard();
    let said: u64 = heard.lines().find_map(|line| line.strip_prefix("said ")?.parse().ok()).expect("a number");
    assert!(said < 24 << 20, "{said} bytes were taken while nobody read");
}

/// Says lines until so many bytes were taken, or no more are. Gives how many were.
async fn say_all(wrapped: &mut Wrapped, most: usize, mut line: impl FnMut(usize) -> String) -> usize {
    let input = wrapped.input.as_mut().expect("not closed");
    let mut said = 0;
    for id in 1.. {
        let line = line(id);
        let saying = input.write_all(line.as_bytes());
        if said >= most || timeout(Duration::from_secs(3), saying).await.is_err() {
            break;
        }
        said += line.len();
    }
    said
}

#[tokio::test]
async fn a_server_that_does_not_read_stalls_the_client() {
    let mut wrapped = Wrapped::start(NOWHERE, "deaf", |_| ()).await;
    let long = "x".repeat(512 << 10);
    let line = |_| format!("{{\"method\":\"notifications/x\",\"params\":\"{long}\"}}\n");
    let said = say_all(&mut wrapped, 64 << 20, line).await;
    assert!(said < 24 << 20, "{said} bytes were taken while nobody read");
}

#[tokio::test]
async fn answers_that_wait_for_the_room_stall_the_server_and_the_client_in_the_end() {
    // It listens and never answers: not known to be away, so it is waited for.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let mut wrapped = Wrapped::start(&address, "polite", |config| config.after = FOR_EVER).await;
    let long = "x".repeat(512 << 10);
    let call = |id| {
        let answer = json!(format!(r#"{{"id":{id},"result":{{"content":[],"x":"{long}"}}}}"#));
        let params = format!(r#"{{"name":"raw","arguments":{{"raw":{answer}}}}}"#);
        format!("{{\"id\":{id},\"method\":\"tools/call\",\"params\":{params}}}\n")
    };
    let said = say_all(&mut wrapped, 64 << 20, call).await;
    assert!(said < 48 << 20, "{said} bytes were taken while nothing was answered");
}
