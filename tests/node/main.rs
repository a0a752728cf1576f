//! A real node, asked through real sockets: the protocol document held to its word, bad input, sessions, resume, HTTP.

mod bad_input;
mod crash;
mod document;
mod drain;
mod handshake;
mod lifecycle;
mod over_http;
mod rebuild;
mod resume;
mod seed;
mod sessions;
mod support;
mod tenants;
