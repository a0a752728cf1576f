//! `continuum mcp`: the notebook for a client of the Model Context Protocol.
//!
//! Owns: options, where the journal lies, and when it ends. Must not know: the protocol ([`crate::mcp`]).

use std::{env, ffi::OsString, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use clap::Subcommand;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::remote;
use crate::{
    auth::agent::{agent, agent_believing},
    client::{BaseUrl, ClientOptions, Scheme, Trust},
    mcp::{Notebook, Patience, Server, http, stdio, wrap},
    model::{InstanceId, TenantId},
    replica::{Options, Replica, TokenSource},
};

/// Longest time for what is asked of the node over HTTP.
const ASKING: Duration = Duration::from_secs(10);
/// What a folder's name should not hold.
const IN_FOLDER: &AsciiSet =
    &CONTROLS.add(b'/').add(b'\\').add(b'%').add(b':').add(b'*').add(b'?').add(b'"').add(b'<').add(b'>').add(b'|');

/// Serve the room's notebook to an MCP client, over standard input and output or over HTTP.
///
/// What is written is safe in a journal on this disk before the call returns, goes out as soon as the node can be reached, and goes out
/// once. Several of these with the same tenant and instance share one journal and one connection.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    look: Option<Look>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Look {
    /// Say how fresh a notebook is, what waits, and how it went so far; joins nothing
    Status(Place),
}

/// Where a journal lies.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The room
    #[arg(long, default_value = "default")]
    pub tenant: TenantId,
    /// The agent
    #[arg(long, required_unless_present = "dir")]
    pub instance: Option<InstanceId>,
    /// The journal's directory [default: one for each tenant and instance in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl Place {
    /// The directory.
    ///
    /// # Errors
    ///
    /// Nothing says where.
    pub fn dir(&self) -> anyhow::Result<PathBuf> {
        match (&self.dir, &self.instance) {
            (Some(dir), _) => Ok(dir.clone()),
            (None, Some(instance)) => usual_dir(&self.tenant, instance),
            (None, None) => bail!("say --instance or --dir"),
        }
    }
}

/// Options for serving.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The node
    #[arg(long, default_value = "ws://127.0.0.1:8420", env = "CONTINUUM_URL")]
    url: BaseUrl,
    /// For wss://: believe the certificates in this PEM file, and no others [default: what the system trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A file with a token or an API key, for nodes that ask for one; read again for each connection [default: none]
    #[arg(long, value_name = "FILE", visible_alias = "token")]
    token_file: Option<PathBuf>,
    /// The room
    #[arg(long, default_value = "default")]
    tenant: TenantId,
    /// Who you are in it; every agent needs a name of its own [default: mcp-HOSTNAME]
    #[arg(long)]
    instance: Option<InstanceId>,
    /// The user for whom you act, where no token says that
    #[arg(long)]
    user: Option<String>,
    /// The journal's directory [default: one for each tenant and instance in $XDG_STATE_HOME or ~/.local/state]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Serve streamable HTTP at http://ADDRESS/mcp (and figures at /metrics) instead of standard input and output
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// With --http: a file with the token that clients have to show; needed beyond this machine
    #[arg(long, value_name = "FILE", requires = "http")]
    http_token_file: Option<PathBuf>,
    /// With --http: a name that it may be asked under, beside this machine's own
    #[arg(long, value_name = "HOST", requires = "http")]
    http_host: Vec<String>,
    /// With --http: the origin of pages that may ask, scheme and host
    #[arg(long, value_name = "ORIGIN", requires = "http")]
    http_origin: Vec<String>,
    /// Serve figures for Prometheus at http://ADDRESS/metrics
    #[arg(long, value_name = "ADDRESS", conflicts_with = "http")]
    metrics: Option<SocketAddr>,
    /// Wrap another MCP server, started by COMMAND: the room is asked before and told behind each of its tools
    #[arg(long, requires = "command", conflicts_with_all = ["http", "metrics"])]
    wrap: bool,
    /// With --wrap: what the room is told of a call
    #[arg(long, value_enum, value_name = "WHAT", default_value = "calls", requires = "wrap")]
    wrap_tell: Told,
    /// With --wrap: leave the answers as they are, without a notice of what others did
    #[arg(long, requires = "wrap")]
    wrap_quiet: bool,
    /// With --wrap: the server's program and its arguments
    #[arg(last = true, value_name = "COMMAND", requires = "wrap")]
    command: Vec<OsString>,
    /// How long a call waits for what others wrote before it goes on with what is here
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pull_wait: Duration,
    /// How long a call waits for its write to be settled before it is told as pending
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    push_wait: Duration,
    /// How long to go on sending at the end; what is left goes out next time
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
    flush: Duration,
}

/// What the room is told of a wrapped tool's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Told {
    /// Nothing
    Nothing,
    /// Which tool it was, whether it worked and how long it took
    Calls,
    /// That, and what it was given and gave
    Contents,
}

/// Runs until the client goes or a signal comes.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("no runtime")?;
    let code = runtime.block_on(async {
        match args.look {
            Some(Look::Status(place)) => status(&place).await,
            None => serve(args.serve).await,
        }
    });
    // A read of standard input cannot be cancelled; it must not keep the process.
    runtime.shutdown_background();
    code
}

async fn status(place: &Place) -> anyhow::Result<ExitCode> {
    let replica = Arc::new(Replica::look(place.dir()?).await?);
    let status = replica.status().await?;
    let figures = replica.figures().await?;
    let shown = json!({
        "tenant": replica.tenant(),
        "instance": replica.instance(),
        "status": status,
        "metrics": {
            "avg_latency_ms": figures.average_latency_ms(),
            "success_rate": figures.success_rate(),
            "cache_hit_rate": figures.hit_rate(),
            "conflict_rate": figures.conflict_rate(),
            "total_syncs": figures.settled + figures.refused,
        },
        "counts": figures,
    });
    println!("{}", serde_json::to_string_pretty(&shown)?);
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: Serve) -> anyhow::Result<ExitCode> {
    let door = http::Door {
        token: args.http_token_file.as_deref().map(remote::token_in).transpose()?,
        hosts: args.http_host.clone(),
        origins: args.http_origin.clone(),
    };
    if let Some(address) = &args.http {
        ensure!(
            http::is_own(address) || door.token.is_some(),
            "--http {address} can be reached from other machines: say --http-token-file, or listen on 127.0.0.1"
        );
    }
    let (http_at, metrics_at, flush) = (args.http, args.metrics, args.flush);
    let patience = Patience { pull: args.pull_wait, push: args.push_wait };
    let wrapped = wrapped(&args);
    let replica = Arc::new(Replica::open(options(args)?).await?);
    if let Some(aside) = replica.set_aside() {
        let (status, figures) = (replica.status().await?, replica.figures().await?);
        // Nobody else has written anything here yet, but some of it may be out by now.
        let rest = match status.pending + status.refused + figures.settled {
            0 => "if anything waited in it, it is in there alone and not sent",
            _ => "what waited in it goes on, do not write it again",
        };
        eprintln!("the journal was damaged and put aside: {}; {rest}", aside.display());
    }
    if let Some(config) = wrapped {
        let room = wrap::Room::new(replica.clone(), replica.instance().clone()).await?;
        let code = match wrap::stdio(config, room).await {
            Ok(ended) => ended.code(),
            Err(error) => {
                eprintln!("{error}");
                error.code()
            }
        };
        end(&replica, flush).await;
        return Ok(ExitCode::from(code));
    }
    let notebook = Notebook::open(replica.clone(), patience).await?;
    let server = Server::new(notebook.clone());
    let closing = CancellationToken::new();
    tokio::spawn(stop_at_signals(closing.clone()));
    if let Some(address) = metrics_at {
        let listener = bind(address).await?;
        tokio::spawn(http::serve_figures(server.clone(), listener, closing.clone()));
    }
    let ended = match http_at {
        Some(address) => {
            let listener = bind(address).await?;
            eprintln!("MCP at http://{}/mcp", listener.local_addr()?);
            http::serve(server.clone(), listener, door, closing.clone()).await;
            Ok(())
        }
        None => stdio::serve(server.clone(), rmcp::transport::stdio_pipes(), closing.clone())
            .await
            .map_err(anyhow::Error::msg),
    };
    closing.cancel();
    notebook.keep_told().await;
    end(&replica, flush).await;
    ended.map(|()| ExitCode::SUCCESS)
}

/// Sends what can be sent yet, and says what is left.
async fn end(replica: &Replica, flush: Duration) {
    match replica.close(flush).await {
        Some(0) => {}
        Some(left) => eprintln!("writes that wait in the journal and go out next time: {left}"),
        None => eprintln!("the journal cannot be read any more: what waits in it goes out when it can be opened again"),
    }
}

/// What is wrapped, if anything.
fn wrapped(args: &Serve) -> Option<wrap::Config> {
    let (program, more) = args.command.split_first()?;
    let mut config = wrap::Config::new(program.clone(), more.to_vec());
    (config.before, config.after) = (args.pull_wait, args.push_wait);
    config.tell = match args.wrap_tell {
        Told::Nothing => wrap::Tell::Nothing,
        Told::Calls => wrap::Tell::Calls,
        Told::Contents => wrap::Tell::Contents,
    };
    if args.wrap_quiet {
        config.answers = wrap::Answers::Untouched;
    }
    Some(config)
}

async fn bind(address: SocketAddr) -> anyhow::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn options(args: Serve) -> anyhow::Result<Options> {
    let instance = match args.instance {
        Some(instance) => instance,
        None => format!("mcp-{}", rustix::system::uname().nodename().to_string_lossy())
            .parse()
            .context("this machine's name makes no instance's; say --instance")?,
    };
    let dir = match args.dir {
        Some(dir) => dir,
        None => usual_dir(&args.tenant, &instance)?,
    };
    let agent = match &args.ca {
        Some(file) => agent_believing(ASKING, file).context("cannot use --ca")?,
        None => agent(ASKING),
    };
    let mut client = ClientOptions::new(args.url, args.tenant, instance);
    client.user = args.user;
    client.capabilities = vec!["mcp".to_owned()];
    client.trust = match (client.url.scheme(), &args.ca) {
        (Scheme::Plain, _) => None,
        (Scheme::Tls, None) => Some(Trust::system()),
        (Scheme::Tls, Some(file)) => Some(Trust::file(file).context("cannot use --ca")?),
    };
    let mut options = Options::new(client, agent, dir);
    options.kinds = vec!["context".to_owned()];
    options.token = args.token_file.map_or(TokenSource::None, TokenSource::File);
    Ok(options)
}

fn usual_dir(tenant: &TenantId, instance: &InstanceId) -> anyhow::Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    let state = state.context("neither XDG_STATE_HOME nor HOME is set; say --dir")?;
    let folder = |name: &str| utf8_percent_encode(name, IN_FOLDER).to_string().replace("..", "%2E%2E");
    Ok(state.join("continuum").join(folder(tenant.as_str())).join(folder(instance.as_str())))
}

async fn stop_at_signals(closing: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    closing.cancel();
}
