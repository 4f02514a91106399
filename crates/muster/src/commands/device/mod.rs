//! `muster device`: one device, used directly by its address, without a server and without a lease; and the
//! list of a lab's.
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

use super::typed::duration;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::local::signals::Signals;
use clap::{Args, Subcommand};
use muster_core::outcome::ExitCode;
use muster_device::{DRIVERS, Device, DeviceAddress, DeviceError, Driver, Fault, Until};
use serde::Serialize;
use std::io::Write as _;
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
    /// The device
    #[arg(long, value_name = "ADDRESS", env = "MUSTER_DEVICE_ADDRESS", hide_env_values = true)]
    on: DeviceAddress,
    /// Give up after this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Print JSON, also of errors; as `--output json`
    #[arg(long)]
    json: bool,
}

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
    device: Box<dyn Device>,
    until: Until,
    json: bool,
}

impl Call {
    /// Opens the device. Signals end the call from now on, with all it runs on the device.
    fn new(on: &OnArgs, context: &Context, usual: Duration) -> Result<Self, anyhow::Error> {
        crate::commands::reserve::renew(context)?;
        let device =
            on.on.open().map_err(|e| Complaint::lab(format!("cannot use `{}`", on.on)).because(e))?;
        let cancel = Signals::cancelling()?;
        let until = Until::within(on.timeout.unwrap_or(usual)).or(&cancel);
        let json = on.json || context.output == OutputMode::Json;
        Ok(Self { device, until, json })
    }

    /// What went wrong, as the program says it.
    fn told(&self, error: DeviceError, context: &Context) -> anyhow::Error {
        let code = match (&error, error.fault()) {
            (DeviceError::Cancelled { .. }, _) => ExitCode::Interrupted,
            (_, Fault::Lab) => ExitCode::Lab,
            (DeviceError::NotFound { .. } | DeviceError::Refused { .. }, Fault::Asker) => ExitCode::Failed,
            (_, Fault::Asker) => ExitCode::Usage,
        };
        told(error, code, self.json, context)
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
