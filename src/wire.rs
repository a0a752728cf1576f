//! What crosses the sockets: the one place where JSON becomes a type and a type becomes a frame.
//!
//! Owns: the envelopes, the codes, the encoded frames. Must not know: sessions, rooms, the backbone.

pub mod answer;
pub mod assembly;
pub mod batch;
pub mod changes;
pub mod codes;
pub mod encoding;
pub mod entity;
pub mod export;
pub mod frame;
pub mod guard;
pub mod incoming;
pub mod interest;
pub mod kind;
pub mod message;
mod need;
pub mod operation;
pub mod outgoing;
pub mod peer;
pub mod preview;
pub mod record;
pub mod request;
pub mod retry;
pub mod shown;
pub mod signal;
pub mod signature;
pub mod sse;
pub mod state;
pub mod stranger;
mod text;
pub mod token;
pub mod typed;

pub use batch::{Batch, Followed};
pub use codes::{Close, Code, Refusal};
pub use encoding::Encoding;
pub use message::{Deltas, Envelope, Variant};
pub use need::{Need, PRESENCE, check_own};
