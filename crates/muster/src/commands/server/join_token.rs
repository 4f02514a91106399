//! `muster server join-token`: what an agent joins a lab with.

use super::office::Office;
use super::{DataArgs, OutArgs};
use crate::commands::typed::long_duration;
use crate::context::Context;
use clap::Args;
use muster_api::trust::Trust;
use muster_core::outcome::ExitCode;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::time::Duration;

/// Arguments of `muster server join-token`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Whoever has it can make an agent of the lab, so it ends soon. With it the agent gets an identity of its own, once,
and needs it no more.

  muster server join-token --for 15m --uses 1
  muster agent --server https://lab.example:7117 --join-token-file join.token")]
pub(super) struct JoinTokenArgs {
    #[command(flatten)]
    data: DataArgs,
    /// It ends after this long, at most 30d
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = lasts)]
    lasts: Duration,
    /// So many agents may join with it [default: any number]
    #[arg(long, value_name = "N")]
    uses: Option<NonZeroU32>,
    #[command(flatten)]
    out: OutArgs,
}

fn lasts(text: &str) -> Result<Duration, String> {
    let lasts = long_duration(text)?;
    if lasts > Duration::from_secs(30 * 86_400) {
        return Err("a token to join with lasts at most 30d".to_owned());
    }
    Ok(lasts)
}

pub(super) fn run(args: &JoinTokenArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let JoinTokenArgs { data, lasts, uses, out } = args;
    let secret = Office::open(data, context)?.new_join_token(Some(*lasts), uses.map(NonZeroU32::get))?;
    let text = Trust::token_file("muster: for agents to join", &secret.token, &secret.ca);
    if let Some(path) = out.write("join.token", &text, context)? {
        let path = path.display();
        writeln!(
            context.stderr(),
            "a token to join with is in {path}; bring it to the host of the agent:\n\n  muster agent --server https://HOST:PORT --join-token-file {path}"
        )?;
    }
    Ok(ExitCode::Passed)
}
