//! The contract of `continuum::backbone`, as one suite for every implementation: each promise is a function in
//! `promises`, each implementation a [`support::Backend`] and one line of [`suite!`]. Here: the embedded log.

mod crash;
mod embedded;
mod full_disk;
mod model;
mod promises;
#[path = "../small_disk/mod.rs"]
mod small_disk;
#[macro_use]
mod suite;
mod support;
mod torn;

suite!(embedded_log, crate::embedded::Embedded);
