//! `muster device console`: a device's console, on this terminal and in a file.

use super::{Call, OnArgs};
use crate::context::Context;
use crate::error::Complaint;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_device::LineEnd;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

/// What ends it, as in telnet: Ctrl-].
const LEAVE: u8 = 0x1d;

/// Arguments of `muster device console`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What is typed goes to the device as it is, also Ctrl-C; Ctrl-] ends it. With --timeout it ends by itself, with
exit code 0: so a boot can be written down by a script.

Example: muster device console --on file:lab/board-1.toml --log boot.log --timeout 2m </dev/null")]
pub(crate) struct ConsoleArgs {
    #[command(flatten)]
    on: OnArgs,
    /// Also write what the console says to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Connects, until somebody ends it.
pub(super) fn run(args: &ConsoleArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, Duration::MAX)?;
    let log = match &args.log {
        None => None,
        Some(file) => {
            let file = context.dir.join(file);
            let made = File::create(&file);
            let cannot = || Complaint::usage(format!("cannot write `{}`", file.display()));
            Some(made.map_err(|e| cannot().because(e))?)
        }
    };
    let line = call.device.console().and_then(|console| console.connect(&call.until));
    let line = line.map_err(|e| call.told(e, context))?;
    let stdin = io::stdin();
    let raw = Raw::begin(&stdin);
    if raw.is_some() {
        // Where nobody reads it, it is not needed.
        drop(writeln!(io::stderr(), "connected; Ctrl-] ends it\r"));
    }
    let mut out = Both { log };
    let ended = line.pass(Some(stdin.as_fd()), LEAVE, &mut out, &call.until);
    drop(raw);
    match ended {
        Ok(LineEnd::Left | LineEnd::Deadline) => Ok(ExitCode::Passed),
        Ok(LineEnd::Closed) => Err(Complaint::lab("the other side ended the console").into()),
        Ok(LineEnd::Cancelled) => call.cut().map_or(Ok(ExitCode::Interrupted), Err),
        Err(e) => Err(Complaint::lab("the console could not be passed on").because(e).into()),
    }
}

/// The terminal and the file.
struct Both {
    log: Option<File>,
}

impl Write for Both {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(log) = &mut self.log {
            log.write_all(bytes)?;
        }
        io::stdout().lock().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().lock().flush()
    }
}

/// A terminal that passes all on as it is typed, until this is dropped.
struct Raw<'a> {
    stdin: &'a io::Stdin,
    before: Termios,
}

impl<'a> Raw<'a> {
    fn begin(stdin: &'a io::Stdin) -> Option<Self> {
        if !isatty(stdin) {
            return None;
        }
        let before = tcgetattr(stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self { stdin, before })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing any more.
        let _ = tcsetattr(self.stdin, OptionalActions::Now, &self.before);
    }
}
