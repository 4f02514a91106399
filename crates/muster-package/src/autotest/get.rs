//! One file out of a repository, into a file of ours. Nothing of it is believed yet.

use super::checksums::Md5;
use super::location::Location;
use super::{http, ssh};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Until a connection is there.
    pub connect: Duration,
    /// Until something more comes.
    pub silence: Duration,
    /// For one file, with all tries.
    pub total: Duration,
    /// How often a file is asked for where something fails that may pass.
    pub tries: u32,
    /// How long it is waited before the second try; then twice as long, and so on.
    pub pause: Duration,
    /// The certificates (PEM) of the authorities by which web servers are known; `None`: what the system has.
    pub ca_file: Option<PathBuf>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(60),
            total: Duration::from_secs(3600),
            tries: 4,
            pause: Duration::from_millis(500),
            ca_file: None,
        }
    }
}

/// By what a server knows a version of a file, to be asked whether there is another. Where a repository is no
/// web server, the MD5 of the bytes is the tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    /// Its entity tag.
    pub(super) etag: Option<String>,
    /// When it was last modified, as the server says it.
    pub(super) modified: Option<String>,
}

/// What came of asking for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is in the file that was given, as this version.
    Bytes(Version),
    /// It is the version that was named.
    Unchanged,
}

/// Why there is no file.
#[derive(Debug, Error)]
pub enum GetError {
    /// The repository answers, and has no such file.
    #[error("there is no such file")]
    Absent,
    /// The repository does not answer, or breaks off each time. It is not asked again.
    #[error("{0}")]
    Unreachable(String),
    /// The repository answers, and will not give it.
    #[error("{0}")]
    Refused(String),
    /// It is longer than it may be.
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    /// It cannot be written here, which is no fault of the repository.
    #[error("it cannot be written: {0}")]
    Here(#[source] io::Error),
}

/// Longest file that is fetched.
// Limit: what a repository sends may have no end.
pub(super) const BYTES_MAX: u64 = 64 << 30;

/// Gets a file of this name, of at most so many bytes, unless it is the version that is named.
pub(super) fn get(
    from: &Location,
    name: &str,
    to: &mut File,
    bytes_max: u64,
    known: Option<&Version>,
    limits: &Limits,
) -> Result<Answer, GetError> {
    match from {
        Location::Dir(dir) => copy(dir, name, to, bytes_max, known),
        Location::Http(place) => http::get(place, name, to, bytes_max, known, limits),
        Location::Ssh(place) => ssh::get(place, name, to, bytes_max, known, limits),
    }
}

fn copy(
    dir: &Path,
    name: &str,
    to: &mut File,
    bytes_max: u64,
    known: Option<&Version>,
) -> Result<Answer, GetError> {
    // A directory that is not there is a repository that is gone, not one without this file.
    let is_there = dir.is_dir();
    let gone = || GetError::Unreachable("the directory is not there".to_owned());
    let mut from = match File::open(dir.join(name)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound && is_there => return Err(GetError::Absent),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(gone()),
        Err(e) => return Err(GetError::Refused(e.to_string())),
    };
    if !from.metadata().is_ok_and(|m| m.is_file()) {
        return Err(GetError::Refused("it is not a file".to_owned()));
    }
    let broken = |e| GetError::Unreachable(format!("it cannot be read: {e}"));
    if let Some(known) = known.and_then(|k| k.etag.as_deref()) {
        if Md5::of_reader(&from).map_err(broken)?.to_string() == known {
            return Ok(Answer::Unchanged);
        }
        from.seek(SeekFrom::Start(0)).map_err(broken)?;
    }
    begin(to, 0)?;
    pour(&mut from, to, bytes_max, broken)?;
    Ok(Answer::Bytes(Version::default()))
}

/// Cuts the file to so many bytes, and goes on behind them.
pub(super) fn begin(to: &mut File, bytes: u64) -> Result<(), GetError> {
    to.set_len(bytes).and_then(|()| to.seek(SeekFrom::Start(bytes))).map(drop).map_err(GetError::Here)
}

/// Copies all that comes, and says how much it was.
pub(super) fn pour<E: From<GetError>>(
    from: &mut impl Read,
    to: &mut File,
    bytes_max: u64,
    broken: impl Fn(io::Error) -> E,
) -> Result<u64, E> {
    let mut buffer = vec![0; 1 << 17];
    let mut bytes = 0;
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(broken(e)),
        };
        bytes += n as u64;
        if bytes > bytes_max {
            return Err(GetError::TooLong(bytes_max).into());
        }
        to.write_all(&buffer[..n]).map_err(GetError::Here)?;
    }
}
