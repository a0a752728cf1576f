//! The HTTP side: publish, history, entities, event streams, roster, figures, probes, and the WebSocket upgrade that hands
//! a connection to its session.
//!
//! Owns: paths, parameters, status codes. Must not know: how rooms work inside.

mod admin;
mod asker;
mod browsers;
mod conflicts;
mod door;
mod entities;
mod erasures;
mod events;
mod exports;
mod figures;
mod first;
mod history;
mod imports;
mod operations;
mod page;
pub mod parameters;
mod probes;
mod problem;
mod proof;
mod reports;
pub mod server;
mod settled;
mod snapshot;
mod socket;
mod status;
mod strangers;
mod stream;
mod survey;
mod tail;
mod tenants;
mod tls;
mod upgrade;
mod versions;
mod web_pages;

pub use figures::{JournalFigures, LogFigures, NodeFigures};
pub use imports::Imports;
pub use probes::ProcessFigures;
pub use survey::Surveys;
pub use tls::{Certificate, CertificateError};
