//! Connections one after the other, as if they were one: with the cursor, and with what was not acknowledged.

use std::{fmt, pin::Pin, time::Duration};

use tokio::time::{Instant, sleep_until};

use super::{
    backoff::Backoff,
    connection::{Connection, Ended, JoinError},
    handshake::Refusal,
    incoming::{self, Frame, Incoming},
    options::{ClientOptions, Since},
    outstanding::{Full, Outstanding, Verdict},
    publish::Publish,
    track::Tracker,
};
use crate::model::EventId;

type Joining = Pin<Box<dyn Future<Output = Result<(Connection, Frame), JoinError>> + Send>>;

/// Nothing more will come: connecting again cannot help.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The handshake was refused for what it contains.
    #[error("{0}")]
    Refused(Refusal),
    /// What listens there is not a node.
    #[error("{0}")]
    NotANode(&'static str),
    /// It does not prove that it is who it says.
    #[error("{0}")]
    Untrusted(String),
    /// The node closed the connection for good.
    #[error("{0}")]
    Closed(Ended),
}

/// What a caller learns.
#[derive(Debug)]
pub enum Happening {
    /// A message; after a lost connection the first is `session_ready` again.
    Frame(Box<Frame>),
    /// A publish was refused for good.
    Refused(Box<(Frame, incoming::Error)>),
    /// There is no connection; the next attempt is after this time.
    Waiting {
        /// What happened.
        why: String,
        /// Until the next attempt.
        retry_in: Duration,
    },
}

enum State {
    Apart(Instant),
    Joining(Joining),
    Joined(Box<Connection>, Instant),
}

/// A room that is joined again whenever the connection is lost.
pub struct Reconnecting {
    options: ClientOptions,
    tracker: Tracker,
    outstanding: Outstanding,
    backoff: Backoff,
    announced: Option<Duration>,
    state: State,
}

impl Reconnecting {
    /// Connects with the first [`Reconnecting::next`].
    pub fn new(options: ClientOptions, backoff: Backoff) -> Self {
        let cursor = match options.since {
            Some(Since::Cursor(cursor)) => Some(cursor),
            _ => None,
        };
        Self {
            tracker: Tracker::new(options.echo, cursor),
            options,
            outstanding: Outstanding::default(),
            backoff,
            announced: None,
            state: State::Apart(Instant::now()),
        }
    }

    /// Where we stand.
    pub fn tracker(&self) -> &Tracker {
        match &self.state {
            State::Joined(connection, _) => connection.tracker(),
            State::Apart(_) | State::Joining(_) => &self.tracker,
        }
    }

    /// What waits for its ack.
    pub fn outstanding(&self) -> &Outstanding {
        &self.outstanding
    }

    /// Forgets one of those that wait for their ack: nobody wants it any more, or it is known to be stored.
    pub fn forget(&mut self, id: EventId) {
        self.outstanding.forget(id);
    }

    /// Forgets what waits for its ack.
    pub fn forget_outstanding(&mut self) {
        self.outstanding.clear();
    }

    /// Takes a publish; [`Reconnecting::next`] sends it and repeats it until the node has answered.
    pub fn publish(&mut self, publish: Publish) -> Result<(), Full> {
        self.outstanding.push(publish)
    }

    /// Goes on until there is something to tell. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Happening, Fatal> {
        loop {
            match &mut self.state {
                State::Apart(until) => {
                    sleep_until(*until).await;
                    self.state = State::Joining(self.join());
                }
                State::Joining(joining) => {
                    let joined = joining.await;
                    return self.joined(joined);
                }
                State::Joined(connection, _) => match serve(connection, &mut self.outstanding).await {
                    Ok(Some(frame)) => return Ok(self.heard(frame)),
                    Ok(None) => {}
                    Err(ended) => return self.ended(ended),
                },
            }
        }
    }

    /// Closes cleanly.
    pub async fn close(self) {
        if let State::Joined(connection, _) = self.state {
            connection.close().await;
        }
    }

    fn join(&self) -> Joining {
        let (options, tracker) = (self.options.clone(), self.tracker.clone());
        let since = tracker.cursor().map(Since::Cursor).or(options.since);
        Box::pin(async move { Connection::join(&options, since, tracker).await })
    }

    fn joined(&mut self, joined: Result<(Connection, Frame), JoinError>) -> Result<Happening, Fatal> {
        match joined {
            Ok((connection, frame)) => {
                self.outstanding.connected(connection.ready().limits.publishes_in_flight);
                self.announced = None;
                self.state = State::Joined(Box::new(connection), Instant::now());
                Ok(Happening::Frame(Box::new(frame)))
            }
            Err(JoinError::Refused(refusal)) if !refusal.may_pass() => Err(Fatal::Refused(refusal)),
            Err(JoinError::NotANode(why)) => Err(Fatal::NotANode(why)),
            Err(JoinError::Untrusted(why)) => Err(Fatal::Untrusted(why)),
            Err(JoinError::Ended(ended)) if ended.is_final() => Err(Fatal::Closed(ended)),
            Err(JoinError::Ended(ended)) => {
                let announced = ended.retry_after();
                Ok(self.wait(ended, announced))
            }
            Err(JoinError::Refused(refusal)) => {
                let announced = refusal.retry_after;
                Ok(self.wait(refusal, announced))
            }
            Err(error) => Ok(self.wait(error, None)),
        }
    }

    fn heard(&mut self, frame: Frame) -> Happening {
        match &frame.message {
            Incoming::Ack(ack) | Incoming::Stored(ack) => self.outstanding.acknowledged(ack.event_id),
            // The node brings it to the log by itself: there is nothing to repeat.
            Incoming::Queued(queued) => self.outstanding.acknowledged(queued.event_id),
            Incoming::Fate(fate) => self.decided(&frame.envelope.event_type, fate),
            Incoming::Draining(draining) => self.announced = draining.retry_after_ms.map(Duration::from_millis),
            Incoming::Error(error) if self.outstanding.refused(error, Instant::now()) == Verdict::Refused => {
                let error = error.clone();
                return Happening::Refused(Box::new((frame, error)));
            }
            Incoming::Other => self.outstanding.answered(&frame.envelope.event_type),
            _ => {}
        }
        Happening::Frame(Box::new(frame))
    }

    fn decided(&mut self, event_type: &str, fate: &incoming::Fate) {
        let Ok(id) = fate.update_id.parse() else { return };
        match event_type {
            "update.retry" => self.outstanding.try_again(id, fate.retry_after_ms, Instant::now()),
            _ => self.outstanding.acknowledged(id),
        }
    }

    fn ended(&mut self, ended: Ended) -> Result<Happening, Fatal> {
        if let State::Joined(connection, since) = &self.state {
            self.tracker = connection.tracker().clone();
            self.backoff.lived(since.elapsed());
        }
        if ended.is_final() {
            self.state = State::Apart(Instant::now());
            return Err(Fatal::Closed(ended));
        }
        let announced = ended.retry_after().or(self.announced.take());
        Ok(self.wait(ended, announced))
    }

    fn wait(&mut self, why: impl fmt::Display, announced: Option<Duration>) -> Happening {
        // The node spreads its clients out itself when it says when to return; jitter on top would only delay.
        let retry_in = announced.unwrap_or_else(|| self.backoff.failed());
        self.state = State::Apart(Instant::now() + retry_in);
        Happening::Waiting { why: why.to_string(), retry_in }
    }
}

/// Sends what may be sent, then waits for a message or for the end of a pause.
async fn serve(connection: &mut Connection, outstanding: &mut Outstanding) -> Result<Option<Frame>, Ended> {
    while let Some(text) = outstanding.next(Instant::now()) {
        connection.enqueue(text).await?;
        outstanding.sent();
    }
    connection.flush().await?;
    match outstanding.pause(Instant::now()) {
        None => connection.next().await.map(Some),
        Some(until) => tokio::select! {
            frame = connection.next() => frame.map(Some),
            () = sleep_until(until) => Ok(None),
        },
    }
}
