//! Signals as each envelope says them, and whom they are for.

use serde_json::{Value, json};

use super::*;
use crate::{model::interest::Focus, wire::Code};

fn said(event_type: &str, user: Option<&str>, envelope: Envelope) -> Value {
    let data = RawValue::from_string(r#"{"x":1.50}"#.into()).expect("JSON");
    let sender = "say \"hi\"".parse().expect("an instance");
    let event_type = event_type.parse().expect("a type");
    let signal = Signal::of(Uuid::new_v4(), event_type, sender, user.map(Arc::from), Timestamp(1_000), data);
    let frame = signal.frame(&"t".parse().expect("a tenant"), envelope, &Share::Plain);
    assert!(frame.ends_with(br#""data":{"x":1.50}}"#), "the content is untouched");
    // All of these are between 126 and 65,535 bytes long.
    let mut said: Value = serde_json::from_slice(&frame[4..]).expect("JSON");
    if let Some(id) = said.get_mut("id") {
        *id = "some".into();
    }
    said
}

#[test]
fn each_envelope_has_its_own_form_and_gitminds_types_a_number_for_a_time() {
    let data = json!({"x": 1.5});
    let (me, at) = ("say \"hi\"", "1970-01-01T00:00:01.000Z");
    assert_eq!(
        said("cursor.move", Some("ann"), Envelope::Typed),
        json!({"id": "some", "type": "cursor.move", "timestamp": 1000, "version": "1.0", "userId": "ann",
            "instance_id": me, "data": data})
    );
    assert_eq!(
        said("signal.wave", None, Envelope::Typed),
        json!({"id": "some", "type": "signal.wave", "timestamp": at, "userId": me, "instance_id": me, "data": data})
    );
    assert_eq!(
        said("typing", Some("ann"), Envelope::Sync),
        json!({"event_type": "typing", "tenant_id": "t", "timestamp": at, "instance_id": me, "user_id": "ann",
            "data": data})
    );
}

#[test]
fn the_types_are_known_by_name() {
    for name in
        ["cursor.move", "selection.change", "user.presence", "typing", "signal.wave", "signal.a.b", SUGGESTION, TRIGGER]
    {
        assert!(is_signal(name), "{name}");
    }
    for name in [
        "cursor.moved",
        "cursor",
        "typing.start",
        "signal",
        "signals.x",
        "user.presence.x",
        "gonzai.discover",
        "gonzai.focus",
        "chaos",
    ] {
        assert!(!is_signal(name), "{name}");
    }
}

fn aimed(event_type: &str, data: &Value) -> Result<Signal, Refusal> {
    let data = RawValue::from_string(data.to_string()).expect("JSON");
    let sent = Sent { event_type: event_type.parse().expect("a type"), reference: None, timestamp: None, data };
    let author = Author { instance: "helper".parse().expect("an instance"), user: None, name: None };
    Signal::new(sent, &author, Timestamp(1_000))
}

/// What a member is told in `data`.
fn told(signal: &Signal, (instance, user): (&str, Option<&str>), focus: Option<&Focus>) -> Option<Value> {
    let instance = instance.parse().expect("an instance");
    let share = signal.share_of(Listener { instance: &instance, user, focus })?;
    let frame = signal.frame(&"t".parse().expect("a tenant"), Envelope::Sync, &share);
    let mut message: Value = serde_json::from_slice(&frame[4..]).expect("JSON");
    Some(message["data"].take())
}

#[test]
fn a_suggestion_is_for_those_whose_focus_it_concerns_with_score_reason_and_what_was_written() {
    let written = json!({"from": "n1", "to": "n9", "text": "these belong together", "relevance": 0, "any": [1.5]});
    let signal = aimed(SUGGESTION, &written).expect("a suggestion");
    let [near, far] = ["n1", "n2"].map(|node| Focus::new(vec![node.into()], &[], ""));
    let reason = "it joins 'n1', which you are focused on";
    let expected = json!({"suggestion": written, "relevance": 0.9, "reason": reason});
    assert_eq!(told(&signal, ("phone", Some("ann")), Some(&near)), Some(expected));
    assert_eq!(told(&signal, ("phone", Some("ann")), Some(&far)), None);
    assert_eq!(told(&signal, ("phone", Some("ann")), None), None);
    assert!(!signal.is_for_all());
}

#[test]
fn a_suggestion_that_names_receivers_is_for_them_whatever_they_are_busy_with_and_for_nobody_else() {
    let written = json!({"receivers": ["ann", "tablet"], "nodes": ["n1"]});
    let signal = aimed(SUGGESTION, &written).expect("a suggestion");
    let expected = json!({"suggestion": written, "relevance": 1.0, "reason": "it is meant for you"});
    for member in [("phone", Some("ann")), ("ann", None), ("tablet", Some("bob"))] {
        assert_eq!(told(&signal, member, None).as_ref(), Some(&expected), "{member:?}");
    }
    let busy = Focus::new(vec!["n1".into()], &[], "");
    assert_eq!(told(&signal, ("phone", Some("bob")), Some(&busy)), None);
}

#[test]
fn a_suggestion_for_nobody_or_of_the_wrong_form_is_refused() {
    let many: Vec<_> = (0..65).map(|number| number.to_string()).collect();
    for data in [
        json!("n1"),
        json!({}),
        json!({"text": "so so"}),
        json!({"receivers": []}),
        json!({"receivers": "ann"}),
        json!({"receivers": [1]}),
        json!({"receivers": null, "nodes": ["n1"]}),
        json!({"nodes": many}),
        json!({"tags": "rust"}),
    ] {
        assert_eq!(aimed(SUGGESTION, &data).err().map(|refusal| refusal.code), Some(Code::InvalidMessage), "{data}");
    }
    // From another node there is nobody to refuse it to.
    let data = RawValue::from_string("{}".into()).expect("JSON");
    let sender = "helper".parse().expect("an instance");
    let signal = Signal::of(Uuid::new_v4(), SUGGESTION.parse().expect("a type"), sender, None, Timestamp(0), data);
    assert_eq!(told(&signal, ("helper", None), None), None);
}

#[test]
fn a_trigger_of_chaos_is_for_those_who_were_drawn_in_and_says_nothing_that_its_sender_wrote() {
    let signal = aimed(TRIGGER, &json!({"message": "anything", "intensity": 9})).expect("a trigger");
    assert_eq!(told(&signal, ("bob", None), None), None, "nobody before a room has decided");
    let bob = "bob".parse().expect("an instance");
    let drawn = signal.for_drawn([(bob, Drawn { hops: 2, intensity: 0.25 })].into());
    let expected =
        json!({"initiator": "helper", "hops": 2, "intensity": 0.25, "message": "Chaos is contagious! \u{1f435}"});
    assert_eq!(told(&drawn, ("bob", None), None), Some(expected));
    assert_eq!(told(&drawn, ("cem", Some("bob")), None), None);
    assert_eq!((drawn.trigger(), drawn.id()), (signal.trigger(), signal.id()));
    // Between nodes each sender's waits, on the way to members one of all of them.
    let other = Signal { sender: "other".parse().expect("an instance"), ..signal.for_drawn(BTreeMap::new()) };
    assert_eq!((drawn.pair(), signal.pair().1), (other.pair(), signal.sender.clone()));
}
