//! `muster device wait`: waits until a device answers.

use super::{Call, OnArgs, PROBE};
use crate::context::Context;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_device::DeviceError;
use std::time::Duration;

/// Arguments of `muster device wait`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Waits ten minutes, or as long as `--timeout` says.")]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    on: OnArgs,
}

const USUAL: Duration = Duration::from_secs(600);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(250);

/// Waits.
pub(super) fn run(args: &WaitArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, USUAL)?;
    loop {
        let error = match call.device.probe(&call.until.at_most(PROBE)) {
            Ok(()) => return Ok(ExitCode::Passed),
            Err(e @ DeviceError::Cancelled { .. }) => return Err(call.told(e, context)),
            Err(e) => e,
        };
        if call.until.left() < PAUSE {
            return Err(call.told(error, context));
        }
        std::thread::sleep(PAUSE);
    }
}
