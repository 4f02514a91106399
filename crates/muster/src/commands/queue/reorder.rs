//! `muster queue move`: a person's word on which run is served first.

use crate::context::Context;
use crate::error::Complaint;
use crate::remote::{client, complain, lab_view, need_server, whoever};
use clap::Args;
use muster_api::{MoveRun, QueuePlace};
use muster_core::outcome::ExitCode;
use muster_core::view::QueuedRun;
use std::io::Write as _;

/// Arguments of `muster queue move`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What runs goes on; the order is that in which free devices are given. It is recorded who moved what, when and
why, and `muster queue` shows it.

  muster queue move nightly/42 --first --reason 'release today'
  muster queue move 42 --before 40
  muster queue move 42 --priority -1
  muster queue move 42 --back")]
pub(crate) struct MoveArgs {
    /// The run: `AREA/NUMBER`, or its number where only one area has it under way
    #[arg(value_name = "RUN")]
    run: String,
    #[command(flatten)]
    to: To,
    /// Why, for those who are passed by
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Where to.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct To {
    /// Before all others
    #[arg(long)]
    first: bool,
    /// Never behind this run
    #[arg(long, value_name = "RUN")]
    before: Option<String>,
    /// Where this priority puts it
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Where its priority and its user's share put it
    #[arg(long)]
    back: bool,
}

/// Moves a run.
pub(super) fn run(args: &MoveArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let MoveArgs { run, to, reason } = args;
    let queue = lab_view("queue move", context)?.runs;
    let moved = find(&queue, run, context)?;
    let to = match to {
        To { before: Some(other), .. } => {
            QueuePlace::Before(format!("{:032x}", find(&queue, other, context)?.id.0))
        }
        To { priority: Some(priority), .. } => QueuePlace::Priority(*priority),
        To { first: true, .. } => QueuePlace::First,
        To { .. } => QueuePlace::Back,
    };
    let word = MoveRun { by: whoever(), reason: reason.clone(), to };
    client(need_server("queue move", context)?, context)?.move_run(moved.id, &word).map_err(complain)?;
    let queue = lab_view("queue move", context)?.runs;
    let place = queue.iter().position(|r| r.id == moved.id);
    let place = place.map_or("over by now".to_owned(), |at| format!("number {} of {}", at + 1, queue.len()));
    writeln!(context.stdout(), "{} is {place}", moved.address)?;
    Ok(ExitCode::Passed)
}

fn find<'a>(queue: &'a [QueuedRun], text: &str, context: &Context) -> Result<&'a QueuedRun, anyhow::Error> {
    let is = |run: &&QueuedRun| {
        run.address == text || run.address.rsplit_once('/').is_some_and(|(_, number)| number == text)
    };
    let mut found = queue.iter().filter(is);
    match (found.next(), found.next()) {
        (Some(run), None) => Ok(run),
        (Some(one), Some(other)) => {
            let text = format!("`{text}` is `{}` and `{}`", one.address, other.address);
            Err(Complaint::usage(text).hint("say the area too").into())
        }
        (None, _) => Err(Complaint::usage(format!("no run `{text}` is under way"))
            .hint(format!("`{} queue` lists them", context.program()))
            .into()),
    }
}
