//! Commands about the device as a whole: the clock, packages, processes by name, the reboot.

use super::Shared;
use super::replies::Reply;
use super::session::{Over, Session};
use crate::device::{Captured, Command, Exit};
use crate::host::run::{self, RunError};
use crate::host::{facts, processes};
use crate::until::Until;
use rustix::fd::AsFd as _;
use rustix::process::{Pid, Signal};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a package may take, and a tool.
const INSTALL_MAX: Duration = Duration::from_secs(600);
const TOOL_MAX: Duration = Duration::from_secs(300);
/// How long a killed process may take to go.
const KILL_WAIT: Duration = Duration::from_secs(2);
/// How long a program that reboots may take to say that it cannot.
const REBOOT_MAX: Duration = Duration::from_secs(60);

/// Where is kept whom to call after a reboot.
pub(super) fn call_back_file(shared: &Shared) -> PathBuf {
    shared.config.state_dir.join("update.info")
}

/// Commands whose answer is a text and that need no more than their arguments.
pub(super) fn simple(shared: &Arc<Shared>, word: &str, args: &[String]) -> Option<Reply> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Some(match (word, &*args) {
        ("clok", _) => Reply::text(jiff::Timestamp::now().as_millisecond().to_string()),
        ("settime", [date, time]) => {
            let text = format!("{date} {time}");
            match jiff::civil::DateTime::strptime("%Y/%m/%d %H:%M:%S", &text)
                .and_then(|t| t.to_zoned(jiff::tz::TimeZone::system()))
            {
                Ok(time) => set_clock(time.timestamp()),
                Err(_) => Reply::text("Invalid argument(s)"),
            }
        }
        ("setutime", [millis]) => {
            match millis.parse().ok().and_then(|m| jiff::Timestamp::from_millisecond(m).ok()) {
                Some(time) => set_clock(time),
                None => Reply::text("Invalid argument(s)"),
            }
        }
        ("tzget", _) => {
            let zone = jiff::tz::TimeZone::system();
            Reply::text(zone.iana_name().unwrap_or("UTC"))
        }
        ("tzset", [_, ..]) => Reply::warning("tzset: the zone of this system is not set by this agent"),
        ("getapproot", [name]) => {
            Reply::warning(format!("{name}: packages have no folder of their own here"))
        }
        ("alrt", ["on" | "off", ..]) => Reply::text(""),
        ("activity", _) => Reply::text(""),
        ("dead", [name]) => {
            let found = processes::list().unwrap_or_default().iter().any(|p| p.name.contains(name));
            Reply::text(format!("{name} is {}", if found { "ok" } else { "hung or unresponsive" }))
        }
        ("stat", [pid]) => match pid.parse::<u32>().ok().and_then(memory_of) {
            Some(text) => Reply::text(text),
            None => Reply::warning(format!("stat: there is no process {pid}")),
        },
        ("test", _) => Reply::text(format!("Memory of this agent:\n{}", memory_of(std::process::id())?)),
        _ => {
            let _ = shared;
            return None;
        }
    })
}

fn memory_of(pid: u32) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let lines: Vec<&str> = status.lines().filter(|l| l.starts_with("Vm") || l.starts_with("Rss")).collect();
    Some(lines.join("\n"))
}

fn set_clock(time: jiff::Timestamp) -> Reply {
    let spec =
        rustix::time::Timespec { tv_sec: time.as_second(), tv_nsec: i64::from(time.subsec_nanosecond()) };
    match rustix::time::clock_settime(rustix::time::ClockId::Realtime, spec) {
        Ok(()) => Reply::text(facts::now("%Y/%m/%d %H:%M:%S:%3f")),
        Err(e) => Reply::warning(format!("the clock cannot be set: {}", std::io::Error::from(e))),
    }
}

/// `kill NAME`: ends every process whose name has this in it, and says so when they are gone.
pub(super) fn kill(shared: &Arc<Shared>, name: &str) -> Reply {
    let me = std::process::id();
    // Old clients name a program by its path.
    let wanted = name.rsplit('/').next().filter(|n| !n.is_empty()).unwrap_or(name);
    let find = || -> Vec<Pid> {
        let all = processes::list().unwrap_or_default().into_iter();
        let all = all.filter(|p| p.pid != me && p.pid != 1 && p.name.contains(wanted) && !is_dead(p.pid));
        all.filter_map(|p| Pid::from_raw(i32::try_from(p.pid).ok()?)).collect()
    };
    let found = find();
    if wanted.is_empty() || found.is_empty() {
        return Reply::warning(format!("Unable to kill {name}: there is no such process"));
    }
    let (mut signal, mut refused) = (Signal::TERM, None);
    for _ in 0..2 {
        for pid in find() {
            if let Err(e) = rustix::process::kill_process(pid, signal) {
                refused = Some(e);
            }
        }
        let until = shared.within(KILL_WAIT);
        while !find().is_empty() {
            if until.sleep(Duration::from_millis(5)).is_err() {
                break;
            }
        }
        if find().is_empty() {
            return Reply::text(format!("Successfully killed {name}\n"));
        }
        signal = Signal::KILL;
    }
    let why = refused.map_or_else(|| "it does not end".to_owned(), |e| std::io::Error::from(e).to_string());
    Reply::warning(format!("Unable to kill {name}: {why}"))
}

/// Ended, and not yet fetched by its parent.
fn is_dead(pid: u32) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.iter().rposition(|b| *b == b')').map_or(&[][..], |at| &stat[at..]);
    after.get(2).is_none_or(|state| matches!(state, b'Z' | b'X'))
}

/// Runs a program for the session and keeps what it says. It is killed when the client has gone.
fn run(session: &Session<'_>, args: Vec<String>, limit: Duration) -> Result<(Exit, String), Over> {
    let mut said = Captured::default();
    let dir = Some(session.working_dir());
    let command = Command { dir, time_limit: Some(limit), ..Command::new(args) };
    let asker = Some(session.stream.as_fd());
    let exit = match run::run(&command, &mut said, &session.shared.forever(), asker) {
        Ok(exit) => exit,
        Err(RunError::Io(e)) => return Ok((Exit::Code(126), e.to_string())),
        Err(_) => return Err(Over),
    };
    let mut text = String::from_utf8_lossy(&said.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&said.stderr));
    text.truncate(text.trim_end().len());
    Ok((exit, text))
}

fn filled(template: &[String], place: &str, value: &str) -> Vec<String> {
    template.iter().map(|word| word.replace(place, value)).collect()
}

fn code(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
        Exit::TimeLimit => 124,
    }
}

/// `inst FILE`
pub(super) fn install(session: &mut Session<'_>, file: &[u8]) -> Result<Reply, Over> {
    let path = session.path(file);
    if let Err(e) = session.shared.space.read(&path) {
        return Ok(Reply::about(&path.to_string_lossy(), &e));
    }
    let args = filled(&session.shared.config.install, "{file}", &path.to_string_lossy());
    let (exit, text) = run(session, args, INSTALL_MAX)?;
    if exit == Exit::TimeLimit {
        return Ok(Reply::text("pm install command timed out"));
    }
    // Twice, as clients are used to it.
    let done = format!("installation complete [{}]", code(exit));
    Ok(Reply::text(format!("{text}\n{done}\n{done}")))
}

/// `uninstall NAME`
pub(super) fn uninstall(session: &mut Session<'_>, name: &[u8]) -> Result<Reply, Over> {
    let name = String::from_utf8_lossy(name).into_owned();
    if name.starts_with('-') || name.is_empty() {
        return Ok(Reply::warning(format!("uninstall: `{name}` is no name of a package")));
    }
    let args = filled(&session.shared.config.uninstall, "{name}", &name);
    let (exit, text) = run(session, args, INSTALL_MAX)?;
    if exit == Exit::Code(0) {
        return Ok(Reply::text(format!("Success\n{text}\nuninst complete [0]")));
    }
    Ok(Reply::text(format!("Failure\n{text}\nuninst complete [{}]", code(exit))))
}

/// `unzp FILE [DIR/]`, `zip FILE FROM`, `ping HOST`, by the programs of the device.
pub(super) fn tool(session: &mut Session<'_>, word: &str, args: &[&[u8]]) -> Result<Reply, Over> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let confined = session.shared.space.root().is_some();
    let line: Vec<String> = match (word, args) {
        ("unzp" | "zip", _) if confined => {
            let why = "programs cannot be held in the directory this agent is confined to";
            return Ok(Reply::warning(format!("{word}: {why}")));
        }
        ("unzp", [file, rest @ ..]) if rest.len() < 2 => {
            let file = session.path(file);
            let above = file.parent().map(PathBuf::from).unwrap_or_default();
            let to = rest.first().map_or(above, |to| session.path(to));
            vec!["unzip".into(), "-o".into(), text(file), "-d".into(), text(to)]
        }
        ("zip", [file, from]) => {
            vec!["zip".into(), "-r".into(), text(session.path(file)), text(session.path(from))]
        }
        ("ping", [host]) => {
            let host = String::from_utf8_lossy(host).into_owned();
            vec!["ping".into(), "-c".into(), "3".into(), "--".into(), host]
        }
        _ => return Ok(Reply::wrong_count(word)),
    };
    let (exit, text) = run(session, line, TOOL_MAX)?;
    if word == "ping" {
        return Ok(Reply::text(text));
    }
    if exit != Exit::Code(0) {
        return Ok(Reply::warning(format!("{word}: {}", text.lines().last().unwrap_or("it failed"))));
    }
    if word == "zip" {
        return Ok(Reply::text(text));
    }
    let count = text.lines().filter(|l| l.contains("inflating:") || l.contains("extracting:")).count();
    Ok(Reply::text(format!("Checksum: 0\n{count} of {count} successfully extracted")))
}

/// `rebt [IP PORT]`: tells everybody, and starts the program that reboots.
pub(super) fn reboot(shared: &Arc<Shared>, args: &[&[u8]]) {
    let words: Vec<_> = args.iter().map(|a| String::from_utf8_lossy(a)).collect();
    if let [ip, port, ..] = &*words
        && let (Ok(ip), Ok(port)) = (ip.parse::<IpAddr>(), port.parse::<u16>())
    {
        let text = format!("{ip},{port}\rSystem rebooted\r");
        // Without it nobody is called, and whoever waits finds out.
        drop(std::fs::write(call_back_file(shared), text));
    }
    shared.hub.tell(b"Rebooting ...");
    let own = Arc::clone(shared);
    // On its own, and not ended with the agent: the shutdown that it brings about ends the agent first.
    let thread = std::thread::Builder::new().name("sut-reboot".to_owned()).spawn(move || {
        let command = Command::new(own.config.reboot.clone());
        let mut said = Captured::default();
        match run::run(&command, &mut said, &Until::within(REBOOT_MAX), None) {
            Ok(Exit::Code(0) | Exit::Signal(_) | Exit::TimeLimit)
            | Err(RunError::Deadline | RunError::Cancelled | RunError::AskerGone | RunError::Sink(_)) => {}
            ended @ (Ok(Exit::Code(_)) | Err(RunError::NoDir(_) | RunError::User(_) | RunError::Io(_))) => {
                let why = String::from_utf8_lossy(&said.stderr).trim().replace(['\r', '\n'], " ");
                own.hub.tell(format!("Not rebooting: {ended:?} {why}").as_bytes());
                // Nobody is to be told of a reboot that was none.
                drop(std::fs::remove_file(call_back_file(&own)));
            }
        }
    });
    if let Err(e) = thread {
        shared.hub.tell(format!("Not rebooting: {e}").as_bytes());
    }
}

/// Writes a command line to today's file of the command log, if that is wanted. The first line of a day
/// removes the files of days before yesterday.
pub(super) fn log(shared: &Arc<Shared>, line: &[u8]) {
    const SUFFIX: &str = "-sutcommands.txt";
    if !shared.config.log_commands {
        return;
    }
    let root = &shared.config.test_root;
    let file = root.join(format!("{}{SUFFIX}", facts::now("%Y-%m-%d")));
    if !file.exists() {
        let yesterday =
            jiff::Zoned::now().date().yesterday().map(|d| format!("{d}{SUFFIX}")).unwrap_or_default();
        for old in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let name = old.file_name().to_string_lossy().into_owned();
            if name.ends_with(SUFFIX) && name < yesterday {
                drop(std::fs::remove_file(old.path()));
            }
        }
    }
    let text = [facts::now("%H:%M:%S ").as_bytes(), line, b"\n"].concat();
    let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
    // A log that cannot be written is no reason to refuse a command.
    drop(file.and_then(|mut file| file.write_all(&text)));
}
