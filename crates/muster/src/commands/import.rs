//! `muster import`: a `muster.toml` out of what another program has.

use super::typed::TargetArgs;
use crate::context::{Context, FILE};
use crate::error::Complaint;
use crate::local::area::Purpose;
use crate::local::megatest;
use clap::{Args, Subcommand};
use muster_core::outcome::ExitCode;
use muster_formats::megatest::{MAIN_FILE, native};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Arguments of `muster import`.
#[derive(Args, Clone, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    pub(crate) command: ImportCommand,
}

/// What is imported.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum ImportCommand {
    /// Write the `muster.toml` that says what a Megatest area says for a target, and tell what it cannot
    ///
    /// A Megatest area runs as it is; this is for leaving it behind. Nothing of the area is run.
    Megatest {
        /// The area [default: the one at hand]
        #[arg(value_name = "DIR")]
        dir: Option<PathBuf>,
        #[command(flatten)]
        target: TargetArgs,
        /// Where to write; `-` for standard output [default: `muster.toml` in the area]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Writes the file.
pub(crate) fn run(args: &ImportArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let ImportCommand::Megatest { dir, target, out } = &args.command;
    let dir = match dir {
        Some(dir) => context.dir.join(dir),
        None => context.area_dir()?,
    };
    if !megatest::is_area(&dir) {
        return Err(Complaint::usage(format!("there is no `{MAIN_FILE}` in `{}`", dir.display())).into());
    }
    let area = megatest::read(context, &dir, target.target.as_deref(), &[], Purpose::Look)?;
    let native = native(&area, &megatest::Machine);
    let file = out.clone().map_or_else(|| dir.join(FILE), |out| context.dir.join(out));
    if out.as_ref().is_some_and(|out| out.as_os_str() == "-") {
        context.stdout().write_all(native.text.as_bytes())?;
    } else {
        let written = OpenOptions::new().write(true).create_new(true).open(&file);
        written.and_then(|mut f| f.write_all(native.text.as_bytes())).map_err(|e| {
            let complaint = Complaint::usage(format!("`{}` cannot be written", file.display()));
            match e.kind() {
                io::ErrorKind::AlreadyExists => complaint.because(e).hint("name another with `--out FILE`"),
                _ => complaint.because(e),
            }
        })?;
        writeln!(context.stderr(), "wrote {}", file.display())?;
    }
    for line in native.left_out {
        writeln!(context.stderr(), "not carried over: {line}")?;
    }
    Ok(ExitCode::Passed)
}
