//! `muster device exec`: runs a program on a device, and ends as it does.

use super::{Call, LONG, OnArgs, PROBE};
use crate::context::Context;
use crate::error::Complaint;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_core::output::Stream;
use muster_device::{Captured, Command, DeviceError, Exit};
use serde::Serialize;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How a program is run, whoever says which.
#[derive(Args, Clone, Debug)]
pub(super) struct HowArgs {
    #[command(flatten)]
    pub(super) on: OnArgs,
    /// A variable for the program; may be given several times
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// The directory on the device to work in
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Run as this user
    #[arg(long, value_name = "USER", conflicts_with = "root")]
    user: Option<String>,
    /// Run as root
    #[arg(long)]
    root: bool,
    /// What the program reads: a file of this host, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// End with this code instead of 3 if the program was not run to its end
    #[arg(long, value_name = "CODE", default_value_t = 3)]
    fault_code: u8,
}

/// Arguments of `muster device exec`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muster device exec --on sut://10.0.0.7 -- uname -a
  muster device exec --on sut://10.0.0.7 --timeout 10m --cwd /data/app -e MODE=ci -- ./suite --fast

With `--json`, what the program printed is kept and printed as JSON when it has ended.")]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    how: HowArgs,
    /// The program and its arguments, given to it as they are
    #[arg(value_name = "PROGRAM", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && name.chars().all(good) => {
            Ok((name.to_owned(), value.to_owned()))
        }
        Some(_) | None => Err("a variable is `NAME=VALUE`".to_owned()),
    }
}

/// Runs a program.
pub(super) fn run(args: ExecArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    perform(args.how, args.args, context)
}

#[derive(Serialize)]
struct Ended<'a> {
    exit: Exit,
    seconds: f64,
    stdout: &'a str,
    stderr: &'a str,
}

/// Runs it and ends the program as it ended.
pub(super) fn perform(how: HowArgs, args: Vec<String>, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let on = OnArgs { timeout: None, ..how.on.clone() };
    // The program has its own limit, or none; the call may take as long.
    let call = Call::new(&on, context, Duration::MAX)?;
    let stdin = match &how.stdin {
        None => Vec::new(),
        Some(file) => read(file).map_err(|e| {
            Complaint::usage(format!("`{}` cannot be read for the program", file.display())).because(e)
        })?,
    };
    let command = Command {
        args,
        env: how.env,
        dir: how.cwd,
        user: how.root.then(|| "root".to_owned()).or(how.user),
        stdin,
        time_limit: how.on.timeout,
    };
    let begun = Instant::now();
    let mut kept = Captured::default();
    let ran = call.device.probe(&call.until.at_most(PROBE)).and_then(|()| {
        let exec = call.device.exec()?;
        let until = &call.until;
        if call.json {
            return exec.run(&command, &mut kept, until);
        }
        exec.run(&command, &mut pass_on, until)
    });
    match ran {
        Ok(exit) => {
            if call.json {
                let (stdout, stderr) =
                    (String::from_utf8_lossy(&kept.stdout), String::from_utf8_lossy(&kept.stderr));
                let seconds = begun.elapsed().as_secs_f64();
                let value = Ended { exit, seconds, stdout: &stdout, stderr: &stderr };
                call.print(&value, context, |_| Ok(()))?;
            }
            // The process ends below: the connection is given up before that.
            drop(call);
            end_as(exit, &how.on)
        }
        Err(DeviceError::Output { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::Passed)
        }
        Err(e) => {
            let cut = call.cut();
            if cut.is_none() && matches!(e, DeviceError::Cancelled { .. }) {
                return Err(call.told(e, context));
            }
            let told = cut.unwrap_or_else(|| super::told(e, ExitCode::Lab, call.json, context));
            if how.fault_code == ExitCode::Lab as u8 {
                return Err(told);
            }
            crate::error::say(&told);
            drop(call);
            end_with(how.fault_code)
        }
    }
}

/// Passes output on as it comes.
fn pass_on(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        Stream::Stderr | Stream::Muster => io::stderr().lock().write_all(bytes),
    }
}

fn read(file: &PathBuf) -> io::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut all = Vec::new();
        io::stdin().lock().read_to_end(&mut all)?;
        return Ok(all);
    }
    std::fs::read(file)
}

fn end_as(exit: Exit, on: &OnArgs) -> Result<ExitCode, anyhow::Error> {
    match exit {
        Exit::Code(code) => end_with(u8::try_from(code).unwrap_or(255)),
        // As shells have it.
        Exit::Signal(signal) => end_with(u8::try_from(128 + signal).unwrap_or(255)),
        Exit::TimeLimit => {
            let limit = on.timeout.unwrap_or(LONG);
            let text = format!("the program was killed after {} s", limit.as_secs_f64());
            Err(Complaint::new(ExitCode::RunTimeLimit, text).hint("`--timeout` gives it longer").into())
        }
    }
}

/// Ends with a code that is not Muster's own. Nothing is left to be done or written.
fn end_with(code: u8) -> ! {
    // Whoever read it has been given all of it already.
    drop(io::stdout().flush());
    std::process::exit(code.into())
}
