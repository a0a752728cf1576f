//! `continuum health`: is the node with these settings ready? What a container's health check runs, where there is no shell.
//!
//! Owns: where such a node is to be found, and the exit code. Must not know: what makes a node ready.

use std::{net::IpAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail, ensure};

use super::{ServeArgs, config};
use crate::{auth::agent::agent_of_this_node, config::Server};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer is a line of JSON.
const LONGEST: u64 = 64 * 1024;

/// Options of `continuum health`: those of `serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: ServeArgs,
}

/// Prints what the node says of itself: 0 if it is ready.
///
/// # Errors
///
/// It is not, or it does not answer; that says which.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let server = match args.node.into_settings().load() {
        Ok(loaded) => loaded.config.server,
        Err(error) => return Ok(config::refuse(&error)),
    };
    let url = address(&server)?;
    let answer = agent_of_this_node(PATIENCE).get(&url).call();
    let mut answer = answer.with_context(|| format!("no node answers at {url}"))?;
    let said = answer.body_mut().with_config().limit(LONGEST).read_to_string().context("its answer cannot be read")?;
    ensure!(answer.status() == 200, "the node is not ready: {}", said.trim());
    println!("{}", said.trim());
    Ok(ExitCode::SUCCESS)
}

/// Where a node that listens so is found from this machine.
fn address(server: &Server) -> anyhow::Result<String> {
    if server.port == 0 {
        bail!("server.port is 0, any free one: say with --port which one the node took");
    }
    let host = match server.host.parse::<IpAddr>() {
        // It listens everywhere.
        Ok(address) if address.is_unspecified() && address.is_ipv4() => "127.0.0.1".to_owned(),
        Ok(address) if address.is_unspecified() => "[::1]".to_owned(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => server.host.clone(),
    };
    let scheme = if server.tls_certificate.as_os_str().is_empty() { "http" } else { "https" };
    Ok(format!("{scheme}://{host}:{}/readyz", server.port))
}
