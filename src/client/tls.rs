//! TLS on the client's side: whom to trust, and a connection that is either plain or secured.
//!
//! Must not know: what is said over it.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use super::connection::JoinError;

/// A connection, plain or secured.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Which certificates are believed.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// What the system trusts.
    pub fn system() -> Self {
        let mut roots = RootCertStore::empty();
        // One that cannot be read is one fewer to trust; a node that needs it will say so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::of(roots)
    }

    /// The certificates in a PEM file, and no others.
    ///
    /// # Errors
    ///
    /// It cannot be read or holds none.
    pub fn file(path: &Path) -> io::Result<Self> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
            let added = roots.add(certificate.map_err(|error| wrong(error.to_string()))?);
            added.map_err(|error| wrong(error.to_string()))?;
        }
        if roots.is_empty() { Err(wrong("it holds no certificate".to_owned())) } else { Ok(Self::of(roots)) }
    }

    fn of(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring does TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(config))
    }

    /// Secures a connection to a host of that name.
    pub(super) async fn secure(&self, socket: TcpStream, host: &str) -> Result<Stream, JoinError> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| JoinError::NotANode("its name is no host name"))?;
        match TlsConnector::from(self.0.clone()).connect(name, socket).await {
            Ok(stream) => Ok(Either::Right(Box::new(stream))),
            Err(error) => Err(explained(error, host)),
        }
    }
}

fn explained(error: io::Error, host: &str) -> JoinError {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => JoinError::Untrusted(format!(
            "the certificate of {host} is not to be trusted: {why}; if you trust who made it, say --ca FILE"
        )),
        Some(rustls::Error::InvalidMessage(_)) => JoinError::NotANode("it does not speak TLS; say ws://"),
        _ => JoinError::Unreachable { authority: host.to_owned(), cause: error },
    }
}
