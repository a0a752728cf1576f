//! What a mirror holds after records and pages in any order.

use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::replica::store::{Care, Store};

fn writer() -> Writer {
    let (tenant, instance) = ("acme".parse().expect("a tenant"), "a".parse().expect("an instance"));
    Writer { tenant, instance, user: None, replica: "r".into() }
}

fn key(id: &str) -> EntityKey {
    EntityKey::new("note", id).expect("a key")
}

fn record(seq: u64, id: &str, data: Option<&str>) -> Told {
    let what = What::Entity(key(id), data.map(str::to_owned));
    let (event_type, at) = ("sync_event".to_owned(), "2026-01-01T00:00:00Z".to_owned());
    Told { seq, event_type, author: author("b", &at), what }
}

fn author(by: &str, at: &str) -> Author {
    Author { by: by.to_owned(), user: None, at: at.to_owned() }
}

fn page(entities: &[(&str, u64, &str)]) -> Page {
    let entities = entities.iter().map(|(id, version, data)| Standing {
        key: key(id),
        version: *version,
        data: Some((*data).to_owned()),
        author: None,
    });
    let entities = entities.collect();
    Page { id: String::new(), entities, as_of: None }
}

/// Does something in a mirror, and lays anew what it touched.
async fn within(
    store: &Store,
    work: impl FnOnce(&Transaction<'_>, &mut Touched) -> Result<(), StoreError> + Send + 'static,
) {
    let write = store.write(Care::Quick, |transaction| {
        let mut touched = Touched::new();
        work(transaction, &mut touched)?;
        touched.iter().try_for_each(|key| relay(transaction, &writer(), key))
    });
    write.await.expect("written");
}

async fn seen(store: &Store, id: &'static str) -> Option<(u64, String)> {
    let seen = store.read(move |transaction| get(transaction, &key(id))).await.expect("read");
    seen.map(|seen| (seen.version, seen.data.to_string()))
}

#[tokio::test]
async fn an_entity_only_goes_forward_and_nothing_is_told_twice() {
    let dir = TempDir::new().expect("a directory");
    let store = Store::open(dir.path()).expect("a store");
    let at = |version: u64, text: &str| Some((version, text.to_owned()));
    within(&store, |transaction, touched| {
        apply(transaction, &record(7, "n", Some(r#"{"v":7}"#)), touched)?;
        apply(transaction, &record(8, "m", Some(r#"{"v":8}"#)), touched)
    })
    .await;
    // A page of the state that was read before, and the log once more from further back.
    within(&store, |transaction, touched| {
        put_page(transaction, &page(&[("n", 5, r#"{"v":5}"#)]), touched)?;
        apply(transaction, &record(6, "n", Some(r#"{"v":6}"#)), touched)?;
        apply(transaction, &record(8, "m", Some(r#"{"v":8}"#)), touched)
    })
    .await;
    assert_eq!((seen(&store, "n").await, seen(&store, "m").await), (at(7, r#"{"v":7}"#), at(8, r#"{"v":8}"#)));
    let (changes, _) = store.read(|transaction| changes(transaction, 0, 10)).await.expect("read");
    assert_eq!(changes.iter().map(|change| change.seq).collect::<Vec<_>>(), [7, 8]);
    within(&store, |transaction, touched| apply(transaction, &record(9, "n", None), touched)).await;
    assert_eq!(seen(&store, "n").await, None);
}

#[tokio::test]
async fn who_wrote_is_known_from_the_state_and_from_the_log_whichever_comes_first() {
    let dir = TempDir::new().expect("a directory");
    let store = Store::open(dir.path()).expect("a store");
    let author_of = |id: &'static str| {
        let store = &store;
        async move {
            let seen = store.read(move |transaction| get(transaction, &key(id))).await.expect("read");
            seen.expect("there").changed_by
        }
    };
    let mut state = page(&[("said", 3, "{}"), ("unsaid", 4, "{}")]);
    state.entities[0].author = Some(author("a", "2026-01-01T00:00:00Z"));
    let (first, again) = (state.clone(), page(&[("said", 3, "{}"), ("unsaid", 4, "{}")]));
    within(&store, move |transaction, touched| put_page(transaction, &first, touched)).await;
    assert_eq!((author_of("said").await.as_deref(), author_of("unsaid").await), (Some("a"), None));
    // The record that the state held already, and the state once more from a node that says no authors.
    within(&store, |transaction, touched| apply(transaction, &record(4, "unsaid", Some("{}")), touched)).await;
    within(&store, move |transaction, touched| put_page(transaction, &again, touched)).await;
    let known = (author_of("said").await, author_of("unsaid").await);
    assert_eq!((known.0.as_deref(), known.1.as_deref()), (Some("a"), Some("b")));
}

#[tokio::test]
async fn what_the_whole_state_does_not_name_is_gone() {
    let dir = TempDir::new().expect("a directory");
    let store = Store::open(dir.path()).expect("a store");
    within(&store, |transaction, touched| {
        apply(transaction, &record(1, "gone", Some("{}")), touched)?;
        apply(transaction, &record(2, "kept", Some("{}")), touched)
    })
    .await;
    within(&store, |transaction, touched| {
        begin_state(transaction, &writer(), false)?;
        put_page(transaction, &page(&[("kept", 2, "{}"), ("new", 3, "{}")]), touched)
    })
    .await;
    assert!(seen(&store, "gone").await.is_some(), "as long as not all was read");
    assert_eq!(store.read(whole).await.expect("read"), None);
    within(&store, |transaction, _| end_state(transaction, &writer(), "this log")).await;
    assert_eq!(seen(&store, "gone").await, None);
    assert!(seen(&store, "kept").await.is_some() && seen(&store, "new").await.is_some());
    assert_eq!(store.read(whole).await.expect("read").as_deref(), Some("this log"));
}

#[tokio::test]
async fn what_others_send_takes_no_more_of_the_disk_than_is_kept_for_it() {
    let dir = TempDir::new().expect("a directory");
    let store = Store::open(dir.path()).expect("a store");
    for seq in 1..=50 {
        within(&store, move |transaction, touched| {
            let what = What::Event(format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20)));
            let told = Told { seq, event_type: "said".to_owned(), author: author("b", ""), what };
            apply(transaction, &told, touched)
        })
        .await;
    }
    let text = "SELECT sum(octet_length(data)), max(seq) FROM change";
    let look =
        move |transaction: &Transaction<'_>| Ok(transaction.query_row(text, [], |row| Ok((row.get(0)?, row.get(1)?)))?);
    let (bytes, last): (i64, u64) = store.read(look).await.expect("read");
    assert!(bytes <= KEPT_BYTES + (KEPT_TURNS << 20) + 1_000 && last == 50, "{bytes} bytes, the last is {last}");
}

#[tokio::test]
async fn what_stands_no_more_has_no_author_to_what_is_written_anew() {
    let dir = TempDir::new().expect("a directory");
    let store = Store::open(dir.path()).expect("a store");
    within(&store, |transaction, touched| {
        apply(transaction, &record(1, "n", Some("{}")), touched)?;
        apply(transaction, &record(2, "n", None), touched)?;
        let body = r#"{"action":"put","patch":{"v":1}}"#.to_owned();
        let (kind, entity) = ("note".into(), Some("n".into()));
        let write = Pending { number: 0, id: uuid::Uuid::new_v4(), kind, entity, base: Some(2), body, written_at: 0 };
        journal::append(transaction, &write).map(drop)
    })
    .await;
    let seen = store.read(move |transaction| get(transaction, &key("n"))).await.expect("read").expect("there");
    assert_eq!((seen.changed_by, seen.changed_at), (None, None));
}

#[tokio::test]
async fn another_attempt_goes_on_what_its_author_had_seen_unless_that_is_why_it_was_refused() {
    let dir = TempDir::new().expect("a directory");
    let store = Store::open(dir.path()).expect("a store");
    for (code, base) in [("forbidden", 3), ("edited", 9)] {
        within(&store, move |transaction, touched| {
            apply(transaction, &record(9, code, Some("{}")), touched)?;
            let (id, kind, entity) = (uuid::Uuid::new_v4(), "note".into(), Some(code.into()));
            let write = Pending { number: 0, id, kind, entity, base: Some(3), body: "{}".to_owned(), written_at: 0 };
            let number = journal::append(transaction, &write)?;
            let answer = serde_json::json!({"code": code, "message": "no"});
            journal::settle(transaction, id, &journal::Settled { outcome: "refused".to_owned(), answer })?;
            assert!(journal::retry(transaction, number)?.is_some());
            let again = journal::of_entity(transaction, &key(code))?;
            assert_eq!(again.iter().map(|write| write.base).collect::<Vec<_>>(), [Some(base)], "{code}");
            Ok(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_gone_with_what_is_pending_may_come_back_with_it() {
    let dir = TempDir::new().expect("a directory");
    let store = Store::open(dir.path()).expect("a store");
    within(&store, |transaction, touched| apply(transaction, &record(7, "n", Some(r#"{"v":7}"#)), touched)).await;
    for (id, action, wanted) in [(1, "delete", None), (2, "restore", Some((7, r#"{"v":7}"#.to_owned())))] {
        let laid = store.write(Care::Quick, move |transaction| {
            let (id, body) = (Uuid::from_u128(id), format!(r#"{{"action":"{action}"}}"#));
            let (kind, entity) = ("note".into(), Some("n".into()));
            let mut write = Pending { number: 0, id, kind, entity, base: Some(7), body, written_at: 0 };
            write.number = journal::append(transaction, &write)?;
            lay_on(transaction, &writer(), &key("n"), write)
        });
        laid.await.expect("laid");
        assert_eq!(seen(&store, "n").await, wanted, "{action}");
    }
}
