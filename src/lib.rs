//! Continuum: tenants' rooms over WebSocket on one ordered, durable log.
//!
//! The map, from the bottom up; a layer imports only from the layers below it (`tests/layers.rs` holds it to that):
//!
//! | layer | owns |
//! | --- | --- |
//! | [`model`] | pure values and decisions: ids, positions, records, rosters, tallies |
//! | [`wire`], [`auth`], [`backbone`] | JSON and frames; who may do what; the log behind one trait |
//! | [`journal`] | publishes that wait on this disk while the log is out of reach |
//! | [`actors`] | sessions, outlets, rooms, the directory and the heartbeat supervisor |
//! | [`http`] | the HTTP side and the WebSocket upgrade |
//! | [`node`] | the composition root: config in, running node out, drain |
//! | [`cli`] | the command line |
//!
//! [`client`] is the other side of the socket and sees only [`model`] and [`wire`]; [`replica`] is what an agent keeps of a room by
//! means of it, and [`mcp`] is how agents' tools have that. [`config`],
//! [`telemetry`] and [`memory`] are leaves that any layer above `model` may read.

pub mod actors;
pub mod auth;
pub mod backbone;
pub mod cli;
pub mod client;
pub mod config;
pub mod http;
pub mod journal;
pub mod mcp;
pub mod memory;
pub mod model;
pub mod node;
pub mod replica;
pub mod telemetry;
pub mod wire;
