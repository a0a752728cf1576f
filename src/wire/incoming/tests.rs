//! What a message of `/ws/sync` and a body over HTTP become, and which code each bad one has.

use super::*;
use crate::wire::operation::Identity;

fn read_as_a(text: &str) -> Result<ClientMessage, Refusal> {
    let (tenant, instance) = ("default".parse().expect("tenant"), "a".parse().expect("instance"));
    let author = crate::model::entity::Author { instance, user: None, name: None };
    let (change, identity, now) = (&crate::model::rights::Entities::all(), Identity::Claimed, Timestamp(0));
    read(text, Sender { tenant: &tenant, author: &author, identity, change, now }, 128)
}

#[test]
fn a_publish_is_read_with_its_content_untouched() {
    let text = r#"{"event_type":"note","event_id":"11111111-1111-4111-8111-111111111111","data":{"n": 1.0e2},"x":1}"#;
    let Ok(ClientMessage::Publish(publish)) = read_as_a(text) else { panic!("a publish") };
    assert_eq!(publish.data.get(), r#"{"n": 1.0e2}"#);
    assert_eq!(publish.id.to_string(), "11111111-1111-4111-8111-111111111111");
}

#[test]
fn a_signal_is_told_by_its_type_and_cannot_be_published() {
    let text = r#"{"event_type":"signal.wave","instance_id":"a","data":{"n": 1.0e2}}"#;
    let Ok(ClientMessage::Signal(sent)) = read_as_a(text) else { panic!("a signal") };
    assert_eq!((sent.event_type.as_str(), sent.data.get()), ("signal.wave", r#"{"n": 1.0e2}"#));
    let refusal = read_publish(text, &"default".parse().expect("tenant"), 128).expect_err("refused");
    assert_eq!(refusal.code, Code::ReservedType);
}

#[test]
fn every_bad_message_has_its_code() {
    let deep = format!("{{\"event_type\":\"a\",\"data\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let cases = [
        ("", Code::InvalidJson),
        ("nonsense", Code::InvalidJson),
        ("{\"event_type\":\"a\"", Code::InvalidJson),
        ("{} {}", Code::InvalidJson),
        (r#"{"event_type":"a","data":"\ud800"}"#, Code::InvalidJson),
        (r#"{"event_type":"a","data":"\udc00\ud800"}"#, Code::InvalidJson),
        (r#"{"event_type":"a","data":"\ud800\n"}"#, Code::InvalidJson),
        ("[]", Code::InvalidMessage),
        ("7", Code::InvalidMessage),
        ("{}", Code::InvalidMessage),
        (r#"{"event_type":5}"#, Code::InvalidMessage),
        (r#"{"event_type":"a","event_type":"b"}"#, Code::InvalidMessage),
        (r#"{"event_type":"a","timestamp":"later"}"#, Code::InvalidMessage),
        (r#"{"event_type":"ack","data":{}}"#, Code::InvalidMessage),
        (r#"{"event_type":"ack","data":{"seq":"1"}}"#, Code::InvalidMessage),
        (r#"{"event_type":"a b"}"#, Code::InvalidType),
        (r#"{"event_type":""}"#, Code::InvalidType),
        (r#"{"event_type":"session_ready"}"#, Code::ReservedType),
        (r#"{"event_type":"instance_joined"}"#, Code::ReservedType),
        (r#"{"event_type":"a","event_id":"1"}"#, Code::InvalidEventId),
        (r#"{"event_type":"a","tenant_id":"other"}"#, Code::IdentityMismatch),
        (r#"{"event_type":"a","instance_id":"b"}"#, Code::IdentityMismatch),
        (&deep, Code::TooDeep),
    ];
    for (text, code) in cases {
        let start: String = text.chars().take(60).collect();
        assert_eq!(read_as_a(text).err().map(|refusal| refusal.code), Some(code), "{start}");
    }
}

#[test]
fn a_refusal_names_the_message_however_wrong_it_is() {
    let id = "11111111-1111-4111-8111-111111111111";
    for rest in [
        r#""event_type":"a","data":"\ud800"}"#,
        r#""event_type":"a","data":nonsense}"#,
        r#""event_type":"a""#,
        r#""event_type":"a","event_type":"b"}"#,
        r#""event_type":5}"#,
        r#""event_type":"a","instance_id":"b"}"#,
        r#""event_type":"node.create","tenant_id":"other","data":{}}"#,
        r#""event_type":"session_ready"}"#,
        &format!(r#""event_type":"a","data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
    ] {
        let refusal = read_as_a(&format!(r#"{{"event_id":"{id}",{rest}"#)).expect_err(rest);
        assert_eq!(refusal.event_id.map(|id| id.to_string()).as_deref(), Some(id), "{rest:.60}");
    }
    // Behind what is deep, but not behind what is no JSON, nor where it is no field of the message itself.
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let named = |text: String| read_as_a(&text).expect_err("refused").event_id.is_some();
    assert!(named(format!(r#"{{"event_type":"a","data":{deep},"event_id":"{id}"}}"#)));
    assert!(!named(format!(r#"{{"event_type":"a","data":nonsense,"event_id":"{id}"}}"#)));
    assert!(!named(format!(r#"{{"event_type":"a","data":{{"event_id":"{id}","x":{deep}}}}}"#)));
    assert!(!named(r#"{"event_type":"a","event_id":"1","timestamp":5}"#.into()));
}

#[test]
fn a_wrong_type_is_named() {
    let refusal = read_as_a(r#"{"event_type":"a","timestamp":5}"#).expect_err("refused");
    assert_eq!(refusal.message, "'timestamp' has the wrong type");
}

#[test]
fn brackets_in_strings_do_not_count_as_depth() {
    let text = format!("{{\"event_type\":\"a\",\"data\":\"{}\\\"{}\"}}", "[".repeat(500), "{".repeat(500));
    assert!(read_as_a(&text).is_ok());
}

#[test]
fn whole_pairs_and_escaped_backslashes_pass() {
    for data in [r#""\ud83c\udf17""#, r#""\\ud800""#, r#""\\\\""#, r#"{"\"":"[{"}"#] {
        let text = format!("{{\"event_type\":\"a\",\"data\":{data}}}");
        assert!(read_as_a(&text).is_ok(), "{text}");
    }
}

#[test]
fn heartbeats_acknowledge_when_they_say_up_to_where() {
    for (text, position) in [
        (r#"{"event_type":"heartbeat"}"#, None),
        (r#"{"event_type":"heartbeat","data":"alive"}"#, None),
        (r#"{"event_type":"heartbeat","data":{"position":7}}"#, Some(Position(7))),
        (r#"{"event_type":"ack","data":{"seq":8}}"#, Some(Position(8))),
    ] {
        assert!(matches!(read_as_a(text), Ok(ClientMessage::Ack(p)) if p == position), "{text}");
    }
}

#[test]
fn http_bodies_are_one_envelope_or_a_list() {
    assert_eq!(split_publishes("[{},{}]", 9).map(|(list, shape)| (list.len(), shape)), Ok((2, Shape::List)));
    assert_eq!(split_publishes(" {}", 9).map(|(list, shape)| (list.len(), shape)), Ok((1, Shape::One)));
    assert_eq!(split_publishes("[{},", 9).err().map(|refusal| refusal.code), Some(Code::InvalidJson));
}
