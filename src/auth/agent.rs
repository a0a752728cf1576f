//! The HTTP client for what is asked beside the node's own work: issuers' keys, and a node by its command line. Blocking.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustls::{
    crypto::ring,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject as _},
    },
};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsConfigBuilder};

/// What the system trusts, read once.
static ROOTS: LazyLock<Arc<Vec<Certificate<'static>>>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    Arc::new(found.certs.iter().map(|one| Certificate::from_der(one).to_owned()).collect())
});

/// A client that gives up after this, goes where it is sent and nowhere else, and leaves statuses to its user.
pub fn agent(patience: Duration) -> ureq::Agent {
    agent_of(patience, ROOTS.clone())
}

/// The same, which believes the certificates in a PEM file and no others.
///
/// # Errors
///
/// It cannot be read.
pub fn agent_believing(patience: Duration, file: &Path) -> Result<ureq::Agent, pem::Error> {
    let found: Result<Vec<CertificateDer<'_>>, _> = CertificateDer::pem_file_iter(file)?.collect();
    let roots = found?.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
    Ok(agent_of(patience, Arc::new(roots)))
}

/// The same, which believes any certificate: for a node that is asked at its own address whether it is ready, since its
/// certificate is for the name by which others know it.
pub fn agent_of_this_node(patience: Duration) -> ureq::Agent {
    agent_with(patience, TlsConfig::builder().disable_verification(true))
}

fn agent_of(patience: Duration, roots: Arc<Vec<Certificate<'static>>>) -> ureq::Agent {
    agent_with(patience, TlsConfig::builder().root_certs(RootCerts::Specific(roots)))
}

fn agent_with(patience: Duration, tls: TlsConfigBuilder) -> ureq::Agent {
    let tls = tls.unversioned_rustls_crypto_provider(Arc::new(ring::default_provider())).build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(patience))
        .max_redirects(0)
        .http_status_as_error(false)
        .build()
        .new_agent()
}
