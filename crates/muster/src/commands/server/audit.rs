//! `muster server audit`: what people did on a lab.

use super::DataArgs;
use super::office::Office;
use crate::context::{Context, OutputMode};
use crate::terminal::style::DIM;
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text::moment;
use clap::Args;
use muster_api::access::{AuditEntry, Outcome};
use muster_core::outcome::ExitCode;
use std::io::Write as _;

/// Arguments of `muster server audit`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Newest first. Nothing is done before it is in this log; what came of it is added before the answer.")]
pub(super) struct AuditArgs {
    #[command(flatten)]
    data: DataArgs,
    /// So many entries
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only entries before this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
}

pub(super) fn run(args: &AuditArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let AuditArgs { data, limit, before } = args;
    let entries = Office::open(data, context)?.audit(*before, *limit)?;
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            for entry in &entries {
                serde_json::to_writer(&mut out, entry)?;
                writeln!(out)?;
            }
        }
        OutputMode::Quiet => {}
        OutputMode::Human if entries.is_empty() => writeln!(out, "nothing was done")?,
        OutputMode::Human => {
            let mut table = Table::new(&[
                ("", Column::Right),
                ("when", Column::Left),
                ("who", Column::Left),
                ("from", Column::Left),
                ("did", Column::Left),
                ("on", Column::Shrink),
                ("outcome", Column::Cut),
            ]);
            for AuditEntry { seq, at, who, from, action, object, outcome } in &entries {
                table.row(vec![
                    Cell::new(seq.to_string(), DIM),
                    Cell::new(moment(*at), DIM),
                    who.as_str().into(),
                    Cell::new(from.as_str(), DIM),
                    action.as_str().into(),
                    object.as_str().into(),
                    told(outcome.as_ref()).into(),
                ]);
            }
            for line in table.lines(context.stdout_width()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(ExitCode::Passed)
}

fn told(outcome: Option<&Outcome>) -> String {
    match outcome {
        None => "not known: the server ended in the middle of it".to_owned(),
        Some(Outcome { status, said }) if *status < 400 => {
            if said.is_empty() {
                "done".to_owned()
            } else {
                format!("done: {said}")
            }
        }
        Some(Outcome { status, said }) => format!("refused: {said} ({status})"),
    }
}
