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

/// Calls `changed` whenever one of the files, or which ones they are, has changed since it was looked at last, for as long as it is
/// awaited.
pub async fn watch(
    files: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static,
    changed: impl Fn() + Send + Sync + 'static,
) {
    let calls = Arc::new((files, changed));
    let mut seen = None;
    loop {
        let (calls, before) = (calls.clone(), seen.clone());
        // Not on a thread that serves: the files may lie on a slow disk.
        let looked = spawn_blocking(move || {
            // Before they are read: a change while they are is seen the next time. `None` while one cannot be looked at.
            let stamp = |file: PathBuf| {
                let modified = fs::metadata(&file).and_then(|file| file.modified()).ok();
                (file, modified)
            };
            let stamps: Vec<(PathBuf, Option<SystemTime>)> = (calls.0)().into_iter().map(stamp).collect();
            if before.is_some_and(|before| before != stamps) {
                (calls.1)();
            }
            stamps
        });
        seen = looked.await.ok().or(seen);
        sleep(LOOK).await;
    }
}
