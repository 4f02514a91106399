//! `muster device reboot`: restarts a device.

use super::{Call, LONG, OnArgs};
use crate::context::Context;
use clap::Args;
use muster_core::outcome::ExitCode;

/// Arguments of `muster device reboot`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RebootArgs {
    #[command(flatten)]
    on: OnArgs,
    /// Tell it to reboot and do not wait until it answers again
    #[arg(long)]
    no_wait: bool,
}

/// Reboots.
pub(super) fn run(args: &RebootArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, LONG)?;
    let done = call.device.power().and_then(|power| {
        if args.no_wait { power.reboot_only(&call.until) } else { power.reboot(&call.until) }
    });
    done.map_err(|e| call.told(e, context))?;
    Ok(ExitCode::Passed)
}
