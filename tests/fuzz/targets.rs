//! What must hold whatever bytes come: for each parser of what others send, a function that panics if it does not.
//! `main.rs` runs them on stable Rust, `fuzz/` under libFuzzer.

use std::{str::from_utf8, sync::Arc};

use actix_codec::Decoder;
use actix_http::ws::{Codec, Frame, Message, ProtocolError};
use bytes::{Bytes, BytesMut};
use continuum::{
    auth::{claims::Holder, secret},
    backbone::nats::{Names, names},
    http::parameters::session_request,
    model::{
        Cursor, EntityKey, EventId, EventType, InstanceId, Position, TenantId, Timestamp,
        entity::{Author, Base, Decision, Entity, Limits, OpId, Stamp, decide},
        filter::TypeFilter,
        lane::Draft,
        peers::NodeId,
        record::About,
        resume::Since,
        rights::{Entities, Rights},
    },
    wire::{
        Envelope,
        assembly::Assembly,
        encoding::inflate,
        entity,
        guard::FrameGuard,
        incoming,
        operation::{Identity, Sender},
        peer,
        record::Record,
        request,
        token::read_first,
        typed,
    },
};
use serde_json::Value;
use uuid::Uuid;

/// The greatest message in bytes, and the greatest nesting.
const LIMIT: usize = 2_000;
const DEPTH: usize = 64;
const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub type Target = fn(&[u8]);

/// Each by its name, under which `corpus` has its inputs.
pub const ALL: &[(&str, Target)] = &[
    ("frames", frames),
    ("sync_envelopes", sync_envelopes),
    ("typed_envelopes", typed_envelopes),
    ("publishes", publishes),
    ("operations", operations),
    ("cursors", cursors),
    ("subjects", subjects),
    ("deflated", deflated),
    ("queries", queries),
    ("peers", peers),
    ("stored", stored),
    ("tokens", tokens),
];

fn tenant() -> TenantId {
    "t".parse().expect("a tenant")
}

fn author() -> Author {
    Author { instance: "a".parse().expect("an instance"), user: None, name: None }
}

/// The guard finds the same however the bytes are cut, and what it lets through is for the parser what it is for the guard:
/// so many frames, none too large, and nothing wrong but with the content of texts and closes.
fn frames(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let (mut whole, mut parts) = (FrameGuard::default(), FrameGuard::default());
    let checked = whole.check(bytes, LIMIT as u64);
    let piece = usize::from(*cut).max(1);
    assert_eq!(checked, bytes.chunks(piece).try_for_each(|part| parts.check(part, LIMIT as u64)));
    if checked.is_err() {
        return;
    }
    assert_eq!((whole.frames(), whole.saw_close()), (parts.frames(), parts.saw_close()));
    let (mut codec, mut assembly, mut read) = (Codec::new().max_size(LIMIT), Assembly::default(), 0);
    let mut buffer = BytesMut::new();
    for part in bytes.chunks(piece) {
        buffer.extend_from_slice(part);
        loop {
            let message = match codec.decode(&mut buffer) {
                Ok(None) => break,
                Ok(Some(frame)) => message_of(frame),
                // The only fault of its own that it has: a close frame without a good code.
                Err(error) => {
                    assert!(matches!(error, ProtocolError::BadOpCode | ProtocolError::InvalidLength(1)), "{error:?}");
                    assert!(whole.saw_close());
                    Err(error)
                }
            };
            read += 1;
            match assembly.take(message) {
                Ok(Some(Message::Text(text))) => assert!(text.len() <= LIMIT),
                Ok(Some(Message::Binary(bytes))) => assert!(bytes.len() <= LIMIT),
                Ok(Some(Message::Ping(bytes) | Message::Pong(bytes))) => assert!(bytes.len() <= 125),
                Ok(Some(other)) => panic!("{other:?} is no whole message"),
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }
    assert_eq!(read, whole.frames());
}

/// As the framework does it.
fn message_of(frame: Frame) -> Result<Message, ProtocolError> {
    Ok(match frame {
        Frame::Text(bytes) => match String::from_utf8(bytes.into()) {
            Ok(text) => Message::Text(text.into()),
            Err(_) => return Err(ProtocolError::Io(std::io::ErrorKind::InvalidData.into())),
        },
        Frame::Binary(bytes) => Message::Binary(bytes),
        Frame::Continuation(item) => Message::Continuation(item),
        Frame::Ping(bytes) => Message::Ping(bytes),
        Frame::Pong(bytes) => Message::Pong(bytes),
        Frame::Close(reason) => Message::Close(reason),
    })
}

fn sync_envelopes(bytes: &[u8]) {
    let (Ok(text), tenant, author) = (from_utf8(bytes), tenant(), author()) else { return };
    // Read or refused.
    let _ = incoming::read(
        text,
        Sender { tenant: &tenant, author: &author, identity: Identity::Claimed, change: &Entities::all(), now: NOW },
        DEPTH,
    );
}

fn typed_envelopes(bytes: &[u8]) {
    let (Ok(text), tenant, author) = (from_utf8(bytes), tenant(), author()) else { return };
    // Read or refused.
    let _ = typed::read(
        text,
        Sender { tenant: &tenant, author: &author, identity: Identity::Claimed, change: &Entities::all(), now: NOW },
        DEPTH,
    );
}

/// What was published can be stored, and is read back from the log as what it was.
fn publishes(bytes: &[u8]) {
    let (Ok(text), tenant) = (from_utf8(bytes), tenant()) else { return };
    let Ok((list, _)) = incoming::split_publishes(text, DEPTH) else { return };
    for text in list {
        let Ok((instance, publish)) = incoming::read_publish(text.get(), &tenant, DEPTH) else { continue };
        let body = publish.to_body(&tenant, &instance, NOW);
        let read = Record::read(&tenant, About::Event, (Position(2), Position(1)), body)
            .expect("a stored record is read back");
        assert_eq!((&read.meta.event_type, read.meta.id), (&publish.event_type, publish.id));
        assert_eq!(read.meta.sender, Some(instance));
    }
}

/// One operation a line, on one entity. Whatever they do, it stays an object, and is read back from the log as it was stored.
fn operations(bytes: &[u8]) {
    const LIMITS: Limits = Limits { data_bytes: 4_000, open: 3 };
    let (Ok(text), tenant) = (from_utf8(bytes), tenant()) else { return };
    let key = EntityKey::new("note", "n").expect("a key");
    let mut head = Arc::new(Entity::none());
    // All that stood, by position.
    let mut history: Vec<Value> = Vec::new();
    for line in text.lines().take(50) {
        let author = |instance| Ok(Author { instance, user: None, name: None });
        let Ok(wanted) = request::read_item(line, &tenant, (Identity::Claimed, &Entities::all(), author), NOW, DEPTH)
        else {
            continue;
        };
        let operation = &wanted.operation;
        let mut decision = decide(&head, operation, Base::NotAsked, LIMITS);
        if decision == Decision::NeedsBase {
            let base = operation.base.map_or(head.version, |base| base);
            let base = base.0.checked_sub(1).and_then(|at| history.get(usize::try_from(at).ok()?));
            decision = decide(&head, operation, base.map_or(Base::Gone, Base::Known), LIMITS);
            assert_ne!(decision, Decision::NeedsBase, "it knows what there is to know");
        }
        let Decision::Append { next, texts, .. } = decision else { continue };
        assert!(next.data.is_object(), "{}", next.data.text());
        let parts = vec![(operation.id, operation.stamp.clone())];
        let draft = Draft { next: Arc::new(*next), before: head.clone(), texts, parts };
        let made = entity::to_body(&tenant, &key, &draft, NOW);
        let position = Position(history.len() as u64 + 1);
        let read = entity::read(&tenant, &key, position, &made.body).expect("a stored entity is read back");
        let mut expected = (*draft.next).clone();
        expected.settle(position);
        assert_eq!(read, expected);
        history.push(Value::clone(&read.data));
        head = Arc::new(read);
    }
}

/// What is read is written as it was read, in small letters.
fn cursors(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    // A time, a word, a cursor, or nothing.
    let _ = Since::parse(text);
    if let Ok(id) = text.parse::<EventId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(name) = text.parse::<InstanceId>() {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(filter) = TypeFilter::parse(text) {
        let kind: EventType = "memory_added".parse().expect("a type");
        let _ = filter.admits(&kind);
    }
}

/// No two subjects are one thing, and no thing has two subjects.
fn subjects(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    if let Some(id) = names::id_in(text) {
        assert_eq!(names::Token(&id).to_string(), text);
    }
    let names = Names::new("sync", 1);
    let Some((of, rest)) = names::split("sync.log.0.", text) else { return };
    let (Some(subject), Some(tenant)) = (names::subject_in(rest), names::id_in(of)) else { return };
    let Ok(tenant) = tenant.parse::<TenantId>() else { return };
    let written = names.record(&tenant, &subject);
    assert_eq!(written, text);
}

fn deflated(bytes: &[u8]) {
    if let Ok(inflated) = inflate(bytes, LIMIT) {
        assert!(inflated.len() <= LIMIT);
    }
}

fn queries(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    for envelope in [Envelope::Sync, Envelope::Typed] {
        if let Ok(request) = session_request(text, envelope, 1024, None) {
            assert_eq!(request.options.variant.envelope, envelope);
        }
    }
}

fn peers(bytes: &[u8]) {
    // Read, ignored or refused.
    let _ = peer::read_beat(bytes);
    let _ = peer::read_word(bytes, NodeId(Uuid::nil()));
}

/// What stands in the log, where a disk or another program may have written.
fn stored(bytes: &[u8]) {
    let tenant = tenant();
    let key = EntityKey::new("note", "n").expect("a key");
    for about in [About::Event, About::Entity(key.clone())] {
        let _ = Record::read(&tenant, about, (Position(2), Position(1)), Bytes::copy_from_slice(bytes));
    }
    if let Ok(entity) = entity::read(&tenant, &key, Position(2), bytes) {
        let by = (OpId(Uuid::nil()), Stamp { by: author(), at: NOW });
        let entity = Arc::new(entity);
        let draft = Draft { next: entity.clone(), before: entity, texts: Vec::new(), parts: vec![by] };
        let _ = entity::to_body(&tenant, &key, &draft, NOW);
    }
}

/// What somebody shows who wants in: a first message, an API key, what a token says of its holder.
fn tokens(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let _ = read_first(text, DEPTH);
    if let Ok((id, secret)) = secret::parts(text) {
        assert_eq!(text, format!("{}{id}_{secret}", secret::PREFIX));
    }
    if let Ok(holder) = serde_json::from_str::<Holder>(text) {
        let grants_all = holder.grant.is_none();
        if let Ok(identity) = holder.check(&Arc::new(Rights::all())) {
            assert_eq!(TenantId::from_stored(identity.tenant.as_str()).as_ref(), Ok(&identity.tenant));
            assert!(!grants_all || *identity.rights == Rights::all());
        }
    }
}
