//! What an operator runs: `continuum doctor` and `health` where all is well and where it is not, a node in front of a NATS that is wrong
//! or not there, and the benches that need NATS. Real processes, real servers.

mod bench;
mod doctor;
mod health;
#[path = "../nats_support/mod.rs"]
mod nats_support;
mod serve;
#[path = "../node/support/mod.rs"]
mod support;

use std::process::{Command, Output};

use crate::{nats_support::NatsConfig, support::within};

/// A server with room for the defaults of a node: `limits.max_message_bytes` and some more, `log.retention_bytes` on disk.
pub fn roomy() -> NatsConfig {
    NatsConfig::new().max_payload(2 << 20).max_store("16GB")
}

/// The program, with nothing of what whoever runs the tests has set for a node of their own.
pub fn continuum(command: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_continuum"));
    program.args(command);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CONTINUUM_")) {
        program.env_remove(name);
    }
    program
}

/// Runs a command to its end.
pub async fn ended(mut command: Command) -> Output {
    let ended = tokio::task::spawn_blocking(move || command.output().expect("the program runs"));
    within("the program ends", ended).await.expect("no panic")
}
