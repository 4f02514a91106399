//! `muster device mkdir`: makes a directory on a device.

use super::{Call, OnArgs, SHORT};
use crate::context::Context;
use clap::Args;
use muster_core::outcome::ExitCode;

/// Arguments of `muster device mkdir`.
#[derive(Args, Clone, Debug)]
pub(crate) struct MkdirArgs {
    #[command(flatten)]
    on: OnArgs,
    /// The path on the device; may be given several times
    #[arg(value_name = "DIR", required = true)]
    paths: Vec<String>,
}

/// Makes them.
pub(super) fn run(args: &MkdirArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, SHORT)?;
    let done = call
        .device
        .files()
        .and_then(|files| args.paths.iter().try_for_each(|path| files.make_dir(path, &call.until)));
    done.map_err(|e| call.told(e, context))?;
    Ok(ExitCode::Passed)
}
