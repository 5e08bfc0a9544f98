// SPDX-License-Identifier: Apache-2.0
//! TLS and mutual TLS of the port (C053-C055, P109).

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use tritongw_types::{Error, Result};

/// How connections are encrypted, and who may open one. All files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificate chain of the server, its own first (`--grpc-server-cert`).
    pub server_cert: Option<PathBuf>,
    /// Private key that belongs to it (`--grpc-server-key`).
    pub server_key: Option<PathBuf>,
    /// Certificates of those who may vouch for clients (`--grpc-root-cert`).
    pub root_cert: Option<PathBuf>,
    /// Whether clients must show a certificate (`--grpc-use-ssl-mutual`).
    pub is_mutual: bool,
}

/// Reads the files; returns what makes TLS connections of accepted sockets.
///
/// # Errors
/// `InvalidArg` with option and path if a file cannot be read or used.
pub(crate) fn acceptor(options: &TlsOptions) -> Result<TlsAcceptor> {
    let cert_path = given(options.server_cert.as_deref(), "--grpc-server-cert")?;
    let chain = certificates(cert_path, "--grpc-server-cert")?;
    let key_path = given(options.server_key.as_deref(), "--grpc-server-key")?;
    let key = PrivateKeyDer::from_pem_file(key_path)
        .map_err(|source| unusable(key_path, "--grpc-server-key", &source))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::internal("failed to set up TLS").with_source(source))?;
    let builder = if options.is_mutual {
        let root_path = given(options.root_cert.as_deref(), "--grpc-root-cert")?;
        let roots = Arc::new(roots(root_path)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|source| unusable(root_path, "--grpc-root-cert", &source))?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|source| unusable(cert_path, "--grpc-server-cert", &source))?;
    // gRPC clients insist on it: HTTP/2 or nothing.
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn roots(path: &Path) -> Result<RootCertStore> {
    const OPTION: &str = "--grpc-root-cert";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, OPTION)? {
        roots
            .add(certificate)
            .map_err(|source| unusable(path, OPTION, &source))?;
    }
    Ok(roots)
}

/// Reads at least one certificate.
fn certificates(path: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| unusable(path, option, &source))?;
    if certificates.is_empty() {
        return Err(unusable(path, option, &"it holds no certificate"));
    }
    Ok(certificates)
}

fn given<'a>(path: Option<&'a Path>, option: &str) -> Result<&'a Path> {
    path.ok_or_else(|| Error::invalid_arg(format!("{option} is needed for TLS but was not given")))
}

fn unusable(path: &Path, option: &str, reason: &dyn Display) -> Error {
    let path = path.display();
    Error::invalid_arg(format!("{option} '{path}' cannot be used: {reason}"))
}
