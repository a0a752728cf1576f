//! What one who leads takes the node's words for, and what it takes over from the one before it.

use tempfile::TempDir;

use super::*;
use crate::{
    client::Frame,
    replica::{
        mirror,
        options::Options,
        overlay::Writer,
        shared::Live,
        store::{Care, Store, set_fact},
        told::{Author, Told, What},
    },
};

fn shared(dir: &TempDir) -> Arc<Shared> {
    let (tenant, instance) = ("acme".parse().expect("a tenant"), "a".parse().expect("an instance"));
    let writer = Writer { tenant, instance, user: None, replica: "r".into() };
    let url = "ws://127.0.0.1:9".parse().expect("a URL");
    let client = ClientOptions::new(url, writer.tenant.clone(), writer.instance.clone());
    let mut options = Options::new(client, ureq::Agent::new_with_defaults(), dir.path().to_owned());
    options.kinds = vec!["note".to_owned()];
    Arc::new(Shared::new(options, Store::open(dir.path()).expect("a store"), writer))
}

/// One that stands at position 5 and has not connected yet.
fn leading(shared: &Arc<Shared>) -> Leading {
    let mut options = shared.options.client.clone();
    options.since = Some(Since::Cursor("0000000000000001.5".parse().expect("a cursor")));
    Leading::new(shared.clone(), options)
}

/// The node says something.
async fn hears(leading: &mut Leading, event_type: &str, data: serde_json::Value) -> Vec<Step> {
    hears_all(leading, &json!({"event_type": event_type, "data": data})).await
}

async fn hears_all(leading: &mut Leading, message: &serde_json::Value) -> Vec<Step> {
    let frame = Frame::parse(message.to_string().into()).expect("a message");
    let mut steps = Vec::new();
    leading.read(Happening::Frame(Box::new(frame)), &mut steps).await.expect("read");
    steps
}

#[tokio::test]
async fn a_page_that_answers_another_question_is_none_of_this_answer() {
    let dir = TempDir::new().expect("a directory");
    let mut leading = leading(&shared(&dir));
    (leading.state, leading.asked) = (State::Coming, Uuid::from_u128(2));
    let last = |id| json!({"id": Uuid::from_u128(id).to_string(), "done": true, "as_of": 5});
    assert!(hears(&mut leading, "graph.sync", last(1)).await.is_empty() && leading.state == State::Coming);
    let steps = hears(&mut leading, "graph.sync", last(2)).await;
    assert!(matches!(steps[..], [Step::Page(_), Step::EndState(_)]) && leading.state == State::Settled, "{steps:?}");
}

#[tokio::test]
async fn it_is_fresh_while_the_connection_stands_and_all_is_here() {
    let dir = TempDir::new().expect("a directory");
    let shared = shared(&dir);
    let offline = Link::Offline { why: String::new() };
    for (link, state, is_fresh) in [
        (Link::Online, State::Settled, true),
        (Link::Online, State::Coming, false),
        (Link::Online, State::Wanted(Instant::now()), false),
        (Link::CatchingUp, State::Settled, false),
        (offline, State::Settled, false),
    ] {
        let mut leading = leading(&shared);
        leading.state = state;
        *shared.live() = (Live { link: link.clone(), ..Live::default() }, None);
        leading.written = leading.room.tracker().cursor();
        leading.write(Vec::new()).await.expect("written");
        assert_eq!(shared.age().is_some(), is_fresh, "{link:?}, {state:?}");
    }
}

#[tokio::test]
async fn who_begins_to_lead_knows_nothing_of_its_connection_and_is_believed() {
    let dir = TempDir::new().expect("a directory");
    let (before, shared) = (shared(&dir), shared(&dir));
    before.live().0.here_mut().insert("b".to_owned(), json!({}));
    before.live().0.beat = 7;
    before.live().1 = Some(before.now());
    tell(&before, Link::Online).await;
    begin(&shared).await;
    {
        let live = shared.live();
        assert_eq!((&live.0.link, live.0.here.len(), live.1), (&Link::Connecting, 0, None));
    }
    // Whoever follows heard the one before it, and believes what is told later.
    tell(&shared, Link::CatchingUp).await;
    assert!(shared.live().0.beat > before.live().0.beat);
}

#[tokio::test]
async fn who_follows_hears_how_it_stands_and_who_is_here() {
    let dir = TempDir::new().expect("a directory");
    let (leader, follower) = (shared(&dir), shared(&dir));
    let watching = tokio::spawn(watch(follower.clone()));
    let mut moved = follower.moved.subscribe();
    leader.live().0.here_mut().insert("b".to_owned(), json!({}));
    for (link, here) in [(Link::Online, 1), (Link::Offline { why: "gone".to_owned() }, 0)] {
        tell(&leader, link.clone()).await;
        let is_heard = || {
            let live = follower.live();
            live.0.link == link && live.0.here.len() == here
        };
        let heard = async {
            while !is_heard() {
                moved.changed().await.expect("it is there");
            }
        };
        tokio::time::timeout(Duration::from_secs(60), heard).await.expect("heard in time");
    }
    watching.abort();
}

#[tokio::test]
async fn a_pull_is_done_when_all_is_here_that_the_node_had() {
    let dir = TempDir::new().expect("a directory");
    let shared = shared(&dir);
    for (state, position, is_done) in [(State::Settled, 5, true), (State::Settled, 6, false), (State::Coming, 5, false)]
    {
        let mut leading = leading(&shared);
        (leading.state, leading.pulling) = (state, Some((3, None)));
        let steps = hears(&mut leading, "sync_response", json!({"position": position})).await;
        assert_eq!(matches!(steps[..], [Step::Pulled(3)]), is_done, "{steps:?}");
        assert_eq!(leading.pulling.is_none(), is_done);
    }
}

#[tokio::test]
async fn what_was_asked_and_not_answered_is_asked_again() {
    let dir = TempDir::new().expect("a directory");
    let shared = shared(&dir);
    let asked = |leading: &mut Leading| {
        (leading.state, leading.asked) = (State::Coming, Uuid::from_u128(1));
        (leading.pulling, leading.pull) = (Some((3, None)), Uuid::from_u128(2));
    };
    let mut leading = leading(&shared);
    asked(&mut leading);
    let error = |id| json!({"code": "x", "message": "", "id": Uuid::from_u128(id).to_string()});
    assert!(hears(&mut leading, "error", error(3)).await.is_empty());
    assert!(leading.state == State::Coming && leading.pulling.is_some(), "it is about neither");
    hears(&mut leading, "error", error(1)).await;
    assert!(matches!(leading.state, State::Wanted(_)) && leading.pulling.is_some());
    hears(&mut leading, "error", error(2)).await;
    assert!(leading.pulling.is_none() && leading.pull_after > Instant::now());
    // Nor is it with the connection on which it was asked.
    asked(&mut leading);
    let lost = Happening::Waiting { why: String::new(), retry_in: Duration::ZERO };
    leading.read(lost, &mut Vec::new()).await.expect("read");
    assert!(leading.state == State::Settled && leading.pulling.is_none());
    let resync = json!({"reason": "trimmed", "after": 9, "cursor": "0000000000000001.9"});
    let steps = hears(&mut leading, "resync", resync).await;
    assert!(matches!(steps[..], [Step::Missed(_), Step::BeginState(false)]), "{steps:?}");
    assert!(matches!(leading.state, State::Wanted(_)));
    // What is to be tried again has no fate yet.
    let told = json!({"updateId": Uuid::from_u128(4).to_string()});
    assert!(hears(&mut leading, "update.retry", told.clone()).await.is_empty());
    assert!(matches!(hears(&mut leading, "update.confirmed", told).await[..], [Step::Fate(..)]));
}

#[tokio::test]
async fn of_records_what_is_not_mirrored_is_left_out_and_what_may_open_or_settle_something_is_looked_into() {
    let dir = TempDir::new().expect("a directory");
    let mut leading = leading(&shared(&dir));
    leading.open.insert(EntityKey::new("note", "open").expect("a key"));
    for (event_type, kind, id, is_wanted, is_asked) in [
        ("sync_event", "note", "1", true, false),
        ("sync_event", "task", "1", false, false),
        ("sync_event", "note", "open", true, true),
        ("conflict.resolved", "note", "1", true, true),
    ] {
        let event = json!({"entity_type": kind, "entity_id": id, "action": "put", "data": {}});
        let data = if event_type == "sync_event" { json!({"event": event}) } else { event };
        let id = Uuid::from_u128(1).to_string();
        let record = json!({"event_type": event_type, "seq": 6, "prev": 5, "event_id": id, "data": data});
        leading.conflicts_due = None;
        let steps = hears_all(&mut leading, &record).await;
        assert_eq!(matches!(steps[..], [Step::Record(_)]), is_wanted, "{steps:?}");
        assert_eq!(leading.conflicts_due.is_some(), is_asked, "{record}");
    }
}

#[tokio::test]
async fn a_list_of_what_lies_open_that_is_older_than_what_is_here_is_asked_for_again() {
    let dir = TempDir::new().expect("a directory");
    let mut leading = leading(&shared(&dir));
    let key = EntityKey::new("note", "1").expect("a key");
    let event = json!({"entity_type": "note", "entity_id": "1", "action": "put", "data": {}});
    let id = Uuid::from_u128(1).to_string();
    let record = json!({"event_type": "sync_event", "seq": 6, "prev": 5, "event_id": id, "data": {"event": event}});
    let steps = hears_all(&mut leading, &record).await;
    leading.write(steps).await.expect("written");
    // The first knows nothing of a change of what it names; the fourth nothing of what was settled at 7.
    for (position, is_open, open_at, is_behind) in
        [(5, true, 0, true), (5, false, 0, false), (6, true, 0, false), (6, false, 7, true), (7, false, 7, false)]
    {
        let open = if is_open { vec![("c".to_owned(), key.clone(), json!({}))] } else { Vec::new() };
        (leading.conflicts_due, leading.open_at) = (None, open_at);
        leading.take_conflicts(Some(asking::Conflicts { open, position })).await.expect("taken");
        assert_eq!(leading.conflicts_due.is_some(), is_behind, "{position} {is_open} {open_at}");
    }
}

/// A write that waits, and something larger that comes.
fn write_and_record() -> (Pending, Told) {
    let id = Uuid::from_u128(1);
    let body = json!("x".repeat(40_000)).to_string();
    let write = Pending { number: 0, id, kind: "said".into(), entity: None, base: None, body, written_at: 0 };
    let author = Author { by: "b".to_owned(), user: None, at: String::new() };
    let what = What::Event(json!("y".repeat(100_000)).to_string());
    (write, Told { seq: 6, event_type: "said".to_owned(), author, what })
}

#[tokio::test]
async fn on_a_full_disk_what_is_settled_goes_and_what_came_comes_again_to_another_connection() {
    let dir = TempDir::new().expect("a directory");
    let shared = shared(&dir);
    let (write, record) = write_and_record();
    let id = write.id;
    let fill = shared.store.write(Care::Quick, move |transaction| {
        journal::append(transaction, &write)?;
        set_fact(transaction, "cursor", "as it was")?;
        let pages: i64 = transaction.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        Ok(transaction.pragma_update(None, "max_page_count", pages)?)
    });
    fill.await.expect("filled");
    let mut leading = leading(&shared);
    let fate = Settled { outcome: "stored".to_owned(), answer: json!({}) };
    let stopped = leading.write(vec![Step::Fate(id, fate), Step::Record(record.clone())]).await;
    assert!(matches!(stopped, Err(Stop::Store(StoreError::Full(_)))), "{stopped:?}");
    let is_empty = shared.store.read(journal::is_empty).await.expect("read");
    let last = shared.store.read(mirror::last_change).await.expect("read");
    let cursor = shared.store.read(|transaction| fact(transaction, "cursor")).await.expect("read");
    assert_eq!((is_empty, last, cursor.as_deref()), (true, 0, Some("as it was")));
    // Of another log, nothing of what is here may be taken for its.
    let stopped = leading.write(vec![Step::BeginState(true), Step::Record(record)]).await;
    assert!(matches!(stopped, Err(Stop::Store(StoreError::Full(_)))), "{stopped:?}");
}

#[tokio::test]
async fn to_another_log_all_that_waits_goes_anew() {
    let dir = TempDir::new().expect("a directory");
    let mut leading = leading(&shared(&dir));
    leading.queue.push_back(write_and_record().0);
    leading.flying.insert(Uuid::from_u128(2), (1, None));
    (leading.loaded, leading.has_more) = (7, false);
    leading.write(vec![Step::BeginState(true)]).await.expect("written");
    assert!(leading.queue.is_empty() && leading.flying.is_empty());
    assert_eq!((leading.loaded, leading.has_more), (0, true));
}
