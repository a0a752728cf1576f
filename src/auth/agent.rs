//! The HTTP client for what is asked beside the node's own work: issuers' keys, and a node by its command line. Blocking.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustls::crypto::ring;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// What the system trusts, read once.
static ROOTS: LazyLock<Arc<Vec<Certificate<'static>>>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    Arc::new(found.certs.iter().map(|one| Certificate::from_der(one).to_owned()).collect())
});

/// A client that gives up after this, goes where it is sent and nowhere else, and leaves statuses to its user.
pub fn agent(patience: Duration) -> ureq::Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(ROOTS.clone()))
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(patience))
        .max_redirects(0)
        .http_status_as_error(false)
        .build()
        .new_agent()
}
