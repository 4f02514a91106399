//! `muster device stat`: what a path on a device leads to.

use super::{Call, OnArgs, SHORT};
use crate::context::Context;
use clap::{Args, ValueEnum};
use muster_core::outcome::ExitCode;
use muster_device::Kind;

/// Arguments of `muster device stat`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Exit code 1 if there is nothing there, or something else than `--is` asks for.")]
pub(crate) struct StatArgs {
    #[command(flatten)]
    on: OnArgs,
    /// The path on the device
    #[arg(value_name = "PATH")]
    path: String,
    /// Ask whether it is this
    #[arg(long, value_name = "KIND")]
    is: Option<Is>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Is {
    /// A directory
    Dir,
    /// A file
    File,
}

/// Looks.
pub(super) fn run(args: &StatArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let call = Call::new(&args.on, context, SHORT)?;
    let stat = call.device.files().and_then(|files| files.stat(&args.path, &call.until));
    let stat = stat.map_err(|e| call.told(e, context))?;
    call.print(&stat, context, |out| match &stat {
        None => writeln!(out, "nothing"),
        Some(stat) => {
            let kind = match stat.kind {
                Kind::Dir => "directory",
                Kind::File => "file",
                Kind::Link => "link",
                Kind::Other => "other",
            };
            write!(out, "{kind}")?;
            if let Some(size) = stat.size {
                write!(out, " {size} bytes")?;
            }
            if let Some(mode) = stat.mode {
                write!(out, " {mode:04o}")?;
            }
            writeln!(out)
        }
    })?;
    let good = stat.is_some_and(|stat| match args.is {
        None => true,
        Some(Is::Dir) => stat.kind == Kind::Dir,
        Some(Is::File) => stat.kind == Kind::File,
    });
    Ok(if good { ExitCode::Passed } else { ExitCode::Failed })
}
