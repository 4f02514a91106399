//! Connections to a server: by what the two know each other, and what it means when they do not.

use crate::peer::LenderAddress;
use crate::trust::{Proof, Trust};
use std::time::Duration;
use ureq::http::{HeaderValue, Request, header};
use ureq::middleware::MiddlewareNext;
use ureq::{Agent, SendBody};

/// How long a server may take to take a connection up.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long an agent that lends may take to take a connection up, to answer, and to send a part of a file: there are
/// others to ask.
const PEER_CONNECT_MAX: Duration = Duration::from_secs(2);
const PEER_ANSWER_MAX: Duration = Duration::from_secs(5);
const PEER_BODY_MAX: Duration = Duration::from_secs(15);

/// What connections to an agent that lends are made with.
pub(crate) fn peer_agent(address: &LenderAddress) -> Result<Agent, String> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(PEER_CONNECT_MAX))
        .timeout_recv_response(Some(PEER_ANSWER_MAX))
        .timeout_recv_body(Some(PEER_BODY_MAX))
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")));
    if !address.certificate.is_empty() {
        let trust = Trust { ca: Some(address.certificate.clone()), proof: Proof::None };
        config = config.tls_config(trust.tls()?);
    }
    Ok(config.middleware(bearer(&address.token)?).build().new_agent())
}

/// Sends a secret with each request.
fn bearer(token: &str) -> Result<impl ureq::middleware::Middleware + use<>, String> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "this is no token".to_owned())?;
    value.set_sensitive(true);
    Ok(move |mut request: Request<SendBody>, next: MiddlewareNext| {
        request.headers_mut().insert(header::AUTHORIZATION, value.clone());
        next.handle(request)
    })
}

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
        config = config.middleware(bearer(token)?);
    }
    Ok(config.build().new_agent())
}
