//! What the processes that have one replica open tell each other: which of them leads, how the connection stands, who is here.
//!
//! Owns: that one leads at a time, and that the others believe the latest word. Must not know: what a node says.

use std::{
    fs::{File, TryLockError},
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::sleep;

use super::LOOK;
use crate::replica::{
    figures,
    shared::{Live, Shared},
    status::Link,
    store::{Care, StoreError, fact, now_ms, set_fact},
};

/// The right to lead, for as long as the file is open.
pub(in crate::replica) fn lock(dir: &Path) -> std::io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("leader.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Notices what other processes have done.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut known = None;
    loop {
        sleep(LOOK).await;
        let Ok(stamp) = shared.store.stamp().await else { continue };
        if known == Some(stamp) {
            continue;
        }
        known = Some(stamp);
        if !shared.is_leading.load(Relaxed) {
            hear(&shared).await;
        }
        shared.wake.notify_one();
        shared.has_moved();
    }
}

/// Counts on where the one before it stopped; how that one stood says nothing of this one.
pub(super) async fn begin(shared: &Shared) {
    hear(shared).await;
    let mut live = shared.live();
    live.0.link = Link::Connecting;
    live.0.here_mut().clear();
    live.1 = None;
}

/// Takes what the process that leads, or that led last, told the others.
async fn hear(shared: &Shared) {
    let turn = shared.live().0.turn;
    let told = shared.store.read(move |transaction| {
        let Some(told) = fact(transaction, "live")?.and_then(|text| serde_json::from_str::<Live>(&text).ok()) else {
            return Ok(None);
        };
        let here = if told.turn == turn { None } else { fact(transaction, "here")? };
        Ok(Some((told, here.map(|text| serde_json::from_str(&text).unwrap_or_default()))))
    });
    let Ok(Some((mut told, here))) = told.await else { return };
    let now = shared.now();
    let mut live = shared.live();
    if told.beat > live.0.beat {
        live.1 = told.age_ms.and_then(|age| now.checked_sub(Duration::from_millis(age)));
        told.here = here.unwrap_or_else(|| std::mem::take(&mut live.0.here));
        live.0 = told;
    }
}

/// Writes down what this process counted.
pub(in crate::replica) async fn write_figures(shared: &Shared) -> Result<(), StoreError> {
    let Some(more) = shared.counter.take() else { return Ok(()) };
    let kept = more.clone();
    let written = shared.store.write(Care::Quick, move |transaction| figures::add(transaction, &more)).await;
    if written.is_err() {
        shared.counter.give_back(&kept);
    }
    written
}

/// How the connection stands, told to all processes.
pub(super) async fn tell(shared: &Shared, link: Link) {
    let now = shared.now();
    let (live, here, turn) = {
        let mut live = shared.live();
        if matches!(link, Link::Offline { .. } | Link::Refused { .. }) && !live.0.here.is_empty() {
            live.0.here_mut().clear();
        }
        live.0.link = link;
        live.0.beat += 1;
        live.0.told_at = now_ms();
        live.0.age_ms =
            live.1.map(|at| u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX));
        let turn = live.0.turn;
        let here = (turn != shared.told_turn.load(Relaxed)).then(|| serde_json::to_string(&live.0.here));
        (serde_json::to_string(&live.0), here.transpose(), turn)
    };
    shared.has_moved();
    let (Ok(text), Ok(here)) = (live, here) else { return };
    let told = shared.store.write(Care::Quick, move |transaction| {
        if let Some(here) = here {
            set_fact(transaction, "here", &here)?;
        }
        set_fact(transaction, "live", &text)
    });
    match told.await {
        Ok(()) => shared.told_turn.store(turn, Relaxed),
        Err(error) => tracing::debug!(%error, "the other processes are not told how the connection stands"),
    }
}
