//! Files over HTTP: resumed where they broke off, asked for again where that may help, and never for longer
//! than the limits say. A page that says "not found" is not content.

use super::get::{Answer, GetError, Limits, Version, begin, pour};
use super::location::{HttpPlace, shown};
use crate::web;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fs::File;
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::{HeaderMap, StatusCode, header};

/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'+');

/// Addresses that a server may lead on to, one after the other.
const REDIRECTS_MAX: u32 = 10;

/// What was had of a file when the connection broke.
struct Part {
    bytes: u64,
    version: Version,
}

enum Failure {
    /// It may be different at the next try.
    Passing(String),
    Final(GetError),
}

impl From<GetError> for Failure {
    fn from(error: GetError) -> Self {
        Self::Final(error)
    }
}

pub(super) fn get(
    place: &HttpPlace,
    name: &str,
    to: &mut File,
    bytes_max: u64,
    known: Option<&Version>,
    limits: &Limits,
) -> Result<Answer, GetError> {
    let url = url(place, name);
    let end = Instant::now() + limits.total;
    let mut part = Part { bytes: 0, version: Version::default() };
    let mut pause = limits.pause;
    for attempt in 1.. {
        let left = end.saturating_duration_since(Instant::now());
        let agent = agent(&url, limits, left, REDIRECTS_MAX)?;
        let failed = match ask(&agent, &url, to, bytes_max, known, &mut part) {
            Ok(answer) => return Ok(answer),
            Err(Failure::Final(error)) => return Err(error),
            // Its text may hold the address with all that is in it.
            Err(Failure::Passing(why)) => why.replace(&url, &shown(&url)),
        };
        if attempt >= limits.tries || Instant::now() + pause >= end {
            return Err(GetError::Unreachable(match attempt {
                1 => failed,
                _ => format!("{failed} ({attempt} tries)"),
            }));
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    unreachable!("the last try returns")
}

/// Where a file of a repository is.
pub(super) fn url(place: &HttpPlace, name: &str) -> String {
    format!("{}/{}", place.base, utf8_percent_encode(name, PLAIN))
}

/// What asks for this, for no longer than is left, and follows a server to so many other addresses.
pub(super) fn agent(
    url: &str,
    limits: &Limits,
    left: Duration,
    redirects_max: u32,
) -> Result<Agent, GetError> {
    let is_safe = url.starts_with("https://");
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        // What is asked for safely is not got in the clear.
        .https_only(is_safe)
        .max_redirects(redirects_max)
        .timeout_connect(Some(limits.connect.min(left)))
        .timeout_recv_response(Some(limits.silence.min(left)))
        .timeout_per_read(Some(limits.silence.min(left)))
        .timeout_global(Some(left))
        .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")));
    if is_safe {
        let tls = web::trusting(limits.ca_file.as_deref());
        config = config.tls_config(tls.map_err(|e| GetError::Refused(e.to_string()))?);
    }
    Ok(Agent::new_with_config(config.build()))
}

/// How long a file is, as the server says.
pub(super) fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::CONTENT_LENGTH)?.parse().ok()
}

fn ask(
    agent: &Agent,
    url: &str,
    to: &mut File,
    bytes_max: u64,
    known: Option<&Version>,
    part: &mut Part,
) -> Result<Answer, Failure> {
    let mut request = agent.get(url);
    match resumable(&part.version).filter(|_| part.bytes > 0) {
        Some(version) => {
            request = request.header(header::RANGE, format!("bytes={}-", part.bytes));
            request = request.header(header::IF_RANGE, version);
        }
        None => part.bytes = 0,
    }
    if let Some(known) = known.filter(|_| part.bytes == 0) {
        if let Some(etag) = &known.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        } else if let Some(modified) = &known.modified {
            request = request.header(header::IF_MODIFIED_SINCE, modified);
        }
    }
    let mut answer = request.call().map_err(|e| match web::distrust(&e) {
        Some(why) => Failure::Final(GetError::Refused(why)),
        None => Failure::Passing(e.to_string()),
    })?;
    let status = answer.status();
    match status {
        StatusCode::OK => part.bytes = 0,
        StatusCode::PARTIAL_CONTENT if starts_at(answer.headers(), part.bytes) => {}
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            part.bytes = 0;
            part.version = Version::default();
            return Err(Failure::Passing("the server sends another part than was asked for".to_owned()));
        }
        StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Answer::Unchanged),
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(GetError::Absent.into()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            return Err(Failure::Passing(format!("the server answers {status}")));
        }
        _ if status.is_server_error() => {
            return Err(Failure::Passing(format!("the server answers {status}")));
        }
        _ => return Err(GetError::Refused(format!("the server answers {status}")).into()),
    }
    part.version = version(answer.headers());
    let length = length(answer.headers());
    begin(to, part.bytes)?;
    let poured = pour(&mut answer.body_mut().as_reader(), to, bytes_max - part.bytes.min(bytes_max), |e| {
        Failure::Passing(format!("the connection broke: {e}"))
    });
    let before = part.bytes;
    part.bytes = to.metadata().map_err(GetError::Here)?.len();
    let came = poured?;
    if length.is_some_and(|length| length != came) {
        part.bytes = before + came;
        return Err(Failure::Passing("less came than the server said".to_owned()));
    }
    Ok(Answer::Bytes(part.version.clone()))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn version(headers: &HeaderMap) -> Version {
    Version { etag: text(headers, header::ETAG), modified: text(headers, header::LAST_MODIFIED) }
}

/// By what a server can tell that the rest belongs to the same bytes. A weak tag may stand for others.
fn resumable(version: &Version) -> Option<&str> {
    let strong = version.etag.as_deref().filter(|tag| !tag.starts_with("W/"));
    strong.or(version.modified.as_deref())
}

fn starts_at(headers: &HeaderMap, at: u64) -> bool {
    text(headers, header::CONTENT_RANGE)
        .is_some_and(|range| range.strip_prefix("bytes ").is_some_and(|r| r.starts_with(&format!("{at}-"))))
}
