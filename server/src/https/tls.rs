//! The TLS configuration: version 1.3, any client certificate, none required.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};
use std::fmt;
use std::sync::Arc;
use x509_parser::parse_x509_certificate;

/// Why there is no TLS configuration.
#[derive(Debug)]
pub enum TlsError {
    /// The certificate chain cannot be read.
    Chain(pem::Error),
    /// The private key cannot be read.
    Key(pem::Error),
    /// They cannot be used, or not together.
    Unusable(Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Chain(error) => write!(f, "the TLS certificate chain cannot be read: {error}"),
            TlsError::Key(error) => write!(f, "the TLS private key cannot be read: {error}"),
            TlsError::Unusable(error) => write!(f, "the TLS certificate and key cannot be used: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// The configuration of a listener.
///
/// A client may show a certificate of whatever issuer, also its own. Whether it is known is decided where a request is
/// executed; here the client proves that it has the key. A resumed session keeps the certificate of the first one, which its
/// ticket carries, sealed.
pub fn tls_config(cert_chain_pem: &str, key_pem: &str) -> Result<ServerConfig, TlsError> {
    let chain = CertificateDer::pem_slice_iter(cert_chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(TlsError::Chain)?;
    if chain.is_empty() {
        return Err(TlsError::Chain(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(TlsError::Key)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Unusable)?
        .with_client_cert_verifier(Arc::new(AnyIssuer { provider }))
        .with_single_cert(chain, key)
        .map_err(TlsError::Unusable)?;
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Unusable)?;
    // Clients that would rather have HTTP/2 learn that there is none.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts every certificate whose key the client has.
#[derive(Debug)]
struct AnyIssuer {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyIssuer {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        key_of(leaf).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    /// By the bare key: the usual way refuses certificates of X.509 version 1, which `openssl x509 -req` makes.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key_of(leaf)?, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The public key of a certificate that is well-formed to its last byte.
fn key_of<'a>(leaf: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'a>, Error> {
    match parse_x509_certificate(leaf) {
        Ok(([], certificate)) => Ok(certificate.tbs_certificate.subject_pki.raw.into()),
        _ => Err(CertificateError::BadEncoding.into()),
    }
}
