//! `muster reserve`: a device of a lab for a person, for a while.

mod in_use;
mod lease;
mod take;

use super::typed::duration;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::local::signals::Signals;
use crate::terminal::text::quoted;
use clap::Args;
use muster_core::lab::DeviceSelector;
use muster_core::outcome::ExitCode;
use std::io::Write as _;
use std::time::Duration;

pub(crate) use in_use::InUse;
pub(crate) use take::{Held, Wish, take};

/// Arguments of `muster reserve`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Of the devices that match, one that is free is taken, else one that is busy, and waited for; where others have
reserved all of them, until one is given back. It is given back when the time is over, by `muster device release`,
or when PROGRAM has ended.

  muster reserve 'labels.kind == \"board\"' --for 2h --reason 'bring-up'
  muster reserve 'name == \"board-1\"' --for 30m -- sh -c 'muster device shell uname -a'

PROGRAM finds the device in MUSTER_DEVICE and its label `address` in MUSTER_DEVICE_ADDRESS, and its exit code is
that of this command. Each `muster device` command of PROGRAM keeps the reservation for as long as it runs, and
begins the time anew. If it passes without any, or somebody gives the device back, PROGRAM is ended with all it has
started (exit code 124). For a single command, `muster device … --on SELECTOR` reserves by itself.")]
pub(crate) struct ReserveArgs {
    /// Which devices will do: CEL over `labels`, `name` and `host`
    #[arg(value_name = "SELECTOR")]
    selector: String,
    /// For how long, from when it was last used; it ends by itself
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    long: Duration,
    /// Why, for those who wait for it
    #[arg(long, value_name = "TEXT", default_value = "reserved")]
    reason: String,
    /// Do not wait until it is free
    #[arg(long)]
    no_wait: bool,
    /// What to run with it
    #[arg(value_name = "PROGRAM", last = true)]
    program: Vec<String>,
}

/// Reserves one.
pub(crate) fn run(args: &ReserveArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let selector = DeviceSelector::parse(&args.selector).map_err(|e| {
        Complaint::usage(e.to_string())
            .hint("for instance `labels.kind == \"board\"`; `muster device list` shows labels")
    })?;
    let wish = Wish {
        command: "reserve",
        selector: &selector,
        long: args.long,
        reason: &args.reason,
        wait: !args.no_wait,
    };
    let signals = Signals::catch()?;
    let Some(held) = take(wish, &mut || !signals.take().is_empty(), context)? else {
        return Ok(ExitCode::Interrupted);
    };
    if args.program.is_empty() {
        print(&held, context)?;
        held.keep();
        return Ok(ExitCode::Passed);
    }
    let code = lease::run(&args.program, &held, &signals, context)?;
    drop(held);
    std::process::exit(code);
}

fn print(held: &Held, context: &Context) -> Result<(), anyhow::Error> {
    let mut out = context.stdout();
    let device = &held.device;
    match context.output {
        OutputMode::Json => {
            let mut value = serde_json::to_value(device)?;
            value["reservation"] = held.reservation.to_string().into();
            writeln!(out, "{value}")?;
        }
        OutputMode::Quiet => writeln!(out, "{}", device.name)?,
        OutputMode::Human => {
            let address = held.address();
            writeln!(out, "{} on {} is yours {address}", device.name, device.host)?;
            if let (false, Some(server)) = (address.is_empty(), &context.server) {
                // With these, commands of a shell use it, and keep it by using it.
                let named = [
                    ("MUSTER_SERVER", server.as_str()),
                    ("MUSTER_DEVICE", device.name.as_str()),
                    ("MUSTER_DEVICE_ADDRESS", address),
                    (in_use::RESERVATION, &held.reservation.to_string()),
                ];
                let vars: Vec<String> = named.iter().map(|(k, v)| format!("{k}={}", quoted(v))).collect();
                writeln!(out, "      use it export {}", vars.join(" "))?;
            }
            writeln!(out, "give it back {} device release {}", context.program(), quoted(&device.name))?;
        }
    }
    Ok(())
}
