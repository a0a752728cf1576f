//! What only a nats-server's monitoring tells: how often it flushes. Asked only if somebody says where.

use std::{net::ToSocketAddrs as _, time::Duration};

use serde_json::Value;
use tokio::time::timeout;

use super::super::page;
use crate::{config::Config, model::finding::Finding};

const NATS: &str = "nats";
/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// What an acknowledgement is worth when the power goes, and whether the logs fit.
pub async fn findings(monitoring: Option<&str>, config: &Config) -> Vec<Finding> {
    let Some(at) = monitoring else {
        let what = "sync_interval is not known: a server's --nats-monitoring address would tell";
        return vec![Finding::fine(NATS, what)];
    };
    match asked(at.trim_start_matches("http://").trim_end_matches('/')).await {
        Some(server) => {
            let mut findings = vec![flushes(&server, config.nats.replicas)];
            findings.extend(room(&server, config.log.retention_bytes));
            findings
        }
        None => vec![Finding::warning(
            NATS,
            format!("no monitoring answers at {at}"),
            "set `http: \"127.0.0.1:8222\"` in the server's configuration, or mend --nats-monitoring",
        )],
    }
}

/// A server refuses to make a stream that could grow beyond what it may store.
fn room(server: &Value, wanted: u64) -> Option<Finding> {
    let most = server["max_storage"].as_u64()?;
    let (most_mib, wanted_mib) = (most >> 20, wanted >> 20);
    (most < wanted).then(|| {
        Finding::wrong(
            NATS,
            format!("the server stores at most {most_mib} MiB, and log.retention_bytes allows {wanted_mib} MiB"),
            "raise max_file_store of the server, or lower log.retention_bytes",
        )
    })
}

async fn asked(at: &str) -> Option<Value> {
    let address = at.to_socket_addrs().ok()?.next()?;
    let page = timeout(ANSWER, page::get(address, "/jsz?config=true")).await.ok()?.ok()?;
    let answer: Value = serde_json::from_str(&page.body).ok()?;
    answer.get("config").cloned()
}

fn flushes(config: &Value, replicas: u16) -> Finding {
    if config["sync_always"] == true {
        return Finding::fine(NATS, "sync_interval is always: what is acknowledged survives a power cut");
    }
    let nanos = config["sync_interval"].as_u64().unwrap_or_default();
    let interval = humantime::format_duration(Duration::from_nanos(nanos));
    if replicas == 1 {
        let what = format!("sync_interval is {interval}: a power cut takes what was acknowledged since the last flush");
        return Finding::warning(NATS, what, "add `sync_interval: always` to jetstream { … } of the server");
    }
    let what = format!("sync_interval is {interval}: an acknowledgement means that a majority has it in memory");
    Finding::fine(NATS, what)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::finding::Verdict;

    #[test]
    fn one_copy_without_a_flush_is_told_of() {
        let rarely = json!({"sync_interval": 120_000_000_000_u64});
        assert_eq!(flushes(&rarely, 1).verdict, Verdict::Warning);
        assert!(flushes(&rarely, 1).what.contains("2m"));
        assert_eq!(flushes(&rarely, 3).verdict, Verdict::Fine);
        assert_eq!(flushes(&json!({"sync_always": true}), 1).verdict, Verdict::Fine);
    }

    #[test]
    fn a_log_that_does_not_fit_is_wrong() {
        let server = json!({"max_storage": 1_000_000_000});
        assert_eq!(room(&server, 10 << 30).map(|finding| finding.verdict), Some(Verdict::Wrong));
        assert_eq!(room(&server, 100 << 20), None);
    }
}
