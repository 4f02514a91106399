//! `muster device pull`: copies from a device.

use super::{Call, LONG, OnArgs};
use crate::context::Context;
use clap::Args;
use muster_core::outcome::ExitCode;
use std::io::Write as _;
use std::path::PathBuf;

/// Arguments of `muster device pull`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A file goes to LOCAL, or into it if that is a directory. What is in a directory goes into LOCAL. Symbolic links
inside a directory on the device are left out.")]
pub(crate) struct PullArgs {
    #[command(flatten)]
    on: OnArgs,
    /// The path on the device
    #[arg(value_name = "REMOTE")]
    remote: String,
    /// Where to on this host; `-` prints a file
    #[arg(value_name = "LOCAL", default_value = ".")]
    local: PathBuf,
    /// Begin at this byte of a file; only with `-`
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    offset: u64,
}

/// Copies.
pub(super) fn run(args: &PullArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if args.offset > 0 && args.local.as_os_str() != "-" {
        let complaint = crate::error::Complaint::usage("`--offset` prints the rest of a file");
        return Err(complaint.hint("name `-` as LOCAL").into());
    }
    let call = Call::new(&args.on, context, LONG)?;
    if args.local.as_os_str() == "-" {
        let mut out = std::io::stdout().lock();
        let files = call.device.files();
        let pulled = files.and_then(|f| f.pull(&args.remote, args.offset, &mut out, &call.until));
        pulled.map_err(|e| call.told(e, context))?;
        out.flush()?;
        return Ok(ExitCode::Passed);
    }
    let to = context.dir.join(&args.local);
    let moved = call.device.files().and_then(|files| files.pull_path(&args.remote, &to, &call.until));
    let moved = moved.map_err(|e| call.told(e, context))?;
    call.print(&moved, context, |_| Ok(()))?;
    Ok(ExitCode::Passed)
}
