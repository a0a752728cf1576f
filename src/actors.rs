//! The living parts: who owns what and which typed messages pass between them.
//!
//! | actor | one per | owns |
//! | --- | --- | --- |
//! | [`session::Session`] | connection | the client's identity, filters, budgets; decodes frames, asks the room |
//! | [`room::Room`] | tenant | the roster, the place in the log, the ring of recent records, pending appends |
//! | [`outlet::Outlet`] | room and worker thread | the members on that thread: sends or queues their frames |
//! | [`directory::Directory`] | node | tenant → room; starts, retires and replaces rooms |
//! | [`heartbeat::HeartbeatSupervisor`] | node | the deadlines of all sessions and of all other nodes |
//!
//! Beside them stand [`link`] (one connection's outbox), [`driver`] (the future that owns its socket), [`transport`] (that
//! socket, plain or under TLS) and [`context`] (what all of them share). They know the [`Backbone`](crate::backbone::Backbone) trait, never an implementation.

pub mod authority;
pub mod context;
pub mod directory;
pub mod driver;
pub mod erasure;
pub mod gate;
pub mod heartbeat;
pub mod import;
pub mod link;
pub mod messages;
pub mod metrics;
pub mod nodes;
pub mod outlet;
pub mod readiness;
pub mod retention;
pub mod room;
pub mod rules;
pub mod session;
pub mod survey;
pub mod tenants;
pub mod transport;
