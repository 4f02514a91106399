//! `muster device install`: installs a package of this host on a device.

use super::{Call, LONG, OnArgs};
use crate::context::Context;
use crate::error::Complaint;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_device::DeviceError;
use std::path::PathBuf;

/// Arguments of `muster device install`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    on: OnArgs,
    /// The package, a file of this host
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Pushes it to the device's directory for tests, installs it, and removes it from there.
pub(super) fn run(args: &InstallArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, LONG)?;
    let Some(name) = args.file.file_name().and_then(|name| name.to_str()) else {
        return Err(Complaint::usage(format!("`{}` is no file", args.file.display())).into());
    };
    let done = (|| -> Result<(), DeviceError> {
        let (packages, files) = (call.device.packages()?, call.device.files()?);
        let remote = format!("{}/{name}", files.test_root(&call.until)?);
        files.push_path(&context.dir.join(&args.file), &remote, &call.until)?;
        let installed = packages.install(&remote, &call.until);
        // What became of the package matters more.
        drop(files.remove(&remote, &call.until));
        installed
    })();
    done.map_err(|e| call.told(e, context))?;
    Ok(ExitCode::Passed)
}
