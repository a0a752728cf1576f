//! `continuum doctor`: every wrong thing is told with its mend and makes the exit code 1; where all is well it is 0.

use std::{net::TcpListener, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    continuum, ended,
    nats_support::{Admin, NatsCluster, NatsConfig, NatsServer},
    roomy,
    support::{
        Node, Port,
        rules::{Rules, nowhere},
    },
};

/// What the doctor said.
struct Report {
    code: Option<i32>,
    said: Value,
}

impl Report {
    /// Exactly one finding has this verdict and holds this text; returns it with its mend.
    fn one(&self, verdict: &str, part: &str) -> (String, String) {
        let has = |finding: &&Value| finding["verdict"] == verdict && text(&finding["what"]).contains(part);
        let found: Vec<_> = self.findings().iter().filter(has).collect();
        assert_eq!(found.len(), 1, "{verdict} {part:?} in {:#}", self.said);
        (text(&found[0]["what"]), text(&found[0]["mend"]))
    }

    /// One wrong thing with this text and this mend, and the exit code for it.
    fn is_wrong(&self, part: &str, mend: &str) {
        assert!(self.one("wrong", part).1.contains(mend), "{mend:?} in {:#}", self.said);
        assert_eq!(self.code, Some(1));
        assert!(self.said["wrong"].as_u64() >= Some(1));
    }

    fn nothing_is_wrong(&self) {
        assert_eq!((self.code, &self.said["wrong"]), (Some(0), &json!(0)), "{:#}", self.said);
    }

    fn findings(&self) -> &Vec<Value> {
        self.said["findings"].as_array().expect("findings")
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

async fn doctor(data: &Path, settings: &[(&str, &str)], flags: &[&str]) -> Report {
    let mut command = continuum(&["doctor", "--json", "--set", "server.port=0", "--data-dir"]);
    command.arg(data).args(flags);
    for (key, value) in settings {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    let output = ended(command).await;
    let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    Report { code: output.status.code(), said }
}

fn on<'a>(url: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [("backbone.kind", "nats"), ("nats.urls", url)].iter().chain(more).copied().collect()
}

fn directory() -> TempDir {
    TempDir::new().expect("a temporary directory can be made")
}

#[tokio::test]
async fn all_is_well_with_an_embedded_log_before_and_while_a_node_runs() {
    let data = directory();
    let report = doctor(&data.path().join("not/yet"), &[], &[]).await;
    report.nothing_is_wrong();
    report.one("ok", "is not there yet and can be made");
    assert_eq!(std::fs::read_dir(data.path()).expect("it is there").count(), 0, "nothing was left behind");

    let node = Node::start(&[]).await;
    let port = node.address().port().to_string();
    let report = doctor(node.data(), &[], &["--port", &port]).await;
    report.nothing_is_wrong();
    report.one("ok", "a node answers at 127.0.0.1");
    report.one("ok", "a node has the log");
}

#[tokio::test]
async fn for_people_it_prints_one_line_a_finding() {
    let data = directory();
    let mut command = continuum(&["doctor", "--port", "0", "--set", "log.retention_bytes=1000000", "--data-dir"]);
    command.arg(data.path());
    let output = ended(command).await;
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{said}");
    let (findings, end) = said.split_once("\n\n").expect("a blank line before the end");
    assert!(findings.lines().all(|line| line.starts_with("ok       ")), "{said}");
    assert_eq!(end.trim_end(), "nothing is wrong, 0 to be warned of");
}

#[tokio::test]
async fn rules_that_do_not_answer_are_told() {
    let data = directory();
    let rules = Rules::refusing(&[]).await;
    let url = rules.url();
    let report = doctor(data.path(), &[("auth.hook.url", &url)], &[]).await;
    report.nothing_is_wrong();
    report.one("ok", "/rules answers");
    assert_eq!(rules.asked()[0].question, json!({"what": "check"}));
    let nothing = nowhere().await;
    doctor(data.path(), &[("auth.hook.url", &nothing)], &[]).await.is_wrong("does not answer", "auth.hook.url");
    let open = "http://example.org/rules";
    doctor(data.path(), &[("auth.hook.url", open)], &[]).await.is_wrong("must begin with https://", "auth.hook.url");
}

#[tokio::test]
async fn what_is_wrong_with_this_machine_is_told() {
    // Not even root makes files there.
    let report = doctor(Path::new("/proc/continuum"), &[], &[]).await;
    report.is_wrong("/proc cannot be written", "data_dir");

    let stranger = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = stranger.local_addr().expect("bound").port().to_string();
    let answers = std::thread::spawn(move || drop(stranger.accept()));
    let data = directory();
    doctor(data.path(), &[], &["--port", &port]).await.is_wrong("no node answers there", "server.port");
    answers.join().expect("no panic");

    let report = doctor(data.path(), &[("server.prot", "1")], &[]).await;
    report.is_wrong("server.prot", "nothing else");
}

#[tokio::test]
async fn all_is_well_on_nats_and_nothing_is_changed() {
    let server = NatsServer::start_with(roomy().sync_always()).await;
    let (url, admin) = (server.url(), Admin::connect(&server.url()).await);
    let data = directory();
    let monitoring = server.monitoring().to_string();
    let flags = ["--nats-monitoring", &monitoring];
    let report = doctor(data.path(), &on(&url, &[]), &flags).await;
    report.nothing_is_wrong();
    report.one("ok", "SYNC_LOG_0 is not there yet");
    report.one("ok", "sync_interval is always");
    report.one("ok", "all are allowed");
    assert_eq!(admin.account_info().await["streams"], 0, "no stream was made");

    let node = Node::start(&on(&url, &[])).await;
    let mut client = node.join("default", "a").await;
    client.publish("noted", json!({})).await;
    let before = admin.stream_info("SYNC_LOG_0").await.expect("made")["state"].clone();
    let port = node.address().port().to_string();
    let report = doctor(node.data(), &on(&url, &[]), &["--port", &port]).await;
    report.nothing_is_wrong();
    for seen in
        ["SYNC_LOG_0 is as configured: 1 records", "SYNC_STATE_0 is as", "SYNC_KEPT is as", "the server's clock"]
    {
        report.one("ok", seen);
    }
    report.one("ok", "a node has the journal");
    let after = admin.stream_info("SYNC_LOG_0").await.expect("it stands")["state"].clone();
    assert_eq!(before, after, "no record and no consumer came or went");
}

#[tokio::test]
async fn a_server_that_is_away_or_without_jetstream_is_told() {
    let data = directory();
    let server = NatsServer::start_with(NatsConfig::new().without_jetstream()).await;
    let url = server.url();
    let report = doctor(data.path(), &on(&url, &[]), &[]).await;
    report.is_wrong("without JetStream", "jetstream { store_dir");
    report.one("warning", "max_payload");
    server.stop().await;
    let report = doctor(data.path(), &on(&url, &[]), &[]).await;
    report.is_wrong("Connection refused", "start nats-server there");
}

#[tokio::test]
async fn a_stream_that_differs_is_told_with_both_sides() {
    let server = NatsServer::start_with(roomy()).await;
    let (url, admin) = (server.url(), Admin::connect(&server.url()).await);
    let data = directory();
    drop(Node::start(&on(&url, &[])).await);
    admin.update_stream("SYNC_LOG_0", |config| config["max_age"] = json!(3_600_000_000_000_u64)).await;
    let report = doctor(data.path(), &on(&url, &[]), &[]).await;
    let wanted = "SYNC_LOG_0: max_age is 3600000000000 and must be 2592000000000000";
    report.is_wrong(wanted, "nats stream edit SYNC_LOG_0");
    // The configuration may be what is meant to change.
    doctor(data.path(), &on(&url, &[("log.retention_age", "1h")]), &[]).await.nothing_is_wrong();

    let report = doctor(data.path(), &on(&url, &[("log.retention_age", "1h"), ("nats.replicas", "3")]), &[]).await;
    report.is_wrong("nats.replicas is 3 and the server is in no cluster", "nats.replicas = 1");
    report.is_wrong("SYNC_KEPT: num_replicas is 1 and must be 3", "nats stream edit SYNC_KEPT");

    admin.delete_stream("SYNC_STATE_0").await;
    admin.delete_stream("SYNC_LOG_0").await;
    let bare = json!({"name": "SYNC_LOG_0", "subjects": ["sync.log.0.>"], "storage": "memory", "num_replicas": 1});
    admin.create_stream(bare).await;
    let report = doctor(data.path(), &on(&url, &[]), &[]).await;
    report.is_wrong("SYNC_LOG_0: storage is \"memory\" and must be \"file\"", "nats stream edit");
    report.is_wrong("SYNC_LOG_0 has no epoch", "--metadata sync_epoch=");
}

#[tokio::test]
async fn a_user_without_permissions_is_told_which() {
    let permissions = r#"authorization { users: [
        { user: admin, password: p },
        { user: node, password: p, permissions: {
            publish: { allow: ["sync.>", "$JS.API.INFO", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*"] }
            subscribe: { allow: ["_INBOX_sync.>", "sync.signal.*"] }
        } }
    ] }"#;
    let server = NatsServer::start_with(roomy().text(permissions)).await;
    let data = directory();
    let url = format!("nats://node:p@{}", server.address());
    let report = doctor(data.path(), &on(&url, &[]), &[]).await;
    for forbidden in
        ["STREAM.CREATE.SYNC_LOG_0", "STREAM.CREATE.SYNC_KEPT", "DIRECT.GET.SYNC_STATE_0", "listening to sync.nodes"]
    {
        report.is_wrong(
            &format!("{forbidden}: NATS says: Permissions Violation"),
            "permissions that nats/README.md lists",
        );
    }
    report.is_wrong("CONSUMER.CREATE.SYNC_LOG_0", "permissions");
    report.one("ok", "a signal on sync.signal.doctor-");
    assert!(!report.said.to_string().contains("node:p"), "no password is printed");

    let url = format!("nats://node:wrong@{}", server.address());
    doctor(data.path(), &on(&url, &[]), &[]).await.is_wrong("authorization violation", "the user in nats.urls");
    let url = format!("nats://admin:p@{}", server.address());
    doctor(data.path(), &on(&url, &[]), &[]).await.nothing_is_wrong();
}

#[tokio::test]
async fn what_waits_in_the_journal_of_a_node_that_is_gone_is_counted_and_stays() {
    let server = NatsServer::start_with(roomy()).await;
    let url = server.url();
    let mut node = Node::start(&on(&url, &[])).await;
    let mut client = node.join("default", "a").await;
    server.stop().await;
    for _ in 0..3 {
        client.send(json!({"event_type": "noted", "data": {}})).await;
    }
    for _ in 0..3 {
        client.expect("queued").await;
    }
    node.kill9().await;
    server.start_again().await;
    for _ in 0..2 {
        let report = doctor(node.data(), &on(&url, &[]), &[]).await;
        report.nothing_is_wrong();
        let (_, mend) = report.one("warning", "3 publishes wait for the log, the oldest since");
        assert!(mend.contains("start the node"), "{mend}");
    }
    node.restart(Port::New).await;
    node.until_metric("continuum_journal_entries", |entries| entries == 0.0).await;
    assert_eq!(node.metric("continuum_journal_drained_total").await, 3.0, "the look took nothing away");
}

#[tokio::test]
async fn a_cluster_is_looked_at_server_by_server_and_copy_by_copy() {
    let cluster = NatsCluster::start_with(roomy()).await;
    let (urls, data) = (cluster.urls(), directory());
    let settings = [("nats.replicas", "3")];
    let node = Node::start(&on(&urls, &settings)).await;
    let report = doctor(data.path(), &on(&urls, &settings), &[]).await;
    report.nothing_is_wrong();
    report.one("ok", "3 servers of the cluster are known for 3 copies");
    let log = report.one("ok", "SYNC_LOG_0 is as configured").0;
    assert!(log.ends_with("with 2 more copies"), "{log}");
    let follower = cluster.follower_of("SYNC_LOG_0").await;
    cluster.kill(follower).await;
    let admin = Admin::connect(&cluster.urls()).await;
    // It is called current for as long as nothing is written, and shows itself by its silence only.
    let silent = |copy: &Value| copy["active"].as_u64() > Some(3_000_000_000);
    let away = |info: &Value| info["cluster"]["replicas"].as_array().is_some_and(|copies| copies.iter().any(silent));
    admin.until_stream("SYNC_LOG_0", "a copy is away", away).await;
    // It may have led the others.
    for stream in ["SYNC_STATE_0", "SYNC_KEPT"] {
        cluster.leader_of(stream).await;
    }
    // And the cluster itself, which answers for the account.
    admin.account_info().await;
    let report = doctor(data.path(), &on(&urls, &settings), &[]).await;
    report.nothing_is_wrong();
    report.one("warning", "cannot be reached, others can");
    report.one("warning", &format!("SYNC_LOG_0: its copy on n{follower} was last heard of"));
    drop(node);
}

#[tokio::test]
async fn a_certificate_is_looked_at_before_a_node_starts() {
    let data = directory();
    let (certificate, key) = (data.path().join("node.pem"), data.path().join("node.key"));
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (certificate, key) = (path(&certificate), path(&key));
    let settings = [("server.tls_certificate", certificate.as_str()), ("server.tls_key", key.as_str())];
    doctor(data.path(), &settings, &[]).await.is_wrong("server.tls_certificate = ", "PEM");
    let made = std::process::Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost".split(' '))
        .args(["-keyout", &key, "-out", &certificate])
        .output();
    assert!(made.as_ref().is_ok_and(|made| made.status.success()), "{made:?}");
    let report = doctor(data.path(), &settings, &[]).await;
    report.nothing_is_wrong();
    report.one("ok", "go together");
    let node = Node::start_unready(&settings).await;
    let port = node.address().port().to_string();
    doctor(node.data(), &settings, &["--port", &port]).await.one("ok", "under TLS");
}
