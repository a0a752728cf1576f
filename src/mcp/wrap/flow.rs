//! The loop over all that happens: a line of either side, a call that may go, an answer that may, room in a pipe, an end.
//!
//! Owns: that nothing waits for anything but its own pipe and its own room, that what is kept in memory is bounded, and the order
//! of the end: the server's input is closed, then SIGTERM, then SIGKILL, and who still waits is told.

use std::{process::ExitStatus, sync::Arc};

use bytes::Bytes;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{FuturesOrdered, FuturesUnordered},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    process::{Child, ChildStdin, ChildStdout},
    select,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Config, Ended, Room, WrapError,
    line::{self, Place},
    pipes::{Incoming, LONGEST, Outgoing, Read},
    room::Went,
    traffic::{Call, FromClient, FromServer, Held, Traffic},
};

/// A side is not read while so many bytes of it wait, or so many calls or answers.
const BYTES: usize = 16 << 20;
const CALLS: usize = 1_024;
const INTERNAL: i32 = -32_603;

/// A call that was held.
struct Released {
    held: Held,
    line: Bytes,
    call: Call,
}

/// An answer that was held, or only noted.
struct Told {
    held: usize,
    line: Option<Bytes>,
}

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It was asked to end by closing its input.
    Asked,
    /// By SIGTERM.
    Terminated,
    /// By SIGKILL.
    Killed,
}

enum Event {
    Client(Read),
    Server(Read),
    Released(Released),
    Told(Told),
    ToClient(std::io::Result<()>),
    ToServer(std::io::Result<()>),
    Exited(std::io::Result<ExitStatus>),
    Stop,
    Late,
}

pub(super) struct Flow<I, O> {
    config: Arc<Config>,
    room: Room,
    traffic: Traffic,
    process: Child,
    client: Incoming<I>,
    hears_client: bool,
    to_client: Outgoing<O>,
    server: Incoming<ChildStdout>,
    hears_server: bool,
    to_server: Outgoing<ChildStdin>,
    held: FuturesOrdered<BoxFuture<'static, Released>>,
    held_bytes: usize,
    told: FuturesUnordered<BoxFuture<'static, Told>>,
    told_bytes: usize,
    status: Option<ExitStatus>,
    /// How far the end is, and when the next step is due.
    ending: Option<(Step, Instant)>,
    /// Nobody waits for the room any more.
    hurry: CancellationToken,
    /// All was done that can be.
    is_left: bool,
    error: Option<WrapError>,
}

impl<I: AsyncRead + Unpin, O: AsyncWrite + Unpin> Flow<I, O> {
    pub fn new(config: Config, room: Room, mut process: Child, (input, output): (I, O)) -> Self {
        let stdin = process.stdin.take().expect("was asked for at the start");
        let stdout = process.stdout.take().expect("was asked for at the start");
        Self {
            config: Arc::new(config),
            room,
            traffic: Traffic::new(),
            process,
            client: Incoming::new(input, LONGEST),
            hears_client: true,
            to_client: Outgoing::new(output),
            server: Incoming::new(stdout, LONGEST),
            hears_server: true,
            to_server: Outgoing::new(stdin),
            held: FuturesOrdered::new(),
            held_bytes: 0,
            told: FuturesUnordered::new(),
            told_bytes: 0,
            status: None,
            ending: None,
            hurry: CancellationToken::new(),
            is_left: false,
            error: None,
        }
    }

    pub async fn run(mut self, stop: CancellationToken) -> Result<Ended, WrapError> {
        while !self.is_over() {
            let event = self.event(&stop).await;
            self.take(event, Instant::now());
        }
        let why = match (&self.error, self.status) {
            (Some(error), _) => error.to_string(),
            (None, Some(status)) => format!("the wrapped server has ended ({status})"),
            (None, None) => "the wrapped server does not end".to_owned(),
        };
        for id in self.traffic.end() {
            self.to_client.say(line::error(Some(&id), INTERNAL, &why));
        }
        while !self.to_client.is_idle() {
            match timeout(self.config.grace, self.to_client.go_on()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => break,
                Err(_) => {
                    tracing::warn!("the client does not read; what it was to be told last is lost");
                    break;
                }
            }
        }
        self.error.map_or(Ok(Ended { status: self.status }), Err)
    }

    fn is_over(&self) -> bool {
        let is_done = self.status.is_some() && !self.hears_server && self.told.is_empty();
        is_done || self.is_left
    }

    /// Waits for what happens next. Whatever did not is waited for the next time: nothing of it is lost.
    async fn event(&mut self, stop: &CancellationToken) -> Event {
        let is_full = self.to_client.bytes() >= BYTES;
        let is_behind = self.to_server.bytes() + self.held_bytes >= BYTES || self.held.len() >= CALLS;
        // Also while the client does not read: its end has to be seen.
        let takes_client = self.hears_client && !is_behind;
        let is_waiting = self.told_bytes >= BYTES || self.told.len() >= CALLS;
        let takes_server = self.hears_server && !is_full && !is_waiting;
        let is_stopped = matches!(self.ending, Some((Step::Terminated | Step::Killed, _)));
        let (is_ending, due) = self.ending.map_or((false, Instant::now()), |(_, at)| (true, at));
        select! {
            read = self.client.next(), if takes_client => Event::Client(read),
            read = self.server.next(), if takes_server => Event::Server(read),
            Some(released) = self.held.next() => Event::Released(released),
            Some(told) = self.told.next() => Event::Told(told),
            done = self.to_client.go_on(), if !self.to_client.is_idle() => Event::ToClient(done),
            done = self.to_server.go_on(), if !self.to_server.is_idle() => Event::ToServer(done),
            status = self.process.wait(), if self.status.is_none() => Event::Exited(status),
            () = stop.cancelled(), if !is_stopped => Event::Stop,
            () = sleep_until(due), if is_ending => Event::Late,
        }
    }

    fn take(&mut self, event: Event, now: Instant) {
        match event {
            Event::Client(Read::Line(line)) => self.take_from_client(line, now),
            Event::Client(Read::TooLong) => self.fail("client", now),
            Event::Client(Read::End) => self.close_client(now),
            Event::Server(Read::Line(line)) => self.take_from_server(line),
            Event::Server(Read::TooLong) => self.fail("wrapped server", now),
            Event::Server(Read::End) => {
                self.hears_server = false;
                self.end(now);
            }
            Event::Released(Released { held, line, mut call }) => {
                self.held_bytes -= line.len();
                call.since = now;
                if self.traffic.release(held, call) {
                    self.to_server.pass(line);
                }
            }
            Event::Told(Told { held, line }) => {
                self.told_bytes -= held;
                if let Some(line) = line {
                    self.to_client.pass(line);
                }
            }
            Event::ToClient(Ok(())) | Event::ToServer(Ok(())) => {}
            Event::ToClient(Err(error)) => {
                tracing::debug!(%error, "the client does not listen any more");
                self.to_client.close();
                self.close_client(now);
            }
            Event::ToServer(Err(error)) => {
                tracing::debug!(%error, "the wrapped server does not listen any more");
                self.to_server.close();
                self.close_client(now);
            }
            Event::Exited(status) => {
                self.status = status.inspect_err(|error| tracing::warn!(%error, "cannot wait for the server")).ok();
                self.is_left |= self.status.is_none();
                self.to_server.close();
                self.close_client(now);
            }
            Event::Stop => {
                self.to_server.close();
                self.close_client(now);
                self.signal(Step::Terminated, now);
            }
            Event::Late => self.go_on_ending(now),
        }
    }

    fn take_from_client(&mut self, line: Bytes, now: Instant) {
        match self.traffic.client_said(&line, now) {
            FromClient::Pass => self.to_server.pass(line),
            FromClient::Drop => {}
            FromClient::Refuse(answer) => {
                tracing::warn!("a line of the client is not passed on: it cannot be told what it says");
                // Whoever does not read does not wait for this either.
                if self.to_client.bytes() < BYTES {
                    self.to_client.say(answer);
                }
            }
            FromClient::GaveUp(call) => {
                self.to_server.pass(line);
                self.tell((call, Went::GivenUp), Bytes::new(), Place::None);
            }
            FromClient::Hold(held, call) => {
                self.held_bytes += line.len();
                let (room, config) = (self.room.clone(), self.config.clone());
                let asking = async move {
                    let is_fresh = room.before(&config).await;
                    Released { held, line, call: Call { is_fresh, ..call } }
                };
                self.held.push_back(asking.boxed());
            }
        }
    }

    fn take_from_server(&mut self, line: Bytes) {
        match self.traffic.server_said(&line) {
            FromServer::Pass => self.to_client.pass(line),
            FromServer::Finish { call, ok, place } => {
                self.tell((call, if ok { Went::Well } else { Went::Badly }), line, place);
            }
        }
    }

    /// Tells the room of a call, and passes its answer then.
    fn tell(&mut self, (call, went): (Call, Went), line: Bytes, place: Place) {
        let (room, config, hurry) = (self.room.clone(), self.config.clone(), self.hurry.clone());
        let held = line.len();
        self.told_bytes += held;
        let telling = async move {
            let result = (went != Went::GivenUp).then_some(&*line);
            let text = room.after(&config, (&call, went), result, place != Place::None, &hurry).await;
            let changed = text.and_then(|text| line::with_text(&line, place, &text)).map(Bytes::from);
            let line = if went == Went::GivenUp { None } else { Some(changed.unwrap_or(line)) };
            Told { held, line }
        };
        self.told.push(telling.boxed());
    }

    fn fail(&mut self, of: &'static str, now: Instant) {
        let error = WrapError::LineTooLong { of };
        tracing::error!(%error, "this is the end");
        if of == "client" {
            self.to_client.say(line::error(None, INTERNAL, &error.to_string()));
        } else {
            self.hears_server = false;
        }
        self.error = Some(error);
        self.to_server.close();
        self.close_client(now);
    }

    /// The client is not heard any more.
    fn close_client(&mut self, now: Instant) {
        self.hears_client = false;
        // Nobody is there for whom they would run.
        self.held = FuturesOrdered::new();
        self.held_bytes = 0;
        self.to_server.close_when_done();
        self.end(now);
    }

    /// The end has begun.
    fn end(&mut self, now: Instant) {
        self.ending.get_or_insert((Step::Asked, now + self.config.grace));
    }

    /// The time for a step is up.
    fn go_on_ending(&mut self, now: Instant) {
        self.hurry.cancel();
        self.to_server.close();
        if self.status.is_some() {
            // Somebody else holds its output open.
            self.hears_server = false;
        }
        match self.ending {
            Some((Step::Asked, _)) => self.signal(Step::Terminated, now),
            Some((Step::Terminated, _)) => self.signal(Step::Killed, now),
            Some((Step::Killed, _)) | None => self.is_left = true,
        }
    }

    fn signal(&mut self, step: Step, now: Instant) {
        self.ending = Some((step, now + self.config.grace));
        // None: it has been waited for, and the number may be another's by now.
        let Some(pid) = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
        let signal = if step == Step::Killed { Signal::KILL } else { Signal::TERM };
        if let Err(error) = kill_process(pid, signal) {
            tracing::debug!(%error, "the wrapped server cannot be told to end");
        }
    }
}
