//! `muster device power`: switches a device's supply, whatever runs on it.

use super::{Call, LONG, OnArgs};
use crate::context::Context;
use clap::{Args, ValueEnum};
use muster_core::outcome::ExitCode;
use serde::Serialize;

/// Arguments of `muster device power`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A virtual machine has its supply by itself; that of others is told in a file: `--on file:board-1.toml`.
`status` says `on` or `off`, and ends with 0 in both cases.

Example: muster device power cycle --on file:lab/board-1.toml")]
pub(crate) struct PowerArgs {
    /// What to do
    #[arg(value_name = "WHAT")]
    what: What,
    #[command(flatten)]
    on: OnArgs,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Switch it on
    On,
    /// Switch it off
    Off,
    /// Switch it off and on again
    Cycle,
    /// Say whether it is on
    Status,
}

#[derive(Serialize)]
struct State {
    power: &'static str,
}

/// Switches.
pub(super) fn run(args: &PowerArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, LONG)?;
    let told = |e| call.told(e, context);
    let supply = call.device.supply().map_err(told)?;
    match args.what {
        What::On => supply.on(&call.until).map_err(told)?,
        What::Off => supply.off(&call.until).map_err(told)?,
        What::Cycle => supply.cycle(&call.until).map_err(told)?,
        What::Status => {
            let power = if supply.is_on(&call.until).map_err(told)? { "on" } else { "off" };
            call.print(&State { power }, context, |out| writeln!(out, "{power}"))?;
        }
    }
    Ok(ExitCode::Passed)
}
