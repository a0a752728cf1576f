//! Who waits for whom.

use std::sync::mpsc;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn who_looks_waits_for_nobody_who_writes() {
    for care in [Care::Sure, Care::Quick] {
        let dir = TempDir::new().expect("a directory");
        let store = Store::open(dir.path()).expect("a store");
        let (begun, has_begun) = mpsc::sync_channel(1);
        let (go_on, may_go_on) = mpsc::sync_channel(1);
        let writing = tokio::spawn({
            let store = store.clone();
            async move {
                let write = store.write(care, move |transaction| {
                    set_fact(transaction, "owner", "a")?;
                    begun.send(()).expect("somebody waits for it");
                    may_go_on.recv().expect("somebody ends it");
                    Ok(())
                });
                write.await
            }
        });
        tokio::task::spawn_blocking(move || has_begun.recv()).await.expect("waited").expect("it begins");
        let owner = || store.read(|transaction| fact(transaction, "owner"));
        let seen = timeout(PATIENCE, owner()).await.expect("nobody waits");
        assert_eq!(seen, Ok(None), "it shows what was there before");
        go_on.send(()).expect("it waits");
        writing.await.expect("no panic").expect("written");
        assert_eq!(owner().await, Ok(Some("a".to_owned())));
    }
}

#[tokio::test]
async fn a_mending_that_was_cut_short_is_ended_by_the_next_one_who_opens_it() {
    let (whole, dir) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let store = Store::open(whole.path()).expect("a store");
    store.write(Care::Sure, |transaction| set_fact(transaction, "owner", "a")).await.expect("written");
    drop(store);
    // The mended file is there under its first name; of the damaged one a part has its other name already.
    fs::copy(whole.path().join("replica.db"), dir.path().join("replica.db.mended")).expect("copied");
    fs::write(dir.path().join("replica.db-wal"), "not what belongs to the mended one").expect("written");
    let store = Store::open(dir.path()).expect("a store");
    assert!(store.set_aside().is_some());
    let owner = store.read(|transaction| fact(transaction, "owner")).await;
    assert_eq!(owner, Ok(Some("a".to_owned())));
}
