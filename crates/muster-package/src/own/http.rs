//! Plain files from any web server: whole or in parts, again where it fails in passing, and never for longer
//! than was said. Connections are kept and shared by all threads.

use super::error::PackageError;
use std::io::{self, Read};
use std::ops::Range;
use std::time::Duration;
use ureq::Agent;

/// How long a web server is waited for.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Until it takes a connection up.
    pub connect: Duration,
    /// Until it begins to answer.
    pub answer: Duration,
    /// Until it has sent a part of a pack. What came until then is not fetched again.
    pub body: Duration,
    /// Tries without any progress.
    pub tries: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            body: Duration::from_secs(120),
            tries: 3,
        }
    }
}

/// A web server with the files of a repository.
#[derive(Clone, Debug)]
pub(super) struct Http {
    agent: Agent,
    /// Ends with `/`.
    base: String,
    /// Without what may be secret.
    pub(super) shown: String,
    pub(super) tries: u32,
}

/// Why a file is not had.
#[derive(Debug)]
pub(super) struct HttpError {
    pub(super) why: String,
    /// Whether it may be different at the next try.
    pub(super) may_pass: bool,
}

impl Http {
    pub(super) fn new(url: &str, limits: HttpLimits) -> Result<Self, PackageError> {
        let shown = shown(url);
        let wrong = |why: &str| PackageError::Asked(format!("`{shown}` is no repository: {why}"));
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let rest = rest.ok_or_else(|| wrong("a URL begins with `http://` or `https://`"))?;
        if rest.is_empty() || rest.starts_with('/') {
            return Err(wrong("it names no host"));
        }
        if url.starts_with("https://") {
            return Err(wrong("this build of Muster has no TLS for fetching packages yet"));
        }
        if url.contains(['?', '#']) {
            return Err(wrong("the address of a directory has no `?` and no `#`"));
        }
        // It is recorded, and given to the hosts of a lab.
        if rest.split('/').next().is_some_and(|place| place.contains('@')) {
            return Err(wrong("a URL with a user or password would be recorded"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(limits.connect))
            .timeout_recv_response(Some(limits.answer))
            .timeout_recv_body(Some(limits.body))
            .max_idle_connections(32)
            .max_idle_connections_per_host(16)
            // What is compressed is so already.
            .accept_encoding("identity")
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .build();
        let base = format!("{}/", url.trim_end_matches('/'));
        Ok(Self { agent: Agent::new_with_config(config), base, shown, tries: limits.tries.max(1) })
    }

    /// A file or a part of it; `None` where there is none. What comes is at most as long as the part.
    pub(super) fn open(
        &self,
        name: &str,
        part: Option<Range<u64>>,
    ) -> Result<Option<Box<dyn Read>>, HttpError> {
        let lost = |e: ureq::Error| HttpError {
            // Its text may hold the address with all that is in it.
            why: e.to_string().replace(&self.base, &format!("{}/", self.shown)),
            may_pass: true,
        };
        let mut request = self.agent.get(format!("{}{name}", self.base));
        if let Some(part) = &part {
            request = request.header("range", format!("bytes={}-{}", part.start, part.end.saturating_sub(1)));
        }
        let answer = request.call().map_err(lost)?;
        let status = answer.status().as_u16();
        match (status, part) {
            (404 | 410, _) => Ok(None),
            (200, None) => Ok(Some(Box::new(answer.into_body().into_reader()))),
            (206, Some(part)) => {
                let range = answer.headers().get("content-range").and_then(|r| r.to_str().ok());
                let begins = range.is_some_and(|r| r.starts_with(&format!("bytes {}-", part.start)));
                if !begins {
                    return Err(HttpError {
                        why: "it answers with another part".to_owned(),
                        may_pass: false,
                    });
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
fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let Some((scheme, rest)) = url[..end].split_once("://") else { return url[..end].to_owned() };
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    format!("{scheme}://{place}{}", path.trim_end_matches('/'))
}
