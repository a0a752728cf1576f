//! The contract of `continuum::backbone` on NATS: the same suite on one server and on three, and what the log promises when
//! servers, streams and lines fail. A binary of its own: it starts processes, and what it forks must not hold the locks of
//! logs under test.

mod batches;
mod faults;
mod full_disk;
#[path = "../nats_support/mod.rs"]
mod nats_support;
#[path = "../contract/promises.rs"]
mod promises;
mod single;
#[path = "../small_disk/mod.rs"]
mod small_disk;
#[path = "../contract/suite.rs"]
#[macro_use]
mod suite;
#[path = "../contract/support.rs"]
mod support;
mod three;

suite!(one_server, crate::single::Nats);
suite!(three_servers, crate::three::ThreeServers);
