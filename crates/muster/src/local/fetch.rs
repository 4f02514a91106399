//! Fetches one file by its URL, and finds out what it is. Nothing of it is trusted: not its name, not its
//! length. What may be secret in the URL (user, password, query) is used to fetch it, and told to nobody.

use crate::error::Complaint;
use muster_core::digest::Digest;
use muster_core::inputs::Package;
use muster_core::outcome::ExitCode;
use muster_package::web;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::Agent;
use ureq::tls::TlsConfig;

/// How long a server may take to take a connection up.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// How long it may take to begin an answer.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// Tries, with a pause that grows between them.
const TRIES: u32 = 4;
/// Longest file that is fetched.
// Limit: what a URL leads to may have no end.
const BYTES_MAX: u64 = 64 << 30;

/// A file that was fetched.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) package: Package,
    pub(crate) file: PathBuf,
}

/// Fetches what this URL leads to into a file of this directory.
///
/// # Errors
/// It is no URL, leads nowhere, or cannot be had.
pub(crate) fn fetch(
    what: &str,
    url: &str,
    into: &Path,
    ca_file: Option<&Path>,
) -> Result<Fetched, anyhow::Error> {
    let source = Source::parse(url).map_err(|why| {
        Complaint::usage(format!("`{}` is nothing that {what} can be fetched from: {why}", shown(url)))
            .hint("an address is `https://HOST/PATH`, `http://HOST/PATH` or `file:/PATH`")
    })?;
    let name = name(url)
        .ok_or_else(|| Complaint::usage(format!("`{}` does not end with the name of a file", shown(url))))?;
    let file = into.join(what);
    let tls = if source == Source::Https { Some(tls(ca_file)?) } else { None };
    let mut pause = Duration::from_millis(500);
    for attempt in 1.. {
        match source.copy(url, &file, tls.as_ref()) {
            Ok((digest, bytes)) => {
                let package = Package { url: shown(url), name, digest, bytes, root: String::new() };
                return Ok(Fetched { package, file });
            }
            Err(FetchError { may_pass: true, .. }) if attempt < TRIES => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(FetchError { code, why, .. }) => {
                return Err(Complaint::new(code, format!("{what} cannot be fetched from `{}`", shown(url)))
                    .because(why)
                    .into());
            }
        }
    }
    unreachable!("the last try returns")
}

struct FetchError {
    code: ExitCode,
    why: Box<dyn std::error::Error + Send + Sync>,
    may_pass: bool,
}

/// It is not there, or not for us: nothing that passes.
fn no(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FetchError {
    FetchError { code: ExitCode::Usage, why: why.into(), may_pass: false }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self { code: ExitCode::Lab, why: error.into(), may_pass: false }
    }
}

#[derive(PartialEq, Eq)]
enum Source {
    Http,
    Https,
    File(PathBuf),
}

impl Source {
    fn parse(url: &str) -> Result<Self, String> {
        if let Some(rest) = url.strip_prefix("file:") {
            let path = rest.strip_prefix("//localhost").or_else(|| rest.strip_prefix("//")).unwrap_or(rest);
            let path = decoded(path).ok_or("its `%` are not followed by two hexadecimal digits")?;
            return if path.starts_with('/') {
                Ok(Self::File(path.into()))
            } else {
                Err("the path of a `file:` is absolute".to_owned())
            };
        }
        match url.split_once("://") {
            Some(("http", rest)) if !rest.is_empty() && !rest.starts_with('/') => Ok(Self::Http),
            Some(("https", rest)) if !rest.is_empty() && !rest.starts_with('/') => Ok(Self::Https),
            Some((scheme, _)) => Err(format!("`{scheme}:` is not known")),
            None => Err("it has no scheme".to_owned()),
        }
    }

    fn copy(&self, url: &str, to: &Path, tls: Option<&TlsConfig>) -> Result<(Digest, u64), FetchError> {
        match self {
            Self::File(path) => match File::open(path) {
                Ok(from) if from.metadata()?.is_file() => save(from, to, None),
                Ok(_) => Err(no("it is not a file")),
                Err(e) => Err(no(e)),
            },
            Self::Http | Self::Https => {
                let mut config = Agent::config_builder()
                    .http_status_as_error(false)
                    // What is asked for safely is not got in the clear.
                    .https_only(*self == Self::Https)
                    .timeout_connect(Some(CONNECT_MAX))
                    .timeout_recv_response(Some(ANSWER_MAX))
                    .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")));
                if let Some(tls) = tls {
                    config = config.tls_config(tls.clone());
                }
                let lost = |e: ureq::Error| match web::distrust(&e) {
                    Some(why) => no(why),
                    None => FetchError {
                        code: ExitCode::Lab,
                        // Its text may hold the address with all that is in it.
                        why: e.to_string().replace(url, &shown(url)).into(),
                        may_pass: true,
                    },
                };
                let mut answer = Agent::new_with_config(config.build()).get(url).call().map_err(lost)?;
                let status = answer.status();
                if !status.is_success() {
                    let may_pass = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
                    let code = if may_pass { ExitCode::Lab } else { ExitCode::Usage };
                    return Err(FetchError {
                        code,
                        why: format!("the server answers {status}").into(),
                        may_pass,
                    });
                }
                let length =
                    answer.headers().get("content-length").and_then(|l| l.to_str().ok()?.parse().ok());
                save(answer.body_mut().as_reader(), to, length)
                    .map_err(|e| FetchError { may_pass: true, ..e })
            }
        }
    }
}

/// What connections are made with: to whom this file vouches for, else to whom the system trusts.
fn tls(ca_file: Option<&Path>) -> Result<TlsConfig, anyhow::Error> {
    let hint = "name the certificate of the server's authority (PEM): `--fetch-ca FILE`, or `fetch-ca-file` in the user's configuration";
    web::trusting(ca_file).map_err(|why| Complaint::usage(why.to_string()).hint(hint).into())
}

/// Saves what comes. `length`: how much should.
fn save(from: impl Read, to: &Path, length: Option<u64>) -> Result<(Digest, u64), FetchError> {
    let mut from = from.take(BYTES_MAX + 1);
    let (mut file, mut hash) = (File::create(to)?, blake3::Hasher::new());
    let (mut buffer, mut bytes) = (vec![0; 1 << 18], 0);
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        hash.update(&buffer[..n]);
        file.write_all(&buffer[..n])?;
        bytes += n as u64;
    }
    if bytes > BYTES_MAX {
        return Err(no(format!("it is longer than {BYTES_MAX} bytes")));
    }
    if length.is_some_and(|l| l != bytes) {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it was cut on its way").into());
    }
    Ok((Digest(*hash.finalize().as_bytes()), bytes))
}

/// A URL without what may be secret.
pub(crate) fn shown(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let url = &url[..end];
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    format!("{scheme}://{place}{path}")
}

/// The name of the file that a URL leads to.
fn name(url: &str) -> Option<String> {
    let url = shown(url);
    let path = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let (_, name) = path.trim_start_matches("file:").rsplit_once('/')?;
    decoded(name).filter(|name| Package::is_name(name))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for (url, expected) in [
            ("http://ana:pass@host:80/a/b.zip?token=x#y", "http://host:80/a/b.zip"),
            ("http://host/b.zip", "http://host/b.zip"),
            ("http://host?token=/a@b", "http://host"),
            ("file:/a/b.tar", "file:/a/b.tar"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn the_name_is_the_last_part_and_can_be_nothing_but_a_name() {
        assert_eq!(name("http://h/a/b%20c.zip?x=/y").as_deref(), Some("b c.zip"));
        assert_eq!(name("file:/a/b.tar").as_deref(), Some("b.tar"));
        for bad in
            ["http://h/", "http://h", "http://h/..", "http://h/%2e%2e", "http://h/a%2Fb", "http://h/%zz"]
        {
            assert_eq!(name(bad), None, "{bad}");
        }
    }
}
