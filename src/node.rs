//! The composition root. Not built on this branch.

use std::process::ExitCode;

use crate::config::Config;

/// Runs a node until it is told to stop.
///
/// # Errors
///
/// Always, until the node is built.
pub fn run(config: Config) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built: a node on {}:{}", config.server.host, config.server.port)
}
