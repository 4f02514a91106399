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
