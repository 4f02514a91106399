//! `muster completions`: a completion script for a shell.

use crate::cli::Cli;
use crate::context::Context;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use muster_core::outcome::ExitCode;
use std::io::Write as _;

/// Arguments of `muster completions`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muster completions bash > ~/.local/share/bash-completion/completions/muster
  muster completions zsh > \"${fpath[1]}/_muster\"
  muster completions fish > ~/.config/fish/completions/muster.fish")]
pub(crate) struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionsArgs, _: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "muster", &mut script);
    let mut out = std::io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(ExitCode::Passed)
}
