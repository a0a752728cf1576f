//! The cluster of `nats/cluster`, as an operator gets it: its own files, with secrets made by its own script.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use async_nats::ConnectOptions;
use tempfile::TempDir;

use super::{NatsCluster, NatsConfig, NatsServer, admin::Admin, config, port::Port};

/// What the prefix for answers must be, for the nodes' rights to cover it.
pub const INBOX_PREFIX: &str = "_INBOX_sync";

/// Three servers with TLS, accounts and nkeys, healthy. Only addresses and paths differ from the files in `nats/cluster`.
pub struct SecuredCluster {
    cluster: NatsCluster,
    secrets: PathBuf,
    _dir: TempDir,
}

impl SecuredCluster {
    /// Makes secrets and starts the servers.
    pub async fn start() -> Self {
        let dir = TempDir::new().expect("a temporary directory can be made");
        let secrets = dir.path().join("secrets");
        make_secrets(&secrets, &[]);
        let routes: Vec<Port> = (0..3).map(|_| Port::reserve()).collect();
        let servers = routes.iter().enumerate().map(|(index, route)| {
            let (server, name) = (index + 1, format!("n{}", index + 1));
            let text = file(&format!("cluster/{name}.conf"));
            let text = exchange(&text, &format!("127.0.0.1:{}", 4221 + server), config::CLIENTS);
            let text = exchange(&text, &format!("127.0.0.1:{}", 8221 + server), config::MONITORING);
            let text = exchange(&text, &format!("127.0.0.1:{}", 6221 + server), &route.address().to_string());
            let text = exchange(&text, &format!("data/{name}"), config::STORE);
            let server = NatsServer::prepare(&name, NatsConfig::whole(&text));
            fill(server.home(), &secrets, &routes);
            server
        });
        let servers = servers.collect();
        Self { cluster: NatsCluster::of(servers, routes).await, secrets, _dir: dir }
    }

    /// The servers.
    pub fn cluster(&self) -> &NatsCluster {
        &self.cluster
    }

    /// The addresses of all, with commas between.
    pub fn urls(&self) -> String {
        self.cluster.urls()
    }

    /// One of the files that the script made: `ca.pem`, `node.nk`.
    pub fn secret(&self, name: &str) -> PathBuf {
        self.secrets.join(name)
    }

    /// An nkey's seed: `node`, `operator` or `system`.
    pub fn seed(&self, who: &str) -> String {
        let seed = fs::read_to_string(self.secret(&format!("{who}.nk"))).expect("the script made it");
        seed.trim().to_owned()
    }

    /// How somebody connects: `node`, `operator` or `system`.
    pub fn options(&self, who: &str) -> ConnectOptions {
        let options = ConnectOptions::with_nkey(self.seed(who)).add_root_certificates(self.secret("ca.pem"));
        if who == "node" { options.custom_inbox_prefix(INBOX_PREFIX) } else { options }
    }

    /// Connects as somebody.
    pub async fn connect(&self, who: &str) -> Admin {
        self.connect_with(who, self.options(who)).await
    }

    /// The same with options that a test has changed.
    pub async fn connect_with(&self, who: &str, options: ConnectOptions) -> Admin {
        let admin = Admin::connect_with(options, &self.urls()).await;
        if who == "node" { admin.with_few_rights() } else { admin }
    }
}

/// Puts the files that all servers share into the directory of one.
fn fill(home: &Path, secrets: &Path, routes: &[Port]) {
    for name in ["common.conf", "jetstream.conf"] {
        fs::write(home.join(name), file(&format!("cluster/{name}"))).expect("a directory of ours");
    }
    let mut text = file("cluster/routes.conf");
    for (port, route) in (6222..).zip(routes) {
        text = exchange(&text, &format!("127.0.0.1:{port}"), &route.address().to_string());
    }
    fs::write(home.join("routes.conf"), text).expect("a directory of ours");
    fs::create_dir(home.join("secrets")).expect("a directory of ours");
    for entry in fs::read_dir(secrets).expect("the script made it") {
        let made = entry.expect("the script made it").path();
        let name = made.file_name().expect("files have names");
        fs::copy(&made, home.join("secrets").join(name)).expect("a directory of ours");
    }
}

/// Runs `nats/cluster/make-secrets.sh` for a directory that is not there yet.
pub fn make_secrets(directory: &Path, servers: &[&str]) {
    let script = folder().join("cluster/make-secrets.sh");
    let made = Command::new(script).arg(directory).args(servers).output().expect("bash is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The folder `nats`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("nats")
}

/// A file of the folder `nats`.
pub fn file(name: &str) -> String {
    let path = folder().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text with one thing, which must be in it once, exchanged for another.
pub fn exchange(text: &str, old: &str, new: &str) -> String {
    assert_eq!(text.matches(old).count(), 1, "{old} in {text}");
    text.replace(old, new)
}
