//! What crosses the sockets: the one place where JSON becomes a type and a type becomes a frame.
//!
//! Owns: the envelopes, the codes, the encoded frames. Must not know: sessions, rooms, the backbone.

pub mod batch;
pub mod codes;
pub mod frame;
pub mod guard;
pub mod incoming;
pub mod outgoing;
pub mod peer;
pub mod preview;
pub mod record;
pub mod sse;

pub use batch::{Batch, Variant};
pub use codes::{Close, Code, Refusal};
