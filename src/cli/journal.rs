//! `continuum journal`: what an agent wrote that has not reached the room, and what the room refused.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde::Serialize;

use super::mcp::Place;
use crate::replica::{DeadLetter, Pending, Replica};

/// What is read in one go.
const PAGE: usize = 500;

/// Look at an agent's journal and mend what the room refused
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List what waits and what was refused, with the reasons
    Ls {
        #[command(flatten)]
        place: Place,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Write once more what was refused
    Retry {
        #[command(flatten)]
        place: Place,
        /// Its number, as `ls` has it; all: everything that was refused
        number: String,
    },
    /// Forget what was refused, or what waits (that may have reached the room already)
    Drop {
        #[command(flatten)]
        place: Place,
        /// Its number, as `ls` has it
        number: u64,
    },
}

/// Does it.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        match args.what {
            What::Ls { place, json } => list(&place, json).await,
            What::Retry { place, number } => retry(&place, &number).await,
            What::Drop { place, number } => {
                let replica = Replica::look(place.dir()?).await?;
                match replica.drop_write(number).await? {
                    Some(write) => println!("dropped {number}: {}", name(&write)),
                    None => bail!("there is no {number} in the journal"),
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}

async fn list(place: &Place, json: bool) -> anyhow::Result<ExitCode> {
    #[derive(Serialize)]
    #[serde(tag = "state", rename_all = "snake_case")]
    enum Line<'a> {
        Pending(&'a Pending),
        Refused(&'a DeadLetter),
    }
    let replica = Replica::look(place.dir()?).await?;
    let (mut after, mut pending) = (0, 0);
    loop {
        let page = replica.pending(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        (after, pending) = (last.number, pending + page.len());
        for write in &page {
            match json {
                true => println!("{}", serde_json::to_string(&Line::Pending(write))?),
                false => println!("{:>8}  waits    {}", write.number, name(write)),
            }
        }
    }
    let dead = replica.dead_letters().await?;
    for letter in &dead {
        match json {
            true => println!("{}", serde_json::to_string(&Line::Refused(letter))?),
            false => println!(
                "{:>8}  refused  {}: {} ({})",
                letter.write.number,
                name(&letter.write),
                letter.reason,
                letter.code
            ),
        }
    }
    if !json {
        println!("{pending} wait, {} were refused", dead.len());
    }
    Ok(ExitCode::SUCCESS)
}

async fn retry(place: &Place, number: &str) -> anyhow::Result<ExitCode> {
    let replica = Replica::look(place.dir()?).await?;
    let numbers = match number {
        "all" => replica.dead_letters().await?.iter().map(|letter| letter.write.number).collect(),
        number => vec![number.parse().context("a number, or all")?],
    };
    for number in numbers {
        match replica.retry(number).await? {
            Some(ticket) => println!("{number} is written once more, as {}", ticket.number),
            None => bail!("{number} was not refused"),
        }
    }
    println!("they go out while an agent of this journal runs");
    Ok(ExitCode::SUCCESS)
}

fn name(write: &Pending) -> String {
    match &write.entity {
        Some(id) => format!("{} {id:?}", write.kind),
        None => format!("event {}", write.kind),
    }
}
