//! `continuum key`: API keys of a running node, over its HTTP side; and the keys with which clients sign and seal, which no node has.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::remote::{self, Remote};
use crate::{
    auth::secret,
    client::{SealingKey, SigningKey},
};

/// Options of `continuum key`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a new random key for the file that auth.admin_key names; needs no node
    New,
    /// Print a new key to sign with, as a private JWK: for its owner's file; needs no node
    Signing,
    /// Print a new key to seal with, as a secret JWK: for the files of all who shall read; needs no node
    Sealing,
    /// Print the public part of a file with a signing key, as the content of a signing_key entity; needs no node
    Public {
        /// The file, as `signing` printed it; - reads it from standard input
        file: PathBuf,
    },
    /// Make an API key and print it: it is shown this once
    Create(Create),
    /// List API keys, without their secrets
    List {
        #[command(flatten)]
        remote: Remote,
        /// Only this tenant's [default: all that the token administers]
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Revoke an API key: it opens nothing from now on, and sessions under it end on every node
    Revoke {
        #[command(flatten)]
        remote: Remote,
        /// The key's id, as `list` shows it
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    #[command(flatten)]
    remote: Remote,
    /// Whose rooms it opens
    #[arg(long)]
    tenant: String,
    /// For whom it acts [default: nobody]
    #[arg(long)]
    user: Option<String>,
    /// The user's name for people [default: none]
    #[arg(long)]
    name: Option<String>,
    /// Which instances it may be: a name, or a pattern such as agent-* [default: any]
    #[arg(long)]
    instance: Option<String>,
    /// What it is for, for people [default: none]
    #[arg(long)]
    label: Option<String>,
    /// What it may do, as JSON, e.g. '{"subscribe":["*"],"read":["memory"]}' [default: everything but administration]
    #[arg(long, value_name = "JSON", value_parser = remote::json)]
    grant: Option<Value>,
    /// After which time it ends, e.g. 90d [default: never]
    #[arg(long, value_name = "TIME")]
    expires_in: Option<String>,
}

/// Runs the command.
///
/// # Errors
///
/// The node's refusal, or why it cannot be reached.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Signing => println!("{}", SigningKey::generate().context("no random numbers")?.to_jwk()),
        Command::Sealing => println!("{}", SealingKey::generate().context("no random numbers")?.to_jwk()),
        Command::Public { file } => {
            let key = SigningKey::from_jwk(&remote::token_in(&file)?)?;
            println!("{}", json!({"keys": [key.public_jwk()]}));
        }
        Command::New => println!("{}", secret::mint().key),
        Command::Create(wanted) => {
            let texts = [
                ("tenant", Some(wanted.tenant)),
                ("user", wanted.user),
                ("name", wanted.name),
                ("instance", wanted.instance),
                ("label", wanted.label),
                ("expires_in", wanted.expires_in),
            ];
            let mut body: Map<_, _> =
                texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?)))).collect();
            body.extend(wanted.grant.map(|grant| ("grant".to_owned(), grant)));
            let made = wanted.remote.post("/v1/admin/keys", &body.into())?;
            eprintln!("made {}; keep the key, it is not shown again:", made["id"].as_str().unwrap_or_default());
            println!("{}", made["key"].as_str().unwrap_or_default());
        }
        Command::List { remote, tenant } => {
            let query = tenant.map(|tenant| format!("?tenant={tenant}")).unwrap_or_default();
            let listed = remote.get(&format!("/v1/admin/keys{query}"))?;
            for key in listed["keys"].as_array().into_iter().flatten() {
                println!("{key}");
            }
        }
        Command::Revoke { remote, id } => {
            let revoked = remote.delete(&format!("/v1/admin/keys/{id}"))?;
            println!("{revoked}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
