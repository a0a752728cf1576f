//! The rolling update at length, on release binaries: `scripts/roll`.
//!
//! A thousand clients, three nodes of an old build on three NATS servers; each node is replaced by the new build in the manifests'
//! own time. Ends with a report, or with what was broken.

#[path = "../tests/nats_support/mod.rs"]
mod nats_support;
#[path = "../tests/cluster/roll/mod.rs"]
mod roll;
#[path = "../tests/node/support/mod.rs"]
mod support;

use std::{path::PathBuf, time::Duration};

use roll::{Numbers, Plan};
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};

/// No run takes longer.
const LIMIT: Duration = Duration::from_secs(360);

/// What the manifests say, as `k8s/checks/rolling.py` prints it.
#[derive(Deserialize)]
struct Manifests {
    config: String,
    environment: String,
    numbers: Numbers,
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [manifests, old, new] = &arguments[..] else {
        panic!("usage: roll MANIFESTS OLD NEW; scripts/roll says it all")
    };
    let Manifests { config, environment, numbers } = serde_json::from_str(manifests).expect("what rolling.py prints");
    let builds =
        [old, new].map(|path| PathBuf::from(path).canonicalize().unwrap_or_else(|error| panic!("{path}: {error}")));
    let [old, new] = builds.clone();
    let [first, second] = builds.map(|path| std::fs::read(path).expect("a build can be read"));
    assert!(first != second, "OLD and NEW are the same build: nothing would be updated");
    drop((first, second));
    let plan = Plan {
        numbers,
        config: Some((config, environment)),
        settings: Vec::new(),
        old,
        new,
        clients: 1_000,
        tenants: 20,
        publishers: 5,
        pace: Duration::from_secs(1),
        calm: Duration::from_secs(20),
        tell: |what| println!("  {what}"),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut told = signal(SignalKind::terminate()).expect("signals can be heard");
        // What does not end by itself is dropped, and with it every process that it started.
        tokio::select! {
            report = roll::run(plan) => println!("{report}"),
            () = tokio::time::sleep(LIMIT) => panic!("not done after {LIMIT:?}"),
            _ = told.recv() => panic!("told to stop"),
        }
    });
}
