//! The processes and users of this host, from `/proc` and `/etc/passwd`.

use crate::device::Process;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// All processes, by number. Those that end meanwhile may be missing.
pub(crate) fn list() -> std::io::Result<Vec<Process>> {
    list_of(Path::new("/proc"))
}

/// The processes that this `/proc` has.
pub(crate) fn list_of(proc: &Path) -> std::io::Result<Vec<Process>> {
    let mut all: Vec<Process> = numbers(proc)?.filter_map(|pid| one(proc, pid)).collect();
    all.sort_by_key(|p| p.pid);
    Ok(all)
}

fn numbers(proc: &Path) -> std::io::Result<impl Iterator<Item = u32>> {
    let entries = std::fs::read_dir(proc)?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

fn one(proc: &Path, pid: u32) -> Option<Process> {
    let dir = proc.join(pid.to_string());
    let uid = std::fs::metadata(&dir).ok()?.uid();
    let comm = std::fs::read(dir.join("comm")).ok()?;
    let comm = String::from_utf8_lossy(&comm).trim_end_matches('\n').to_owned();
    let line = std::fs::read(dir.join("cmdline")).unwrap_or_default();
    let args: Vec<_> = line.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
    // The kernel keeps fifteen bytes of a name; the rest may be found in the command line.
    let long = args.first().and_then(|first| first.rsplit('/').next()).unwrap_or_default();
    let name = if comm.len() >= 15 && long.starts_with(&comm) { long.to_owned() } else { comm };
    let command = args.join(" ").trim_end().to_owned();
    Some(Process { pid, uid: Some(uid), name, command: (!command.is_empty()).then_some(command) })
}

/// Kills every process with this variable in its environment, but not `except`; how many there were.
pub(crate) fn kill_marked(name: &str, value: &str, except: Pid) -> usize {
    let wanted = format!("{name}={value}");
    let has_mark = |pid: u32| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|b| *b == 0).any(|v| v == wanted.as_bytes()))
    };
    let mut killed = 0;
    for pid in numbers(Path::new("/proc")).into_iter().flatten().filter(|pid| has_mark(*pid)) {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|p| *p != except);
        let Some(number) = number else { continue };
        // A descriptor first, and only then the decision, so that no later user of the number is hit.
        let Ok(pidfd) = pidfd_open(number, PidfdFlags::empty()) else { continue };
        if has_mark(pid) && pidfd_send_signal(&pidfd, Signal::KILL).is_ok() {
            killed += 1;
        }
    }
    killed
}

/// A line of `/etc/passwd`.
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
}

/// The user of this name.
pub(crate) fn user(name: &str) -> Option<User> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [found, _, uid, gid, _, home, ..] = fields[..] else { return None };
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        (found == name).then(|| User { uid, gid, home: home.to_owned() })
    })
}

/// The name that `/etc/passwd` has for the user of this number, or the number.
pub fn user_name(uid: u32) -> String {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}
