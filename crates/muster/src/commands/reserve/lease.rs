//! A reservation while it is used: whoever uses the device renews it, and what still uses it when it is over is
//! ended, since the device may be somebody else's by then.
//!
//! A program that has a reserved device finds in `MUSTER_RESERVATION` which, and for how long each use keeps it. The
//! commands of `muster device` look there.

use crate::context::Context;
use crate::error::Complaint;
use crate::local::agent::with_own_place;
use crate::local::signals::Signals;
use crate::remote::{client, complain, whoever};
use crate::verdict::Stopped;
use muster_api::{Client, HoldDevice};
use muster_core::change::Hold;
use muster_core::id::DeviceId;
use muster_core::outcome::ExitCode;
use muster_core::view::DeviceView;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The variable that tells of a reservation: `DEVICE:SECONDS`.
const RESERVATION: &str = "MUSTER_RESERVATION";
/// How often it is looked whether the program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the server is asked whether the device is still reserved.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Between the polite signal and the last one.
const GRACE: Duration = Duration::from_secs(5);

/// Renews the reservation that this process has been given, if it has.
///
/// # Errors
/// It is over.
pub(crate) fn renew(context: &Context) -> Result<(), anyhow::Error> {
    let (Ok(said), Some(server)) = (std::env::var(RESERVATION), &context.server) else { return Ok(()) };
    let parsed = said.split_once(':').and_then(|(id, secs)| Some((id.parse().ok()?, secs.parse().ok()?)));
    let Some((id, seconds)) = parsed.map(|(id, seconds): (u32, u32)| (DeviceId(id), seconds)) else {
        return Err(Complaint::usage(format!("{RESERVATION} says `{said}`, which is no reservation")).into());
    };
    let client = client(server, context)?;
    // A server that is away takes nothing from anybody.
    let Ok(detail) = client.device(id) else { return Ok(()) };
    let DeviceView { name, hold, .. } = detail.device;
    let over = |why: String| {
        Complaint::lab(format!("the reservation of {name} is over: {why}"))
            .hint(format!("`{} reserve` takes it again", context.program()))
    };
    let Some(Hold { by, reason, until, .. }) = hold else {
        return Err(over("nobody has it".to_owned()).into());
    };
    if until.is_none() {
        return Ok(());
    }
    let hold = HoldDevice { by: whoever(), reason, seconds: Some(seconds) };
    client.hold(id, Some(&hold)).map_err(|e| match e.code() {
        Some("held") => over(format!("{by} has it")).into(),
        _ => complain(e),
    })
}

/// Runs a program with a device that is reserved for so long, and returns its exit code. One that still runs when the
/// reservation is over is ended.
///
/// # Errors
/// It cannot be started.
pub(super) fn run(
    argv: &[String],
    device: &DeviceView,
    long: Duration,
    client: &Client,
    signals: &Signals,
    context: &Context,
) -> Result<i32, anyhow::Error> {
    let Some((program, rest)) = argv.split_first() else { return Ok(0) };
    let mut command = Command::new(program);
    let address = device.labels.get("address").map(String::as_str).unwrap_or_default();
    command.args(rest).env("MUSTER_DEVICE", &device.name).env("MUSTER_DEVICE_ADDRESS", address);
    command.env(RESERVATION, format!("{}:{}", device.id.0, long.as_secs().max(1)));
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", with_own_place(path))));
    command.envs(context.server.as_ref().map(|server| ("MUSTER_SERVER", server)));
    command.envs(context.token_file.as_ref().map(|file| ("MUSTER_TOKEN_FILE", file)));
    // What a person types into has to be in the terminal's group; of all else the descendants are ended too.
    let alone = !io::stdin().is_terminal();
    if alone {
        command.process_group(0);
    }
    let mut program = Program {
        child: command
            .spawn()
            .map_err(|e| Complaint::usage(format!("`{program}` cannot be started")).because(e))?,
        alone,
    };
    let mut lease = Lease::new(client, device.id, long);
    loop {
        if let Some(status) = program.child.try_wait()? {
            return Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
        }
        for stopped in signals.take() {
            match stopped {
                // The terminal tells all of its group.
                Stopped::Interrupted if !alone => {}
                Stopped::Interrupted => program.signal(Signal::INT),
                _ => program.signal(Signal::TERM),
            }
        }
        if let Some(why) = lease.over() {
            drop(writeln!(context.stderr(), "the reservation of {} is over: {why}", device.name));
            program.end()?;
            return Ok(ExitCode::RunTimeLimit as i32);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What runs with the device.
struct Program {
    child: Child,
    /// It has a group of its own.
    alone: bool,
}

impl Program {
    fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) else { return };
        // It has not been waited for, so the number is its own; it may have ended.
        let _gone = if self.alone { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
    }

    fn end(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM);
        let until = Instant::now() + GRACE;
        while self.child.try_wait()?.is_none() && Instant::now() < until {
            std::thread::sleep(LOOK_EVERY);
        }
        // What it has started may live on where it has ended.
        self.signal(Signal::KILL);
        self.child.wait().map(drop)
    }
}

/// What is known of the reservation.
struct Lease<'a> {
    client: &'a Client,
    device: DeviceId,
    /// Who has it, as the server says it; known once it was asked.
    by: Option<String>,
    /// It ends then, unless it is renewed.
    until: Instant,
    asked: Instant,
}

impl<'a> Lease<'a> {
    fn new(client: &'a Client, device: DeviceId, long: Duration) -> Self {
        let now = Instant::now();
        Self { client, device, by: None, until: now + long, asked: now }
    }

    /// Why it is over, if it is.
    fn over(&mut self) -> Option<&'static str> {
        let is_late = self.until <= Instant::now();
        if !is_late && self.asked.elapsed() < ASK_EVERY {
            return None;
        }
        self.asked = Instant::now();
        let asked = self.client.device(self.device).and_then(|d| Ok((d, self.client.clock()?)));
        let Ok((detail, now)) = asked else {
            // A server that is away ends nothing before its time.
            return is_late.then_some("its time has passed");
        };
        match detail.device.hold {
            None if is_late => Some("its time has passed"),
            None => Some("it was given back"),
            Some(hold) if self.by.get_or_insert_with(|| hold.by.clone()) != &hold.by => {
                Some("somebody else has it")
            }
            Some(Hold { until: Some(until), .. }) => {
                self.until = Instant::now() + until.since(now);
                (until <= now).then_some("its time has passed")
            }
            // It was made a hold without an end.
            Some(Hold { until: None, .. }) => {
                self.until = Instant::now() + ASK_EVERY * 2;
                None
            }
        }
    }
}
