//! The `continuum` binary: parse, run, exit code. Tracing starts in the commands that have a configuration to start it from.

use std::process::ExitCode;

use clap::Parser as _;
use continuum::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("continuum: {error:#}");
            ExitCode::FAILURE
        }
    }
}
