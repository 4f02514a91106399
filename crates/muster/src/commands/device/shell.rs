//! `muster device shell`: runs a line by the device's shell, and ends as it does.

use super::exec::{HowArgs, perform};
use crate::context::Context;
use clap::Args;
use muster_core::outcome::ExitCode;

/// Arguments of `muster device shell`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: muster device shell --on sut://10.0.0.7 'dmesg | tail -n 20'")]
pub(crate) struct ShellArgs {
    #[command(flatten)]
    how: HowArgs,
    /// The line; several words are joined by blanks
    #[arg(value_name = "LINE", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    line: Vec<String>,
}

/// Runs a line.
pub(super) fn run(args: ShellArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    perform(args.how, vec!["sh".to_owned(), "-c".to_owned(), args.line.join(" ")], context)
}
