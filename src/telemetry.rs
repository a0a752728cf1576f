//! Logs of this process: tracing's events, to standard error. Owns: the subscriber. Must not know: what is logged. Beside it
//! stands [`trace`]: where single events were when.

pub mod trace;

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Logging};

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `logging.level` does not parse; a loaded configuration has been checked for this.
    #[error("logging.level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// This process logs already.
    #[error("logging was started twice: {0}")]
    Started(Box<dyn std::error::Error + Send + Sync>),
}

/// Starts logging, once for a process.
///
/// # Errors
///
/// See [`TelemetryError`].
pub fn init(logging: &Logging) -> Result<(), TelemetryError> {
    let lines = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(&logging.level)?).with_writer(io::stderr);
    let started = match logging.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        // Fields at the top level: what reads the lines should not have to know tracing.
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(TelemetryError::Started)
}
