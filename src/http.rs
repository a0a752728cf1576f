//! The HTTP side: publish, history, event streams, roster, figures, probes, and the WebSocket upgrade that hands a
//! connection to its session.
//!
//! Owns: paths, parameters, status codes. Must not know: how rooms work inside.

mod events;
mod figures;
mod history;
mod parameters;
mod probes;
mod problem;
mod reports;
pub mod server;
mod socket;
mod status;
mod stream;
mod tail;
mod upgrade;

pub use figures::{JournalFigures, LogFigures};
pub use probes::ProcessFigures;
