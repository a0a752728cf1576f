//! A real node, asked through real sockets: the protocol document held to its word, bad input, sessions, resume, HTTP.

mod away;
mod bad_input;
mod cluster_presence;
mod crash;
mod document;
mod drain;
mod entities;
mod flush;
mod handshake;
mod interests;
mod lifecycle;
mod load;
#[path = "../nats_support/mod.rs"]
mod nats_support;
mod over_http;
mod polling;
mod rebuild;
mod resume;
mod seed;
mod sessions;
mod stall;
mod stream;
mod stream_drills;
mod support;
#[path = "../journal/switch.rs"]
mod switch;
mod tenants;
