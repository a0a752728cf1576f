//! A room as one agent has it: what it writes is safe on its own disk before the call returns and reaches the others when it
//! can, and what the others wrote lies here to be read.
//!
//! Owns: the journal, the mirror of the room's entities, and the order between them. Must not know: the command line, MCP.
//!
//! One directory is one replica. Any number of processes may have it open: they share its store, and the one that holds the
//! lock leads, which is to say it has the connection. When that one ends, another takes over.
//!
//! | file | owns |
//! | --- | --- |
//! | `store` | the file on disk, its form, and that what is written is written |
//! | `journal` | what was written here and is not settled: pending, refused, lately settled |
//! | `mirror` | the room's entities as the log has them, and as they look with what is pending |
//! | `overlay` | what is pending, laid over what the log has (pure) |
//! | `told` | what a record says to a mirror (pure) |
//! | `search` | which entities fit some words best |
//! | `lead` | the connection: sends the journal, keeps the mirror |
//! | `status` | how fresh it all is, in words |
//! | `figures` | how it went so far |
//! | `options` | what it is of, and where it lies |
//! | `shared` | what its parts share, and what its processes tell each other |
//! | `handle` | what a program does with it |
//! | `conflicts` | what lies open in the room |
//! | `salvage` | what becomes of a damaged file |
//! | `looking` | what a program sees of it |
//! | `news` | what others did, as it is told |

mod conflicts;
pub mod figures;
mod handle;
mod journal;
mod lead;
mod looking;
mod mirror;
mod news;
mod options;
mod overlay;
mod salvage;
mod search;
mod shared;
mod status;
mod store;
mod told;

pub use self::{
    conflicts::Conflict,
    figures::Figures,
    handle::{Pulled, Replica, WriteError},
    journal::{DeadLetter, Pending, Settled, Ticket, Write},
    mirror::{Change, Seen},
    news::{Bound, Item, News, Part},
    options::{Clock, Options, TokenSource},
    search::Hit,
    status::{Freshness, Link, Status},
    store::StoreError,
};
