//! The command line (stand-in).

pub mod join;

use std::process::ExitCode;

use clap::Parser;

/// Stand-in.
#[derive(Parser)]
pub enum Cli {
    /// Join.
    Join(join::Args),
}

/// Stand-in.
pub fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse() {
        Cli::Join(args) => join::run(args),
    }
}
