//! `muster device rm`: removes a file or directory of a device.

use super::{Call, OnArgs, SHORT};
use crate::context::Context;
use clap::Args;
use muster_core::outcome::ExitCode;

/// Arguments of `muster device rm`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RmArgs {
    #[command(flatten)]
    on: OnArgs,
    /// The path on the device; may be given several times
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
}

/// Removes them.
pub(super) fn run(args: &RmArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, SHORT)?;
    let done = call
        .device
        .files()
        .and_then(|files| args.paths.iter().try_for_each(|path| files.remove(path, &call.until)));
    done.map_err(|e| call.told(e, context))?;
    Ok(ExitCode::Passed)
}
