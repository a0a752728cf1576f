//! Sends every message back: what a suite that tests WebSocket servers expects to talk to.
//!
//! Why: such suites judge a server by its echo, and a node has none. Everything that reads, judges and writes frames here is
//! the node's own (`Driver`, `Link`, `FrameGuard`, the parser, `Assembly`), under the same limits; only the actor behind it
//! is another, and the handshake is read without the node's checks. `scripts/conformance` runs it.
//! It prints its address and serves until its standard input ends. Usage: `echo [KEY=VALUE]...`, settings as for `serve`.

use std::{io::Read, rc::Rc, sync::Arc, thread};

use actix::{Actor, ActorContext, StreamHandler};
use actix_http::ws::{Message, ProtocolError, hash_key};
use actix_rt::net::TcpStream;
use actix_web_actors::ws::WebsocketContext;
use anyhow::{Context as _, bail, ensure};
use bytes::{Bytes, BytesMut};
use continuum::{
    actors::{context::NodeContext, driver::Driver, link::Link, metrics::Metrics, nodes::Nodes, transport::Transport},
    auth::Authority,
    backbone::embedded::{EmbeddedConfig, EmbeddedLog},
    config::{Config, Sources},
    wire::{Close, assembly::Assembly, frame},
};
use prometheus_client::registry::Registry;
use tokio::{io::AsyncReadExt, net::TcpListener, sync::oneshot};

struct Echo {
    link: Rc<Link>,
    assembly: Assembly,
}

impl Actor for Echo {
    type Context = WebsocketContext<Self>;
}

impl StreamHandler<Result<Message, ProtocolError>> for Echo {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        self.link.handle_frame();
        if self.link.is_over() {
            return;
        }
        match self.assembly.take(message) {
            Ok(Some(Message::Text(text))) => self.link.send(frame::text(text.as_bytes())),
            Ok(Some(Message::Binary(bytes))) => self.link.send(binary(&bytes)),
            Ok(Some(Message::Ping(payload))) => self.link.put(&frame::pong(&payload)),
            Ok(_) => {}
            Err(close) => self.end(close, ctx),
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Echo {
    fn end(&self, close: Close, ctx: &mut WebsocketContext<Self>) {
        self.link.close(close);
        ctx.stop();
    }
}

fn binary(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(frame::header_len(payload.len()) + payload.len());
    frame::put_binary_header(&mut out, payload.len());
    out.extend_from_slice(payload);
    out.freeze()
}

fn main() -> anyhow::Result<()> {
    let settings: Option<Vec<_>> = std::env::args()
        .skip(1)
        .map(|setting| setting.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect();
    let overrides = settings.context("usage: echo [KEY=VALUE]...")?;
    let config = Config::load(&Sources { overrides, ..Sources::default() })?.config;
    let (tell, told) = oneshot::channel::<()>();
    thread::spawn(move || {
        // Whoever started it is done, or gone.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(tell);
    });
    actix::System::new().block_on(async {
        tokio::select! {
            served = serve(config) => served,
            _ = told => Ok(()),
        }
    })
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    // Nothing is stored; a connection's context has a log.
    let log = EmbeddedLog::open(EmbeddedConfig {
        data_dir: data.path().to_owned(),
        retention_age: None,
        retention_bytes: None,
        sweep_interval: config.log.sweep_interval,
        commit_records: config.log.commit_records,
        commit_bytes: config.log.commit_bytes,
        queue_appends: config.log.queue_appends,
        feed_bytes: config.log.feed_bytes,
    })?;
    let listener = TcpListener::bind((config.server.host.as_str(), config.server.port)).await?;
    let authority = Authority::open(&config.auth).map_err(anyhow::Error::msg)?;
    let metrics = Metrics::new(&mut Registry::default());
    let context = NodeContext::new(config, authority, Arc::new(log), None, metrics, Nodes::new("echo"), None);
    println!("{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        let context = context.clone();
        actix_rt::spawn(async move {
            if let Err(error) = upgrade(socket, context).await {
                eprintln!("{error:#}");
            }
        });
    }
}

async fn upgrade(mut socket: TcpStream, context: Arc<NodeContext>) -> anyhow::Result<()> {
    let (head, early) = read_head(&mut socket).await?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value.trim())
    });
    let accept = hash_key(key.context("no WebSocket handshake")?.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        String::from_utf8_lossy(&accept)
    );
    ensure!(context.connections.take(u64::MAX), "there is no limit");
    let socket = Transport::Plain(socket);
    let echo = |link, _| Echo { link, assembly: Assembly::default() };
    let connection = Driver::connect(socket, answer.into(), early, context, echo);
    connection.await;
    Ok(())
}

/// The head of a request, and what came behind it.
async fn read_head(socket: &mut TcpStream) -> anyhow::Result<(String, Bytes)> {
    let mut read = BytesMut::new();
    loop {
        if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
            let head = read.split_to(end + 4);
            return Ok((String::from_utf8_lossy(&head).into_owned(), read.freeze()));
        }
        if read.len() > 64 * 1024 || socket.read_buf(&mut read).await? == 0 {
            bail!("no request came");
        }
    }
}
