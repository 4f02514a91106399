//! `muster device`: one device, used directly by its address, without a server and without a lease, or taken from a lab
//! by a selector and reserved for the length of the command; and the list of a lab's.
//!
//! Each command is one call of one capability. What goes wrong on the way is told apart from what the
//! device answers: see [`told`].

mod add;
mod check;
mod console;
mod exec;
mod hold;
mod info;
mod install;
mod kill;
mod list;
mod ls;
mod mkdir;
mod power;
mod probe;
mod ps;
mod pull;
mod push;
mod reboot;
mod rm;
mod screenshot;
mod shell;
mod show;
mod stat;
mod uninstall;
mod wait;

use super::reserve::{Held, InUse, Wish, take};
use super::typed::duration;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::local::signals::Signals;
use clap::{Args, Subcommand};
use muster_core::lab::DeviceSelector;
use muster_core::outcome::ExitCode;
use muster_device::{Cancel, DRIVERS, Device, DeviceAddress, DeviceError, Driver, Fault, Until};
use serde::Serialize;
use std::io::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

/// Arguments of `muster device`.
#[derive(Args, Clone, Debug)]
#[command(
    arg_required_else_help = true,
    after_help = after_help()
)]
pub(crate) struct DeviceArgs {
    #[command(subcommand)]
    command: DeviceCommand,
}

/// Which addresses there are is the drivers' to say.
fn after_help() -> String {
    let wide = DRIVERS.iter().map(|driver| driver.syntax.len()).max().unwrap_or(0);
    let line = |driver: &Driver| format!("  {:wide$}  {}\n", driver.syntax, driver.about);
    let addresses: String = DRIVERS.iter().map(line).collect();
    format!(
        "ADDRESS is one of
{addresses}Inside a test of a lab, MUSTER_DEVICE_ADDRESS has the address of the test's device.

With --server, SELECTOR is a condition in CEL over `labels`, `name` and `host`: a device of the lab that matches is
reserved, waited for if it is in use, and given back when the command has ended.

  muster --server http://lab:7117 device exec --on 'labels.kind == \"board\"' -- uname -a

Exit codes: 0 done, 1 the device said no, 2 usage, 3 the device or the way to it failed. `exec` and `shell` end
as the program did; 3 (or --fault-code) then means that it was not run to its end, 124 that it was killed for
its --timeout."
    )
}

/// What to do with the device.
#[derive(Subcommand, Clone, Debug)]
enum DeviceCommand {
    /// Run a program, and end as it does
    Exec(exec::ExecArgs),
    /// Run a line by the device's shell, and end as it does
    Shell(shell::ShellArgs),
    /// Copy a file or directory to the device
    Push(push::PushArgs),
    /// Copy a file or directory from the device
    Pull(pull::PullArgs),
    /// List a directory
    Ls(ls::LsArgs),
    /// Say what a path leads to; exit code 1 if to nothing
    Stat(stat::StatArgs),
    /// Make a directory and those above it
    Mkdir(mkdir::MkdirArgs),
    /// Remove a file or directory
    Rm(rm::RmArgs),
    /// List processes
    Ps(ps::PsArgs),
    /// Send a signal to processes, by number or name
    Kill(kill::KillArgs),
    /// Print what is known of the device
    Info(info::InfoArgs),
    /// Take a picture of the screen
    Screenshot(screenshot::ScreenshotArgs),
    /// Reboot, and wait until the device answers again
    Reboot(reboot::RebootArgs),
    /// Switch its supply on or off, or say whether it is on
    Power(power::PowerArgs),
    /// Connect to its console
    Console(console::ConsoleArgs),
    /// Install a package from this host
    Install(install::InstallArgs),
    /// Remove a package
    Uninstall(uninstall::UninstallArgs),
    /// Wait until the device answers
    Wait(wait::WaitArgs),
    /// Take a device of a lab out of scheduling (with --server)
    Hold(hold::HoldArgs),
    /// Give a held device back, or let it out of quarantine (with --server)
    Release(hold::ReleaseArgs),
    /// List the devices of a lab, what they do and what they are worth (with --server)
    List(list::ListArgs),
    /// Add a device to the devices of a host of a lab (with --server)
    Add(add::AddArgs),
    /// Have a proposed device used (with --server)
    Adopt(add::AdoptArgs),
    /// Forget a device that was added or proposed (with --server)
    Remove(add::RemoveArgs),
    /// Look for devices of this host, and say how to add them
    Probe(probe::ProbeArgs),
    /// Show all that is known of a device of a lab (with --server)
    Show(show::ShowArgs),
    /// Say why a device of a lab gets no work, or that it does (with --server)
    Explain(show::ShowArgs),
    /// Say what has happened to a device of a lab (with --server)
    History(show::ShowArgs),
    /// Have a device of a lab checked now (with --server)
    Check(check::CheckArgs),
    /// Let a device of a lab get nothing but checks (with --server)
    Quarantine(hold::QuarantineArgs),
}

/// Which device, and how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct OnArgs {
    /// The device, or which device of the lab
    #[arg(long, value_name = "ADDRESS|SELECTOR", env = "MUSTER_DEVICE_ADDRESS", hide_env_values = true)]
    on: Wanted,
    /// Give up after this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Print JSON, also of errors; as `--output json`
    #[arg(long)]
    json: bool,
}

/// The device that a command is for.
#[derive(Clone, Debug)]
enum Wanted {
    /// Used directly.
    Address(DeviceAddress),
    /// One of a lab's, reserved meanwhile.
    OfLab(DeviceSelector),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = match text.parse() {
            Ok(address) => return Ok(Self::Address(address)),
            Err(e) => e,
        };
        let is_scheme =
            |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        if text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) {
            return Err(address.to_string());
        }
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if text.bytes().all(is_name) && text != "true" {
            return Err(format!("{address}, or a condition for devices of a lab: `name == \"{text}\"`"));
        }
        DeviceSelector::parse(text).map(Self::OfLab).map_err(|e| e.to_string())
    }
}

/// For how long a device stays reserved when nobody says any more that it is used.
const LEASE: Duration = Duration::from_secs(60);

/// Does what is asked.
pub(crate) fn run(args: DeviceArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    match args.command {
        DeviceCommand::Exec(args) => exec::run(args, context),
        DeviceCommand::Shell(args) => shell::run(args, context),
        DeviceCommand::Push(args) => push::run(&args, context),
        DeviceCommand::Pull(args) => pull::run(&args, context),
        DeviceCommand::Ls(args) => ls::run(&args, context),
        DeviceCommand::Stat(args) => stat::run(&args, context),
        DeviceCommand::Mkdir(args) => mkdir::run(&args, context),
        DeviceCommand::Rm(args) => rm::run(&args, context),
        DeviceCommand::Ps(args) => ps::run(&args, context),
        DeviceCommand::Kill(args) => kill::run(&args, context),
        DeviceCommand::Info(args) => info::run(&args, context),
        DeviceCommand::Screenshot(args) => screenshot::run(&args, context),
        DeviceCommand::Reboot(args) => reboot::run(&args, context),
        DeviceCommand::Power(args) => power::run(&args, context),
        DeviceCommand::Console(args) => console::run(&args, context),
        DeviceCommand::Install(args) => install::run(&args, context),
        DeviceCommand::Uninstall(args) => uninstall::run(&args, context),
        DeviceCommand::Wait(args) => wait::run(&args, context),
        DeviceCommand::Hold(args) => hold::hold(&args, context),
        DeviceCommand::Release(args) => hold::release(&args, context),
        DeviceCommand::List(args) => list::run(&args, context),
        DeviceCommand::Add(args) => add::add(args, context),
        DeviceCommand::Adopt(args) => add::adopt(args, context),
        DeviceCommand::Remove(args) => add::remove(args, context),
        DeviceCommand::Probe(args) => probe::run(&args, context),
        DeviceCommand::Show(args) => show::run(&args, context),
        DeviceCommand::Explain(args) => show::explain(&args, context),
        DeviceCommand::History(args) => show::history(&args, context),
        DeviceCommand::Check(args) => check::run(&args, context),
        DeviceCommand::Quarantine(args) => hold::quarantine(&args, context),
    }
}

/// For calls that are over in a moment, and for those that move much.
const SHORT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3600);
/// How long a device may take to answer at all.
const PROBE: Duration = Duration::from_secs(30);

/// The device of a command, and until when it is used.
struct Call {
    // Its connection ends before it is given back.
    device: Box<dyn Device>,
    until: Until,
    json: bool,
    /// The reservation under which it is used, if there is one.
    reserved: Option<InUse>,
}

impl Call {
    /// Opens the device. Signals end the call from now on, with all it runs on the device.
    fn new(on: &OnArgs, context: &Context, usual: Duration) -> Result<Self, anyhow::Error> {
        let cancel = Signals::cancelling()?;
        let until = Until::within(on.timeout.unwrap_or(usual)).or(&cancel);
        let json = on.json || context.output == OutputMode::Json;
        let (address, reserved) = match &on.on {
            Wanted::Address(address) => (address.clone(), InUse::given(&cancel, context)?),
            Wanted::OfLab(selector) => {
                let held = reserve(selector, &cancel, &until, context)?;
                let address: DeviceAddress = held.address().parse().map_err(|e| {
                    let said = format!("`{}` cannot be used from here", held.device.name);
                    Complaint::usage(said).because(e).hint("it needs a label `address`: `muster device show`")
                })?;
                (address, Some(InUse::own(held, &cancel)))
            }
        };
        let device =
            address.open().map_err(|e| Complaint::lab(format!("cannot use `{address}`")).because(e))?;
        Ok(Self { device, until, json, reserved })
    }

    /// What went wrong, as the program says it.
    fn told(&self, error: DeviceError, context: &Context) -> anyhow::Error {
        if let Some(cut) = self.cut() {
            return cut;
        }
        let code = match (&error, error.fault()) {
            (DeviceError::Cancelled { .. }, _) => ExitCode::Interrupted,
            (_, Fault::Lab) => ExitCode::Lab,
            (DeviceError::NotFound { .. } | DeviceError::Refused { .. }, Fault::Asker) => ExitCode::Failed,
            (_, Fault::Asker) => ExitCode::Usage,
        };
        told(error, code, self.json, context)
    }

    /// What there is to say if the device was taken away meanwhile.
    fn cut(&self) -> Option<anyhow::Error> {
        let complaint = self.reserved.as_ref()?.cut()?;
        if self.json {
            let error = serde_json::json!({ "code": "reservation-over", "fault": "lab", "message": complaint.to_string() });
            // Where nobody reads it, the exit code still tells.
            drop(writeln!(io::stdout(), "{}", serde_json::json!({ "error": error })));
            return Some(Complaint::said(ExitCode::Lab).into());
        }
        Some(complaint.into())
    }

    /// Prints a value as JSON, or otherwise as people have it.
    fn print<T: Serialize>(
        &self,
        value: &T,
        context: &Context,
        human: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>,
    ) -> Result<(), anyhow::Error> {
        let mut out = context.stdout();
        if self.json {
            serde_json::to_writer(&mut out, value)?;
            writeln!(out)?;
        } else {
            human(&mut out)?;
        }
        Ok(())
    }
}

/// Reserves a device of the lab for the length of a command.
fn reserve(
    selector: &DeviceSelector,
    cancel: &Cancel,
    until: &Until,
    context: &Context,
) -> Result<Held, anyhow::Error> {
    let wish = Wish { command: "--on SELECTOR", selector, long: LEASE, reason: "muster device", wait: true };
    let mut is_stopped = || cancel.is_cancelled() || until.left().is_zero();
    match take(wish, &mut is_stopped, context)? {
        Some(held) => Ok(held),
        None if cancel.is_cancelled() => Err(Complaint::said(ExitCode::Interrupted).into()),
        None => {
            let said = format!("no device that matches `{}` was free in time", selector.text());
            Err(Complaint::lab(said)
                .hint("`--timeout` waits longer; `muster device list` shows who has them")
                .into())
        }
    }
}

/// An error of a device, printed as JSON where that is wanted.
fn told(error: DeviceError, code: ExitCode, json: bool, context: &Context) -> anyhow::Error {
    if json {
        let fault = match error.fault() {
            Fault::Lab => "lab",
            Fault::Asker => "asker",
        };
        let message = chain(&error);
        let value =
            serde_json::json!({ "error": { "code": error.code(), "fault": fault, "message": message } });
        // Where nobody reads it, the exit code still tells.
        drop(writeln!(context.stdout(), "{value}"));
        return Complaint::said(code).into();
    }
    let hint = match &error {
        DeviceError::Unreachable { .. } => {
            Some("is it on, and does its agent run? `muster device wait` waits for it")
        }
        DeviceError::Timeout { .. } => Some("`--timeout` gives it longer"),
        _ => None,
    };
    let text = error.to_string();
    let mut complaint = Complaint::new(code, text);
    if let Some(source) = std::error::Error::source(&error) {
        complaint = complaint.because(source.to_string());
    }
    if let Some(hint) = hint {
        complaint = complaint.hint(hint);
    }
    complaint.into()
}

/// An error with what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
