//! A real node, asked through real sockets: the protocol document held to its word, bad input, sessions, resume, HTTP.

mod attacks;
mod away;
mod bad_input;
mod batches;
mod browsers;
mod changes;
mod cluster_presence;
mod compressed;
mod crash;
mod document;
mod drain;
mod entities;
mod entities_over_http;
mod erasure;
mod flush;
mod forged;
mod gonzai;
mod grants;
mod handshake;
mod hook;
mod interests;
mod large_state;
mod lifecycle;
mod limits;
mod load;
mod names;
#[path = "../nats_support/mod.rs"]
mod nats_support;
mod over_http;
mod people;
mod polling;
mod puo_memo;
mod random_state;
#[path = "../random_writers/mod.rs"]
mod random_writers;
mod rebuild;
mod regions;
mod reserved;
mod resume;
mod seed;
mod sessions;
mod signals;
mod slow;
mod stall;
mod stampede;
mod state_over_http;
mod stream;
mod stream_drills;
mod support;
#[path = "../journal/switch.rs"]
mod switch;
mod tenants;
mod tls;
mod tokens;
