//! Who may ask this server for what.
//!
//! A data directory that was *initialised* has a directory `access` with the lab's own authority (a key and
//! its certificate) and a book of users, tokens, agents and what people did. Its server speaks TLS alone and
//! answers nobody it does not know. Without one the server is open to its host, and listens there alone.

mod authority;
mod book;
mod limits;
mod token;
mod who;

pub use book::{Book, BookError};
pub(crate) use limits::{Buckets, Rate};
pub(crate) use who::Who;

use crate::serve::PoolUsers;
use authority::Authority;
use book::Known;
use muster_api::Problem;
use muster_api::access::{Certificate, CertificateRequest, Grant, Role};
use muster_api::trust::{JOIN_TOKEN, unhex};
use muster_core::id::AgentId;
use muster_core::lab::Pools;
use muster_core::select::wildcard;
use muster_core::time::Time;
use rustls::ServerConfig;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Where it is, in the data directory.
const DIR: &str = "access";

/// Why the access to a server cannot be set up.
#[derive(Debug, Error)]
pub enum AccessError {
    /// There is nothing to set up.
    #[error("`{}` is initialised already", .0.display())]
    Initialised(PathBuf),
    /// It was never set up.
    #[error("`{}` is not initialised", .0.display())]
    NotInitialised(PathBuf),
    /// A file.
    #[error("`{}` cannot be used: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Keys and certificates.
    #[error("the lab's authority cannot be used: {0}")]
    Authority(String),
    /// The book.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// Sets up the access to the server of a data directory: an authority, and a user who may do everything.
/// Answers with the user's token. Nothing is there before all is.
///
/// # Errors
/// [`AccessError`].
pub fn init(data_dir: &Path, admin: &str, now: Time) -> Result<String, AccessError> {
    let dir = data_dir.join(DIR);
    if dir.exists() {
        return Err(AccessError::Initialised(data_dir.to_owned()));
    }
    let half = data_dir.join("access.partial");
    let file = |source| AccessError::File { path: half.clone(), source };
    if half.exists() {
        fs::remove_dir_all(&half).map_err(file)?;
    }
    fs::create_dir_all(data_dir).map_err(file)?;
    DirBuilder::new().mode(0o700).create(&half).map_err(file)?;
    Authority::make(&half)?;
    let book = Book::create(&half)?;
    book.put_user(admin, &[Grant::everywhere(Role::Admin)], now)?;
    let token = book.new_token(admin, None, now)?.expect("the user was just made");
    drop(book);
    fs::rename(&half, &dir).map_err(file)?;
    fs::File::open(data_dir).and_then(|d| d.sync_all()).map_err(file)?;
    Ok(token)
}

/// Opens the book of an initialised data directory, beside a server that may be using it; with the certificate
/// of its authority.
///
/// # Errors
/// [`AccessError`].
pub fn open_book(data_dir: &Path) -> Result<(Book, String), AccessError> {
    let dir = data_dir.join(DIR);
    if !dir.is_dir() {
        return Err(AccessError::NotInitialised(data_dir.to_owned()));
    }
    Ok((Book::open(&dir)?, Authority::open(&dir)?.certificate().to_owned()))
}

/// The access to an initialised server.
pub(crate) struct Access {
    pub(crate) book: Book,
    authority: Arc<Authority>,
    /// How long an agent's certificate lasts.
    agent_certificate: Duration,
    /// The pools and who may use them.
    pools: Vec<(String, PoolUsers)>,
    /// Requests of each user and agent.
    pub(crate) users: Buckets<String>,
    pub(crate) agents: Buckets<AgentId>,
    /// Requests of an address that is not known, and failed sign-ins.
    pub(crate) strangers: Buckets<std::net::IpAddr>,
}

impl Access {
    /// `None`: the data directory was not initialised.
    pub(crate) fn open(
        data_dir: &Path,
        agent_certificate: Duration,
        pools: Vec<(String, PoolUsers)>,
    ) -> Result<Option<Self>, AccessError> {
        let dir = data_dir.join(DIR);
        if !dir.is_dir() {
            return Ok(None);
        }
        Ok(Some(Self {
            book: Book::open(&dir)?,
            authority: Arc::new(Authority::open(&dir)?),
            agent_certificate,
            pools,
            users: Buckets::new(Rate { per_sec: 100.0, burst: 500.0 }),
            agents: Buckets::new(Rate { per_sec: 500.0, burst: 2_000.0 }),
            strangers: Buckets::new(Rate { per_sec: 0.5, burst: 20.0 }),
        }))
    }

    /// Whether somebody has a role on the devices of a pool, in an area or in any.
    pub(crate) fn has_in_pool(&self, who: &Who, role: Role, area: Option<&str>, pool: &str) -> bool {
        let named = self.pools.iter().find(|(name, _)| name == pool).map(|(_, users)| users);
        match who {
            Who::Anybody => true,
            Who::User { name, grants } => {
                let granted = |g: &Grant| {
                    g.is_for_pool(role, pool) && area.is_none_or(|area| g.is_for_area(role, area))
                };
                let is_named = match named {
                    Some(PoolUsers::Named(names)) => names.iter().any(|n| wildcard(n, name)),
                    Some(PoolUsers::All) | None => true,
                };
                is_named && grants.iter().any(granted)
            }
            Who::Stranger | Who::Agent(_) | Who::Joiner(_) => false,
        }
    }

    /// The pools whose devices somebody may have for runs of an area.
    pub(crate) fn pools_for(&self, who: &Who, area: &str) -> Vec<String> {
        let all = self.pools.iter().map(|(name, _)| name.as_str()).chain([Pools::REST]);
        let may = all.filter(|pool| self.has_in_pool(who, Role::Submitter, Some(area), pool));
        may.map(str::to_owned).collect()
    }

    /// What connections are served with, under these names.
    pub(crate) fn tls(&self, names: &[String]) -> Result<Arc<ServerConfig>, AccessError> {
        authority::tls(Arc::clone(&self.authority), names)
    }

    /// The certificate of the authority, in PEM.
    pub(crate) fn ca(&self) -> &str {
        self.authority.certificate()
    }

    /// Whose token this is.
    pub(crate) fn of_token(&self, token: &str, now: Time) -> Result<Who, Problem> {
        let known = if token.starts_with(JOIN_TOKEN) {
            self.book.find_join_token(token, now)
        } else {
            self.book.find_token(token, now)
        };
        match known.map_err(|e| unavailable(&e))? {
            Known::Is(who) => Ok(who),
            Known::Expired => Err(Problem::new(401, "expired-token", "this token has expired")
                .next("ask an admin of the lab for another: `muster server user token NAME`, or `muster server join-token` for an agent")),
            Known::Not => Err(Problem::new(401, "bad-token", "this token is not known here, or was removed")
                .next("is it the token file of this lab? an admin makes another: `muster server user token NAME`")),
        }
    }

    /// Whose certificate this is; TLS has found that it is of our authority and that its key is there.
    pub(crate) fn of_certificate(&self, digest: &[u8; 32], now: Time) -> Result<Who, Problem> {
        match self.book.find_certificate(digest, now).map_err(|e| unavailable(&e))? {
            Some(agent) => Ok(Who::Agent(agent)),
            None => Err(Problem::new(401, "agent-unknown", "this agent's identity has ended or was revoked")
                .next("let it join again with a new `--state DIR`: `muster server join-token` makes what it needs")),
        }
    }

    /// Makes an agent's certificate.
    pub(crate) fn certify(
        &self,
        agent: AgentId,
        request: &CertificateRequest,
        by: Option<&str>,
        now: Time,
    ) -> Result<Certificate, Problem> {
        let CertificateRequest { host, public_key } = request;
        let bad = |said: &str| Problem::new(422, "bad-request", said);
        let key = unhex(public_key).filter(|k| k.len() == 65 && k[0] == 4);
        let key =
            key.ok_or_else(|| bad("`public_key` is no uncompressed point of P-256 in hexadecimal digits"))?;
        if host.is_empty() || host.len() > 255 || host.contains(char::is_control) {
            return Err(bad("`host` is a name of 1 to 255 bytes"));
        }
        let expires = now + self.agent_certificate;
        let made = self.authority.certify(agent, &key, now, expires);
        let (certificate, digest) = made.map_err(|e| Problem::new(500, "bug", e.to_string()))?;
        let entered = match by {
            Some(token) => self.book.enter_agent(agent, host, &key, token, &digest, expires, now),
            None => self.book.renew_agent(agent, &key, &digest, expires, now),
        };
        if !entered.map_err(|e| unavailable(&e))? {
            return Err(Problem::new(
                409,
                "agent-exists",
                format!("{agent} has joined with another key, or was revoked"),
            )
            .next("give this agent a new `--state DIR`"));
        }
        Ok(Certificate { certificate, made: now, expires })
    }
}

/// The book cannot be used just now.
pub(crate) fn unavailable(error: &BookError) -> Problem {
    Problem::new(503, "access-unavailable", error.to_string())
        .next("nothing of this was done; try again when the server's disk has room")
}
