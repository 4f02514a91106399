//! `muster device screenshot`: a picture of a device's screen.

use super::{Call, OnArgs, SHORT};
use crate::context::Context;
use crate::error::Complaint;
use clap::Args;
use muster_core::outcome::ExitCode;
use std::io::Write as _;
use std::path::PathBuf;

/// Arguments of `muster device screenshot`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScreenshotArgs {
    #[command(flatten)]
    on: OnArgs,
    /// The PNG file to write; `-` prints it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Takes it.
pub(super) fn run(args: &ScreenshotArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, SHORT)?;
    let png = call.device.screen().and_then(|screen| screen.screenshot(&call.until));
    let png = png.map_err(|e| call.told(e, context))?;
    if args.file.as_os_str() == "-" {
        std::io::stdout().lock().write_all(&png)?;
        return Ok(ExitCode::Passed);
    }
    let file = context.dir.join(&args.file);
    std::fs::write(&file, png)
        .map_err(|e| Complaint::usage(format!("cannot write `{}`", file.display())).because(e))?;
    Ok(ExitCode::Passed)
}
