//! Where repositories of packages are, as it is written on the command line and in `muster.toml`.
//!
//! ```text
//! DIR                              a directory of this host
//! http://HOST/PATH, https://…      a directory that a web server gives out
//! ssh://HOST/PATH, HOST:/PATH      a directory of another host
//! git+URL//DIR@REV                 folders KIND/NAME of a git repository, made packages when they are asked for
//! ADDRESS|ADDRESS                  mirrors: the same repository in several places
//! ```

use super::error::PackageError;
use super::git::GitPlace;
use super::http;
use crate::ssh::SshPlace;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A directory of this host.
    Dir(PathBuf),
    /// A directory that a web server gives out.
    Web(String),
    /// A directory of another host.
    Ssh(SshPlace),
    /// Folders of a git repository.
    Git(GitPlace),
    /// One that whoever asks has a name for, and knows how to ask. No text is read as one.
    Named(String),
}

/// How what is elsewhere is asked.
#[derive(Clone, Debug)]
pub struct Reach {
    /// How long it is waited for.
    pub limits: Limits,
    /// The certificates (PEM) of the authorities by which web servers are known; `None`: what the system has.
    pub ca_file: Option<PathBuf>,
    /// Where copies of git repositories are kept, so that the next time only what is new is fetched.
    pub git_dir: PathBuf,
}

impl Reach {
    /// With the usual limits and the authorities of the system.
    pub fn new(git_dir: PathBuf) -> Self {
        Self { limits: Limits::default(), ca_file: None, git_dir }
    }
}

/// How long what is elsewhere is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until a connection is there.
    pub connect: Duration,
    /// Until an answer begins.
    pub answer: Duration,
    /// Until more of an answer comes.
    pub idle: Duration,
    /// Until all of a file or of a part of a pack has come. What came until then is not fetched again.
    pub body: Duration,
    /// Until all that is lacking of a package has come from one repository; then another is asked.
    pub total: Duration,
    /// Tries without any progress.
    pub tries: u32,
    /// How long it is waited before the second try; then four times as long, and so on.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            idle: Duration::from_secs(30),
            body: Duration::from_secs(120),
            total: Duration::from_secs(3600),
            tries: 3,
            pause: Duration::from_millis(100),
        }
    }
}

impl Address {
    /// Reads an address. A directory is relative to this one.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, beside: &Path) -> Result<Self, PackageError> {
        let wrong =
            |why: &str| PackageError::Asked(format!("`{}` is no repository: {why}", http::shown(text)));
        if text.is_empty() || text.contains(['\n', '\0']) {
            return Err(wrong("it is empty, or has characters that belong in no address"));
        }
        if let Some(rest) = text.strip_prefix("git+") {
            return GitPlace::parse(rest).map(Self::Git).map_err(wrong);
        }
        match text.split_once("://") {
            Some(("http" | "https", _)) => {
                http::check(text).map(|()| Self::Web(text.to_owned())).map_err(wrong)
            }
            Some(("ssh", rest)) => SshPlace::parse(rest).map(Self::Ssh).map_err(wrong),
            Some(("git", _)) => Err(wrong("a git repository is `git+https://HOST/PATH//DIR@REV`")),
            Some(_) => Err(wrong("there are `https://`, `http://`, `ssh://`, `git+URL` and directories")),
            // As `scp` and `rsync` have it: what has a `/` before its first `:` is a path.
            None => match text.split_once(':') {
                Some((host, path)) if !host.contains('/') && path.starts_with('/') => {
                    SshPlace::parse(&format!("{host}{path}")).map(Self::Ssh).map_err(wrong)
                }
                _ => Ok(Self::Dir(beside.join(text))),
            },
        }
    }

    /// The addresses of one repository: mirrors, with `|` between them.
    ///
    /// # Errors
    /// One of them is none.
    pub fn mirrors(text: &str, beside: &Path) -> Result<Vec<Self>, PackageError> {
        text.split('|').map(|one| Self::parse(one.trim(), beside)).collect()
    }

    /// Whether other hosts can ask it as well. What is told by them with files of this host is never looked at here.
    pub fn is_elsewhere(&self) -> bool {
        match self {
            Self::Dir(_) => false,
            Self::Ssh(place) => place.config.is_none(),
            Self::Git(place) => !place.is_here(),
            Self::Web(_) | Self::Named(_) => true,
        }
    }
}

/// As it is recorded, and given to other hosts.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(dir) => write!(f, "{}", dir.display()),
            Self::Web(text) | Self::Named(text) => f.write_str(text),
            Self::Ssh(place) => write!(f, "{place}"),
            Self::Git(place) => write!(f, "{place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_in_one_way_each() {
        let check = |text: &str, shown: &str| {
            let all = Address::mirrors(text, Path::new("/area")).unwrap();
            assert_eq!(all.iter().map(ToString::to_string).collect::<Vec<_>>().join("|"), shown);
        };
        check("packages", "/area/packages");
        check("./odd:/name", "/area/./odd:/name");
        check("https://h/p", "https://h/p");
        check("ana@h:/srv/p", "ssh://ana@h/srv/p");
        check("ssh://h:2222/srv/p/", "ssh://h:2222/srv/p");
        check("https://a/p | https://b/p|/mnt/p", "https://a/p|https://b/p|/mnt/p");
        check("git+https://h/r.git", "git+https://h/r.git");
        check("git+https://h/r.git//client@feature/x", "git+https://h/r.git//client@feature/x");
        check("git+ssh://git@h/r.git//@v1", "git+ssh://git@h/r.git//@v1");
        check("git+file:///srv/r.git//a/b", "git+file:///srv/r.git//a/b");
    }

    #[test]
    fn what_would_tell_a_secret_or_cannot_be_asked_is_refused() {
        for (text, why) in [
            ("", "it is empty"),
            ("http://ana:hush@host/repo", "would be recorded"),
            ("ftp://host/repo", "there are `https://`"),
            ("http:///repo", "names no host"),
            ("http://host/repo?key=hush", "no `?`"),
            ("git://host/repo", "git+https"),
            ("git+https://ana:hush@host/r.git//d@v", "would be recorded"),
            ("git+ext::sh -c x", "there are"),
            ("git+https://h/r.git//../up", "leads out"),
            ("git+https://h/r.git//d@-rf", "begins with"),
            ("ssh://ana:hush@host/r", "write `ssh:"),
            ("https://a/p|ftp://b", "there are `https://`"),
        ] {
            let said = Address::mirrors(text, Path::new("/")).unwrap_err().to_string();
            assert!(said.contains(why) && !said.contains("hush"), "{text}: {said}");
        }
    }
}
