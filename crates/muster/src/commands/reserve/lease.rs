//! A program that runs with a reserved device: when the reservation is over it is ended with all it has started, since
//! the device may be somebody else's by then.

use super::in_use::RESERVATION;
use super::take::{Held, Reservation};
use crate::context::Context;
use crate::error::Complaint;
use crate::local::agent::with_own_place;
use crate::local::signals::Signals;
use crate::verdict::Stopped;
use muster_agent::exec::{become_subreaper, kill_descendants};
use muster_api::Client;
use muster_core::change::Hold;
use muster_core::outcome::ExitCode;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How often it is looked whether the program has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often the server is asked whether the device is still reserved.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(1);
/// Between the polite signal and the last one.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a program with a device that is reserved, and returns its exit code. One that still runs when the reservation is
/// over is ended.
///
/// # Errors
/// It cannot be started.
pub(super) fn run(
    argv: &[String],
    held: &Held,
    signals: &Signals,
    context: &Context,
) -> Result<i32, anyhow::Error> {
    let Some((program, rest)) = argv.split_first() else { return Ok(0) };
    let mut command = Command::new(program);
    command.args(rest).env("MUSTER_DEVICE", &held.device.name).env("MUSTER_DEVICE_ADDRESS", held.address());
    command.env(RESERVATION, held.reservation.to_string());
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", with_own_place(path))));
    command.envs(context.server.as_ref().map(|server| ("MUSTER_SERVER", server)));
    command.envs(context.token_file.as_ref().map(|file| ("MUSTER_TOKEN_FILE", file)));
    // What a person types into has to be in the terminal's group.
    let alone = !io::stdin().is_terminal();
    if alone {
        command.process_group(0);
    }
    // What it starts stays below this process, whatever groups and sessions it makes.
    become_subreaper()
        .map_err(|e| Complaint::lab("what the program starts cannot be looked after").because(e))?;
    let mut program = Program {
        child: command
            .spawn()
            .map_err(|e| Complaint::usage(format!("`{program}` cannot be started")).because(e))?,
        alone,
    };
    let mut lease = Lease::new(&held.client, &held.reservation);
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
            drop(writeln!(context.stderr(), "the reservation of {} is over: {why}", held.device.name));
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
        if self.child.try_wait()?.is_none() {
            self.signal(Signal::KILL);
            self.child.wait()?;
        }
        // What it has started may live on where it has ended.
        kill_descendants();
        Ok(())
    }
}

/// What is known of a reservation.
pub(super) struct Lease<'a> {
    client: &'a Client,
    reservation: &'a Reservation,
    /// It ends then, unless it is renewed.
    until: Instant,
    asked: Instant,
}

impl<'a> Lease<'a> {
    pub(super) fn new(client: &'a Client, reservation: &'a Reservation) -> Self {
        let now = Instant::now();
        Self { client, reservation, until: now + reservation.long(), asked: now }
    }

    /// It was renewed just now.
    pub(super) fn kept(&mut self) {
        self.until = self.until.max(Instant::now() + self.reservation.long());
    }

    /// Why it is over, if it is.
    pub(super) fn over(&mut self) -> Option<&'static str> {
        let is_late = self.until <= Instant::now();
        if !is_late && self.asked.elapsed() < ASK_EVERY {
            return None;
        }
        self.asked = Instant::now();
        let asked = self.client.device(self.reservation.device).and_then(|d| Ok((d, self.client.clock()?)));
        let Ok((detail, now)) = asked else {
            // A server that is away ends nothing before its time.
            return is_late.then_some("its time has passed");
        };
        match detail.device.hold {
            None if is_late => Some("its time has passed"),
            None => Some("it was given back"),
            Some(Hold { id, .. }) if id.as_ref() != Some(&self.reservation.id) => {
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
