//! A few threads that read the store, so that no caller's thread ever waits for the disk.
//!
//! Owns: the bound on waiting reads, and that none is taken in after the close. Must not know: what is read.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use futures_util::future::{self, BoxFuture, FutureExt};
use tokio::sync::oneshot;

use super::{
    Shared,
    store::{Fault, Store},
};
use crate::backbone::BackboneError;

/// Reads mostly wait for the disk or are short; more threads than this would only compete with the committer.
const THREADS: usize = 3;
/// Reads that may wait. A room asks for one page at a time, so this is far above what the rooms of a node ask for.
const CAPACITY: usize = 65_536;

type Job = Box<dyn FnOnce(&Shared) + Send>;

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    closing: bool,
}

/// The waiting reads.
#[derive(Default)]
pub struct Readers {
    state: Mutex<State>,
    wake: Condvar,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("waiting", &self.state().waiting.len()).finish_non_exhaustive()
    }
}

impl Readers {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements below, so a panic elsewhere leaves nothing to distrust.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the threads.
    pub fn start(shared: &Arc<Shared>) -> io::Result<Vec<JoinHandle<()>>> {
        (0..THREADS)
            .map(|_| {
                let shared = shared.clone();
                thread::Builder::new().name("log-read".into()).spawn(move || shared.readers.serve(&shared))
            })
            .collect()
    }

    fn serve(&self, shared: &Shared) {
        while let Some(job) = self.next() {
            // The store has assertions of its own. The asker learns of one that failed from the answer that is dropped;
            // the thread must live on, else a few damaged blocks would end all reading.
            if panic::catch_unwind(AssertUnwindSafe(|| job(shared))).is_err() {
                tracing::error!("a read of the log panicked");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            if state.closing {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes nothing in any more; what waits is still read.
    pub fn close(&self) {
        self.state().closing = true;
        self.wake.notify_all();
    }

    /// Reads on one of the threads. The read starts even if the future is never polled, and no earlier than this call.
    pub fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, Fault> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, BackboneError>> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |shared: &Shared| {
            let store = shared.store();
            let result = match &*store {
                Some(store) => read(store).map_err(|fault| BackboneError::Store(fault.to_string())),
                None => Err(BackboneError::Unavailable("the log's store is closed".into())),
            };
            // Nobody waits for it any more: nothing to tell.
            let _ = answer.send(result);
        });
        {
            let mut state = self.state();
            if state.closing {
                return refused("the log is closed");
            }
            if state.waiting.len() >= CAPACITY {
                return refused("too many reads are waiting");
            }
            state.waiting.push_back(job);
        }
        self.wake.notify_one();
        answered
            .map(|result| result.unwrap_or_else(|_| Err(BackboneError::Unavailable("the read was given up".into()))))
            .boxed()
    }
}

fn refused<T: Send + 'static>(why: &str) -> BoxFuture<'static, Result<T, BackboneError>> {
    future::ready(Err(BackboneError::Unavailable(why.into()))).boxed()
}
