//! `continuum join`: a person's window into a room, and a pipe into it for scripts.
//!
//! Owns: what is read from standard input, when to stop. Must not know: frames and reconnects ([`crate::client`]).

mod demo;
mod letters;
mod print;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use serde_json::value::{RawValue, to_raw_value};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines, Stdin},
    time::{Interval, MissedTickBehavior, interval},
};

use super::remote;
use crate::{
    client::{
        Backoff, BaseUrl, ClientOptions, Echo, Encoding, Happening, Incoming, Publish, Reconnecting, Scheme, Since,
        Trust, publish::PublishError, reconnecting::Fatal,
    },
    model::{EventType, InstanceId, TenantId},
    wire::token::Token,
};

use letters::{Keys, Letters};
use print::Printer;

/// Join a room: see its records, publish what is typed or piped in.
///
/// A line that is a JSON object is sent as it stands, any other line as the text of a message. When the input is not a
/// terminal and ends, the command waits until everything is acknowledged and leaves.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node.
    #[arg(long, default_value = "ws://127.0.0.1:8420", env = "CONTINUUM_URL")]
    url: BaseUrl,
    /// For wss://: believe the certificates in this PEM file, and no others [default: what the system trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A file with a token or an API key, for nodes that ask for one; - reads it from standard input [default: none]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The room.
    #[arg(long, default_value = "default")]
    tenant: TenantId,
    /// Who you are in it; one connection per instance.
    #[arg(long)]
    instance: InstanceId,
    /// The user for whom you act, where no token says that
    #[arg(long)]
    user: Option<String>,
    #[command(flatten)]
    keys: Keys,
    /// Where to start: a cursor, 'earliest', 'latest' or an RFC 3339 time. Without it: where this instance left off.
    #[arg(long)]
    since: Option<Since>,
    /// Only these types: comma-separated, one '*' in each for any run of characters.
    #[arg(long, value_delimiter = ',', value_name = "GLOBS")]
    types: Vec<String>,
    /// Words shown to others, comma-separated.
    #[arg(long, value_delimiter = ',', value_name = "WORDS")]
    capabilities: Vec<String>,
    /// See your own records too.
    #[arg(long)]
    echo: bool,
    /// Cut strings in the data to this many characters.
    #[arg(long, value_name = "N")]
    preview: Option<u32>,
    /// How large messages come over the line: 'text', or 'deflate-raw' to have them compressed.
    #[arg(long, default_value = "text", value_name = "NAME")]
    encoding: Encoding,
    /// Print the node's messages as they are, one a line.
    #[arg(long)]
    json: bool,
    /// Publish a made-up event every second.
    #[arg(long)]
    demo: bool,
    /// The type of lines that are not JSON.
    #[arg(long = "type", default_value = "message", value_name = "TYPE")]
    line_type: EventType,
    /// Stay when the input has ended.
    #[arg(long)]
    stay: bool,
}

/// Runs until the input ends or Ctrl-C; 1 when the node refused the connection or one of the messages.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let code = runtime.block_on(async { Window::new(args)?.run().await });
    // A read of standard input cannot be cancelled; it must not keep the process.
    runtime.shutdown_background();
    code
}

/// What is left to read.
enum Input {
    Open(Lines<BufReader<Stdin>>),
    Ended,
}

/// What the end of the input means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    Leave,
    Stay,
}

struct Window {
    room: Reconnecting,
    letters: Letters,
    printer: Printer,
    input: Input,
    at_end: AtEnd,
    line_type: EventType,
    demo: Option<(Interval, demo::Events)>,
    caught_up: bool,
    failed: bool,
}

impl Window {
    fn new(args: Args) -> anyhow::Result<Self> {
        let mut options = ClientOptions::new(args.url, args.tenant, args.instance);
        options.token = args.token_file.map(|file| remote::token_in(&file)).transpose()?.map(Token);
        options.since = args.since;
        options.user = args.user;
        options.types = args.types;
        options.capabilities = args.capabilities;
        options.echo = if args.echo { Echo::Records } else { Echo::AckOnly };
        options.preview = args.preview;
        options.encoding = args.encoding;
        options.trust = match (options.url.scheme(), &args.ca) {
            (Scheme::Plain, _) => None,
            (Scheme::Tls, None) => Some(Trust::system()),
            (Scheme::Tls, Some(file)) => Some(Trust::file(file).context("cannot use --ca")?),
        };
        let demo = args.demo.then(|| {
            let mut every = interval(Duration::from_secs(1));
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            (every, demo::Events::default())
        });
        let letters = Letters::new(&args.keys, &options, args.ca.as_deref())?;
        Ok(Self {
            letters,
            room: Reconnecting::new(options, Backoff::new()),
            printer: if args.json { Printer::json() } else { Printer::for_person() },
            input: Input::Open(BufReader::new(tokio::io::stdin()).lines()),
            at_end: if args.stay || args.demo || io::stdin().is_terminal() { AtEnd::Stay } else { AtEnd::Leave },
            line_type: args.line_type,
            demo,
            caught_up: false,
            failed: false,
        })
    }

    async fn run(mut self) -> anyhow::Result<ExitCode> {
        let mut stopping = std::pin::pin!(tokio::signal::ctrl_c());
        while !self.is_done() {
            let full = self.room.outstanding().is_full();
            tokio::select! {
                _ = &mut stopping => break,
                happening = self.room.next() => match happening {
                    Ok(happening) => self.happened(happening).await?,
                    Err(fatal) => return Ok(self.gave_up(&fatal)),
                },
                // What is typed waits in the pipe while the node is behind.
                line = next_line(&mut self.input), if !full => self.typed(line?),
                event = next_demo(&mut self.demo), if !full => self.made_up(&event),
            }
        }
        let unanswered = self.room.outstanding().len();
        self.room.close().await;
        if unanswered > 0 {
            self.printer.trouble(format_args!("{unanswered} messages were not acknowledged"));
        }
        Ok(if self.failed || unanswered > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn is_done(&self) -> bool {
        let ended = matches!(self.input, Input::Ended) && self.at_end == AtEnd::Leave;
        ended && self.caught_up && self.room.outstanding().is_empty()
    }

    async fn happened(&mut self, happening: Happening) -> anyhow::Result<()> {
        match happening {
            Happening::Frame(mut frame) => {
                self.caught_up |= matches!(frame.message, Incoming::CaughtUp(_));
                let note = self.letters.read(&mut frame).await;
                self.printer.frame(&frame, note.as_deref()).context("cannot write to standard output")
            }
            Happening::Refused(refused) => {
                let (frame, error) = *refused;
                self.failed = true;
                self.printer.frame(&frame, None).context("cannot write to standard output")?;
                self.printer.trouble(format_args!("not published: {} ({})", error.message, error.code));
                Ok(())
            }
            Happening::Waiting { why, retry_in } => {
                let seconds = retry_in.as_secs_f32();
                self.printer.trouble(format_args!("{why}; trying again in {seconds:.1} s"));
                Ok(())
            }
        }
    }

    fn gave_up(&self, fatal: &Fatal) -> ExitCode {
        self.printer.trouble(format_args!("{fatal}"));
        ExitCode::FAILURE
    }

    fn typed(&mut self, line: Option<String>) {
        let Some(line) = line else {
            self.input = Input::Ended;
            return;
        };
        if line.trim().is_empty() {
            return;
        }
        let is_message = line.trim_start().starts_with('{') && has_event_type(&line);
        let own = Some(&self.letters.own).filter(|own| own.is_on());
        let publish = match (own, is_message) {
            (None, true) => Publish::from_json(&line),
            (None, false) => Ok(Publish::new(&self.line_type, &text(&line))),
            (Some(own), true) => Publish::protected_json(&line, own),
            (Some(own), false) => Publish::protected(&self.line_type, &text(&line), own),
        };
        self.made(publish);
    }

    fn made_up(&mut self, (event_type, data): &demo::Event) {
        let own = Some(&self.letters.own).filter(|own| own.is_on());
        let publish =
            own.map_or_else(|| Ok(Publish::new(event_type, data)), |own| Publish::protected(event_type, data, own));
        self.made(publish);
    }

    fn made(&mut self, publish: Result<Publish, PublishError>) {
        match publish {
            Ok(publish) => self.publish(publish),
            Err(error) => {
                self.failed = true;
                self.printer.trouble(format_args!("not published: {error}"));
            }
        }
    }

    fn publish(&mut self, publish: Publish) {
        // Input is only read while there is room, so this is never full; if it were, it must be said.
        if let Err(full) = self.room.publish(publish) {
            self.failed = true;
            self.printer.trouble(format_args!("not published: {full}"));
        }
    }
}

fn has_event_type(line: &str) -> bool {
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line)
        .is_ok_and(|object| object.contains_key("event_type"))
}

fn text(line: &str) -> Box<RawValue> {
    to_raw_value(&serde_json::json!({ "text": line })).expect("an object of strings is JSON")
}

async fn next_line(input: &mut Input) -> anyhow::Result<Option<String>> {
    match input {
        Input::Open(lines) => lines.next_line().await.context("cannot read standard input"),
        Input::Ended => std::future::pending().await,
    }
}

async fn next_demo(demo: &mut Option<(Interval, demo::Events)>) -> demo::Event {
    match demo {
        Some((every, events)) => {
            every.tick().await;
            events.next()
        }
        None => std::future::pending().await,
    }
}
