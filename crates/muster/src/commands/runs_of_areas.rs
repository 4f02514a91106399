//! `muster runs --all-areas`: the runs of several areas in one list, and what they amount to by target.

use super::runs::word;
use crate::context::{Context, OutputMode, RECORDS};
use crate::local::areas::{KnownArea, tagged};
use crate::records::Life;
use crate::terminal::style::{DIM, INFO};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::{lines_counts, text};
use muster_core::outcome::ExitCode;
use muster_core::view::{RunState, RunView};
use muster_formats::report::{wire, words};
use muster_store::{RunFilter, RunLock, Sqlite, Store as _, StoreError};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write as _;

/// A run, and the area it is of.
struct Row {
    tag: String,
    run: RunView,
    life: Option<Life>,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    tag: &'a str,
    run: wire::Run<'a>,
}

#[derive(Serialize)]
struct JsonTotal<'a> {
    tag: &'a str,
    target: String,
    runs: usize,
    not_ok: usize,
    under_way: usize,
    latest: wire::Run<'a>,
}

/// Lists the newest runs of all areas; with `totals`, what each area has for each target.
pub(super) fn run(
    limit: u32,
    totals: bool,
    tags: &[String],
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let mut rows = Vec::new();
    for area in tagged(tags, context)? {
        // Those of one area that cannot be read take nothing from the others.
        match read(&area, if totals { u32::MAX } else { limit }) {
            Ok(found) => rows.extend(found),
            Err(StoreError::NoStore { .. }) => {}
            Err(e) => {
                let dir = area.dir.display();
                // Nobody is left to tell if standard error is closed.
                drop(writeln!(
                    context.stderr(),
                    "the records of `{}` in {dir} cannot be read: {e}",
                    area.tag
                ));
            }
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.run.started));
    if totals { tell_totals(&rows, context) } else { tell(&rows[..rows.len().min(limit as usize)], context) }
}

fn read(area: &KnownArea, limit: u32) -> Result<Vec<Row>, StoreError> {
    let mut store = Sqlite::open_to_read(&area.dir.join(RECORDS))?;
    let runs = store.list_runs(&RunFilter { limit, ..RunFilter::default() })?;
    let row = |run: RunView| {
        let dir = store.run_dir(run.number).filter(|_| run.state == RunState::Active);
        let life = dir.map(|dir| RunLock::holder(&dir).map_or(Life::Dead, Life::Alive));
        Row { tag: area.tag.clone(), run, life }
    };
    Ok(runs.into_iter().map(row).collect())
}

fn tell(rows: &[Row], context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            let of = |row: &'_ Row| {
                serde_json::to_value(JsonRow {
                    tag: &row.tag,
                    run: wire::Run::new(&row.run, wire::Texts::None),
                })
            };
            let all = rows.iter().map(of).collect::<Result<Vec<_>, _>>()?;
            writeln!(out, "{}", serde_json::Value::from(all))?;
        }
        OutputMode::Quiet => {
            for row in rows {
                writeln!(out, "{} {}", row.tag, row.run.number)?;
            }
        }
        OutputMode::Human => {
            let mut table = Table::new(&[
                ("area", Column::Left),
                ("run", Column::Right),
                ("name", Column::Shrink),
                ("target", Column::Left),
                ("started", Column::Left),
                ("took", Column::Right),
                ("came to", Column::Left),
                ("items", Column::Cut),
            ]);
            for Row { tag, run, life } in rows {
                let (word, style) = word(run, *life);
                let took = run.ended.map(|e| words::duration(e.since(run.started))).unwrap_or_default();
                table.row(vec![
                    tag.as_str().into(),
                    run.number.to_string().into(),
                    Cell::new(run.name.as_str(), INFO),
                    text::target(&run.target).into(),
                    Cell::new(text::moment(run.started), DIM),
                    took.into(),
                    Cell::new(word, style),
                    lines_counts(&run.counts).into(),
                ]);
            }
            for line in table.lines(context.stdout_width()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(ExitCode::Passed)
}

/// The runs of each area and target, newest first.
fn tell_totals(rows: &[Row], context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut groups: BTreeMap<(&str, String), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry((&row.tag, text::target(&row.run.target))).or_default().push(row);
    }
    let under_way = |rows: &[&Row]| rows.iter().filter(|r| r.run.state == RunState::Active).count();
    let not_ok =
        |rows: &[&Row]| rows.iter().filter(|r| r.run.state != RunState::Active && !r.run.is_ok()).count();
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            let mut all = Vec::new();
            for ((tag, target), rows) in &groups {
                all.push(serde_json::to_value(JsonTotal {
                    tag,
                    target: target.clone(),
                    runs: rows.len(),
                    not_ok: not_ok(rows),
                    under_way: under_way(rows),
                    latest: wire::Run::new(&rows[0].run, wire::Texts::None),
                })?);
            }
            writeln!(out, "{}", serde_json::Value::from(all))?;
        }
        OutputMode::Quiet => {}
        OutputMode::Human => {
            let mut table = Table::new(&[
                ("area", Column::Left),
                ("target", Column::Left),
                ("runs", Column::Right),
                ("not ok", Column::Right),
                ("latest", Column::Right),
                ("came to", Column::Left),
                ("items", Column::Cut),
            ]);
            for ((tag, target), rows) in &groups {
                let latest = rows[0];
                let (word, style) = word(&latest.run, latest.life);
                table.row(vec![
                    (*tag).into(),
                    target.as_str().into(),
                    rows.len().to_string().into(),
                    not_ok(rows).to_string().into(),
                    latest.run.number.to_string().into(),
                    Cell::new(word, style),
                    lines_counts(&latest.run.counts).into(),
                ]);
            }
            for line in table.lines(context.stdout_width()) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(ExitCode::Passed)
}
