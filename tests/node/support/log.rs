//! What a node writes to standard error, kept for conditions and for failure messages.

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::Notify;

/// Lines so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads until the end, on a thread of its own (a full pipe would stop the node), and shows each line.
    pub(super) fn follow(
        source: impl Read + Send + 'static,
        mut each: impl FnMut(&[u8]) + Send + 'static,
    ) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let kept = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                each(&line);
                kept.change(|state| state.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            kept.change(|state| state.ended = true);
        });
        log
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }

    /// The first line that is what is looked for; `None` when the node ended without it.
    pub(super) async fn find<T>(&self, mut wanted: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut looked_at = 0;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before looking: a line in between must not be missed.
            changed.as_mut().enable();
            {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let found = state.lines[looked_at..].iter().find_map(|line| wanted(line));
                if found.is_some() || state.ended {
                    return found;
                }
                looked_at = state.lines.len();
            }
            changed.await;
        }
    }

    /// All lines so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }
}
