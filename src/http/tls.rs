//! TLS at the door: the node's certificate, which may be renewed while it serves, and the handshake.
//!
//! Owns: reading the two files, and which pair the next connection gets. Must not know: what is said under TLS.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use actix_rt::net::TcpStream;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{strangers::Stranger, upgrade};
use crate::{
    actors::transport::Transport,
    config::{Server, watched},
    wire::{Code, Refusal},
};

/// The first byte of every TLS connection: a record of the handshake. No HTTP request begins with it.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Why a pair of files is no good.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Missing, unreadable, or not PEM.
    #[error("{name} = {path:?} cannot be used: {why}")]
    File {
        /// The configuration's key.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Each is good, but not with the other.
    #[error("server.tls_certificate and server.tls_key do not go together: {0}")]
    Pair(rustls::Error),
}

/// The pair that the node serves under TLS, and the settings that say where it lies.
#[derive(Debug)]
pub struct Certificate {
    server: Server,
    current: RwLock<Arc<ServerConfig>>,
}

impl Certificate {
    /// Reads the configured pair; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Names the file that is no good.
    pub fn load(server: &Server) -> Result<Option<Self>, CertificateError> {
        if server.tls_certificate.as_os_str().is_empty() {
            return Ok(None);
        }
        let current = RwLock::new(Arc::new(read(server)?));
        Ok(Some(Self { server: server.clone(), current }))
    }

    /// Takes a new pair as soon as the files have changed and fit together; the old one stays until then.
    pub(super) async fn watch(self: Arc<Self>) {
        let files = vec![self.server.tls_certificate.clone(), self.server.tls_key.clone()];
        watched::watch(move || files.clone(), move || self.renew()).await;
    }

    fn renew(&self) {
        match read(&self.server) {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!(certificate = %self.server.tls_certificate.display(), "serving a new certificate");
            }
            Err(error) => tracing::error!(%error, "the new certificate is no good; the old one stays"),
        }
    }

    /// Does the handshake.
    ///
    /// # Errors
    ///
    /// The other side does not speak TLS as we do, or not in time, or it has to go.
    pub(super) async fn accept(&self, socket: TcpStream, stranger: &Stranger) -> io::Result<Transport> {
        tokio::select! {
            handshake = timeout(self.server.handshake_timeout, self.handshake(socket)) => {
                handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            () = stranger.ends() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn handshake(&self, socket: TcpStream) -> io::Result<Transport> {
        let mut first = [0];
        if socket.peek(&mut first).await? == 1 && first != [HANDSHAKE_RECORD] {
            refuse(socket, &self.server).await;
            return Err(io::ErrorKind::InvalidData.into());
        }
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (socket, tls) = TlsAcceptor::from(current).accept(socket).await?.into_inner();
        Ok(Transport::secured(socket, tls))
    }
}

/// Tells somebody who came without TLS, in words that HTTP has.
async fn refuse(mut socket: TcpStream, server: &Server) {
    let refusal = Refusal::new(Code::UpgradeRequired, "this port speaks TLS: say https:// or wss://");
    let answer = upgrade::answer(&refusal, server, "Upgrade: TLS/1.2\r\nConnection: Upgrade, close\r\n");
    if socket.write_all(&answer).await.is_ok() && socket.shutdown().await.is_ok() {
        // A socket that is closed with something unread resets the connection, and the answer with it.
        let mut rest = [0; 1024];
        while socket.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    }
}

fn read(server: &Server) -> Result<ServerConfig, CertificateError> {
    let (certificate, key) = (&server.tls_certificate, &server.tls_key);
    let of = |name, path: &Path, why: String| CertificateError::File { name, path: path.to_owned(), why };
    let of_certificate = |why: String| of("server.tls_certificate", certificate, why);
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| of_certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(of_certificate("it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| of("server.tls_key", key, error.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(CertificateError::Pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let mut config = config.map_err(CertificateError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
