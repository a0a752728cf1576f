//! The commands of `nats/README.md`, each with what it sends to the servers and what must come back.
//!
//! Who runs the tests need not have the `nats` command: each row here does what it does. A row's request was read off a
//! server's trace while the command ran.

/// What a command does.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    /// Nothing that this page could get wrong: it is tried by the tests of the configurations, or stays on the machine.
    Local,
    /// A request to JetStream as the operator; each pointer into the answer leads to this.
    Asks { api: &'static str, body: &'static str, holds: &'static [(&'static str, &'static str)] },
    /// A request to all servers as the system account; each answers, and holds this.
    AsksServers { subject: &'static str, body: &'static str, holds: &'static [(&'static str, &'static str)] },
    /// Listens to a subject; what is published to that other one comes.
    Watches { subject: &'static str, published: &'static str },
    /// Reads a stream to its end through a consumer with these settings; these positions come.
    Reads { stream: &'static str, consumer: &'static str, positions: &'static [u64] },
    /// Changes one setting, at a pointer into the stream's configuration.
    Sets { stream: &'static str, at: &'static str, to: Setting },
    /// Makes a stream's leader hand over.
    StepsDown(&'static str),
    /// Takes a stream out in pieces.
    BacksUp(&'static str),
    /// Removes a stream.
    Removes(&'static str),
    /// Makes a stream from what was taken out of it.
    Restores(&'static str),
}

/// A setting's new value.
#[derive(Clone, Copy, Debug)]
pub enum Setting {
    /// This JSON.
    To(&'static str),
    /// As `openssl rand -hex 8` makes it.
    Random,
}

const CONFIG: &[(&str, &str)] = &[("/config/name", "\"SYNC_LOG_0\""), ("/config/num_replicas", "3")];

/// The commands in the order of the page; what they find is what `guide.rs` put there, and what commands before them did.
pub const COMMANDS: &[(&str, Does)] = &[
    ("nats/cluster/make-secrets.sh", Does::Local),
    ("cd nats/cluster", Does::Local),
    ("nats-server -c n1.conf & nats-server -c n2.conf & nats-server -c n3.conf &", Does::Local),
    ("curl -fsS http://127.0.0.1:8222/healthz", Does::Local),
    (
        "nats context save sync --server tls://127.0.0.1:4222,tls://127.0.0.1:4223,tls://127.0.0.1:4224 \
         --tlsca $PWD/secrets/ca.pem --nkey $PWD/secrets/operator.nk --select",
        Does::Local,
    ),
    (
        "nats context save system --server tls://127.0.0.1:4222,tls://127.0.0.1:4223,tls://127.0.0.1:4224 \
         --tlsca $PWD/secrets/ca.pem --nkey $PWD/secrets/system.nk",
        Does::Local,
    ),
    ("nats stream ls", Does::Asks { api: "STREAM.LIST", body: r#"{"offset":0}"#, holds: &[("/total", "3")] }),
    (
        "nats stream report",
        Does::Asks { api: "STREAM.LIST", body: r#"{"offset":0}"#, holds: &[("/streams/2/state/consumer_count", "0")] },
    ),
    ("nats stream info SYNC_LOG_0", Does::Asks { api: "STREAM.INFO.SYNC_LOG_0", body: "", holds: CONFIG }),
    ("nats account info", Does::Asks { api: "INFO", body: "", holds: &[("/streams", "3")] }),
    (
        "nats stream subjects SYNC_LOG_0 'sync.log.0.acme.>'",
        Does::Asks {
            api: "STREAM.INFO.SYNC_LOG_0",
            body: r#"{"offset":0,"subjects_filter":"sync.log.0.acme.>"}"#,
            holds: &[(
                "/state/subjects",
                r#"{"sync.log.0.acme.event.memory=2Ecreated":1,"sync.log.0.acme.entity.memory.42":2}"#,
            )],
        },
    ),
    (
        "nats stream subjects SYNC_STATE_0 'sync.log.0.acme.entity.>'",
        Does::Asks {
            api: "STREAM.INFO.SYNC_STATE_0",
            body: r#"{"offset":0,"subjects_filter":"sync.log.0.acme.entity.>"}"#,
            holds: &[("/state/subjects", r#"{"sync.log.0.acme.entity.memory.42":1}"#)],
        },
    ),
    (
        "nats sub 'sync.log.*.acme.>'",
        Does::Watches { subject: "sync.log.*.acme.>", published: "sync.log.0.acme.event.memory=2Ecreated" },
    ),
    ("nats sub sync.signal.acme", Does::Watches { subject: "sync.signal.acme", published: "sync.signal.acme" }),
    ("nats sub sync.nodes", Does::Watches { subject: "sync.nodes", published: "sync.nodes" }),
    (
        "nats sub --stream SYNC_LOG_0 'sync.log.0.acme.>' --since 1h --terminate-at-end",
        Does::Reads {
            stream: "SYNC_LOG_0",
            consumer: r#"{"deliver_policy":"by_start_time","filter_subject":"sync.log.0.acme.>"}"#,
            positions: &[1, 2, 3, 5],
        },
    ),
    (
        "nats sub --stream SYNC_LOG_0 sync.log.0.acme.entity.memory.42 --all --terminate-at-end",
        Does::Reads {
            stream: "SYNC_LOG_0",
            consumer: r#"{"deliver_policy":"all","filter_subject":"sync.log.0.acme.entity.memory.42"}"#,
            positions: &[2, 3],
        },
    ),
    (
        "nats stream get SYNC_STATE_0 --last-for sync.log.0.acme.entity.memory.42",
        Does::Asks {
            api: "STREAM.MSG.GET.SYNC_STATE_0",
            body: r#"{"last_by_subj":"sync.log.0.acme.entity.memory.42"}"#,
            // {"n":3}
            holds: &[("/message/data", "\"eyJuIjozfQ==\"")],
        },
    ),
    (
        "nats stream get SYNC_LOG_0 2",
        Does::Asks {
            api: "STREAM.MSG.GET.SYNC_LOG_0",
            body: r#"{"seq":2}"#,
            holds: &[("/message/subject", "\"sync.log.0.acme.entity.memory.42\"")],
        },
    ),
    (
        "nats consumer report SYNC_LOG_0",
        Does::Asks {
            api: "CONSUMER.LIST.SYNC_LOG_0",
            body: r#"{"offset":0}"#,
            holds: &[("/total", "1"), ("/consumers/0/name", "\"node-1\""), ("/consumers/0/num_pending", "3")],
        },
    ),
    (
        "nats sub --stream SYNC_KEPT 'sync.cursor.acme.*' --last-per-subject --terminate-at-end",
        Does::Reads {
            stream: "SYNC_KEPT",
            consumer: r#"{"deliver_policy":"last_per_subject","filter_subject":"sync.cursor.acme.*"}"#,
            positions: &[1],
        },
    ),
    (
        "nats --context system server list",
        Does::AsksServers {
            subject: "$SYS.REQ.SERVER.PING",
            body: "{}",
            holds: &[("/server/cluster", "\"sync\""), ("/server/jetstream", "true")],
        },
    ),
    (
        "nats --context system server report jetstream",
        Does::AsksServers {
            subject: "$SYS.REQ.SERVER.PING.JSZ",
            body: "{}",
            holds: &[("/data/config/sync_always", "true"), ("/data/streams", "3")],
        },
    ),
    (
        "nats --context system server check meta --expect 3 --lag-critical 100 --seen-critical 10s",
        Does::AsksServers {
            subject: "$SYS.REQ.SERVER.PING.JSZ",
            body: r#"{"leader_only":true}"#,
            holds: &[("/data/meta_cluster/cluster_size", "3")],
        },
    ),
    (
        "nats server check stream --stream SYNC_STATE_0 --lag-critical 1000 --seen-critical 60s --peer-expect 3 \
         --peer-lag-critical 1000 --peer-seen-critical 10s",
        Does::Asks {
            api: "STREAM.INFO.SYNC_STATE_0",
            body: "",
            holds: &[("/sources/0/lag", "0"), ("/cluster/replicas/1/current", "true")],
        },
    ),
    ("nats stream cluster step-down SYNC_LOG_0", Does::StepsDown("SYNC_LOG_0")),
    ("nats stream backup SYNC_STATE_0 backup/SYNC_STATE_0", Does::BacksUp("SYNC_STATE_0")),
    ("nats stream backup SYNC_KEPT backup/SYNC_KEPT", Does::BacksUp("SYNC_KEPT")),
    ("nats stream backup SYNC_LOG_0 backup/SYNC_LOG_0", Does::BacksUp("SYNC_LOG_0")),
    ("nats stream rm -f SYNC_STATE_0", Does::Removes("SYNC_STATE_0")),
    ("nats stream rm -f SYNC_KEPT", Does::Removes("SYNC_KEPT")),
    ("nats stream rm -f SYNC_LOG_0", Does::Removes("SYNC_LOG_0")),
    ("nats stream restore backup/SYNC_LOG_0", Does::Restores("SYNC_LOG_0")),
    ("nats stream restore backup/SYNC_STATE_0", Does::Restores("SYNC_STATE_0")),
    ("nats stream restore backup/SYNC_KEPT", Does::Restores("SYNC_KEPT")),
    (
        "nats stream edit SYNC_LOG_0 --metadata sync_epoch=$(openssl rand -hex 8) --force",
        Does::Sets { stream: "SYNC_LOG_0", at: "/metadata/sync_epoch", to: Setting::Random },
    ),
    (
        "nats stream edit SYNC_LOG_0 --max-age 60d --dry-run",
        Does::Asks { api: "STREAM.INFO.SYNC_LOG_0", body: "", holds: &[("/config/max_age", "2592000000000000")] },
    ),
    (
        "nats stream edit SYNC_LOG_0 --max-age 60d --force",
        Does::Sets { stream: "SYNC_LOG_0", at: "/max_age", to: Setting::To("5184000000000000") },
    ),
    (
        "nats stream edit SYNC_LOG_0 --replicas 3 --force",
        Does::Sets { stream: "SYNC_LOG_0", at: "/num_replicas", to: Setting::To("3") },
    ),
];

/// The lines of a page's fenced blocks of one language, in order.
pub fn fenced<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let mut inside = None;
    let mut lines = Vec::new();
    for line in page.lines().map(str::trim) {
        match line.strip_prefix("```") {
            Some(begins) => inside = if inside.is_none() { Some(begins) } else { None },
            None if inside == Some(language) && !line.is_empty() => lines.push(line),
            None => {}
        }
    }
    lines
}
