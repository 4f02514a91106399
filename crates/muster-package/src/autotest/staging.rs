//! `job_repo_url`: the repository that belongs to the build on a device, and the server that has to bring it
//! near first.
//!
//! Such a server ("devserver") exports builds below `/static/`, and is asked to fetch artefacts of a build from
//! an archive before they are there: by one request that begins it and others that ask whether it is done.

use super::get::Limits;
use super::location::shown;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};
use thiserror::Error;
use ureq::Agent;

/// What has to be staged for a repository of packages to be there.
pub const PACKAGES: &str = "autotest_packages";

/// A build on a server that stages builds. Written as the URL of its packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedBuild {
    /// `http://HOST[:PORT]`.
    server: String,
    /// Its path below `/static/`, as `board-release/R21-2461.0.0`.
    build: String,
}

/// What names no build.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not the repository of a build: it is `http://HOST[:PORT]/static/BUILD/autotest/packages`")]
pub struct NoBuild(String);

/// Why a build is not staged.
#[derive(Debug, Error)]
pub enum StageError {
    /// The server does not answer, or says no.
    #[error("`{server}` does not stage `{build}`: {why}")]
    Refused {
        /// Which.
        server: String,
        /// Of what.
        build: String,
        /// What it says.
        why: String,
    },
    /// It says for too long that it is not done.
    #[error("`{server}` has not staged `{build}` within {} seconds", after.as_secs())]
    TooSlow {
        /// Which.
        server: String,
        /// Of what.
        build: String,
        /// How long it was waited for.
        after: Duration,
    },
}

impl FromStr for StagedBuild {
    type Err = NoBuild;

    fn from_str(url: &str) -> Result<Self, NoBuild> {
        let no = || NoBuild(shown(url));
        let rest = url.trim_end_matches('/').strip_prefix("http://").ok_or_else(no)?;
        let (host, path) = rest.split_once("/static/").ok_or_else(no)?;
        // Older values name the directory of the archive too.
        let path = path.strip_prefix("archive/").unwrap_or(path);
        let build = path.strip_suffix("/autotest/packages").ok_or_else(no)?;
        let is_name = |part: &str| {
            !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"._+-".contains(&c))
        };
        let good = !host.is_empty()
            && host.bytes().all(|c| c.is_ascii_alphanumeric() || b".-:[]".contains(&c))
            && build.split('/').all(|part| is_name(part) && !matches!(part, "." | ".."));
        if good { Ok(Self { server: format!("http://{host}"), build: build.to_owned() }) } else { Err(no()) }
    }
}

impl fmt::Display for StagedBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/static/{}/autotest/packages", self.server, self.build)
    }
}

impl StagedBuild {
    /// Its path below `/static/`.
    pub fn build(&self) -> &str {
        &self.build
    }

    /// Has artefacts of it staged from an archive, as `gs://images`, and waits until they are there. It is
    /// asked every so often.
    ///
    /// # Errors
    /// [`StageError`]
    pub fn stage(
        &self,
        archive: &str,
        artifacts: &[&str],
        limits: &Limits,
        every: Duration,
    ) -> Result<(), StageError> {
        let text = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let what = format!(
            "archive_url={}&artifacts={}&files=",
            text(&format!("{}/{}", archive.trim_end_matches('/'), self.build)),
            text(&artifacts.join(","))
        );
        let begun = Instant::now();
        self.ask(&format!("stage?{what}&async=True"), limits)?;
        loop {
            if self.ask(&format!("is_staged?{what}"), limits)?.trim() == "True" {
                return Ok(());
            }
            if begun.elapsed() + every > limits.total {
                let (server, build) = (self.server.clone(), self.build.clone());
                return Err(StageError::TooSlow { server, build, after: limits.total });
            }
            std::thread::sleep(every);
        }
    }

    fn ask(&self, question: &str, limits: &Limits) -> Result<String, StageError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(limits.connect))
            .timeout_global(Some(limits.silence))
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = Agent::new_with_config(config);
        let refused =
            |why: String| StageError::Refused { server: self.server.clone(), build: self.build.clone(), why };
        let mut pause = limits.pause;
        for attempt in 1.. {
            let why = match agent.get(format!("{}/{question}", self.server)).call() {
                Ok(mut answer) if answer.status().is_success() => {
                    // Limit: an answer is a word.
                    let text = answer.body_mut().with_config().limit(1 << 16).read_to_string();
                    return text.map_err(|e| refused(e.to_string()));
                }
                Ok(answer) if !answer.status().is_server_error() => {
                    return Err(refused(format!("it answers {}", answer.status())));
                }
                Ok(answer) => format!("it answers {}", answer.status()),
                Err(e) => e.to_string(),
            };
            if attempt >= limits.tries {
                return Err(refused(why));
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        unreachable!("the last try returns")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_known_by_the_address_of_its_packages() {
        let build: StagedBuild =
            "http://ds:8082/static/archive/lumpy-release/R21-2461.0.0/autotest/packages/".parse().unwrap();
        assert_eq!(build.build(), "lumpy-release/R21-2461.0.0");
        assert_eq!(build.to_string(), "http://ds:8082/static/lumpy-release/R21-2461.0.0/autotest/packages");
        for url in [
            "http://ds/packages",
            "https://ds/static/b/autotest/packages",
            "http:///static/b/autotest/packages",
            "http://ds/static//autotest/packages",
            "http://ds/static/../b/autotest/packages",
            "http://ds/static/b?x/autotest/packages",
            "http://u:secret@ds/static/b/autotest/packages",
        ] {
            let said = url.parse::<StagedBuild>().expect_err(url).to_string();
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
