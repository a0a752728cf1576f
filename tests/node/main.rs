//! A real node, asked through real sockets: the protocol document held to its word, bad input, sessions, resume, HTTP.

mod crash;
mod drain;
mod flush;
mod lifecycle;
mod load;
mod rebuild;
mod stall;
mod support;
