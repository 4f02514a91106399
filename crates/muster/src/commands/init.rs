//! `muster init`: a `muster.toml` for the directory at hand.

use crate::context::{Context, FILE, OTHER_FILE};
use crate::error::Complaint;
use crate::local::propose::propose;
use clap::Args;
use muster_core::outcome::ExitCode;
use std::fs::File;
use std::io::Write as _;

/// Arguments of `muster init`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
It looks for suites that it knows (cargo, pytest, CTest, TAP, go, npm, meson, make) and runs nothing. Read what it
wrote: it is a beginning.")]
pub(crate) struct InitArgs {
    /// Print it, and write nothing
    #[arg(long)]
    print: bool,
}

/// Proposes one.
pub(crate) fn run(args: &InitArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let (text, found) = propose(&context.dir);
    if args.print {
        context.stdout().write_all(text.as_bytes())?;
        return Ok(ExitCode::Passed);
    }
    if let Some(there) = [FILE, OTHER_FILE].iter().map(|f| context.dir.join(f)).find(|p| p.exists()) {
        return Err(Complaint::usage(format!("`{}` is there already", there.display()))
            .hint("`muster init --print` prints what it would be")
            .into());
    }
    let path = context.dir.join(FILE);
    let cannot = |e| Complaint::lab(format!("`{}` cannot be written", path.display())).because(e);
    let mut file = File::create_new(&path).map_err(cannot)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)?;
    let mut out = context.stdout();
    writeln!(out, "wrote {}", path.display())?;
    if found.is_empty() {
        writeln!(out, "nothing here was recognised as a test suite: it has a test to begin with")?;
    }
    for why in found {
        writeln!(out, "  {why}")?;
    }
    let program = context.program();
    writeln!(out, "\n  look {program} plan --discover\n   run {program} run")?;
    Ok(ExitCode::Passed)
}
