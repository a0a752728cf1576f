//! A real node, asked through real sockets: the protocol document held to its word, bad input, sessions, resume, HTTP.

mod bad_input;
mod document;
mod handshake;
mod lifecycle;
mod over_http;
mod resume;
mod seed;
mod sessions;
mod support;
mod tenants;
