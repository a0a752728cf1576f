//! Files that settings name and that may be renewed while a node runs.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{task::spawn_blocking, time::sleep};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Calls `changed` whenever one of the files has changed since it was looked at last, for as long as it is awaited.
pub async fn watch(files: Vec<PathBuf>, changed: impl Fn() + Send + Sync + 'static) {
    let (files, changed) = (Arc::new(files), Arc::new(changed));
    let mut seen = None;
    loop {
        let (files, changed, before) = (files.clone(), changed.clone(), seen.clone());
        // Not on a thread that serves: the files may lie on a slow disk.
        let looked = spawn_blocking(move || {
            // Before they are read: a change while they are is seen the next time. `None` while one cannot be looked at.
            let stamp = |file: &PathBuf| fs::metadata(file).and_then(|file| file.modified()).ok();
            let stamps: Vec<Option<SystemTime>> = files.iter().map(stamp).collect();
            if before.is_some_and(|before| before != stamps) {
                changed();
            }
            stamps
        });
        seen = looked.await.ok().or(seen);
        sleep(LOOK).await;
    }
}
