//! The command line. Owns: commands, their options and their exit codes. Must not know: how a node is built.

pub mod bench;
pub mod config;
pub mod doctor;
pub mod health;
pub mod join;
pub mod journal;
pub mod key;
pub mod mcp;
mod page;
mod remote;
pub mod tenant;
pub mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{node, telemetry};

/// What `continuum --help` says last.
const AFTER_HELP: &str = "\
Environment variables:
  CONTINUUM_ENV            which built-in settings hold: development (default),
                           staging, production or bench
  CONTINUUM__SECTION__KEY  sets one key, e.g. CONTINUUM__SERVER__PORT=9000;
                           lists are comma-separated, durations are text
                           such as 250ms, 30s or 7d
  NO_COLOR                 no colours in this help

Settings, later wins: defaults, CONTINUUM_ENV, --config FILE,
CONTINUUM__ variables, flags. `continuum config show` prints every key
with its value and where it was set.

Exit codes:
  0    done; for `serve`: told to stop, and stopped cleanly;
       for `doctor`: nothing is wrong
  1    failed; standard error says why, for `doctor` the report
  2    wrong usage: unknown command or option
  78   the configuration is wrong; one line on standard error names the key,
       its source and the mend";

/// Rooms over WebSocket on one ordered, durable log.
#[derive(Debug, Parser)]
#[command(name = "continuum", version, after_help = AFTER_HELP, after_long_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node until SIGINT or SIGTERM
    #[command(after_help = AFTER_HELP)]
    Serve(ServeArgs),
    /// Check or show the configuration
    Config(config::Args),
    /// Say how everything stands that a node with these settings needs, and how to mend what is wrong; changes nothing
    #[command(after_help = AFTER_HELP)]
    Doctor(doctor::Args),
    /// Ask the node with these settings whether it is ready; exit code 0 if it is
    #[command(after_help = AFTER_HELP)]
    Health(health::Args),
    /// Join a room from the terminal
    Join(join::Args),
    /// Share a room's notebook with an agent that speaks the Model Context Protocol
    Mcp(Box<mcp::Args>),
    /// Look at an agent's journal and mend what the room refused
    Journal(journal::Args),
    /// Make, list and revoke API keys
    Key(key::Args),
    /// Erase tenants
    Tenant(tenant::Args),
    /// Make, check and revoke tokens
    Token(token::Args),
    /// Put load on a node and measure it
    Bench(bench::Args),
}

/// Options of `continuum serve`, and of what looks at a node from outside.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// IP address or host name to listen on [default: 127.0.0.1; key: server.host]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// TCP port to listen on; 0 takes any free one [default: 8420; key: server.port]
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Directory of the embedded log, made if missing [default: ./data; key: data_dir]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    #[command(flatten)]
    settings: config::Settings,
}

impl ServeArgs {
    /// Flags as overrides: `--set` first, so that an option with a name of its own wins.
    fn into_settings(self) -> config::Settings {
        let named = [("server.host", self.host), ("server.port", self.port), ("data_dir", self.data_dir)];
        let named = named.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        let mut settings = self.settings;
        settings.set.extend(named);
        settings
    }
}

/// Runs a command to its exit code.
///
/// # Errors
///
/// What made the command fail; it has not been printed yet.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(args) => serve(args),
        Command::Config(args) => config::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Health(args) => health::run(args),
        Command::Join(args) => join::run(args),
        Command::Mcp(args) => mcp::run(*args),
        Command::Journal(args) => journal::run(args),
        Command::Key(args) => key::run(args),
        Command::Tenant(args) => tenant::run(args),
        Command::Token(args) => token::run(args),
        Command::Bench(args) => bench::run(args),
    }
}

fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = match args.into_settings().load() {
        Ok(loaded) => loaded.config,
        Err(error) => return Ok(config::refuse(&error)),
    };
    telemetry::init(&config.logging)?;
    node::run(config)
}
