//! `muster device uninstall`: removes a package from a device.

use super::{Call, LONG, OnArgs};
use crate::context::Context;
use clap::Args;
use muster_core::outcome::ExitCode;

/// Arguments of `muster device uninstall`.
#[derive(Args, Clone, Debug)]
pub(crate) struct UninstallArgs {
    #[command(flatten)]
    on: OnArgs,
    /// The package's name
    #[arg(value_name = "NAME")]
    name: String,
}

/// Removes it.
pub(super) fn run(args: &UninstallArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, LONG)?;
    let done = call.device.packages().and_then(|packages| packages.uninstall(&args.name, &call.until));
    done.map_err(|e| call.told(e, context))?;
    Ok(ExitCode::Passed)
}
