//! Where a repository is, as it is written in `global_config.ini` and on the command line.

use crate::ssh::SshPlace;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use thiserror::Error;

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// A directory of this host.
    Dir(PathBuf),
    /// A directory that a web server exports. It is written where the server takes files.
    Http(HttpPlace),
    /// A directory of another host, as the system's `ssh` reaches it.
    Ssh(SshPlace),
}

/// A directory of a web server: `http://HOST[:PORT]/PATH`, without a `/` at its end.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HttpPlace {
    pub(super) base: String,
}

/// What is not where a repository can be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no repository: {why}")]
pub struct NoLocation {
    text: String,
    why: &'static str,
}

impl FromStr for Location {
    type Err = NoLocation;

    fn from_str(text: &str) -> Result<Self, NoLocation> {
        let no = |why| NoLocation { text: shown(text), why };
        if text.contains(['\n', '\0']) {
            return Err(no("it has characters that belong in no address"));
        }
        match text.split_once("://") {
            Some(("http" | "https", rest)) => {
                let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if place.rsplit('@').next().unwrap_or_default().is_empty() || rest.contains(['?', '#', ' ']) {
                    return Err(no("write `http://HOST[:PORT]/PATH`, or `https:`"));
                }
                Ok(Self::Http(HttpPlace { base: text.trim_end_matches('/').to_owned() }))
            }
            Some(("ssh", rest)) => SshPlace::parse(rest).map(Self::Ssh).map_err(no),
            Some(("file", rest)) => match rest.strip_prefix("localhost").unwrap_or(rest) {
                path if path.starts_with('/') => Ok(Self::Dir(path.into())),
                _ => Err(no("the path of a `file:` is absolute")),
            },
            Some(("git", _)) => Err(no("packages are not fetched from git; build them from a checkout")),
            Some(("autoserv", _)) => Err(no("a server that pushes packages is asked by its clients alone")),
            Some(_) => Err(no("there are `http://`, `https://`, `ssh://`, `file://` and directories")),
            None if text.is_empty() => Err(no("it is empty")),
            None => Ok(Self::Dir(text.into())),
        }
    }
}

/// Without what may be secret.
pub(super) fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let (place, path) = rest.split_at(end);
            let place = match place.rsplit_once('@') {
                // The user of `ssh` is no secret, and a password is.
                Some((user, host)) if scheme == "ssh" => {
                    format!("{}@{host}", user.split(':').next().unwrap_or_default())
                }
                Some((_, host)) => host.to_owned(),
                None => place.to_owned(),
            };
            format!("{scheme}://{place}{}", path.split('?').next().unwrap_or_default())
        }
        None => url.to_owned(),
    }
}

impl Location {
    /// The address by which a client can ask for it itself, where there is one. It may have a secret in it.
    pub fn url(&self) -> Option<&str> {
        match self {
            // Autotest's clients take `https:` for a directory of their own.
            Self::Http(place) => Some(&*place.base).filter(|url| url.starts_with("http://")),
            Self::Dir(_) | Self::Ssh(_) => None,
        }
    }

    /// The directory, where it is one of this host.
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Self::Dir(dir) => Some(dir),
            Self::Http(_) | Self::Ssh(_) => None,
        }
    }
}

/// As it may be told to anybody.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(dir) => write!(f, "{}", dir.display()),
            Self::Http(place) => write!(f, "{place:?}"),
            Self::Ssh(place) => write!(f, "{place}"),
        }
    }
}

impl fmt::Debug for HttpPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_written_as_they_always_were() {
        let check =
            |text: &str, shown: &str| assert_eq!(text.parse::<Location>().unwrap().to_string(), shown);
        check("/srv/packages/", "/srv/packages/");
        check("packages", "packages");
        check("file:///srv/packages", "/srv/packages");
        check("http://h:8082/static/b/autotest/packages/", "http://h:8082/static/b/autotest/packages");
        check("http://ana:secret@h/p", "http://h/p");
        check("https://h/p/", "https://h/p");
        check("ssh://ana@h:2222/srv/p/", "ssh://ana@h:2222/srv/p");
        check("ssh://[::1]/srv/p?config=/k", "ssh://[::1]/srv/p");
    }

    /// Row 29 among them: an address without a user is complete.
    #[test]
    fn row_29_a_user_may_be_left_out_and_nothing_else() {
        assert_eq!(
            "ssh://h/p".parse(),
            Ok(Location::Ssh(SshPlace { host: "h".into(), port: None, path: "/p".into(), config: None }))
        );
        for text in [
            "",
            "ssh://foo",
            "ssh:///bar",
            "ssh://foo/",
            "ssh://-oProxyCommand=x/p",
            "ssh://u:secret@h/p",
            "ssh://@h/p",
            "ssh://h:0/p",
            "http://",
            "http:///p",
            "http://h/p?x",
            "https://",
            "git://h/p",
            "autoserv://",
            "ftp://h/p",
            "file://h/p",
            "a\nb",
        ] {
            let said = text.parse::<Location>().expect_err(text).to_string();
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
