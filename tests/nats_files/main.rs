//! What is given to operators of NATS, held to its word on real servers: configurations, permissions, secrets and the
//! commands of the guide. Beside that: the support for tests against NATS, tested itself.

#[path = "../nats_support/mod.rs"]
mod nats_support;
mod support;
