//! A node that ends TLS by itself: everything is said under it too, and its certificate may be renewed while it serves.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::support::{
    Node,
    http::{self, Response},
    until, within,
};

/// A certificate and its key on disk.
pub struct Pair {
    dir: TempDir,
}

impl Pair {
    pub fn new() -> Self {
        let pair = Self { dir: TempDir::new().expect("a temporary directory can be made") };
        pair.renew();
        pair
    }

    fn certificate(&self) -> String {
        self.dir.path().join("node.pem").to_str().expect("a path in UTF-8").to_owned()
    }

    fn key(&self) -> String {
        self.dir.path().join("node.key").to_str().expect("a path in UTF-8").to_owned()
    }

    /// Puts a fresh pair in the place of the old one, and returns its certificate.
    fn renew(&self) -> Vec<u8> {
        let made = Command::new("openssl")
            .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost".split(' '))
            .args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &self.key(), "-out", &self.certificate()])
            .output()
            .expect("openssl is there");
        assert!(made.status.success(), "{made:?}");
        CertificateDer::from_pem_file(self.certificate()).expect("a certificate").to_vec()
    }

    pub async fn node(&self, settings: &[(&str, &str)]) -> Node {
        let (certificate, key) = (self.certificate(), self.key());
        let pair = [("server.tls_certificate", certificate.as_str()), ("server.tls_key", key.as_str())];
        let settings: Vec<_> = pair.into_iter().chain(settings.iter().copied()).collect();
        // Whether it is ready is asked under TLS, below.
        Node::start_unready(&settings).await
    }

    /// A connection that trusts what lies on disk now.
    pub async fn connect(&self, node: &Node) -> TlsStream<TcpStream> {
        self.try_connect(node).await.expect("the handshake is good")
    }

    async fn try_connect(&self, node: &Node) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.certificate()).expect("it is there") {
            roots.add(certificate.expect("PEM")).expect("a certificate");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring does both")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(node.address()).await.expect("the node accepts connections");
        let name = "localhost".try_into().expect("a name");
        within("the TLS handshake", TlsConnector::from(Arc::new(config)).connect(name, socket)).await
    }

    async fn send(&self, node: &Node, method: &str, target: &str, body: &str) -> Response {
        let mut socket = self.connect(node).await;
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.expect("the node reads");
        let answer = within("an answer", http::read_response(&mut socket, &mut Vec::new())).await.expect("an answer");
        // The end is said, so that nobody can cut an answer short unseen.
        let end = within("the end", socket.read(&mut [0])).await;
        assert!(matches!(end, Ok(0)), "{end:?}");
        answer
    }

    async fn join(&self, node: &Node, query: &str) -> Session {
        let url = format!("wss://localhost/ws/sync?tenant_id=t&{query}");
        let socket = client_async(url, self.connect(node).await).await.expect("the upgrade is good").0;
        let mut session = Session(socket);
        session.expect("session_ready").await;
        session
    }
}

/// A session under TLS.
struct Session(WebSocketStream<TlsStream<TcpStream>>);

impl Session {
    async fn next(&mut self) -> Option<Value> {
        loop {
            match within("a message", self.0.next()).await {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    async fn expect(&mut self, event_type: &str) -> Value {
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("the end before {event_type}"));
            if message["event_type"] == event_type {
                return message;
            }
        }
    }

    async fn publish(&mut self, data: Value) -> Value {
        let text = json!({"event_type": "note", "data": data}).to_string();
        self.0.send(Message::text(text)).await.expect("the node reads");
        self.expect("ack").await
    }
}

#[tokio::test]
async fn requests_streams_probes_and_sessions_go_under_tls() {
    let pair = Pair::new();
    let node = pair.node(&[]).await;
    let ready = async || (pair.send(&node, "GET", "/readyz", "").await.status == 200).then_some(());
    until("/readyz answers 200", ready).await;
    let mut reader = pair.join(&node, "instance_id=reader").await;
    let event = r#"{"event_type":"note","instance_id":"cron","data":{"n":1}}"#;
    let answer = pair.send(&node, "POST", "/v1/tenants/t/events", event).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(reader.expect("note").await["data"], json!({"n": 1}));
    // Larger than what rustls and the socket hold together.
    let mut writer = pair.join(&node, "instance_id=writer").await;
    let large = "x".repeat(1_000_000);
    writer.publish(json!({"text": large})).await;
    assert_eq!(reader.expect("note").await["data"]["text"], json!(large));
    reader.publish(json!({"text": "short"})).await;
    assert_eq!(writer.expect("note").await["data"]["text"], "short");
    let history = pair.send(&node, "GET", "/v1/tenants/t/events?after=earliest", "").await.json();
    assert_eq!(history["events"].as_array().map(Vec::len), Some(3));
    let answer = pair.send(&node, "GET", "/metrics", "").await;
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    let metrics = answer.text();
    assert!(metrics.contains("continuum_connections 2\n"), "{metrics}");
    let mut stream = pair.connect(&node).await;
    stream.write_all(b"GET /v1/tenants/t/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("the node reads");
    let mut text = String::new();
    while !text.contains("event: caught_up") {
        let mut bytes = [0; 4096];
        let count = within("the stream goes on", stream.read(&mut bytes)).await.expect("a stream");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    // A farewell comes from both sides.
    writer.0.close(None).await.expect("the node reads");
    while writer.next().await.is_some() {}
    assert_eq!(reader.expect("instance_left").await["instance_id"], "writer");
}

#[tokio::test]
async fn a_reader_that_pauses_under_tls_misses_nothing_and_one_that_stops_is_cut() {
    let pair = Pair::new();
    let settings = [("limits.stall_timeout", "2s"), ("limits.outbox_bytes", "100000"), ("server.send_buffer", "32768")];
    let node = pair.node(&settings).await;
    let (mut slow, mut stopped) =
        (pair.join(&node, "instance_id=slow").await, pair.join(&node, "instance_id=stopped").await);
    let mut writer = pair.join(&node, "instance_id=writer&types=none").await;
    let text = "x".repeat(200_000);
    let writing = async {
        for number in 0..60 {
            writer.publish(json!({"number": number, "text": text})).await;
        }
    };
    let reading = async {
        for number in 0..60 {
            assert_eq!(slow.expect("note").await["data"]["number"], number);
            if number % 20 == 0 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    };
    tokio::join!(writing, reading);
    let cut = async || {
        let text = pair.send(&node, "GET", "/metrics", "").await.text();
        text.contains("continuum_closed_total{code=\"4010\"} 1\n").then_some(())
    };
    until("the one that stopped is cut", cut).await;
    while stopped.next().await.is_some() {}
    slow.publish(json!({})).await;
}

#[tokio::test]
async fn who_comes_without_tls_is_told_so_and_who_says_nothing_is_not_waited_for() {
    let pair = Pair::new();
    let node = pair.node(&[("server.handshake_timeout", "1s")]).await;
    let answer = http::get(node.address(), "/healthz").await;
    let problem = answer.problem(426, "upgrade_required");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("https://")), "{problem}");
    assert_eq!(answer.header("upgrade"), Some("TLS/1.2"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    for beginning in [&b""[..], b"\x16\x03\x01", b"\x16garbage that is no handshake", b"GET / HT"] {
        let mut socket = TcpStream::connect(node.address()).await.expect("the node accepts connections");
        socket.write_all(beginning).await.expect("the node reads");
        // An alert, an answer, or nothing; then the end.
        let _ = within("the end", socket.read_to_end(&mut Vec::new())).await;
    }
    assert_eq!(pair.send(&node, "GET", "/healthz", "").await.status, 200);
    let figures = pair.send(&node, "GET", "/metrics", "").await.text();
    // Those who said nothing good, and the one who came without.
    assert!(figures.contains("continuum_tls_failed_total 5"), "{figures}");
}

#[tokio::test]
async fn a_renewed_certificate_is_for_the_next_connection_and_a_bad_one_for_nobody() {
    let pair = Pair::new();
    let node = pair.node(&[]).await;
    let mut old = pair.join(&node, "instance_id=old").await;
    let shown = async || {
        let stream = pair.try_connect(&node).await.ok()?;
        stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().map(|first| first.to_vec()))
    };
    let renewed = pair.renew();
    assert_eq!(until("the new certificate is served", shown).await, renewed);
    old.publish(json!({"still": "here"})).await;
    // A key that is of another certificate, and then no key at all.
    let good = fs::read(pair.key()).expect("it is there");
    let other = Pair::new();
    fs::copy(other.key(), pair.key()).expect("it can be written");
    node.logs("do not go together").await;
    assert_eq!(shown().await, Some(renewed.clone()));
    fs::write(pair.key(), "no key").expect("it can be written");
    node.logs("server.tls_key = ").await;
    assert_eq!(shown().await, Some(renewed));
    // What is mended is taken again, with whatever certificate lies there then.
    fs::write(pair.key(), good).expect("it can be written");
    let newest = pair.renew();
    until("the newest certificate is served", async || shown().await.filter(|shown| *shown == newest)).await;
    old.publish(json!({"still": "here"})).await;
}

#[tokio::test]
async fn a_node_without_a_good_pair_does_not_start() {
    let pair = Pair::new();
    fs::write(pair.certificate(), "no certificate").expect("it can be written");
    let settings = [("server.tls_certificate", pair.certificate()), ("server.tls_key", pair.key())];
    let settings = settings.map(|(key, value)| (key.to_owned(), value)).into_iter().collect();
    let data = TempDir::new().expect("a temporary directory can be made");
    let output = Node::command(&settings, data.path(), 0).output().expect("the node's binary can be started");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("server.tls_certificate = "), "{text}");
}

#[tokio::test]
async fn a_health_check_asks_under_tls_too_whatever_name_the_certificate_is_for() {
    let pair = Pair::new();
    let node = pair.node(&[]).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_continuum"));
    command.args(["health", "--port", &node.address().port().to_string()]);
    command.args(["--set", &format!("server.tls_certificate={}", pair.certificate())]);
    command.args(["--set", &format!("server.tls_key={}", pair.key())]);
    let asked = tokio::task::spawn_blocking(move || command.output().expect("the program runs"));
    let output = within("it is asked", asked).await.expect("no panic");
    assert!(output.status.success(), "{output:?}");
}

/// `continuum join`, with `hello` on its standard input.
async fn join_from_the_shell(node: &Node, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_continuum"));
    command
        .args(["join", "--instance", "shell", "--url"])
        .arg(format!("wss://localhost:{}", node.address().port()))
        .args(arguments)
        .env("SSL_CERT_FILE", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("the binary can be started");
        // It may have given up already.
        let _ = child.stdin.take().expect("piped").write_all(b"hello\n");
        child.wait_with_output().expect("it was started")
    });
    let output = within("the command ends", ended).await.expect("no panic");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_person_joins_under_tls_and_only_whom_they_trust() {
    let pair = Pair::new();
    let node = pair.node(&[]).await;
    let (joined, said) = join_from_the_shell(&node, &["--ca", &pair.certificate()]).await;
    assert!(joined, "{said}");
    let history = pair.send(&node, "GET", "/v1/tenants/default/events", "").await.json();
    assert_eq!(history["events"][0]["data"]["text"], "hello");
    let (joined, said) = join_from_the_shell(&node, &[]).await;
    assert!(!joined && said.contains("--ca FILE"), "{said}");
    let (joined, said) = join_from_the_shell(&node, &["--ca", &Pair::new().certificate()]).await;
    assert!(!joined && said.contains("not to be trusted"), "{said}");
    let (joined, said) = join_from_the_shell(&node, &["--ca", "/dev/null"]).await;
    assert!(!joined && said.contains("cannot use --ca"), "{said}");
}

/// Writes with `continuum mcp` and asks how that went until it says something. Gives what it says at its end.
async fn write_from_an_agent(node: &Node, ca: &str, until_it_says: &'static str) -> String {
    let dir = TempDir::new().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_continuum"));
    command
        .args(["mcp", "--instance", "agent", "--push-wait", "0s", "--flush", "0s", "--ca", ca, "--url"])
        .arg(format!("wss://localhost:{}", node.address().port()))
        .arg("--dir")
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let call = |arguments: Value| {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({"name": "manage_context", "arguments": arguments, "_meta": meta});
        format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
    };
    let write = call(json!({"action": "update", "level": "task", "context_id": "7", "data": {"n": 1}}));
    let ask = call(json!({"action": "status"}));
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("the binary can be started");
        let mut to = child.stdin.take().expect("piped");
        let mut from = BufReader::new(child.stdout.take().expect("piped")).lines();
        to.write_all(write.as_bytes()).expect("it reads");
        while !from.next().expect("it answers").expect("text").contains(until_it_says) {
            to.write_all(ask.as_bytes()).expect("it reads");
        }
        drop(to);
        let output = child.wait_with_output().expect("it was started");
        String::from_utf8_lossy(&output.stderr).into_owned()
    });
    within("the command ends", ended).await.expect("no panic")
}

#[tokio::test]
async fn an_agent_writes_under_tls_and_only_to_whom_it_trusts() {
    let pair = Pair::new();
    let node = pair.node(&[]).await;
    let said = write_from_an_agent(&node, &pair.certificate(), r#""pending":0"#).await;
    assert!(!said.contains("next time"), "{said}");
    let history = pair.send(&node, "GET", "/v1/tenants/default/events", "").await.json();
    assert_eq!(history["events"][0]["data"]["context"]["n"], 1, "{history}");
    let said = write_from_an_agent(&node, &Pair::new().certificate(), "not to be trusted").await;
    assert!(said.contains("next time: 1"), "{said}");
}
