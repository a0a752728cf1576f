//! What a test says of a server's configuration.

use std::{fmt::Write as _, net::SocketAddr, path::Path};

/// What stands for its addresses and its store in a [`NatsConfig::whole`] configuration.
pub(super) const CLIENTS: &str = "@clients@";
pub(super) const MONITORING: &str = "@monitoring@";
pub(super) const STORE: &str = "@store@";

/// Settings of a server beside its name, addresses and store. The default has JetStream with some room.
///
/// ```ignore
/// NatsServer::start_with(NatsConfig::new().sync_always().max_payload(4096)).await
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NatsConfig {
    jetstream: bool,
    sync_always: bool,
    max_store: String,
    max_payload: Option<u64>,
    text: String,
    is_whole: bool,
}

impl Default for NatsConfig {
    fn default() -> Self {
        Self {
            jetstream: true,
            sync_always: false,
            max_store: "1GB".to_owned(),
            max_payload: None,
            text: String::new(),
            is_whole: false,
        }
    }
}

impl NatsConfig {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// A configuration that says everything by itself, name included. `@clients@`, `@monitoring@` and `@store@` in it
    /// become the server's addresses and its store.
    pub fn whole(text: &str) -> Self {
        Self { text: text.to_owned(), is_whole: true, ..Self::default() }
    }

    /// `sync_interval: always`: everything is flushed before it is acknowledged.
    pub fn sync_always(mut self) -> Self {
        self.sync_always = true;
        self
    }

    /// No JetStream at all.
    pub fn without_jetstream(mut self) -> Self {
        self.jetstream = false;
        self
    }

    /// How much JetStream may store: `"8MB"`.
    pub fn max_store(mut self, size: &str) -> Self {
        size.clone_into(&mut self.max_store);
        self
    }

    /// The longest message in bytes.
    pub fn max_payload(mut self, bytes: u64) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// More configuration, in the server's own language: `authorization { … }`, `accounts { … }`. May be given repeatedly.
    pub fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self.text.push('\n');
        self
    }

    /// A user with a password, who may do everything.
    pub fn user(self, name: &str, password: &str) -> Self {
        self.text(&format!("authorization {{ users: [{{ user: {name:?}, password: {password:?} }}] }}"))
    }

    /// TLS for clients, with files in PEM.
    pub fn tls(self, certificate: &Path, key: &Path) -> Self {
        self.text(&format!("tls {{ cert_file: {:?}, key_file: {:?} }}", certificate, key))
    }

    /// As a file's contents.
    pub(super) fn render(&self, name: &str, clients: SocketAddr, monitoring: SocketAddr, store: &Path) -> String {
        if self.is_whole {
            let text = self.text.replace(CLIENTS, &clients.to_string());
            return text.replace(MONITORING, &monitoring.to_string()).replace(STORE, &store.display().to_string());
        }
        let mut text = format!("server_name: {name:?}\nlisten: \"{clients}\"\nhttp: \"{monitoring}\"\n");
        // Writing to a String does not fail, here and below.
        if let Some(bytes) = self.max_payload {
            let _ = writeln!(text, "max_payload: {bytes}");
        }
        if self.jetstream {
            let sync = if self.sync_always { "sync_interval: always" } else { "" };
            let (store, size) = (store.display(), &self.max_store);
            let _ = writeln!(
                text,
                "jetstream {{\n store_dir: \"{store}\"\n max_file_store: {size}\n max_memory_store: 256MB\n {sync}\n}}"
            );
        }
        text + &self.text
    }
}
