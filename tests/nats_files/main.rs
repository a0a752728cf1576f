//! What is given to operators of NATS, held to its word on real servers: configurations, secrets, permissions, and the
//! commands of the guide. Beside that: the support for tests against NATS, tested itself.

mod configurations;
mod guide;
#[path = "../nats_support/mod.rs"]
mod nats_support;
#[path = "../node/support/mod.rs"]
mod node_support;
mod nodes;
mod page;
mod permissions;
mod streams;
mod support;
