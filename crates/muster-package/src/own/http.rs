//! Plain files from any web server: whole or in parts, again where it fails in passing, and never for longer
//! than was said. Connections are kept and shared by all threads.

use super::address::Reach;
use super::error::PackageError;
use crate::web;
use std::io::{self, Read};
use std::ops::Range;
use ureq::Agent;

/// How often an answer may lead on to another address.
const REDIRECTS_MAX: u32 = 5;

/// A web server with the files of a repository.
#[derive(Clone, Debug)]
pub(super) struct Http {
    agent: Agent,
    /// Ends with `/`.
    base: String,
    /// Without what may be secret.
    pub(super) shown: String,
}

/// Why a file is not had.
#[derive(Debug)]
pub(super) struct HttpError {
    pub(super) why: String,
    /// Whether it may be different at the next try.
    pub(super) may_pass: bool,
}

/// Whether a URL can be the address of a repository.
pub(super) fn check(url: &str) -> Result<(), &'static str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or("a URL begins with `http://` or `https://`")?;
    if rest.is_empty() || rest.starts_with('/') {
        return Err("it names no host");
    }
    if url.contains(['?', '#']) {
        return Err("the address of a directory has no `?` and no `#`");
    }
    // It is recorded, and given to the hosts of a lab.
    if rest.split('/').next().is_some_and(|place| place.contains('@')) {
        return Err("a URL with a user or password would be recorded");
    }
    Ok(())
}

impl Http {
    pub(super) fn new(url: &str, reach: &Reach) -> Result<Self, PackageError> {
        let limits = reach.limits;
        let is_safe = url.starts_with("https://");
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // What is asked for safely is not got in the clear.
            .https_only(is_safe)
            .timeout_connect(Some(limits.connect))
            .timeout_recv_response(Some(limits.answer))
            .timeout_recv_body(Some(limits.body))
            .timeout_per_read(Some(limits.idle))
            .max_redirects(REDIRECTS_MAX)
            .max_idle_connections(32)
            .max_idle_connections_per_host(16)
            // What is compressed is so already.
            .accept_encoding("identity")
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")));
        if is_safe {
            let tls = web::trusting(reach.ca_file.as_deref());
            config = config.tls_config(tls.map_err(|e| PackageError::Asked(e.to_string()))?);
        }
        let base = format!("{}/", url.trim_end_matches('/'));
        Ok(Self { agent: Agent::new_with_config(config.build()), base, shown: shown(url) })
    }

    /// A file or a part of it; `None` where there is none. What comes is at most as long as the part.
    pub(super) fn open(
        &self,
        name: &str,
        part: Option<Range<u64>>,
    ) -> Result<Option<Box<dyn Read>>, HttpError> {
        let lasting = |why: &str| HttpError { why: why.to_owned(), may_pass: false };
        let lost = |e: ureq::Error| match web::distrust(&e) {
            Some(why) => HttpError { why, may_pass: false },
            None => HttpError {
                // Its text may hold the address with all that is in it.
                why: e.to_string().replace(&self.base, &format!("{}/", self.shown)),
                may_pass: !matches!(e, ureq::Error::TooManyRedirects | ureq::Error::BadUri(_)),
            },
        };
        let mut request = self.agent.get(format!("{}{name}", self.base));
        if let Some(part) = &part {
            request = request.header("range", format!("bytes={}-{}", part.start, part.end.saturating_sub(1)));
        }
        let answer = request.call().map_err(lost)?;
        let status = answer.status().as_u16();
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        if matches!(status, 200 | 206)
            && let Some(packed) = header("content-encoding").filter(|e| !e.eq_ignore_ascii_case("identity"))
        {
            return Err(lasting(&format!("it sends files packed by `{packed}`, which was not asked for")));
        }
        match (status, part) {
            (404 | 410, _) => Ok(None),
            (200, None) => Ok(Some(Box::new(answer.into_body().into_reader()))),
            (206, Some(part)) => {
                let begins = format!("bytes {}-", part.start);
                if !header("content-range").is_some_and(|range| range.starts_with(&begins)) {
                    return Err(lasting("it answers with another part"));
                }
                Ok(Some(Box::new(answer.into_body().into_reader().take(part.end - part.start))))
            }
            // It knows of no parts: what is before is read and thrown away.
            (200, Some(part)) => {
                let mut whole = answer.into_body().into_reader();
                let skipped = io::copy(&mut whole.by_ref().take(part.start), &mut io::sink());
                skipped.map_err(|e| HttpError { why: e.to_string(), may_pass: true })?;
                Ok(Some(Box::new(whole.take(part.end - part.start))))
            }
            _ => Err(HttpError {
                why: format!("it answers {}", answer.status()),
                may_pass: matches!(status, 408 | 429 | 500..),
            }),
        }
    }
}

/// A URL without what may be secret.
pub(super) fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let Some((scheme, rest)) = url[..end].split_once("://") else { return url[..end].to_owned() };
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    format!("{scheme}://{place}{}", path.trim_end_matches('/'))
}
