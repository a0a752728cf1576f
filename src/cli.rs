//! The command line (stand-in).

pub mod bench;
pub mod join;

use std::process::ExitCode;

use clap::Parser;

/// Stand-in.
#[derive(Parser)]
pub enum Cli {
    /// Join.
    Join(join::Args),
    /// Bench.
    Bench(bench::Args),
}

/// Stand-in.
pub fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse() {
        Cli::Join(args) => join::run(args),
        Cli::Bench(args) => bench::run(args),
    }
}
