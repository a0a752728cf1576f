//! Another MCP server, as it is, with the room around its tools: before a tool runs, what the others wrote is fetched; before its
//! answer is passed on, what was written here is sent. Both wait only so long: with no node to be reached, work goes on.
//!
//! Owns: the process of that server, that whatever is no call of a tool passes byte for byte in its order, and that all of it
//! ends in bounded time when either side does. Must not know: what the tools do, the command line.
//!
//! Lines are passed, not messages: a library in between would number requests anew, shorten numbers, lose fields that it does
//! not know and drop what it cannot read. It is the same for every revision of MCP: with `initialize` or without.
//!
//! | file | owns |
//! | --- | --- |
//! | `line` | what a line says, as far as it matters here (pure) |
//! | `traffic` | which requests are open, and what is to be done with a line (pure) |
//! | `notice` | what is added to an answer (pure) |
//! | `pipes` | lines in, lines out, each bounded |
//! | `room` | the pull before, the push after, and what is new |
//! | `flow` | the loop over all that happens |

mod flow;
mod line;
mod notice;
mod pipes;
mod room;
mod traffic;

use std::{
    ffi::OsString,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    process::Command,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

pub use self::room::Room;

/// How long a tool waits for the room, and its answer for what was written, unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long the wrapped server has for each step of its end: after its input was closed, after SIGTERM, after SIGKILL.
pub const GRACE: Duration = Duration::from_secs(3);

/// What the room is told of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tell {
    /// Nothing.
    Nothing,
    /// An event `tool_called`: which tool of which server, whether it worked, how long it took.
    #[default]
    Calls,
    /// With the text of its arguments and its result, where they are not long.
    Contents,
}

/// What becomes of a tool's answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// A text is added: how the room stands, and what others changed.
    #[default]
    Annotated,
    /// It passes byte for byte.
    Untouched,
}

/// What is wrapped, and how.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's program.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// What the room calls it.
    pub name: String,
    /// How long a call waits for what the others wrote.
    pub before: Duration,
    /// How long an answer waits until what was written here is sent.
    pub after: Duration,
    /// What the room is told.
    pub tell: Tell,
    /// What becomes of the answers.
    pub answers: Answers,
    /// See [`GRACE`].
    pub grace: Duration,
}

impl Config {
    /// A command with what is usual. Its arguments may be secret: the room is told the program's name alone.
    pub fn new(program: OsString, args: Vec<OsString>) -> Self {
        let name = Path::new(&program).file_name().unwrap_or(&program).to_string_lossy().into_owned();
        Self {
            program,
            args,
            name,
            before: PATIENCE,
            after: PATIENCE,
            tell: Tell::default(),
            answers: Answers::default(),
            grace: GRACE,
        }
    }
}

/// Why a server cannot be wrapped, or not any longer.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// The program cannot be started.
    #[error("cannot start '{program}': {error}")]
    Start {
        /// Its name, without its arguments.
        program: String,
        /// Why.
        error: io::Error,
    },
    /// A line that is no message any more.
    #[error("a line of the {of} is longer than {} MiB", pipes::LONGEST >> 20)]
    LineTooLong {
        /// `client` or `wrapped server`.
        of: &'static str,
    },
    /// Signals cannot be heard.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
}

impl WrapError {
    /// The exit status that a shell would give.
    pub fn code(&self) -> u8 {
        match self {
            Self::Start { error, .. } if error.kind() == io::ErrorKind::NotFound => 127,
            Self::Start { .. } => 126,
            Self::LineTooLong { .. } | Self::Signals(_) => 1,
        }
    }
}

/// How the wrapped server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `None`: it did not even end when it was killed.
    pub status: Option<ExitStatus>,
}

impl Ended {
    /// The exit status to end with: its own, or 128 and the signal that ended it.
    pub fn code(self) -> u8 {
        use std::os::unix::process::ExitStatusExt as _;
        let Some(status) = self.status else { return 137 };
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        u8::try_from(code).unwrap_or(1)
    }
}

/// Wraps a server between this process's standard input and output, until one side or a signal ends it. Reading standard input
/// cannot be given up, so leave by [`std::process::exit`] afterwards.
///
/// # Errors
///
/// See [`WrapError`].
pub async fn stdio(config: Config, room: Room) -> Result<Ended, WrapError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(WrapError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(WrapError::Signals)?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    let listening = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
        std::future::pending().await
    };
    tokio::select! {
        ended = run(config, room, tokio::io::stdin(), tokio::io::stdout(), stop) => ended,
        never = listening => never,
    }
}

/// Wraps a server between two pipes, until one side ends or `stop` says so. When this returns nothing of it is left, but for
/// processes that the server has started and left behind.
///
/// # Errors
///
/// See [`WrapError`].
pub async fn run<I, O>(
    config: Config,
    room: Room,
    input: I,
    output: O,
    stop: CancellationToken,
) -> Result<Ended, WrapError>
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
{
    let mut command = Command::new(&config.program);
    command.args(&config.args).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let process = command.spawn().map_err(|error| {
        let program = config.program.to_string_lossy().into_owned();
        WrapError::Start { program, error }
    })?;
    flow::Flow::new(config, room, process, (input, output)).run(stop).await
}
