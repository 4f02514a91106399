//! Whom web servers are known by that files are fetched from, and what it means when one is not known.

use rustls::{CertificateError as Bad, Error as Tls};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

/// Where systems keep the certificates of the authorities that they trust.
const SYSTEM_CA_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why there is nothing by which servers can be known.
#[derive(Debug, Error)]
pub enum NoTrust {
    /// Nothing was named, and the system has nothing.
    #[error("this system has no certificates by which servers are known")]
    None,
    /// A file cannot be read.
    #[error("cannot read `{}`: {why}", file.display())]
    Unread {
        /// The file.
        file: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// A file holds something else.
    #[error("the certificates in `{}` cannot be used: {why}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The file of certificates (PEM) by which servers are known: the one that was named, else what
/// `SSL_CERT_FILE` names, else the system's.
pub fn ca_file(named: Option<&Path>) -> Option<PathBuf> {
    let of_environment = || std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let of_system = || SYSTEM_CA_FILES.iter().map(PathBuf::from).find(|file| file.is_file());
    named.map(Path::to_owned).or_else(of_environment).or_else(of_system)
}

/// What connections are made with: to whom this file vouches for, else to whom the system trusts.
///
/// # Errors
/// There is no such file, or nothing in it that can be used.
pub fn trusting(named: Option<&Path>) -> Result<TlsConfig, NoTrust> {
    let file = ca_file(named).ok_or(NoTrust::None)?;
    let pem = match std::fs::read(&file) {
        Ok(pem) => pem,
        Err(why) => return Err(NoTrust::Unread { file, why }),
    };
    let mut roots = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
            Ok(_) => {}
            Err(e) => return Err(NoTrust::Unusable { file, why: e.to_string() }),
        }
    }
    if roots.is_empty() {
        return Err(NoTrust::Unusable { file, why: "there is no certificate in it".to_owned() });
    }
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        // Named here, so that it does not depend on what else is linked.
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build())
}

/// What is wrong with the trust in a server, if it is that: no further try makes it better.
pub fn distrust(error: &ureq::Error) -> Option<String> {
    let tls = match error {
        ureq::Error::Rustls(tls) => tls,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<Tls>()?,
        ureq::Error::RequireHttpsOnly(_) => {
            return Some("it leads on to an address without TLS".to_owned());
        }
        _ => return None,
    };
    Some(match tls {
        Tls::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "its certificate is of no authority that is known here; `--fetch-ca FILE` names one".to_owned()
        }
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate is for other names".to_owned()
        }
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "its certificate has expired; are both clocks right?".to_owned()
        }
        Tls::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet; are both clocks right?".to_owned()
        }
        Tls::InvalidCertificate(why) => format!("its certificate is refused: {why}"),
        Tls::InvalidMessage(_) => "what it speaks is not TLS; is its address `http://`?".to_owned(),
        _ => return None,
    })
}
