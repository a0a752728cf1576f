//! What is read of a line, and that nothing else of it changes.

use super::*;

fn call(line: &str) -> (Box<str>, String, Option<String>) {
    match said(line.as_bytes()) {
        Said::Call { id, tool, arguments } => (id.text, tool, arguments),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_call_is_seen_however_it_is_written() {
    let wild = r#"{"jsonrpc":"2.0","x":[1e400],"id":"a\u0062","method":"tools\/call","params":{"_meta":{"y":1.10},"name":"e\u0063ho","arguments":{"t":"\ud83d","n":12345678901234567890123}}}"#;
    let (id, tool, arguments) = call(wild);
    assert_eq!((&*id, tool.as_str()), (r#""a\u0062""#, "echo"));
    assert_eq!(arguments.as_deref(), Some(r#"{"t":"\ud83d","n":12345678901234567890123}"#));
    assert_eq!(call(" {\"id\":0,\"method\":\"tools/call\",\"params\":{\"name\":\"t\"}}\r\n").0.as_ref(), "0");
}

#[test]
fn ids_are_compared_by_what_they_mean() {
    let key = |text: &str| {
        let line = format!(r#"{{"id":{text},"method":"ping"}}"#);
        match said(line.as_bytes()) {
            Said::Request(id) => id.key,
            other => panic!("{text}: {other:?}"),
        }
    };
    assert_eq!(key("1"), key("1.0"));
    assert_eq!(key(r#""ab""#), key(r#""a\u0062""#));
    assert_ne!(key("1"), key(r#""1""#));
    assert_ne!(key("1.5"), key("1"));
    assert_eq!(key("12345678901234567890123"), key("1.2345678901234567890123e22"));
}

#[test]
fn what_two_readers_could_take_for_two_things_is_not_judged() {
    for line in [
        "not json",
        "7",
        "\u{feff}{}",
        r#"{"id":1,"id":2,"method":"ping"}"#,
        r#"{"id":1,"method":"ping","method":"tools/call","params":{"name":"t"}}"#,
        r#"{"id":1,"method":"ping","\u006dethod":"tools/call","params":{"name":"t"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"t","name":"u"}}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"t"},"params":{"name":"u"}}"#,
        r#"{"id":1,"method":"tools/call","params":["t"]}"#,
        r#"{"id":1,"method":"tools/call","params":{"name":"t"}} {}"#,
        r#"{"id":1,"method":"tools/call"}"#,
        r#"{"id":null,"method":"tools/call","params":{"name":"t"}}"#,
        r#"{"id":[1],"method":"tools/call","params":{"name":"t"}}"#,
        r#"{"method":"tools/call","params":{"name":"t"}}"#,
        r#"[{"id":1,"method":"tools/call","params":{"name":"t"}}]"#,
        r#"[{"id":1,"method":"ping"},{"method":"notifications/cancelled","params":{"requestId":1}}]"#,
        r#"[[{"id":1,"method":"tools/call","params":{"name":"t"}}]]"#,
    ] {
        assert!(matches!(said(line.as_bytes()), Said::Unclear { .. }), "{line}");
    }
    assert!(matches!(said(b"{\"id\":1,\"method\":\"ping\",\"x\":\"\xff\"}"), Said::Unclear { .. }));
    let nameless = br#"{"id":"\u0061","method":"tools/call","params":{}}"#;
    assert!(matches!(said(nameless), Said::Unclear { id: Some(id), .. } if &*id == r#""\u0061""#));
    for line in ["", "\r\n", "{}", r#"{"id":1,"result":{}}"#, r#"[{"id":1,"method":"ping"},{"method":"x"}]"#] {
        assert_eq!(said(line.as_bytes()), Said::Other, "{line}");
    }
    assert_eq!(said(br#"{"id":null,"method":"x"}"#), Said::Other);
}

#[test]
fn only_a_whole_result_is_the_end_of_a_call() {
    let of = |body: &str| {
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,{body}}}"#);
        answer(line.as_bytes()).expect("an answer").outcome
    };
    assert!(matches!(of(r#""result":{"content":[]}"#), Outcome::Done(Place::First(_))));
    assert!(matches!(of(r#""result":{"resultType":"complete","content":[1]}"#), Outcome::Done(Place::Next(_))));
    assert!(matches!(of(r#""result":{"isError":true,"content":[ ]}"#), Outcome::Failed(Place::First(_))));
    assert_eq!(of(r#""result":{"structuredContent":{"content":[]}}"#), Outcome::Done(Place::None));
    assert_eq!(of(r#""result":{"content":"x"}"#), Outcome::Done(Place::None));
    assert_eq!(of(r#""result":{"content":[],"content":[]}"#), Outcome::Failed(Place::None));
    assert_eq!(of(r#""result":null"#), Outcome::Failed(Place::None));
    assert_eq!(of(r#""error":{"code":-32602,"message":"x"}"#), Outcome::Failed(Place::None));
    assert_eq!(of(r#""result":{"resultType":"input_required","content":[]}"#), Outcome::Interim);
    assert_eq!(of(r#""result":{"resultType":"task"}"#), Outcome::Interim);
    assert_eq!(of(r#""result":{"task":{"taskId":"1"}}"#), Outcome::Interim);
    for line in [
        r#"{"id":1,"method":"sampling/createMessage","result":{}}"#,
        r#"[{"id":1,"result":{}}]"#,
        r#"{"id":null,"result":{}}"#,
        r#"{"id":1,"id":1,"result":{}}"#,
        "boo",
    ] {
        assert_eq!(answer(line.as_bytes()), None, "{line}");
    }
}

#[test]
fn a_text_is_added_and_nothing_else_changes() {
    for (line, wanted) in [
        (
            "{\"id\":1, \"result\" : {\"x\":1.10,\"content\":[ {\"t\":\"]\"} ],\"y\":1e400,\"z\":\"\\ud83d\"}, \"w\":12345678901234567890123}\r\n",
            "{\"id\":1, \"result\" : {\"x\":1.10,\"content\":[ {\"t\":\"]\"} ,{\"type\":\"text\",\"text\":\"\\\"a\\\"\\nb\"}],\"y\":1e400,\"z\":\"\\ud83d\"}, \"w\":12345678901234567890123}\r\n",
        ),
        (
            r#"  {"id":1,"result":{"content":[ ]}}"#,
            r#"  {"id":1,"result":{"content":[ {"type":"text","text":"\"a\"\nb"}]}}"#,
        ),
    ] {
        let Some(Answer { outcome: Outcome::Done(place), .. }) = answer(line.as_bytes()) else { panic!("{line}") };
        let added = with_text(line.as_bytes(), place, "\"a\"\nb").expect("a place");
        assert_eq!(String::from_utf8(added).expect("text"), wanted);
    }
    assert_eq!(with_text(b"{}", Place::None, "a"), None);
}

#[test]
fn an_error_names_the_request_as_it_was_written() {
    assert_eq!(
        error(Some(r#""a\u0062""#), -1, "no \"way\""),
        b"{\"jsonrpc\":\"2.0\",\"id\":\"a\\u0062\",\"error\":{\"code\":-1,\"message\":\"no \\\"way\\\"\"}}\n"
    );
    assert_eq!(error(None, -1, ""), b"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-1,\"message\":\"\"}}\n");
}
