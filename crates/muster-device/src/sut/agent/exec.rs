//! `exec` and its family: programs whose output goes to the client as it comes, in one stream, and whose
//! exit code comes last.

use super::replies::{Reply, Spoiler};
use super::session::{Over, Session};
use crate::device::{Command, Exit};
use crate::host::run::{self, RunError};
use crate::sut::PROMPT;
use muster_core::output::Stream as Which;
use rustix::fd::AsFd as _;
use std::io;
use std::time::Duration;

/// How long a client may read nothing of what a program says.
const SEND_MAX: Duration = Duration::from_secs(600);

/// `exec [ENV] PROGRAM …`; `execcwd DIR …` works there, `execsu` as root.
pub(super) fn exec(session: &mut Session<'_>, word: &str, args: &[&[u8]]) -> Result<Reply, Over> {
    let texts: Result<Vec<String>, _> = args.iter().map(|a| String::from_utf8(a.to_vec())).collect();
    let Ok(mut args) = texts else {
        return Ok(Reply::warning(format!("{word}: arguments must be UTF-8")));
    };
    let mut command = Command { dir: Some(session.working_dir()), ..Command::default() };
    if word.contains("cwd") {
        if args.is_empty() {
            return Ok(Reply::wrong_count(word));
        }
        let dir = session.path(args.remove(0).as_bytes());
        command.dir = Some(dir.to_string_lossy().into_owned());
    }
    match args.first().map(String::as_str) {
        Some("") => drop(args.remove(0)),
        Some(first) if first.contains('=') => {
            command.env = variables(first);
            args.remove(0);
        }
        _ => {}
    }
    if args.is_empty() {
        return Ok(Reply::wrong_count(word));
    }
    command.args = args;
    if word.ends_with("su") && !(session.shared.config.root_is_anyone || rustix::process::geteuid().is_root())
    {
        return Ok(Reply::warning(format!("{word}: this agent is not root and cannot become it")));
    }
    let Session { shared, stream, .. } = session;
    let mut spoiler = Spoiler::default();
    let mut last = b'\0';
    let asker = stream.as_fd().try_clone_to_owned().map_err(|_| Over)?;
    let mut sink = |_: Which, bytes: &[u8]| {
        let bytes = spoiler.take(bytes);
        last = bytes.last().copied().unwrap_or(last);
        stream
            .send_all(&bytes, &shared.within(SEND_MAX))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    };
    let ended = run::run(&command, &mut sink, &shared.forever(), Some(asker.as_fd()));
    let rest = spoiler.rest();
    last = rest.last().copied().unwrap_or(last);
    let mut end = rest.to_vec();
    let code = match ended {
        Ok(Exit::Code(code)) => code,
        // As shells have it: the protocol has no form for a signal.
        Ok(Exit::Signal(signal)) => 128 + signal,
        Ok(Exit::TimeLimit) => 124,
        Err(RunError::NoDir(dir)) => return Ok(Reply::warning(format!("{dir}: No such file or directory"))),
        Err(RunError::User(why)) => return Ok(Reply::warning(why)),
        Err(RunError::Io(e)) => return Ok(Reply::warning(e)),
        Err(RunError::Deadline | RunError::Cancelled | RunError::AskerGone | RunError::Sink(_)) => {
            return Err(Over);
        }
    };
    // On a line of its own: what stands before it in its line is lost to clients, and so is the code where
    // there is nothing before it.
    if last != b'\n' {
        end.push(b'\n');
    }
    end.extend_from_slice(format!("return code [{code}]\n").as_bytes());
    end.extend_from_slice(PROMPT);
    session.say(&end)?;
    Ok(Reply::Said)
}

/// `A=1,B=$B:2`, where the variable's own name stands for the value it has.
fn variables(list: &str) -> Vec<(String, String)> {
    let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.filter(|(name, _)| !name.is_empty());
    pairs
        .map(|(name, value)| {
            let before = std::env::var(name).unwrap_or_default();
            (name.to_owned(), value.replace(&format!("${name}"), &before))
        })
        .collect()
}
