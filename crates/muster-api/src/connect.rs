//! Connections to a server: by what the two know each other, and what it means when they do not.

use crate::trust::{Proof, Trust};
use std::time::Duration;
use ureq::http::{HeaderValue, Request, header};
use ureq::middleware::MiddlewareNext;
use ureq::{Agent, SendBody};

/// How long a server may take to take a connection up.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// What connections are made with.
pub(crate) fn agent(trust: &Trust) -> Result<Agent, String> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_MAX))
        .max_redirects(0)
        // A lab is reached directly; a proxy for the world outside would not find it.
        .proxy(None)
        .tls_config(trust.tls()?)
        .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")));
    if let Proof::Token(token) = &trust.proof {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "this is no token".to_owned())?;
        value.set_sensitive(true);
        config = config.middleware(move |mut request: Request<SendBody>, next: MiddlewareNext| {
            request.headers_mut().insert(header::AUTHORIZATION, value.clone());
            next.handle(request)
        });
    }
    Ok(config.build().new_agent())
}

/// What is wrong with the trust between the two sides, if it is that.
pub(crate) fn distrust(error: &ureq::Error) -> Option<String> {
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
