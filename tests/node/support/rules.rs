//! The owner's rules as a service of HTTP/1.1 that keeps its connections, counts what it is asked, and answers when it is let.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::until;

/// What is answered to a question.
#[derive(Clone, Debug)]
pub enum Say {
    /// This, with status 200.
    Json(Value),
    /// This, whatever it is: status line, headers and body.
    Raw(String),
    /// This as soon as the gate is open.
    AtGate(Value),
}

/// What came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The head of the request.
    pub head: String,
    /// The question.
    pub question: Value,
}

type Rule = dyn Fn(&Value) -> Say + Send + Sync;

/// The service.
pub struct Rules {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    rule: Box<Rule>,
    asked: Mutex<Vec<Asked>>,
    gate: watch::Sender<bool>,
    at_once: AtomicUsize,
    most: AtomicUsize,
}

impl Rules {
    /// A service with a rule; its gate is shut.
    pub async fn start(rule: impl Fn(&Value) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let inner = Arc::new(Inner {
            rule: Box::new(rule),
            asked: Mutex::default(),
            gate: watch::channel(false).0,
            at_once: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let served = inner.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, served.clone()));
            }
        });
        Self { address, inner }
    }

    /// Allows everything but what this names as `what of` or `what`, which it refuses with the reason `not today`.
    pub async fn refusing(refused: &'static [&'static str]) -> Self {
        Self::start(move |question| {
            let (what, of) = (question["what"].as_str().expect("a word"), question["of"].as_str());
            let shown = of.map_or_else(|| what.to_owned(), |of| format!("{what} {of}"));
            match refused.contains(&what) || refused.contains(&&*shown) {
                true => Say::Json(json!({"allow": false, "reason": "not today"})),
                false => Say::Json(json!({"allow": true})),
            }
        })
        .await
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}/rules", self.address)
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.inner.asked.lock().expect("not poisoned").clone()
    }

    /// How often it was asked this.
    pub fn count(&self, what: &str) -> usize {
        self.asked().iter().filter(|asked| asked.question["what"] == what).count()
    }

    /// Waits until it was asked this so often.
    pub async fn until_asked(&self, what: &str, times: usize) {
        until("a question", async || (self.count(what) >= times).then_some(())).await;
    }

    /// The most questions that were under way at a time.
    pub fn most_at_once(&self) -> usize {
        self.inner.most.load(Ordering::SeqCst)
    }

    /// Lets answers through that wait at the gate.
    pub fn open_gate(&self) {
        self.inner.gate.send_replace(true);
    }
}

/// An address at which nothing answers.
pub async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    format!("http://{}/rules", listener.local_addr().expect("an address"))
}

async fn serve(socket: TcpStream, inner: Arc<Inner>) -> Option<()> {
    let mut socket = BufReader::new(socket);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if socket.read_line(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.expect("a length")];
        socket.read_exact(&mut body).await.ok()?;
        let question: Value = serde_json::from_slice(&body).expect("a question is JSON");
        let say = (inner.rule)(&question);
        let now = inner.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        inner.most.fetch_max(now, Ordering::SeqCst);
        inner.asked.lock().expect("not poisoned").push(Asked { head, question });
        let json = |body: Value| {
            let body = body.to_string();
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        let answer = match say {
            Say::Json(body) => json(body),
            Say::Raw(answer) => answer,
            Say::AtGate(body) => {
                let mut gate = inner.gate.subscribe();
                // Whoever asked may not wait for it.
                let mut byte = [0];
                tokio::select! {
                    _ = gate.wait_for(|open| *open) => {}
                    _ = socket.read(&mut byte) => {}
                }
                json(body)
            }
        };
        // For a moment, so that those who come together are seen together.
        tokio::task::yield_now().await;
        inner.at_once.fetch_sub(1, Ordering::SeqCst);
        socket.write_all(answer.as_bytes()).await.ok()?;
    }
}
