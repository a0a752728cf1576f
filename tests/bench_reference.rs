//! The bench is a measuring tool, so it is measured itself: against its own bare server, honest and lying.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

const CONTINUUM: &str = env!("CARGO_BIN_EXE_continuum");

struct Reference {
    child: Child,
    url: String,
}

impl Reference {
    fn start(faults: &[&str]) -> Self {
        let mut child = Command::new(CONTINUUM)
            .args(["bench", "reference-server", "--until-input-ends"])
            .args(faults)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("an output")).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ").expect("an address");
        Self { url: format!("ws://{address}"), child }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.child.kill().expect("the reference serves until it is ended");
        self.child.wait().expect("it can be waited for");
    }
}

fn bench(run: &str, url: &str, flags: &[&str]) -> Output {
    Command::new(CONTINUUM).args(["bench", run, "--url", url]).args(flags).output().expect("the program runs")
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn figure(report: &Value, key: &str) -> f64 {
    report["node"][key].as_f64().unwrap_or_else(|| panic!("no {key} in {report}"))
}

#[test]
fn every_delivery_of_an_honest_server_is_counted() {
    let server = Reference::start(&[]);
    for in_flight in ["1", "32"] {
        let flags = ["--members", "40", "--events", "50", "--in-flight", in_flight, "--json"];
        let output = bench("fanout", &server.url, &flags);
        let report = report(&output);
        assert!(output.status.success(), "{report}");
        assert_eq!(figure(&report, "delivered"), 2_000.0);
        assert_eq!((figure(&report, "lost"), figure(&report, "doubled")), (0.0, 0.0));
        assert!(figure(&report, "cpu_seconds_per_million") > 0.0);
        assert!(figure(&report, "latency_p99_ms") >= figure(&report, "latency_p50_ms"));
    }
}

#[test]
fn a_server_that_drops_is_caught() {
    let server = Reference::start(&["--drop-every", "1501", "--threads", "1"]);
    let output = bench("fanout", &server.url, &["--members", "40", "--events", "50", "--json"]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    // One, unless a busy machine let the server join two events into the write that it left out.
    assert!(figure(&report, "lost") >= 1.0, "{report}");
    assert_eq!(figure(&report, "lost") + figure(&report, "delivered"), 2_000.0);
    assert_eq!(report["passed"], Value::Bool(false));
}

#[test]
fn a_server_that_drops_the_very_last_delivery_is_caught() {
    let server = Reference::start(&["--drop-every", "20", "--threads", "1"]);
    let output = bench("fanout", &server.url, &["--members", "20", "--events", "1", "--json"]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!((figure(&report, "lost"), figure(&report, "delivered")), (1.0, 19.0));
}

#[test]
fn a_server_that_doubles_is_caught() {
    let server = Reference::start(&["--double-every", "777", "--threads", "1"]);
    let output = bench("fanout", &server.url, &["--members", "40", "--events", "50", "--json"]);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(figure(&report, "doubled") >= 1.0, "{report}");
    assert_eq!((figure(&report, "lost"), figure(&report, "delivered")), (0.0, 2_000.0));
}

#[test]
fn an_open_loop_with_several_publishers_counts_each_of_them() {
    let server = Reference::start(&[]);
    let flags = ["--members", "20", "--rate", "400", "--seconds", "1", "--publishers", "4", "--json"];
    let output = bench("overload", &server.url, &flags);
    let report = report(&output);
    assert!(output.status.success(), "{report}");
    assert_eq!(figure(&report, "delivered"), 8_000.0);
}

#[test]
fn a_relay_between_servers_that_know_nothing_of_each_other_is_caught() {
    let (near, far) = (Reference::start(&[]), Reference::start(&[]));
    let flags = ["--url", &far.url, "--rate", "100", "--seconds", "1", "--readers", "2", "--json"];
    let output = bench("relay", &near.url, &flags);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!((figure(&report, "lost"), figure(&report, "delivered")), (200.0, 200.0));
}

#[test]
fn the_reference_is_run_first_and_the_table_has_the_ratio() {
    let server = Reference::start(&[]);
    let output = bench("fanout", &server.url, &["--members", "10", "--events", "20", "--reference", "--rounds", "2"]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(table.lines().any(|line| line.split_whitespace().eq(["figure", "node", "reference", "ratio"])), "{table}");
}

#[test]
fn another_machine_is_refused_unless_it_is_meant() {
    let output = bench("idle", "ws://192.0.2.1:8420", &["--members", "1"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("--remote"), "{text}");
}
