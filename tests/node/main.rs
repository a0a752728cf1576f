//! A real node, asked through real sockets: the protocol document held to its word, bad input, sessions, resume, HTTP.

mod crash;
mod drain;
mod lifecycle;
mod rebuild;
mod support;
