//! Agents that give others what they have installed: what is said of them, and the client that asks one.
//!
//! The server brings the two together: it gives whoever needs a package the address of some that have it, the
//! secret they want to see and the certificate they are known by. What comes is not believed by whoever asked.

use crate::connect::peer_agent;
use muster_core::digest::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::ops::Range;
use ureq::Agent;
use ureq::http::{StatusCode, header};

/// Most packages that an agent tells of.
// Limit: what is told is small, and those used last are those that others need.
pub const LENT_MAX: usize = 500;
/// Most agents that somebody who needs a package is told of.
// Limit: each that does not answer costs some seconds.
pub const LENDERS_MAX: usize = 3;

/// How an agent is asked for what it has installed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LenderAddress {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What it wants to see.
    pub token: String,
    /// The certificate by which it is known, in PEM; empty where it listens on loopback, without TLS.
    pub certificate: String,
}

impl fmt::Debug for LenderAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LenderAddress({})", self.listen)
    }
}

/// An agent says what others can have from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lends {
    /// How it is asked.
    pub address: LenderAddress,
    /// Which boot of which host it is of: loopback leads to those of the same alone.
    pub boot: String,
    /// What is installed there.
    pub packages: Vec<Digest>,
}

/// What it is told then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LendsHeard {
    /// How many agents have lost their identity so far: a secret that was given before another did so is to be
    /// replaced.
    pub revoked: u64,
}

/// An agent needs packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// As in [`Lends`].
    pub boot: String,
    /// What it has not.
    pub packages: Vec<Digest>,
}

/// An agent that has some of what is needed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lender {
    /// How it is asked.
    pub address: LenderAddress,
    /// Which of them it has.
    pub packages: Vec<Digest>,
}

/// An agent that is asked.
#[derive(Debug)]
pub struct Peer {
    http: Agent,
    base: String,
}

/// Why a peer has not given a file, and whether it may another time.
#[derive(Clone, Debug)]
pub struct PeerError {
    /// In words.
    pub why: String,
    /// A connection broke, or it had too much to do.
    pub may_pass: bool,
}

impl Peer {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// Its certificate cannot be read.
    pub fn new(address: &LenderAddress) -> Result<Self, String> {
        let scheme = if address.certificate.is_empty() { "http" } else { "https" };
        Ok(Self { http: peer_agent(address)?, base: format!("{scheme}://{}", address.listen) })
    }

    /// A file of what it lends, or a part of it; `None` where there is none.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub fn file(&self, name: &str, part: Option<Range<u64>>) -> Result<Option<Box<dyn Read>>, PeerError> {
        let mut request = self.http.get(format!("{}/{name}", self.base));
        if let Some(part) = &part {
            request = request.header("range", format!("bytes={}-{}", part.start, part.end.saturating_sub(1)));
        }
        // There are others to ask, so this one is not asked again.
        let answer = request.call().map_err(|e| PeerError { why: e.to_string(), may_pass: false })?;
        let begins = |start: u64| {
            let range = answer.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
            range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
        };
        match (answer.status(), part) {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (StatusCode::OK, None) => Ok(Some(body(answer))),
            (StatusCode::PARTIAL_CONTENT, Some(part)) if begins(part.start) => Ok(Some(body(answer))),
            (status, _) => Err(PeerError {
                why: format!("it answers {status}"),
                may_pass: status == StatusCode::SERVICE_UNAVAILABLE,
            }),
        }
    }
}

fn body(answer: ureq::http::Response<ureq::Body>) -> Box<dyn Read> {
    Box::new(answer.into_body().into_with_config().limit(u64::MAX).reader())
}
