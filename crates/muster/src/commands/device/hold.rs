//! `muster device hold` and `release`: a device out of scheduling, and back.

use crate::commands::typed::duration;
use crate::context::Context;
use crate::error::Complaint;
use crate::remote::{client, complain, lab_view, need_server, whoever};
use clap::Args;
use muster_api::{By, HoldDevice};
use muster_core::outcome::ExitCode;
use muster_core::view::DeviceView;
use std::io::Write as _;
use std::time::Duration;

/// Which device of a lab.
#[derive(Args, Clone, Debug)]
pub(crate) struct WhichArgs {
    /// The device's name
    #[arg(value_name = "DEVICE")]
    name: String,
    /// Its host, where several have a device of this name
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

/// Arguments of `muster device hold`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What runs on the device goes on; nothing new is given to it. Who holds it is you, at this host.

  muster device hold board-1 --reason 'new power supply' --for 2h
  muster device release board-1")]
pub(crate) struct HoldArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Why, for those who wait for it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Give it back after this long
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    long: Option<Duration>,
}

/// Arguments of `muster device release`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    which: WhichArgs,
}

/// Takes a device out of scheduling.
pub(super) fn hold(args: &HoldArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let device = find("device hold", &args.which, context)?;
    let seconds = args.long.map(|l| u32::try_from(l.as_secs().max(1)).unwrap_or(u32::MAX));
    let hold = HoldDevice { by: whoever(), reason: args.reason.clone(), seconds, id: None };
    client(need_server("device hold", context)?, context)?.hold(device.id, Some(&hold)).map_err(complain)?;
    let mut out = context.stdout();
    writeln!(out, "{} on {} is held", device.name, device.host)?;
    if let Some(running) = &device.running {
        writeln!(out, "{running} still runs there")?;
    }
    Ok(ExitCode::Passed)
}

/// Gives it back: from the person who holds it, and from quarantine.
pub(super) fn release(args: &ReleaseArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let device = find("device release", &args.which, context)?;
    let client = client(need_server("device release", context)?, context)?;
    client.hold(device.id, None).map_err(complain)?;
    let quarantined = device.health.word == "quarantined";
    if quarantined {
        client.end_quarantine(device.id, &By { by: whoever() }).map_err(complain)?;
    }
    let what = match (device.hold.is_some(), quarantined) {
        (true, _) => "is back",
        (false, true) => "is out of quarantine",
        (false, false) => "was not held",
    };
    let mut out = context.stdout();
    writeln!(out, "{} on {} {what}", device.name, device.host)?;
    if let Some(unfit) = client.device(device.id).map_err(complain)?.device.health.unfit {
        writeln!(out, "it gets no work yet: {unfit}")?;
    }
    Ok(ExitCode::Passed)
}

/// Arguments of `muster device quarantine`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What runs on the device goes on; it gets nothing but checks of its health until it is released or the time is
over. A hold says that somebody works with a device, a quarantine that it is not to be trusted.

  muster device quarantine board-1 --reason 'its numbers are off by a third'
  muster device release board-1")]
pub(crate) struct QuarantineArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Why, for those who wait for it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// It ends by itself after this long, with a check
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    long: Option<Duration>,
}

/// Puts a device in quarantine.
pub(super) fn quarantine(args: &QuarantineArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let device = find("device quarantine", &args.which, context)?;
    let seconds = args.long.map(|l| u32::try_from(l.as_secs().max(1)).unwrap_or(u32::MAX));
    let why = HoldDevice { by: whoever(), reason: args.reason.clone(), seconds, id: None };
    client(need_server("device quarantine", context)?, context)?
        .quarantine(device.id, &why)
        .map_err(complain)?;
    let mut out = context.stdout();
    writeln!(out, "{} on {} is in quarantine", device.name, device.host)?;
    if let Some(running) = &device.running {
        writeln!(out, "{running} still runs there")?;
    }
    Ok(ExitCode::Passed)
}

pub(super) fn find(command: &str, which: &WhichArgs, context: &Context) -> Result<DeviceView, anyhow::Error> {
    let WhichArgs { name, host } = which;
    let devices = lab_view(command, context)?.devices;
    let mut found: Vec<DeviceView> = devices
        .into_iter()
        .filter(|d| d.name == *name && host.as_ref().is_none_or(|h| d.host == *h))
        .collect();
    match (found.pop(), found.pop()) {
        (Some(device), None) => Ok(device),
        (Some(one), Some(other)) if one.host == other.host => {
            Err(Complaint::usage(format!("several agents on `{}` have a device `{name}`", one.host))
                .hint("give devices names of their own: `muster agent --device NAME`")
                .into())
        }
        (Some(one), Some(other)) => {
            Err(Complaint::usage(format!("`{}` and `{}` both have a device `{name}`", one.host, other.host))
                .hint("say which with `--host HOST`")
                .into())
        }
        (None, _) => Err(Complaint::usage(format!("the lab has no device `{name}`"))
            .hint(format!("`{} device list` lists them", context.program()))
            .into()),
    }
}
