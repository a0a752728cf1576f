//! `continuum tenant`: what happens to a tenant as a whole, over a running node's HTTP side.

use std::{path::PathBuf, process::ExitCode, thread, time::Duration};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::Value;

use super::remote::Remote;

mod file;

/// How often it is looked how far the node is.
const LOOK: Duration = Duration::from_millis(500);

/// Options of `continuum tenant`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Erase a tenant with all that there is of it, and print what was removed from where
    Delete {
        #[command(flatten)]
        remote: Remote,
        /// Which tenant
        #[arg(long)]
        tenant: String,
        /// Print where to look and do not wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
    /// Write a tenant to a file: its events, its entities as they stand, everybody's private ones too
    Export {
        #[command(flatten)]
        remote: Remote,
        /// Which tenant
        #[arg(long)]
        tenant: String,
        /// The file, which must not be there yet
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Make a tenant that is empty from such a file; repeated with the same file, it goes on where it stopped
    Import {
        #[command(flatten)]
        remote: Remote,
        /// Which tenant; it has the name that it had
        #[arg(long)]
        tenant: String,
        /// The file
        #[arg(long, value_name = "FILE")]
        input: PathBuf,
    },
}

/// Runs the command.
///
/// # Errors
///
/// The node's refusal, or why it cannot be reached.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Delete { remote, tenant, no_wait } => {
            let mut report = remote.delete(&format!("/v1/tenants/{tenant}"))?;
            if report["stage"] == "nothing" {
                eprintln!("there is nothing of {tenant}");
                println!("{report}");
                return Ok(ExitCode::SUCCESS);
            }
            let receipt = report["receipt"].as_str().context("the node gave no receipt")?;
            let place = format!("/v1/erasures/{receipt}");
            eprintln!("erasing {tenant}; look at {place}");
            let mut shown = String::new();
            while !no_wait && report["stage"] != "done" {
                // A pause that ends early only asks once more.
                thread::park_timeout(LOOK);
                report = remote.get(&place)?;
                let now = progress(&report);
                if now != shown {
                    eprintln!("{now}");
                    shown = now;
                }
            }
            println!("{report}");
        }
        Command::Export { remote, tenant, output } => println!("{}", file::export(&remote, &tenant, &output)?),
        Command::Import { remote, tenant, input } => println!("{}", file::import(&remote, &tenant, &input)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn progress(report: &Value) -> String {
    let removed: u64 = report["removed"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
    format!("{}: {removed} removed", report["stage"].as_str().unwrap_or("?"))
}
