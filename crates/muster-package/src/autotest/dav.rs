//! Writes to a repository behind a web server that takes files by `PUT` and takes them away by `DELETE`: nginx with
//! `dav_methods PUT DELETE`, Apache with `Dav On`, and others that know so much of WebDAV.
//!
//! There is no lock that all of these have. The list is written over what was read and nothing else (`If-Match`),
//! and is read again then: where the server heeds the condition no entry is lost, and where it does not, what two
//! packagers write in the same moment may be.

use super::checksums::{self, Checksums, Md5};
use super::elsewhere::{CHANGES_MAX, Elsewhere, busy};
use super::get::{Answer, BYTES_MAX, GetError, Limits};
use super::http;
use super::location::{HttpPlace, shown};
use crate::web;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::time::Instant;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

/// What is written is written where it was said, or not at all.
const REDIRECTS_MAX: u32 = 0;

impl Elsewhere for HttpPlace {
    fn free_bytes(&self, _limits: &Limits) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn list(&self, limits: &Limits) -> io::Result<Checksums> {
        Ok(List::read(self, limits)?.sums)
    }

    /// Its entry says what it is; that it is there and as long is asked, without moving it.
    fn has(&self, name: &str, _md5: Md5, bytes: u64, limits: &Limits) -> io::Result<bool> {
        let answer = tried(self, name, limits, |agent, url| agent.head(url).call())?;
        Ok(answer.status().is_success() && http::length(answer.headers()) == Some(bytes))
    }

    fn put(&self, name: &str, from: &File, md5: Md5, limits: &Limits) -> io::Result<()> {
        let answer = tried(self, name, limits, |agent, url| {
            let mut from = from;
            from.seek(SeekFrom::Start(0))?;
            agent.put(url).send(from)
        })?;
        if !answer.status().is_success() {
            return Err(refusal(answer.status()));
        }
        // A server says that it has a file, and not which.
        let mut back = tempfile::tempfile()?;
        http::get(self, name, &mut back, BYTES_MAX, None, limits).map_err(io::Error::other)?;
        back.seek(SeekFrom::Start(0))?;
        let arrived = Md5::of_reader(back)?;
        if arrived == md5 {
            return Ok(());
        }
        Err(io::Error::other(format!("what arrived is {arrived}, not {md5}")))
    }

    fn take_away(&self, name: &str, limits: &Limits) -> io::Result<bool> {
        let answer = tried(self, name, limits, |agent, url| agent.delete(url).call())?;
        match answer.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(false),
            status if status.is_success() => Ok(true),
            status => Err(refusal(status)),
        }
    }

    fn update(&self, limits: &Limits, change: &mut dyn FnMut(&mut Checksums)) -> io::Result<()> {
        for _ in 0..CHANGES_MAX {
            let List { bytes, mut sums, tag } = List::read(self, limits)?;
            change(&mut sums);
            let text = sums.write();
            let is_as_it_was = bytes.as_ref().map_or(sums.is_empty(), |bytes| bytes == text.as_bytes());
            if is_as_it_was {
                return Ok(());
            }
            let answer = tried(self, checksums::FILE, limits, |agent, url| {
                let request = agent.put(url);
                let request = match (&bytes, &tag) {
                    (None, _) => request.header(header::IF_NONE_MATCH, "*"),
                    (Some(_), Some(tag)) => request.header(header::IF_MATCH, tag),
                    (Some(_), None) => request,
                };
                request.send(text.as_bytes())
            })?;
            match answer.status() {
                StatusCode::PRECONDITION_FAILED => continue,
                status if status.is_success() => {}
                status => return Err(refusal(status)),
            }
            if List::read(self, limits)?.bytes.is_some_and(|bytes| bytes == text.as_bytes()) {
                return Ok(());
            }
        }
        Err(busy())
    }
}

/// The list, as it is there.
struct List {
    /// `None` where there is none.
    bytes: Option<Vec<u8>>,
    sums: Checksums,
    /// By what the server knows it from others.
    tag: Option<String>,
}

impl List {
    fn read(place: &HttpPlace, limits: &Limits) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        let tag = match http::get(place, checksums::FILE, &mut file, checksums::BYTES_MAX, None, limits) {
            Ok(Answer::Bytes(version)) => version.etag.filter(|tag| !tag.starts_with("W/")),
            Ok(Answer::Unchanged) => None,
            Err(GetError::Absent) => {
                return Ok(Self { bytes: None, sums: Checksums::default(), tag: None });
            }
            Err(e) => return Err(io::Error::other(e)),
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        // What is no list is not overwritten: it may be anything of somebody's.
        let (sums, _) = Checksums::read(&bytes).map_err(io::Error::other)?;
        Ok(Self { bytes: Some(bytes), sums, tag })
    }
}

/// Asks until there is an answer that another try would not change.
fn tried(
    place: &HttpPlace,
    name: &str,
    limits: &Limits,
    mut ask: impl FnMut(&Agent, &str) -> Result<Response<Body>, ureq::Error>,
) -> io::Result<Response<Body>> {
    let url = http::url(place, name);
    let end = Instant::now() + limits.total;
    let mut pause = limits.pause;
    for attempt in 1.. {
        let left = end.saturating_duration_since(Instant::now());
        let agent = http::agent(&url, limits, left, REDIRECTS_MAX).map_err(io::Error::other)?;
        let why = match ask(&agent, &url) {
            Ok(answer) if may_pass(answer.status()) => format!("the server answers {}", answer.status()),
            Ok(answer) => return Ok(answer),
            Err(e) => match web::distrust(&e) {
                Some(why) => return Err(io::Error::other(why)),
                // Its text may hold the address with all that is in it.
                None => e.to_string().replace(&url, &shown(&url)),
            },
        };
        if attempt >= limits.tries || Instant::now() + pause >= end {
            return Err(io::Error::other(format!("{why} ({attempt} tries)")));
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    unreachable!("the last try returns")
}

fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// What people are told of an answer that is no success.
fn refusal(status: StatusCode) -> io::Error {
    let why = match status.as_u16() {
        401 | 403 => "the server does not let you write there",
        404 | 409 => "there is no such directory on the server",
        405 | 501 => {
            "the server takes no files: have it allow PUT and DELETE (nginx: `dav_methods PUT DELETE`), or give the \
             directory that it exports, or `ssh://HOST/PATH`"
        }
        413 => "the server takes no files of this length (nginx: `client_max_body_size`)",
        507 => return io::Error::new(io::ErrorKind::StorageFull, "the server has no room for it"),
        300..=399 => "the server leads on to another address: give that one",
        _ => return io::Error::other(format!("the server answers {status}")),
    };
    io::Error::new(io::ErrorKind::Unsupported, format!("{why} ({status})"))
}
