//! What nodes say, written and read back.

use serde_json::value::RawValue;

use super::*;
use crate::model::{EventType, InstanceId, peers::Link};

const NODE: NodeId = NodeId(Uuid::from_u128(7));
const ME: NodeId = NodeId(Uuid::from_u128(8));
const SPEAKER: Speaker = Speaker { node: NODE, incarnation: Incarnation(3) };

fn claim(instance: &str, attendance: Attendance) -> Claim {
    let capabilities = vec!["memory".into(), "\"quoted\"".into()];
    let (user, name) = (Some("u\"1\"".into()), Some("Ann É".into()));
    let connection = Some(Uuid::from_u128(9));
    let (connected_at, affinity) = (Timestamp(1_765_015_200_000), Affinity::of_millionths(250_000));
    let presence = Presence { connected_at, capabilities, user, name, connection, affinity };
    Claim { instance: instance.parse().expect("an instance"), generation: Generation(17), presence, attendance }
}

#[test]
fn everything_that_is_said_is_read_back_as_it_was_written() {
    let name: InstanceId = "claude \"1\" é".parse().expect("an instance");
    let claims = vec![claim("a", Attendance::Connected), claim("b", Attendance::Missed)];
    let news = [
        News::Joined(claim("a", Attendance::Connected)),
        News::Missed(name.clone()),
        News::Left(name.clone(), Reason::Closed),
        News::Left(name, Reason::Lost),
        News::Present { claims, part: Part { first: true, last: false } },
        News::Present { claims: vec![], part: Part { first: true, last: true } },
    ];
    let numbered = (1..).zip(news).map(|(number, news)| Said::News { room: 4, number, news });
    for said in numbered.chain([Said::Ask(None), Said::Ask(Some(ME))]) {
        let body = super::said(SPEAKER, &said);
        let read = read_word(&body, ME).expect("a word");
        assert!(matches!(&read, Some((SPEAKER, Word::Said(read))) if *read == said), "{body:?} {read:?}");
        assert!(read_word(&body, NODE).is_ok_and(|own| own.is_none()), "one's own words are not news");
    }
    for kind in [Beat::Hello, Beat::Alive, Beat::Farewell] {
        assert_eq!(read_beat(&beat(SPEAKER, kind, None)).ok().flatten(), Some((SPEAKER, kind, None)));
    }
}

#[test]
fn a_heartbeat_carries_what_a_node_says_of_itself_and_counts_without_it() {
    let link =
        Link { kind: "nats".into(), state: "serving".into(), reason: None, server: Some("n1".into()), connects: 2 };
    let account = Account {
        name: "a:1".into(),
        version: "1".into(),
        since: Timestamp(5),
        status: "degraded".into(),
        reason: Some("\"why\"".into()),
        link,
        connections: 3,
        rooms: 1,
        hears: 2,
    };
    let body = beat(SPEAKER, Beat::Alive, Some(&account));
    assert_eq!(read_beat(&body).ok().flatten(), Some((SPEAKER, Beat::Alive, Some(account))));
    let later = format!(r#"{{"v":1,"node":"{}","inc":7,"kind":"alive","account":{{"name":7}}}}"#, NODE.0);
    assert!(matches!(read_beat(later.as_bytes()), Ok(Some((_, Beat::Alive, None)))));
}

#[test]
fn of_entities_that_are_waited_for_a_bounded_number_is_told() {
    let keys: Vec<_> = (0..100).map(|n| EntityKey::new("note", &format!("\"{n}\"")).expect("a key")).collect();
    let told = waits(SPEAKER, &keys);
    assert!(matches!(read_word(&told, ME), Ok(Some((SPEAKER, Word::Waits(read)))) if *read == keys[..ENTITIES]));
}

#[test]
fn what_a_later_version_says_is_ignored_where_it_is_not_understood() {
    let node = NODE.0;
    for (text, understood) in [
        (format!(r#"{{"v":1,"node":"{node}","inc":3,"kind":"ask","more":[1]}}"#), true),
        (format!(r#"{{"v":1,"node":"{node}","inc":3,"kind":"sang","n":"x"}}"#), false),
        (format!(r#"{{"v":2,"node":"{node}","inc":3,"kind":"ask"}}"#), false),
        (format!(r#"{{"v":1,"node":"{node}","inc":3,"kind":"joined","room":1,"n":1}}"#), false),
    ] {
        let said = read_word(text.as_bytes(), ME);
        assert!(said.is_ok_and(|said| said.is_some() == understood), "{text}");
    }
}

#[test]
fn nonsense_is_an_error_and_nothing_else() {
    let node = NODE.0;
    let bad_name =
        format!(r#"{{"v":1,"node":"{node}","inc":3,"kind":"missed","room":1,"n":1,"instance":"{}"}}"#, "x".repeat(129));
    let long = format!(r#"{{"v":1,"node":"{node}","inc":3,"kind":"ask","more":"{}"}}"#, "x".repeat(LARGEST));
    for text in ["", "x", "{}", "[]", r#"{"v":1,"node":"x","inc":3,"kind":"ask"}"#, &bad_name, &long] {
        assert!(read_word(text.as_bytes(), ME).is_err(), "{:.80}", text);
    }
}

#[test]
fn a_full_part_is_far_smaller_than_what_is_looked_at() {
    use crate::model::{
        neighbours::Neighbours,
        roster::{Arrival, Roster},
    };
    let mut roster = Roster::<u32>::new(NODE);
    for number in 0..600 {
        // Names that grow when written, as long as they may be.
        let instance = format!("{number:03}{}", "\"".repeat(125)).parse().expect("an instance");
        let capabilities = vec!["\\".repeat(64).into(); 32];
        let name: Option<Arc<str>> = Some("\"".repeat(128).into());
        let (user, connection) = (name.clone(), Some(Uuid::nil()));
        let affinity = Affinity::of_millionths(1);
        let presence = Presence { connected_at: Timestamp(0), capabilities, user, name, connection, affinity };
        roster.join(instance, number, presence, Arrival::Fresh);
    }
    for news in Neighbours::list(&roster) {
        let written = said(SPEAKER, &Said::News { room: 1, number: 1, news });
        assert!(written.len() < LARGEST / 4, "{}", written.len());
    }
}

#[test]
fn an_older_nodes_words_without_users_are_read() {
    let node = NODE.0;
    let member = r#"{"instance":"a","generation":17,"since":5,"capabilities":["memory"]}"#;
    let text = format!(r#"{{"v":1,"node":"{node}","inc":3,"kind":"joined","room":1,"n":1,"members":[{member}]}}"#);
    let read = read_word(text.as_bytes(), ME).ok().flatten();
    let Some((SPEAKER, Word::Said(Said::News { news: News::Joined(claim), .. }))) = read else { panic!("{read:?}") };
    let capabilities = vec!["memory".into()];
    let (user, name, connection, affinity) = (None, None, None, Affinity::NONE);
    let presence = Presence { connected_at: Timestamp(5), capabilities, user, name, connection, affinity };
    assert_eq!((claim.presence, claim.attendance), (presence, Attendance::Connected));
}

#[test]
fn signals_come_in_as_they_went_out_in_messages_of_bounded_size() {
    let data = |bytes: usize| {
        let text = format!(r#"{{ "n":1.0e2,"text":"{}"}}"#, "é".repeat(bytes / 2));
        serde_json::value::RawValue::from_string(text).expect("JSON")
    };
    let sent: Vec<_> = (0..40)
        .map(|number| {
            let event_type: EventType = "cursor.move".parse().expect("a type");
            let sender = format!("\"{number}\"").parse().expect("an instance");
            let user = (number % 2 == 0).then(|| Arc::from("ann"));
            Arc::new(Signal::of(Uuid::new_v4(), event_type, sender, user, Timestamp(number), data(4096)))
        })
        .collect();
    let messages = signals(SPEAKER, Told::Standing, &sent);
    assert!((4..8).contains(&messages.len()), "{}", messages.len());
    let mut received = Vec::new();
    for message in &messages {
        assert!(message.len() < LARGEST / 4, "{}", message.len());
        assert!(read_word(message, NODE).is_ok_and(|own| own.is_none()));
        match read_word(message, ME) {
            Ok(Some((SPEAKER, Word::Signals(Told::Standing, signals)))) => received.extend(signals),
            other => panic!("{other:?}"),
        }
    }
    let seen =
        |signal: &Arc<Signal>| (signal.pair(), signal.user.clone(), signal.timestamp, signal.data.get().to_owned());
    assert_eq!(received.iter().map(seen).collect::<Vec<_>>(), sent.iter().map(seen).collect::<Vec<_>>());
    assert!(signals(SPEAKER, Told::Live, &[]).is_empty());
}

#[test]
fn signals_that_are_not_for_everybody_keep_their_id_and_are_nothing_to_a_node_that_does_not_know_them() {
    let sent: Vec<_> = ["cursor.move", "chaos.trigger", "gonzai.suggestion"]
        .map(|event_type| {
            let data = RawValue::from_string(r#"{"nodes":["n1"]}"#.into()).expect("JSON");
            let (event_type, sender) = (event_type.parse().expect("a type"), "a".parse().expect("an instance"));
            Arc::new(Signal::of(Uuid::new_v4(), event_type, sender, None, Timestamp(1), data))
        })
        .into();
    let messages = signals(SPEAKER, Told::Live, &sent);
    let of_kind = |kind: &str| {
        let is_kind = |message: &&Bytes| matches!(head(message), Ok(Some((_, found))) if found == kind);
        let read = |message: &Bytes| match read_word(message, ME) {
            Ok(Some((SPEAKER, Word::Signals(Told::Live, signals)))) => signals,
            other => panic!("{other:?}"),
        };
        messages.iter().filter(is_kind).flat_map(read).collect::<Vec<_>>()
    };
    // Nodes of the first version know `signals` only.
    let (open, aimed) = (of_kind("signals"), of_kind("aimed"));
    assert_eq!(open.iter().map(|signal| signal.pair()).collect::<Vec<_>>(), [sent[0].pair()]);
    let known = |signals: &[Arc<Signal>]| signals.iter().map(|signal| (signal.pair(), signal.id())).collect::<Vec<_>>();
    assert_eq!(known(&aimed), known(&sent[1..]));
    assert_eq!(aimed[0].trigger(), sent[1].trigger());
    assert!(aimed.iter().all(|signal| !signal.is_for_all()));
}
