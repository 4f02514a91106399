//! `muster man`: the manual pages.

use crate::cli::Cli;
use crate::context::Context;
use crate::error::Complaint;
use clap::{Args, CommandFactory as _};
use muster_core::outcome::ExitCode;
use std::path::PathBuf;

/// Arguments of `muster man`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: muster man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Where to write `muster.1`, `muster-run.1` and so on; made where it is not there
    #[arg(value_name = "DIR")]
    pub(crate) pages: PathBuf,
}

/// Writes the pages.
pub(crate) fn run(args: &ManArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let dir = context.dir.join(&args.pages);
    std::fs::create_dir_all(&dir)
        .map_err(|e| Complaint::lab(format!("cannot make `{}`", dir.display())).because(e))?;
    clap_mangen::generate_to(Cli::command(), &dir)
        .map_err(|e| Complaint::lab(format!("cannot write pages into `{}`", dir.display())).because(e))?;
    Ok(ExitCode::Passed)
}
