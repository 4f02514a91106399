//! A repository on another host, through the system's `ssh` and a POSIX shell there.
//!
//! Lines for the shell are fixed; paths are arguments in quotes, and nothing else is put into them.

use super::checksums::{self, Checksums, Md5};
use super::elsewhere::{CHANGES_MAX, Elsewhere, busy};
use super::get::{Answer, GetError, Limits, Version};
use crate::ssh::{SshPlace, no_program, quoted};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What our lines end with where there is no such file, and where the list was changed by somebody else.
/// None of them is an exit code of the programs that are called.
const ABSENT: i32 = 44;
const NO_DIR: i32 = 45;
const CHANGED: i32 = 46;
const UNCHANGED: i32 = 47;

/// What a line came to.
struct Ran {
    status: ExitStatus,
    said: String,
}

impl Ran {
    fn is(&self, code: i32) -> bool {
        self.status.code() == Some(code)
    }

    /// What to tell people of one that failed.
    fn why(&self) -> String {
        match (self.status.code(), self.said.trim()) {
            (Some(code), "") => format!("the shell there ended with {code}"),
            (None, "") => "`ssh` was killed".to_owned(),
            (_, said) => said.to_owned(),
        }
    }
}

impl SshPlace {
    fn run(&self, line: &str, input: Stdio, output: Stdio, limits: &Limits) -> io::Result<Ran> {
        let mut errors = tempfile::tempfile()?;
        let mut ssh = self.command(line, limits.connect, limits.silence);
        ssh.stdin(input).stdout(output).stderr(errors.try_clone()?);
        let mut child = ssh.spawn().map_err(no_program)?;
        let end = Instant::now() + limits.total;
        let mut look = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() >= end {
                child.kill()?;
                child.wait()?;
                let why = format!("not done within {} seconds", limits.total.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            std::thread::sleep(look);
            look = (look * 2).min(Duration::from_millis(50));
        };
        let mut said = Vec::new();
        errors.seek(SeekFrom::Start(0))?;
        // Limit: what a host says about a failure is told to people.
        errors.take(4096).read_to_end(&mut said)?;
        Ok(Ran { status, said: String::from_utf8_lossy(&said).into_owned() })
    }

    /// A line in the repository's directory.
    fn inside(&self, line: &str, input: Stdio, output: Stdio, limits: &Limits) -> io::Result<Ran> {
        let path = quoted(&self.path);
        self.run(&format!("cd -- {path} || exit {NO_DIR}; {line}"), input, output, limits)
    }
}

pub(super) fn get(
    place: &SshPlace,
    name: &str,
    to: &mut File,
    bytes_max: u64,
    known: Option<&Version>,
    limits: &Limits,
) -> Result<Answer, GetError> {
    super::get::begin(to, 0)?;
    let file = quoted(&format!("./{name}"));
    let known = match known.and_then(|k| k.etag.as_deref()?.parse::<Md5>().ok()) {
        Some(md5) => {
            format!("sum=$(md5sum < {file}); if [ \"${{sum%% *}}\" = {md5} ]; then exit {UNCHANGED}; fi; ")
        }
        None => String::new(),
    };
    // One byte more than is allowed is enough to see that it is too long.
    let bytes = bytes_max.saturating_add(1);
    let line = format!("[ -f {file} ] || exit {ABSENT}; {known}head -c {bytes} < {file}");
    let output = to.try_clone().map_err(GetError::Here)?;
    let ran = place.inside(&line, Stdio::null(), output.into(), limits);
    let ran = ran.map_err(|e| GetError::Unreachable(e.to_string()))?;
    match () {
        () if ran.status.success() => {}
        () if ran.is(ABSENT) => return Err(GetError::Absent),
        () if ran.is(UNCHANGED) => return Ok(Answer::Unchanged),
        () if ran.is(NO_DIR) => {
            return Err(GetError::Unreachable(format!("there is no directory `{}` there", place.path)));
        }
        () => return Err(GetError::Unreachable(ran.why())),
    }
    let bytes = to.metadata().map_err(GetError::Here)?.len();
    if bytes > bytes_max { Err(GetError::TooLong(bytes_max)) } else { Ok(Answer::Bytes(Version::default())) }
}

fn failed(ran: &Ran) -> io::Error {
    io::Error::other(ran.why())
}

/// The list there, as it is written and as it is read.
fn list(place: &SshPlace, limits: &Limits) -> io::Result<(Vec<u8>, Checksums)> {
    let (mut file, mut bytes) = (tempfile::tempfile()?, Vec::new());
    match get(place, checksums::FILE, &mut file, checksums::BYTES_MAX, None, limits) {
        Ok(_) => {
            file.seek(SeekFrom::Start(0))?;
            file.read_to_end(&mut bytes)?;
        }
        Err(GetError::Absent) => {}
        Err(e) => return Err(io::Error::other(e)),
    }
    let (sums, _) = Checksums::read(&bytes).map_err(io::Error::other)?;
    Ok((bytes, sums))
}

impl Elsewhere for SshPlace {
    fn free_bytes(&self, limits: &Limits) -> io::Result<Option<u64>> {
        let line = format!("mkdir -p -- {0} && df -Pk -- {0}", quoted(&self.path));
        let mut output = tempfile::tempfile()?;
        let ran = self.run(&line, Stdio::null(), output.try_clone()?.into(), limits)?;
        if !ran.status.success() {
            return Err(failed(&ran));
        }
        let mut text = String::new();
        output.seek(SeekFrom::Start(0))?;
        output.take(1 << 16).read_to_string(&mut text)?;
        let blocks = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
        match blocks {
            Some(blocks) => Ok(Some(blocks.saturating_mul(1024))),
            None => Err(io::Error::other("`df` there says nothing that is understood")),
        }
    }

    fn list(&self, limits: &Limits) -> io::Result<Checksums> {
        Ok(list(self, limits)?.1)
    }

    /// What is listed may have been removed by hand, or damaged: it is read there.
    fn has(&self, name: &str, md5: Md5, _bytes: u64, limits: &Limits) -> io::Result<bool> {
        let file = quoted(&format!("./{name}"));
        let line = format!("sum=$(md5sum < {file}) && [ \"${{sum%% *}}\" = {md5} ]");
        Ok(self.inside(&line, Stdio::null(), Stdio::null(), limits)?.status.success())
    }

    /// Beside first, looked at, then under its name in one step.
    fn put(&self, name: &str, from: &File, md5: Md5, limits: &Limits) -> io::Result<()> {
        let partial = quoted(&format!("./{}{name}.{}", super::files::PARTIAL, std::process::id()));
        let line = format!(
            "umask 022; trap 'rm -f -- '{partial} EXIT; cat > {partial} && chmod 644 {partial} && \
             sum=$(md5sum < {partial}) && \
             {{ [ \"${{sum%% *}}\" = {md5} ] || {{ echo \"what arrived is ${{sum%% *}}, not {md5}\" >&2; exit 1; }}; }} && \
             mv -f -- {partial} {0}",
            quoted(&format!("./{name}"))
        );
        let mut from = from.try_clone()?;
        from.seek(SeekFrom::Start(0))?;
        let ran = self.inside(&line, from.into(), Stdio::null(), limits)?;
        if ran.status.success() { Ok(()) } else { Err(failed(&ran)) }
    }

    fn take_away(&self, name: &str, limits: &Limits) -> io::Result<bool> {
        let file = quoted(&format!("./{name}"));
        let line = format!("[ -e {file} ] || exit {ABSENT}; rm -f -- {file}");
        let ran = self.inside(&line, Stdio::null(), Stdio::null(), limits)?;
        match () {
            () if ran.status.success() => Ok(true),
            () if ran.is(ABSENT) => Ok(false),
            () => Err(failed(&ran)),
        }
    }

    /// It is written only over what was read: whoever was faster is not overwritten, and where there is a `flock`
    /// nobody else who takes it writes at the same time.
    fn update(&self, limits: &Limits, change: &mut dyn FnMut(&mut Checksums)) -> io::Result<()> {
        for _ in 0..CHANGES_MAX {
            let (bytes, mut sums) = list(self, limits)?;
            change(&mut sums);
            let mut new = tempfile::tempfile()?;
            io::Write::write_all(&mut new, sums.write().as_bytes())?;
            new.seek(SeekFrom::Start(0))?;
            let partial = quoted(&format!("./{}list.{}", super::files::PARTIAL, std::process::id()));
            let line = format!(
                "umask 022; exec 9< .; if command -v flock > /dev/null; then flock 9; fi; \
                 trap 'rm -f -- '{partial} EXIT; cat > {partial} || exit 1; \
                 if [ -e {list} ]; then sum=$(md5sum < {list}); else sum=$(md5sum < /dev/null); fi; \
                 [ \"${{sum%% *}}\" = {was} ] || exit {CHANGED}; chmod 644 {partial} && mv -f -- {partial} {list}",
                list = quoted(checksums::FILE),
                was = Md5::of(&bytes)
            );
            let ran = self.inside(&line, new.into(), Stdio::null(), limits)?;
            if ran.status.success() {
                return Ok(());
            }
            if !ran.is(CHANGED) {
                return Err(failed(&ran));
            }
        }
        Err(busy())
    }
}
