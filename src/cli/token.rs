//! `continuum token`: makes tokens for development, says what is wrong with one, and calls tokens back.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::remote::{self, Remote};
use crate::{
    auth::{
        Bearer,
        mint::{self, Wanted},
    },
    model::Timestamp,
};

/// Options of `continuum token`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sign a token with a private key that you hold; for development
    Mint(Mint),
    /// Say what a token proves, or exactly why it is refused: exit code 0 or 1
    Check {
        /// The issuers' file, as auth.issuers names it
        #[arg(long, value_name = "FILE")]
        issuers: PathBuf,
        /// The token; - reads it from standard input
        token: String,
    },
    /// Call tokens back: whatever was issued up to now for a user or an instance, or one token by its jti
    Revoke {
        #[command(flatten)]
        remote: Remote,
        /// Whose
        #[arg(long)]
        tenant: String,
        #[command(flatten)]
        what: What,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// All that act for this user
    #[arg(long)]
    user: Option<String>,
    /// All that are this instance
    #[arg(long)]
    instance: Option<String>,
    /// The token with this jti
    #[arg(long)]
    token_id: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Mint {
    /// The private key as PEM, or the secret of HS256
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// HS256, RS256, ES256 or EdDSA
    #[arg(long)]
    algorithm: String,
    /// The key's id, if the issuer has several [default: none]
    #[arg(long)]
    kid: Option<String>,
    /// iss
    #[arg(long)]
    issuer: String,
    /// aud
    #[arg(long)]
    audience: String,
    /// The tenant
    #[arg(long)]
    tenant: Option<String>,
    /// The user (sub) [default: none]
    #[arg(long)]
    user: Option<String>,
    /// The instance, or a pattern of them [default: any]
    #[arg(long)]
    instance: Option<String>,
    /// What it may do, as JSON [default: what the issuer gives to all]
    #[arg(long, value_name = "JSON", value_parser = remote::json)]
    grant: Option<Value>,
    /// Any other claim, as NAME=JSON; may be given again, and replaces the ones above
    #[arg(long, value_name = "NAME=JSON", value_parser = claim)]
    claim: Vec<(String, Value)>,
    /// How long it holds
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    expires_in: Duration,
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=JSON, e.g. exp=1893456000")?;
    Ok((name.to_owned(), remote::json(value)?))
}

/// Runs the command.
///
/// # Errors
///
/// A file that cannot be used, the node's refusal.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Mint(wanted) => println!("{}", signed(wanted)?),
        Command::Check { issuers, token } => {
            let token = if token == "-" { std::io::read_to_string(std::io::stdin())? } else { token };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let checked = runtime.block_on(mint::check(&issuers, token.trim(), now())).map_err(anyhow::Error::msg)?;
            return Ok(match checked {
                Ok(bearer) => {
                    println!("{}", shown(&bearer));
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("refused: {error}");
                    ExitCode::FAILURE
                }
            });
        }
        Command::Revoke { remote, tenant, what } => {
            let body = json!({
                "tenant": tenant, "user": what.user, "instance": what.instance, "token_id": what.token_id,
            });
            println!("{}", remote.post("/v1/admin/revocations", &body)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn signed(wanted: Mint) -> anyhow::Result<String> {
    let texts = [("tenant", wanted.tenant), ("sub", wanted.user), ("instance", wanted.instance)];
    let mut claims: Map<_, _> =
        texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?)))).collect();
    claims.extend(wanted.grant.map(|grant| ("grant".to_owned(), grant)));
    claims.extend(wanted.claim);
    let wanted = Wanted {
        issuer: &wanted.issuer,
        audience: &wanted.audience,
        key_id: wanted.kid.as_deref(),
        algorithm: &wanted.algorithm,
        key: &wanted.key,
        lasts: wanted.expires_in,
        claims,
    };
    mint::mint(wanted, now()).map_err(anyhow::Error::msg).context("no token")
}

fn shown(bearer: &Bearer) -> Value {
    let identity = &bearer.identity;
    json!({
        "tenant": identity.tenant,
        "user": identity.user,
        "name": identity.name,
        "expires_at": bearer.expires_at.map(|end| end.to_string()),
        "rights": format!("{:?}", identity.rights),
    })
}
