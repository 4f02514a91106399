//! The lab's own authority: its key signs the certificate of the server and those of the agents.
//!
//! The server's certificate and its key live in memory alone and are made anew from time to time, so that
//! nobody has to renew anything. ECDSA over P-256, because every client there is knows it.

use super::AccessError;
use muster_api::trust::hex;
use muster_core::id::AgentId;
use muster_core::time::Time;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

const DAY: Duration = Duration::from_secs(86_400);
/// How long the authority lasts. To have another is to initialise anew.
const AUTHORITY_LASTS: Duration = Duration::from_secs(20 * 365 * 86_400);
/// How long the server's certificate lasts, and when it is made anew.
const SERVER_LASTS: Duration = Duration::from_secs(90 * 86_400);
const SERVER_RENEWED: Duration = Duration::from_secs(30 * 86_400);
/// Clocks differ: what is made now is valid since then.
const BEFORE: Duration = DAY;

/// The authority.
pub(super) struct Authority {
    key: KeyPair,
    /// In PEM.
    certificate: String,
}

impl Authority {
    /// Makes one in this directory.
    pub(super) fn make(dir: &Path) -> Result<(), AccessError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(wrong)?;
        let certificate = params(&key).self_signed(&key).map_err(wrong)?.pem();
        write(dir, "ca.key", &key.serialize_pem())?;
        write(dir, "ca.pem", &certificate)
    }

    pub(super) fn open(dir: &Path) -> Result<Self, AccessError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|source| AccessError::File { path, source })
        };
        let key = KeyPair::from_pem(&read("ca.key")?).map_err(wrong)?;
        Ok(Self { key, certificate: read("ca.pem")? })
    }

    /// Its certificate, in PEM.
    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// An agent's certificate, in PEM, and the digest by which it is known.
    pub(super) fn certify(
        &self,
        agent: AgentId,
        public_key: &[u8],
        now: Time,
        expires: Time,
    ) -> Result<(String, [u8; 32]), rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, agent.to_string());
        params.not_before = date(now - BEFORE);
        params.not_after = date(expires);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let made =
            params.signed_by(&AgentKey(public_key), &Issuer::new(self::params(&self.key), &self.key))?;
        Ok((made.pem(), *blake3::hash(made.der()).as_bytes()))
    }

    /// A key and certificate for the server.
    fn certify_server(&self, names: &[String]) -> Result<CertifiedKey, String> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| e.to_string())?;
        let mut params = CertificateParams::new(names).map_err(|e| e.to_string())?;
        let now = crate::desk::now();
        params.distinguished_name.push(DnType::CommonName, "Muster server");
        params.not_before = date(now - BEFORE);
        params.not_after = date(now + SERVER_LASTS);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issuer = Issuer::new(self::params(&self.key), &self.key);
        let made = params.signed_by(&key, &issuer).map_err(|e| e.to_string())?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = ring::sign::any_supported_type(&private).map_err(|e| e.to_string())?;
        Ok(CertifiedKey::new(vec![made.der().clone()], signing))
    }
}

/// What the authority's certificate says; the same each time for the same key.
fn params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let name = blake3::hash(key.public_key_raw());
    params.distinguished_name.push(DnType::CommonName, format!("Muster lab {}", hex(&name.as_bytes()[..6])));
    let now = crate::desk::now();
    params.not_before = date(now - BEFORE);
    params.not_after = date(now + AUTHORITY_LASTS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// What connections are served with: TLS 1.3, certificates of agents verified, also without one.
pub(super) fn tls(authority: Arc<Authority>, names: &[String]) -> Result<Arc<ServerConfig>, AccessError> {
    let said = |e: &dyn std::fmt::Display| AccessError::Authority(e.to_string());
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.certificate.as_bytes()).map_err(|e| said(&e))?;
    roots.add(root).map_err(|e| said(&e))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|e| said(&e))?;
    let first = authority.certify_server(names).map_err(|e| said(&e))?;
    let current = Mutex::new((Arc::new(first), Instant::now()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| said(&e))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Fresh { authority, names: names.to_vec(), current }));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The server's certificate, made anew before it ends.
struct Fresh {
    authority: Arc<Authority>,
    names: Vec<String>,
    current: Mutex<(Arc<CertifiedKey>, Instant)>,
}

impl std::fmt::Debug for Fresh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fresh({:?})", self.names)
    }
}

impl ResolvesServerCert for Fresh {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1.elapsed() > SERVER_RENEWED
            && let Ok(made) = self.authority.certify_server(&self.names)
        {
            *current = (Arc::new(made), Instant::now());
        }
        Some(Arc::clone(&current.0))
    }
}

/// The public key of an agent.
struct AgentKey<'a>(&'a [u8]);

impl PublicKeyData for AgentKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn date(at: Time) -> OffsetDateTime {
    let secs = i64::try_from(at.0 / 1_000_000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(secs).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn wrong(error: rcgen::Error) -> AccessError {
    AccessError::Authority(error.to_string())
}

/// A file that nobody else may read.
fn write(dir: &Path, name: &str, text: &str) -> Result<(), AccessError> {
    let path = dir.join(name);
    let written = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    written().map_err(|source| AccessError::File { path: path.clone(), source })
}
