//! The other side of the socket: joins a room, follows it with a cursor and publishes into it.
//!
//! Owns: the handshake, what the node's messages mean to a client, the cursor, unacknowledged publishes and the
//! decision when to connect again. Must not know: the command line, the node's insides.
//!
//! | file | owns |
//! | --- | --- |
//! | `options` | where to, who as, what to receive |
//! | `tls` | whom to trust |
//! | `handshake` | the HTTP upgrade and why it was refused |
//! | `incoming` | the node's messages, typed |
//! | `track` | the cursor and the proof that nothing is missing |
//! | `publish` | what is sent, with its id in it |
//! | `outstanding` | publishes until they are acknowledged |
//! | `subject` | what a signature or a seal is bound to, byte by byte |
//! | `signing` | signatures: made and checked |
//! | `sealing` | sealed contents: made and opened |
//! | `end_to_end` | both, done to what is published |
//! | `backoff` | how long to wait before connecting again |
//! | `connection` | one connection |
//! | `reconnecting` | connections one after the other, as if they were one |

pub mod backoff;
pub mod connection;
pub mod end_to_end;
pub mod handshake;
pub mod incoming;
pub mod options;
pub mod outstanding;
pub mod publish;
pub mod reconnecting;
pub mod sealing;
pub mod signing;
pub mod subject;
pub mod tls;
pub mod track;

pub use backoff::Backoff;
pub use connection::{Connection, Ended, JoinError};
pub use end_to_end::EndToEnd;
pub use handshake::Refusal;
pub use incoming::{Envelope, Frame, Incoming};
pub use options::{BaseUrl, ClientOptions, Echo, Encoding, Scheme, Since};
pub use outstanding::Outstanding;
pub use publish::Publish;
pub use reconnecting::{Happening, Reconnecting};
pub use sealing::SealingKey;
pub use signing::SigningKey;
pub use subject::Subject;
pub use tls::Trust;
