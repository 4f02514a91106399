//! What only Muster's own client asks.

use super::files;
use super::replies::{Reply, why};
use super::session::{Over, Session};
use crate::device::{Command, Exit, Kind};
use crate::host::processes;
use crate::host::run::{self, RunError};
use crate::sut::PROMPT;
use crate::sut::extension::{
    Answer, DONE, ERR, FRAME_BYTES_MAX, NO, No, OUT, REMARK, REQUEST_BYTES_MAX, Request, STDIN_BYTES_MAX, Why,
};
use muster_core::output::Stream as Which;
use rustix::fd::AsFd as _;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use serde::Serialize;
use std::io;
use std::time::Duration;

/// How long a client may read nothing of what a program says.
const SEND_MAX: Duration = Duration::from_secs(600);

/// The line `muster1 BYTES`, and the request behind it.
pub(super) fn answer(session: &mut Session<'_>, bytes: &[u8]) -> Result<Reply, Over> {
    let Some(bytes) = files::number(bytes).filter(|n| *n <= REQUEST_BYTES_MAX as u64) else {
        return Ok(Reply::Lost(format!("muster1: a request has at most {REQUEST_BYTES_MAX} bytes")));
    };
    let request = session.whole_payload(bytes)?;
    let request = match serde_json::from_slice(&request) {
        Ok(request) => request,
        // What follows the request is not known.
        Err(e) => return Ok(Reply::Lost(format!("muster1: {e}"))),
    };
    let (kind, text) = match perform(session, request)? {
        Ok(answer) => (DONE, json(&answer)),
        Err(no) => (NO, json(&no)),
    };
    let mut bytes = head(kind, text.len()).to_vec();
    bytes.extend_from_slice(&text);
    bytes.extend_from_slice(PROMPT);
    session.say(&bytes)?;
    Ok(Reply::Said)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("these types have text for keys and nothing that cannot be written")
}

fn head(kind: u8, len: usize) -> [u8; 5] {
    let [a, b, c, d] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    [kind, a, b, c, d]
}

fn refused(said: impl Into<String>) -> No {
    No { why: Why::Refused, said: said.into() }
}

fn no(error: &io::Error) -> No {
    let kind = match Errno::from_io_error(error) {
        Some(Errno::NOENT) => Why::NotFound,
        Some(Errno::NOSPC | Errno::DQUOT) => Why::Full,
        _ => Why::Refused,
    };
    No { why: kind, said: why(error) }
}

fn nothing(done: io::Result<()>) -> Result<Answer, No> {
    done.map(|()| Answer::Nothing).map_err(|e| no(&e))
}

fn perform(session: &mut Session<'_>, request: Request) -> Result<Result<Answer, No>, Over> {
    let space = &session.shared.space;
    Ok(match request {
        Request::Exec { args, env, dir, user, limit_millis, stdin_bytes } => {
            if stdin_bytes > STDIN_BYTES_MAX {
                let text = format!("muster1: a program reads at most {STDIN_BYTES_MAX} bytes");
                session.say(&Reply::Lost(text).bytes())?;
                return Err(Over);
            }
            let stdin = session.whole_payload(stdin_bytes)?;
            let time_limit = limit_millis.map(Duration::from_millis);
            exec(session, Command { args, env, dir, user, stdin, time_limit })?
        }
        Request::Push { path, bytes } => {
            let path = session.path_as_is(&path);
            files::store(session, &path, bytes)?.map(Answer::Digest).map_err(|e| no(&e))
        }
        Request::Pull { path, offset } => {
            let path = session.path_as_is(&path);
            match files::open(session, &path, offset) {
                Ok(mut source) => {
                    let bytes = source.bytes;
                    source.send(bytes, |some| frame(session, OUT, some))?;
                    Ok(Answer::Nothing)
                }
                Err(e) => Err(no(&e)),
            }
        }
        Request::Stat { path } => {
            let path = session.path_as_is(&path);
            if space.is_above_root(&path) {
                let stat =
                    crate::device::Stat { kind: Kind::Dir, size: None, mode: None, modified_millis: None };
                return Ok(Ok(Answer::Stat(Some(stat))));
            }
            space.stat(&path).map(Answer::Stat).map_err(|e| no(&e))
        }
        Request::List { path } => {
            space.entries(&session.path_as_is(&path)).map(Answer::Entries).map_err(|e| no(&e))
        }
        Request::Processes => processes::list().map(Answer::Processes).map_err(|e| no(&e)),
        Request::Signal { pid, signal } => send_signal(pid, signal),
        Request::Remove { path } => nothing(space.remove(&session.path_as_is(&path))),
        Request::MakeDir { path } => {
            let path = session.path_as_is(&path);
            if space.is_above_root(&path) { Ok(Answer::Nothing) } else { nothing(space.make_dir(&path)) }
        }
        Request::MakeExecutable { path } => {
            let path = session.path_as_is(&path);
            let stat = space.stat(&path).and_then(|s| s.ok_or_else(|| Errno::NOENT.into()));
            let mode = stat.map(|s| s.mode.unwrap_or(0o644));
            // Who may read it may run it.
            nothing(mode.and_then(|mode| space.set_mode(&path, mode | (mode & 0o444) >> 2)))
        }
    })
}

fn frame(session: &mut Session<'_>, kind: u8, bytes: &[u8]) -> Result<(), Over> {
    for some in bytes.chunks(FRAME_BYTES_MAX) {
        session.say(&head(kind, some.len()))?;
        session.say(some)?;
    }
    Ok(())
}

fn exec(session: &mut Session<'_>, mut command: Command) -> Result<Result<Answer, No>, Over> {
    command.dir = Some(match &command.dir {
        Some(dir) => session.path_as_is(dir).to_string_lossy().into_owned(),
        None => session.working_dir(),
    });
    if command.user.as_deref() == Some("root") && session.shared.config.root_is_anyone {
        command.user = None;
    }
    let stream = &mut session.stream;
    let asker = stream.as_fd().try_clone_to_owned().map_err(|_| Over)?;
    let shared = session.shared;
    let mut sink = |which: Which, bytes: &[u8]| {
        let kind = match which {
            Which::Stdout => OUT,
            Which::Stderr => ERR,
            Which::Muster => REMARK,
        };
        for some in bytes.chunks(FRAME_BYTES_MAX) {
            let mut frame = Vec::with_capacity(some.len() + 5);
            frame.extend_from_slice(&head(kind, some.len()));
            frame.extend_from_slice(some);
            let sent = stream.send_all(&frame, &shared.within(SEND_MAX));
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(())
    };
    Ok(match run::run(&command, &mut sink, &shared.forever(), Some(asker.as_fd())) {
        Ok(exit @ (Exit::Code(_) | Exit::Signal(_) | Exit::TimeLimit)) => Ok(Answer::Exit(exit)),
        Err(RunError::NoDir(dir)) => {
            Err(No { why: Why::NotFound, said: format!("{dir}: No such file or directory") })
        }
        Err(RunError::User(said)) => Err(refused(said)),
        Err(RunError::Io(e)) => Err(refused(e.to_string())),
        Err(RunError::Deadline | RunError::Cancelled | RunError::AskerGone | RunError::Sink(_)) => {
            return Err(Over);
        }
    })
}

fn send_signal(pid: u32, signal: i32) -> Result<Answer, No> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| refused("there is no process of this number"))?;
    let signal = Signal::from_named_raw(signal).ok_or_else(|| refused("there is no such signal"))?;
    rustix::process::kill_process(number, signal).map(|()| Answer::Nothing).map_err(|e| match e {
        Errno::SRCH => refused("there is no process of this number"),
        other => refused(io::Error::from(other).to_string()),
    })
}
