//! `muster queue`: the runs that a lab has under way, and what they wait for.

use crate::context::{Context, OutputMode};
use crate::remote::lab_view;
use crate::terminal::style::DIM;
use crate::terminal::table::{Cell, Column, Table};
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_core::view::QueuedRun;
use std::io::Write as _;

/// Arguments of `muster queue`.
#[derive(Args, Clone, Debug)]
pub(crate) struct QueueArgs {}

/// Lists them.
pub(crate) fn run(_args: &QueueArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
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
        ("open", Column::Right),
        ("out", Column::Right),
        ("on", Column::Shrink),
        ("waits for", Column::Cut),
    ]);
    for QueuedRun { id: _, address, user, selector, open, out, waits } in runs {
        table.row(vec![
            address.as_str().into(),
            user.as_str().into(),
            open.to_string().into(),
            out.to_string().into(),
            Cell::new(selector.as_str(), DIM),
            waits.clone().unwrap_or_default().into(),
        ]);
    }
    table
}
