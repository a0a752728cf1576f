//! `continuum config check` and `show`, and the options about settings that other commands share.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Subcommand;

use crate::config::{Config, ConfigError, Loaded, Sources};

/// EX_CONFIG of sysexits.h: a supervisor can tell "will not start like this" from "crashed".
const BAD_CONFIG: u8 = 78;

/// Where settings come from, beside the environment.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// TOML file over the built-in settings [default: none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one key over everything else, e.g. limits.messages_per_minute=500; may be given again [default: none]
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub set: Vec<(String, String)>,
}

impl Settings {
    /// Loads the configuration with this process's environment.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load(self) -> Result<Loaded, ConfigError> {
        Config::load(&Sources::of_process(self.config, self.set))
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, e.g. server.port=9000")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Options of `continuum config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do with the configuration.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether a node would start with these settings: exit code 0, or 78 and one line on standard error
    #[command(after_help = super::AFTER_HELP)]
    Check(Settings),
    /// Print every key with its value and the source that set it, as TOML; secrets are hidden
    #[command(after_help = super::AFTER_HELP)]
    Show(Settings),
}

/// Runs the command.
///
/// # Errors
///
/// When standard output cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (settings, print): (_, fn(&Loaded) -> String) = match args.command {
        Command::Check(settings) => (settings, verdict),
        Command::Show(settings) => (settings, Loaded::to_toml),
    };
    match settings.load() {
        Ok(loaded) => {
            io::stdout().write_all(print(&loaded).as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => Ok(refuse(&error)),
    }
}

/// Tells the operator, and gives the exit code for a bad configuration.
pub(super) fn refuse(error: &ConfigError) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(BAD_CONFIG)
}

fn verdict(loaded: &Loaded) -> String {
    let sources: Vec<_> = loaded.sources().iter().map(ToString::to_string).collect();
    format!("config is good (sources: {})\n", sources.join(", "))
}
