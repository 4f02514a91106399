//! By what a client knows its server, and by what the server knows the client.
//!
//! A *token file* holds a token and, below it, the certificate of the lab's authority: who has been given the
//! file has all that is needed. Tokens are never printed, not even for debugging.

use rcgen::KeyPair;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// What a token begins with: a user's, and one to join with.
pub const USER_TOKEN: &str = "muster-user-";
/// As above.
pub const JOIN_TOKEN: &str = "muster-join-";

/// By what the two sides know each other.
#[derive(Clone, Default)]
pub struct Trust {
    /// The certificates (PEM) of the authorities by which the server is known.
    pub ca: Option<String>,
    /// By what the client is known.
    pub proof: Proof,
}

/// By what a client is known.
#[derive(Clone, Default)]
pub enum Proof {
    /// By nothing.
    #[default]
    None,
    /// By a secret that it sends.
    Token(String),
    /// By a key of its own and a certificate of it.
    Key(Identity),
}

/// A key, and a certificate that says whose it is.
#[derive(Clone)]
pub struct Identity {
    /// The private key, in PEM.
    pub key: String,
    /// Its certificate, in PEM.
    pub certificate: String,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proof = match self.proof {
            Proof::None => "nothing",
            Proof::Token(_) => "a token",
            Proof::Key(_) => "a key",
        };
        write!(f, "Trust(known by {proof})")
    }
}

impl Trust {
    /// Reads a token file: a token, perhaps certificates. Lines that begin with `#` do not count.
    ///
    /// # Errors
    /// There is no token in it.
    pub fn of_token_file(text: &str) -> Result<Self, String> {
        let token = text.lines().map(str::trim).find(|l| {
            (l.starts_with(USER_TOKEN) || l.starts_with(JOIN_TOKEN))
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
        let token = token.ok_or("it holds no token of Muster")?;
        let ca = text.find("-----BEGIN CERTIFICATE-----").map(|at| text[at..].to_owned());
        Ok(Self { ca, proof: Proof::Token(token.to_owned()) })
    }

    /// As it is written into a token file.
    pub fn token_file(comment: &str, token: &str, ca: &str) -> String {
        format!("# {comment}\n{token}\n{ca}")
    }

    /// What the connections are made with.
    pub(crate) fn tls(&self) -> Result<TlsConfig, String> {
        let ca = self.ca.as_deref().unwrap_or_default();
        let roots = certificates(ca)
            .map_err(|e| format!("the certificate of the lab's authority cannot be read: {e}"))?;
        let client = match &self.proof {
            Proof::None | Proof::Token(_) => None,
            Proof::Key(Identity { key, certificate }) => {
                let certificate = Certificate::from_pem(certificate.as_bytes())
                    .map_err(|e| format!("the agent's certificate cannot be read: {e}"))?;
                let key = PrivateKey::from_pem(key.as_bytes())
                    .map_err(|e| format!("the agent's private key cannot be read: {e}"))?;
                Some(ClientCert::new_with_certs(&[certificate], key))
            }
        };
        Ok(tls(&roots, client))
    }
}

fn tls(roots: &[Certificate<'static>], client: Option<ClientCert>) -> TlsConfig {
    TlsConfig::builder()
        .provider(ureq::tls::TlsProvider::Rustls)
        // Named here, so that it does not depend on what else is linked.
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(roots))
        .client_cert(client)
        .build()
}

fn certificates(pem: &str) -> Result<Vec<Certificate<'static>>, String> {
    let mut all = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(certificate)) => all.push(certificate),
            Ok(_) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
    Ok(all)
}

/// What is wrong with the trust between the two sides, if it is that.
pub fn distrust(error: &ureq::Error) -> Option<String> {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error as Tls};
    let tls = match error {
        ureq::Error::Rustls(tls) => tls,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<Tls>()?,
        _ => return None,
    };
    let why = match tls {
        Tls::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            "its certificate is not of the lab's authority; is this the token file or `--ca` of this lab?"
                .into()
        }
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate is for other names; ask for it by one that `hosts` in its `server.toml` lists"
                .into()
        }
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "its certificate has expired; are both clocks right?".into()
        }
        Tls::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet; are both clocks right?".into()
        }
        Tls::InvalidCertificate(why) => format!("its certificate is refused: {why}"),
        Tls::AlertReceived(Alert::CertificateExpired) => {
            "it says that the certificate of this agent has expired".into()
        }
        Tls::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateRevoked
            | Alert::DecryptError
            | Alert::AccessDenied,
        ) => "it refuses the certificate of this agent".into(),
        Tls::InvalidMessage(_) => "what it speaks is not TLS; is its address `http://`?".into(),
        _ => return None,
    };
    Some(why)
}

/// A key for an agent, in PEM. It never leaves the agent's host.
///
/// # Errors
/// The system gives no random numbers.
pub fn new_key() -> Result<String, String> {
    let pair = KeyPair::generate().map_err(|e| format!("no key can be made: {e}"))?;
    Ok(pair.serialize_pem())
}

/// A key and a certificate for an address that nobody but those who were told so know it by.
pub struct SelfSigned {
    /// PKCS #8, DER.
    pub key: Vec<u8>,
    /// DER.
    pub certificate: Vec<u8>,
    /// The certificate in PEM.
    pub pem: String,
}

/// Makes one.
///
/// # Errors
/// The system gives no random numbers.
pub fn self_signed(ip: std::net::IpAddr) -> Result<SelfSigned, String> {
    let said = |e: rcgen::Error| format!("no certificate can be made: {e}");
    let key = KeyPair::generate().map_err(said)?;
    let params = rcgen::CertificateParams::new(vec![ip.to_string()]).map_err(said)?;
    let made = params.self_signed(&key).map_err(said)?;
    Ok(SelfSigned { key: key.serialize_der(), certificate: made.der().to_vec(), pem: made.pem() })
}

/// The public half of a key, as it is sent.
///
/// # Errors
/// It is no key.
pub fn public_key(key: &str) -> Result<String, String> {
    let pair = KeyPair::from_pem(key).map_err(|e| format!("this is no private key: {e}"))?;
    Ok(hex(pair.public_key_raw()))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory takes all");
        text
    })
}

/// Hexadecimal digits as bytes; `None` where they are none.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_read_as_it_was_written_and_is_never_shown() {
        let token = format!("{USER_TOKEN}00ff-abcd");
        let text = Trust::token_file("for ana", &token, "-----BEGIN CERTIFICATE-----\nx\n");
        let trust = Trust::of_token_file(&text).unwrap();
        assert!(matches!(&trust.proof, Proof::Token(t) if *t == token));
        assert!(trust.ca.as_ref().unwrap().starts_with("-----BEGIN"));
        assert!(!format!("{trust:?}").contains("abcd"));
        for bad in ["", "secret", "muster-user-a\u{7}b", "# muster-user-1"] {
            assert!(Trust::of_token_file(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hexadecimal_digits_are_bytes_and_nothing_else_is() {
        assert_eq!(unhex(&hex(&[0, 255, 16])), Some(vec![0, 255, 16]));
        for bad in ["0", "0g", "é", "+1"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_has_a_public_half() {
        let key = new_key().unwrap();
        assert_eq!(unhex(&public_key(&key).unwrap()).unwrap().len(), 65);
        assert!(public_key("no key").is_err());
    }
}
