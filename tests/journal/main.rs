//! The journal over a real log behind a switch that makes that log unreachable, before or after it took an append.
//!
//! The log finds a repeat here only if the append says from where it was first tried, as a cluster's log does once its
//! dedupe window has passed. So whatever is found once was found by what the journal remembers.

mod drain;
mod forget;
mod full;
mod full_disk;
mod keep;
mod random;
mod restart;
#[path = "../small_disk/mod.rs"]
mod small_disk;
mod support;
mod switch;
