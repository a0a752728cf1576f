//! What a log shows of itself to the people who look after it: how it is reached, how far it was read, what it holds.
//!
//! Owns: the contract of [`Shown`]. Must not know: who looks.

use futures_util::future::BoxFuture;

use super::Health;
use crate::model::{Epoch, Position};

/// How a log is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `embedded` or `nats`.
    pub kind: &'static str,
    /// The server at the other end, if there is one.
    pub server: Option<String>,
    /// Connections made since the log was opened.
    pub made: u64,
}

/// How far a part of the log was read here, as far as this node knows without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Which part.
    pub shard: u16,
    /// The highest position known to be in it.
    pub end: Position,
    /// Everything up to here was given to those who follow; `None`: nobody does.
    pub read_to: Option<Position>,
}

/// What a part of the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The first position that is still there, if any is.
    pub first: Option<Position>,
    /// The last one.
    pub last: Position,
    /// Records, where they are counted.
    pub records: Option<u64>,
    /// Their size.
    pub bytes: u64,
}

/// One part of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardShown {
    /// How far it was read here.
    pub tail: Tail,
    /// Its name.
    pub stream: String,
    /// Which log it is.
    pub epoch: Epoch,
    /// How it serves.
    pub health: Health,
    /// What it holds; `None`: it did not say, and `health` says why.
    pub held: Option<Held>,
}

/// The part of a log that can be looked at.
///
/// # Contract
///
/// Looking changes nothing, holds nothing up, and ends within a few seconds whatever is out of reach.
pub trait Shown {
    /// How it is reached. Cheap.
    fn line(&self) -> Line;

    /// How far each part was read here, in their order. Cheap.
    fn tails(&self) -> Vec<Tail>;

    /// The same with what each part holds, asked from whoever leads it.
    fn shards(&self) -> BoxFuture<'static, Vec<ShardShown>>;
}
