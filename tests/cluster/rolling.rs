//! A small rolling update: what `scripts/roll` does at length.

use std::time::Duration;

use crate::roll::{self, Numbers, Plan, Probe};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_loses_doubles_and_reorders_nothing_acknowledged() {
    let build = std::path::PathBuf::from(env!("CARGO_BIN_EXE_continuum"));
    let probe = |failures| Probe {
        path: "/readyz".to_owned(),
        period: Duration::from_millis(100),
        timeout: Duration::from_secs(5),
        failures,
    };
    let numbers = Numbers {
        nodes: 2,
        pre_stop: Duration::from_millis(500),
        grace: Duration::from_secs(20),
        min_ready: Duration::from_secs(1),
        startup: probe(300),
        readiness: probe(20),
    };
    let plan = Plan {
        numbers,
        config: None,
        settings: vec![("drain.spread", "1s".to_owned()), ("drain.timeout", "5s".to_owned())],
        old: build.clone(),
        new: build,
        clients: 50,
        tenants: 5,
        publishers: 2,
        pace: Duration::from_secs(1),
        calm: Duration::from_secs(1),
        tell: |_| {},
    };
    let report = roll::run(plan).await;
    assert_eq!(report.replaced.len(), 2, "\n{report}");
}
