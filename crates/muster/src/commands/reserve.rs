//! `muster reserve`: a device of a lab for a person, for a while.

mod lease;

use super::typed::duration;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::local::signals::Signals;
use crate::remote::{client, complain, lab_view, need_server, whoever};
use clap::Args;
use muster_api::{Client, HoldDevice};
use muster_core::id::DeviceId;
use muster_core::lab::DeviceSelector;
use muster_core::outcome::ExitCode;
use muster_core::view::{DeviceState, DeviceView};
use std::io::Write as _;
use std::time::Duration;

pub(crate) use lease::renew;

/// How often it is looked whether the device is free.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Arguments of `muster reserve`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Of the devices that match, one that is free is taken, else one that is busy, and waited for. It is given back when
the time is over, by `muster device release`, or when PROGRAM has ended.

  muster reserve 'labels.kind == \"board\"' --for 2h --reason 'bring-up'
  muster reserve 'name == \"board-1\"' --for 30m -- sh -c 'muster device shell uname -a'

PROGRAM finds the device in MUSTER_DEVICE and its label `address` in MUSTER_DEVICE_ADDRESS, and its exit code is
that of this command. Each `muster device` command of PROGRAM begins the time anew. If it passes without any, or
somebody gives the device back, PROGRAM is ended with all it has started (exit code 124).")]
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
    let client = client(need_server("reserve", context)?, context)?;
    let signals = Signals::catch()?;
    let device = take(args, &selector, &client, context)?;
    let held = Held { client: &client, device: device.id };
    if !args.no_wait && !wait_until_free(&device, &signals, context)? {
        drop(held);
        return Ok(ExitCode::Interrupted);
    }
    let address = device.labels.get("address").map(String::as_str).unwrap_or_default();
    if args.program.is_empty() {
        std::mem::forget(held);
        print(&device, address, context)?;
        return Ok(ExitCode::Passed);
    }
    let code = lease::run(&args.program, &device, args.long, &client, &signals, context)?;
    drop(held);
    std::process::exit(code);
}

/// A device that is given back when this is dropped.
struct Held<'a> {
    client: &'a Client,
    device: DeviceId,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // It ends by itself, should this not arrive.
        let _unheard = self.client.hold(self.device, None);
    }
}

/// Holds the best device that will do.
fn take(
    args: &ReserveArgs,
    selector: &DeviceSelector,
    client: &Client,
    context: &Context,
) -> Result<DeviceView, anyhow::Error> {
    let mut fitting = lab_view("reserve", context)?.devices;
    let all = fitting.len();
    fitting.retain(|d| selector.matches(&d.name, &d.host, &d.labels));
    if fitting.is_empty() {
        let said = format!("none of the {all} devices of the lab matches `{}`", args.selector);
        return Err(Complaint::new(ExitCode::Never, said)
            .hint(format!("`{} device list` shows them and their labels", context.program()))
            .into());
    }
    let (by, seconds) = (whoever(), u32::try_from(args.long.as_secs().max(1)).unwrap_or(u32::MAX));
    let hold = HoldDevice { by: by.clone(), reason: args.reason.clone(), seconds: Some(seconds) };
    // One that is held already, even by this person, is in use.
    let mut free: Vec<DeviceView> = fitting.iter().filter(|d| d.hold.is_none()).cloned().collect();
    free.retain(|d| matches!(d.state, DeviceState::Idle | DeviceState::Busy));
    free.sort_by_key(|d| (d.state != DeviceState::Idle, d.queued));
    for device in free {
        match client.hold(device.id, Some(&hold)) {
            Ok(()) => return Ok(device),
            // Somebody was faster.
            Err(e) if e.code() == Some("held") => {}
            Err(e) => return Err(complain(e)),
        }
    }
    let held = fitting.iter().find_map(|d| Some((d, d.hold.as_ref()?)));
    let why = match held {
        Some((device, hold)) => format!("`{}` is held by {}: {}", device.name, hold.by, hold.reason),
        None => "their agents are not there".to_owned(),
    };
    Err(Complaint::lab(format!("none of the {} devices that match can be had: {why}", fitting.len())).into())
}

/// Waits until nothing runs on it any more; false if a person has stopped that.
fn wait_until_free(device: &DeviceView, signals: &Signals, context: &Context) -> Result<bool, anyhow::Error> {
    let mut told = false;
    loop {
        let devices = lab_view("reserve", context)?.devices;
        let Some(now) = devices.into_iter().find(|d| d.id == device.id) else {
            return Err(Complaint::lab(format!("`{}` has left the lab", device.name)).into());
        };
        let Some(running) = now.running else { return Ok(true) };
        if !std::mem::replace(&mut told, true) {
            // Whoever started it may have gone away.
            drop(writeln!(context.stderr(), "{} is yours when {running} has ended", device.name));
        }
        if !signals.take().is_empty() {
            return Ok(false);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn print(device: &DeviceView, address: &str, context: &Context) -> Result<(), anyhow::Error> {
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            serde_json::to_writer(&mut out, device)?;
            writeln!(out)?;
        }
        OutputMode::Quiet => writeln!(out, "{}", device.name)?,
        OutputMode::Human => {
            writeln!(out, "{} on {} is yours {address}", device.name, device.host)?;
            writeln!(out, "give it back with `{} device release {}`", context.program(), device.name)?;
        }
    }
    Ok(())
}
