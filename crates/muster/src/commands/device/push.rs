//! `muster device push`: copies to a device.

use super::{Call, LONG, OnArgs};
use crate::context::Context;
use clap::Args;
use muster_core::outcome::ExitCode;
use std::path::PathBuf;

/// Arguments of `muster device push`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A file goes to REMOTE, or into it if it is a directory there or ends with `/`. What is in a directory goes into
REMOTE. Directories are made as needed; files that are there are replaced.")]
pub(crate) struct PushArgs {
    #[command(flatten)]
    on: OnArgs,
    /// A file or directory of this host
    #[arg(value_name = "LOCAL")]
    local: PathBuf,
    /// The path on the device [default: the device's directory for tests]
    #[arg(value_name = "REMOTE")]
    remote: Option<String>,
}

/// Copies.
pub(super) fn run(args: &PushArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, LONG)?;
    let moved = call.device.files().and_then(|files| {
        let remote = match &args.remote {
            Some(remote) => remote.clone(),
            None => files.test_root(&call.until)? + "/",
        };
        files.push_path(&context.dir.join(&args.local), &remote, &call.until)
    });
    let moved = moved.map_err(|e| call.told(e, context))?;
    call.print(&moved, context, |_| Ok(()))?;
    Ok(ExitCode::Passed)
}
