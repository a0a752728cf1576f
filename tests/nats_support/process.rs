//! One process of a server: its signals, its end, its log.

use std::{
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::{log::Log, until};

/// A process that this test started. Dropped, it is killed, paused or not; if the test is failing, its log is printed.
pub(super) struct Process {
    child: Mutex<Child>,
    pid: Pid,
    log: Arc<Log>,
}

impl Process {
    pub(super) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Log::follow(child.stderr.take().expect("stderr is piped"), |_| {});
        let pid = Pid::from_child(&child);
        Self { child: Mutex::new(child), pid, log }
    }

    /// What it writes.
    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(super) fn is_running(&self) -> bool {
        self.status().is_none()
    }

    /// Sends a signal, if the process still runs: the pid is its own until it was waited for.
    pub(super) fn signal(&self, signal: Signal) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(child.try_wait(), Ok(None)) {
            kill_process(self.pid, signal).expect("a process of ours takes signals");
        }
    }

    /// Waits until it is gone.
    pub(super) async fn ended(&self) -> ExitStatus {
        until("a server's process ends", async || self.status()).await
    }

    /// Waits until all its threads stand still, after `SIGSTOP`.
    pub(super) async fn stopped(&self) {
        until("a server's process stops", async || {
            let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(self.pid), options).expect("a child of ours can be waited for").map(|_| ())
        })
        .await;
    }

    fn status(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().expect("a child of ours can be waited for")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        // It is going, and nobody asks for its status any more.
        let _ = self.child.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
        if thread::panicking() {
            eprintln!("--- the log of nats-server {} ---\n{}\n---", self.pid(), self.log.lines().join("\n"));
        }
    }
}
