//! Finds the program of a process, and says what is wrong with it where it cannot be started.

use super::image::NulInside;
use super::spawn::{Failed, Stage};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Searched where the environment has no `PATH`, as `execvp` does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("no program was given")]
    NoProgram,
    #[error("program `{program}` was not found in PATH `{path}`")]
    NotInPath { program: String, path: String },
    #[error("no such program: `{0}`")]
    NoSuchProgram(String),
    #[error("`{program}` exists, but what its first line or header names as its interpreter does not")]
    NoInterpreter { program: String },
    #[error("`{0}` is not executable")]
    NotExecutable(String),
    #[error("no such directory: `{}`", .0.display())]
    NoDirectory(PathBuf),
    #[error("cannot enter the directory `{}`: {error}", .dir.display())]
    Directory { dir: PathBuf, error: io::Error },
    #[error("cannot create the directory `{}`: {error}", .dir.display())]
    MakeDirectory { dir: PathBuf, error: io::Error },
    #[error("arguments and environment of `{0}` are too long for the system")]
    TooLong(String),
    #[error("a null byte in an argument, variable or path: `{}`", .0.escape_default())]
    NulInside(String),
    #[error("cannot start `{program}`: {error}")]
    System { program: String, error: io::Error },
}

impl From<NulInside> for StartError {
    fn from(NulInside(text): NulInside) -> Self {
        Self::NulInside(text)
    }
}

/// The path to execute. A name without `/` is looked up as `execvp` does, in the `PATH` of `env`, whose
/// relative entries are relative to `dir`.
///
/// Nothing is remembered between calls, as a test may just have built the program another one names; the
/// four look-ups of a usual `PATH` cost 2 µs, a hundredth of the cheapest program found that way.
pub(super) fn find(program: &str, env: &[(String, String)], dir: &Path) -> Result<PathBuf, StartError> {
    if program.is_empty() {
        return Err(StartError::NoProgram);
    }
    if program.contains('/') {
        return Ok(PathBuf::from(program));
    }
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    let mut refused = None;
    let mut candidate = Vec::with_capacity(64);
    for entry in path.split(':') {
        candidate.clear();
        if !entry.starts_with('/') {
            candidate.extend_from_slice(dir.as_os_str().as_bytes());
            candidate.push(b'/');
        }
        candidate.extend_from_slice(entry.as_bytes());
        candidate.push(b'/');
        candidate.extend_from_slice(program.as_bytes());
        let found = Path::new(OsStr::from_bytes(&candidate));
        match accessat(CWD, found, Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) if found.is_file() => return Ok(found.to_path_buf()),
            Err(rustix::io::Errno::ACCESS) if found.is_file() => refused = Some(found.to_path_buf()),
            _ => {}
        }
    }
    Err(match refused {
        Some(found) => StartError::NotExecutable(found.display().to_string()),
        None => StartError::NotInPath { program: program.to_owned(), path: path.to_owned() },
    })
}

/// What a failed start means. `program` is the path that was executed, `dir` where.
pub(super) fn explain(failed: Failed, program: &Path, dir: &Path) -> StartError {
    let Failed { stage, error } = failed;
    let name = program.display().to_string();
    let errno = error.raw_os_error().unwrap_or(0);
    let place = dir.join(program);
    match (stage, errno) {
        (Stage::Dir, libc::ENOENT) => StartError::NoDirectory(dir.to_path_buf()),
        (Stage::Dir, _) => StartError::Directory { dir: dir.to_path_buf(), error },
        (Stage::Exec, libc::ENOENT) if place.exists() => StartError::NoInterpreter { program: name },
        (Stage::Exec, libc::ENOENT | libc::ENOTDIR) => StartError::NoSuchProgram(name),
        (Stage::Exec, libc::EACCES | libc::EPERM) => StartError::NotExecutable(name),
        (Stage::Exec, libc::E2BIG) => StartError::TooLong(name),
        (Stage::Clone | Stage::Prepare | Stage::Exec, _) => StartError::System { program: name, error },
    }
}

/// Whether trying again in a moment may help: another thread's child held the program open for writing
/// between its fork and its exec, or the system was short of processes.
pub(super) fn may_pass(failed: &Failed) -> bool {
    match (failed.stage, failed.error.raw_os_error()) {
        (Stage::Exec, Some(libc::ETXTBSY)) => true,
        (Stage::Clone, Some(code)) => code == libc::EAGAIN,
        _ => false,
    }
}
