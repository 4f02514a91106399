//! `muster queue`: the runs that a lab has under way in the order in which they are served, and what they
//! wait for.

mod reorder;

use crate::context::{Context, OutputMode};
use crate::remote::lab_view;
use crate::terminal::style::DIM;
use crate::terminal::table::{Cell, Column, Table};
use clap::{Args, Subcommand};
use muster_core::change::{MoveTo, Moved};
use muster_core::outcome::ExitCode;
use muster_core::view::QueuedRun;
use std::io::Write as _;

/// Arguments of `muster queue`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct QueueArgs {
    #[command(subcommand)]
    command: Option<QueueCommand>,
}

#[derive(Subcommand, Clone, Debug)]
enum QueueCommand {
    /// Change which run is served first
    Move(reorder::MoveArgs),
}

/// Lists them, or changes their order.
pub(crate) fn run(args: &QueueArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if let Some(QueueCommand::Move(args)) = &args.command {
        return reorder::run(args, context);
    }
    let runs = lab_view("queue", context)?.runs;
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            serde_json::to_writer(&mut out, &runs)?;
            writeln!(out)?;
        }
        OutputMode::Quiet => {
            for run in &runs {
                writeln!(out, "{}", run.address)?;
            }
        }
        OutputMode::Human if runs.is_empty() => writeln!(out, "nothing is under way")?,
        OutputMode::Human => {
            for line in table(&runs).lines(context.stdout_width()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(ExitCode::Passed)
}

fn table(runs: &[QueuedRun]) -> Table {
    let mut table = Table::new(&[
        ("run", Column::Left),
        ("user", Column::Left),
        ("prio", Column::Right),
        ("open", Column::Right),
        ("out", Column::Right),
        ("on", Column::Shrink),
        ("moved by", Column::Shrink),
        ("may start", Column::Left),
        ("waits for", Column::Cut),
    ]);
    for run in runs {
        let QueuedRun { id: _, address, user, priority, moved, selector, open, out, waits, eta, never } = run;
        table.row(vec![
            address.as_str().into(),
            user.as_str().into(),
            priority.to_string().into(),
            open.to_string().into(),
            out.to_string().into(),
            Cell::new(selector.as_str(), DIM),
            moved.as_ref().map(|m| told(m, runs)).unwrap_or_default().into(),
            if *never { "never" } else { eta.as_deref().unwrap_or_default() }.into(),
            waits.clone().unwrap_or_default().into(),
        ]);
    }
    table
}

/// What a person said of a run's place.
fn told(moved: &Moved, runs: &[QueuedRun]) -> String {
    let Moved { by, reason, at: _, to } = moved;
    let to = match to {
        MoveTo::First => "first".to_owned(),
        MoveTo::Before(other) => match runs.iter().find(|r| r.id == *other) {
            Some(other) => format!("before {}", other.address),
            None => "before one that is over".to_owned(),
        },
        MoveTo::Priority(_) => "to its priority".to_owned(),
        MoveTo::Back => "back".to_owned(),
    };
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("{by}, {to}{why}")
}
