//! A room for agents that speak the Model Context Protocol: a notebook that all of them share, as tools and resources.
//!
//! Owns: what such an agent sees of a room, and in which words; in both forms of the protocol, with a handshake (2025-11-25 and
//! before) and without (2026-07-28). Must not know: the command line, how a room is kept ([`crate::replica`]).
//!
//! | file | owns |
//! | --- | --- |
//! | `arguments` | what a tool is called with (pure) |
//! | `catalogue` | the tools and their schemas (pure) |
//! | `notebook` | what the tools do, in a room |
//! | `answers` | in which words that is told, and what is said of others' contents |
//! | `asking` | questions to whoever sits in front of the client |
//! | `metrics` | the seeds' metrics, for an answer and for Prometheus |
//! | `resources` | contexts as resources, and who wants to hear of their changes |
//! | `server` | the protocol's methods |
//! | `stdio` | over standard input and output |
//! | `http` | over HTTP |
//! | `wrap` | another server, with a pull before and a push after each of its tools |

mod answers;
mod arguments;
mod asking;
mod catalogue;
pub mod http;
mod metrics;
mod notebook;
mod resources;
mod server;
pub mod stdio;
pub mod wrap;

pub use self::{
    notebook::{Notebook, Patience},
    server::Server,
};
