//! `muster driver`: for those who write a driver.
//!
//! The promises are those that Muster's own drivers are tested with. A check panics where one is broken,
//! which here is a line of the report.

use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use clap::{Args, Subcommand};
use muster_core::outcome::ExitCode;
use muster_device::{DeviceAddress, contract};
use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

/// Arguments of `muster driver`.
#[derive(Args, Clone, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct DriverArgs {
    #[command(subcommand)]
    command: DriverCommand,
}

/// What to do with a driver.
#[derive(Subcommand, Clone, Debug)]
enum DriverCommand {
    /// Try every promise of a driver on a device, and say which it keeps
    Check(CheckArgs),
}

/// Arguments of `muster driver check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muster driver check ./my-driver
  muster driver check ./my-driver --device board-7
  muster driver check ssh://board-7

Each promise is tried in a directory of its own on the device, which needs a shell. What the driver says it
cannot do is passed over. It ends with 1 if a promise is broken.")]
struct CheckArgs {
    /// A program that speaks the driver protocol, or the address of a device
    #[arg(value_name = "PROGRAM|ADDRESS")]
    driver: String,
    /// The device, as the option `device` of the driver's hello
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Only promises with this in their names
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
}

/// Does what is asked.
pub(crate) fn run(args: &DriverArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    match &args.command {
        DriverCommand::Check(args) => check(args, context),
    }
}

fn check(args: &CheckArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut text = args.driver.clone();
    if text.parse::<DeviceAddress>().is_err() {
        // A path is a program wherever one is looked for, not only on the search path.
        let path = if text.contains('/') { context.dir.join(&text).display().to_string() } else { text };
        text = format!("ext:{path}");
    }
    if let Some(device) = &args.device {
        let mark = if text.contains('?') { '&' } else { '?' };
        text = format!("{text}{mark}device={device}");
    }
    let address: DeviceAddress =
        text.parse().map_err(|e: muster_device::AddressError| Complaint::usage(e.to_string()))?;
    let device = address.open().map_err(|e| Complaint::lab(format!("cannot use `{address}`")).because(e))?;
    let cases: Vec<_> = contract::all().into_iter().filter(|c| c.name.contains(&args.only)).collect();
    let said = Arc::new(Mutex::new(Vec::new()));
    let usual = panic::take_hook();
    let keeps = Arc::clone(&said);
    // A panic is a broken promise, in whichever thread of a check it comes.
    panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or("it gave no reason");
        keeps.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
    }));
    let mut broken = 0;
    let mut written = Ok(());
    for case in &cases {
        let kept = panic::catch_unwind(AssertUnwindSafe(|| (case.check)(&*device))).is_ok();
        let why = std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner));
        // The first one is the reason; others are that a thread of the check has panicked.
        let why = why.first().map_or("", |text| text.as_str());
        broken += usize::from(!kept);
        written = tell(case.name, kept, why, context);
        if written.is_err() {
            break;
        }
    }
    panic::set_hook(usual);
    drop(device);
    written?;
    if context.output != OutputMode::Json {
        let all = cases.len();
        writeln!(context.stderr(), "{} of {all} promises are kept by `{address}`", all - broken)?;
    }
    Ok(if broken == 0 { ExitCode::Passed } else { ExitCode::Failed })
}

/// A line of the report.
fn tell(name: &str, kept: bool, why: &str, context: &Context) -> std::io::Result<()> {
    let mut out = context.stdout();
    if context.output == OutputMode::Json {
        let value = serde_json::json!({ "promise": name, "kept": kept, "why": why });
        return writeln!(out, "{value}");
    }
    let sentence = name.replace('_', " ");
    if kept {
        return writeln!(out, "   PASS  {sentence}");
    }
    writeln!(out, "   FAIL  {sentence}")?;
    why.lines().take(8).try_for_each(|line| writeln!(out, "         {line}"))
}
