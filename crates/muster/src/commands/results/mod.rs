//! `muster results`: what the items of a run came to, and what a person says they do.

mod set;

use crate::commands::runs::word;
use crate::commands::typed::run_ref;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::local::again;
use crate::local::area::{self, Purpose};
use crate::local::made_of::{self, Stale};
use crate::records::Records;
use crate::terminal::style::{self, HEAD};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text::add;
use crate::terminal::{lines_counts_painted, text, why_item};
use crate::verdict;
use clap::{Args, Subcommand};
use muster_core::address::{RunRef, item_name};
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::view::{ItemView, RunView};
use muster_formats::report::{FinalReport as _, Json, Logs, words};
use muster_store::ItemFilter;
use std::io::{BufWriter, Write as _};

/// Arguments of `muster results`.
#[derive(Args, Clone, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "The exit code is that of the run: 0 passed, 1 failed or not ended, 3 only the lab failed, 4 nothing ran."
)]
pub(crate) struct ResultsArgs {
    #[command(subcommand)]
    command: Option<ResultsCommand>,
    /// The run: its number, its name, `latest`, or `-2` for the one before the latest
    #[arg(value_name = "RUN", default_value = "latest", value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) run: RunRef,
    /// Print JSON, as `--output json` does
    #[arg(long)]
    pub(crate) json: bool,
    /// Only items that are not ok
    #[arg(long)]
    pub(crate) failed: bool,
    /// Only items that passed after they had failed
    #[arg(long, conflicts_with = "failed")]
    pub(crate) flaky: bool,
    /// Only items that were made of something else than there is now, and what has changed
    #[arg(long, conflicts_with_all = ["failed", "flaky"])]
    pub(crate) stale: bool,
    /// Only items of this test
    #[arg(long, value_name = "TEST")]
    pub(crate) test: Option<String>,
}

/// What is done with results.
#[derive(Clone, Debug, Subcommand)]
enum ResultsCommand {
    /// Give items another verdict than they came to; what was before is kept
    Set(set::SetArgs),
}

/// Prints results, or sets them.
pub(crate) fn run(args: &ResultsArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if let Some(ResultsCommand::Set(args)) = &args.command {
        return set::run(args, context);
    }
    let typed = if let RunRef::Name(name) = &args.run { name.as_str() } else { "" };
    let records = Records::open_for(context, typed)?;
    let head = records.find_run(&args.run)?;
    let filter = match &args.test {
        Some(test) => ItemFilter::Test(test),
        None if args.failed => ItemFilter::Failed,
        None => ItemFilter::All,
    };
    let mut run = records.load(&head, filter)?;
    if let Some(test) = &args.test
        && run.tests.is_empty()
    {
        records.find_item(&muster_core::address::Address {
            run: Some(RunRef::Number(head.number)),
            test: Some(test.clone()),
            ..Default::default()
        })?;
    }
    let wanted = |item: &ItemView| match (args.failed, args.flaky) {
        (true, _) => item.verdict.is_some_and(|v| !v.is_ok()),
        (false, true) => item.verdict == Some(Verdict::Flaky),
        (false, false) => true,
    };
    let stale = if args.stale { stale_of(&records, &run, context)? } else { Vec::new() };
    for test in &mut run.tests {
        let is_stale = |i: &ItemView| stale.iter().any(|s| s.test == test.name && s.item == i.path);
        test.items.retain(|i| wanted(i) && (!args.stale || is_stale(i)));
    }
    run.tests.retain(|t| !t.items.is_empty());
    let life = records.life(&head);
    let code = verdict::of_record(&run);
    let logs = records.into_logs(&run);
    let out = context.stdout();
    let mut out = BufWriter::new(out);
    if args.json || context.output == OutputMode::Json {
        Json.write(&run, &logs, &mut out)?;
    } else {
        if context.output == OutputMode::Human {
            let (word, style) = word(&run, life);
            writeln!(out, "{}", head_line(&run, word, style))?;
        }
        let quiet = context.output == OutputMode::Quiet;
        for line in table(&run, quiet, &logs).lines(context.stdout_width()) {
            writeln!(out, "{line}")?;
        }
        if context.output == OutputMode::Human {
            for s in &stale {
                let name = item_name(&s.test, &s.item);
                writeln!(
                    out,
                    "{} {}",
                    style::paint(style::INFO, "STALE"),
                    text::visible(&format!("{name}: {}", s.why))
                )?;
            }
            for note in &run.said.notes {
                writeln!(out, "{}", style::paint(style::DIM, text::note(note)))?;
            }
        }
    }
    out.flush()?;
    Ok(code)
}

/// What of a run is stale, as the area is now. Its configuration is read as for a run of that name.
fn stale_of(records: &Records, run: &RunView, context: &Context) -> Result<Vec<Stale>, anyhow::Error> {
    let noted = records.with(|s| s.made_of(run.id, run.number))?;
    if noted.is_empty() {
        let said = format!("what the results of {} were made of is not known", run.address());
        return Err(Complaint::usage(said)
            .hint("it is noted when a run is asked for in the directory of its area, and goes with its files")
            .into());
    }
    let target: Vec<&str> = run.target.iter().map(|(_, v)| v.as_str()).collect();
    let target = (!target.is_empty()).then(|| target.join("/"));
    let name = Some(run.name.as_str()).filter(|name| !name.is_empty());
    let purpose = match context.server {
        Some(_) => Purpose::Lab { name },
        None => Purpose::Run { name },
    };
    let area = area::load(context, None, target.as_deref(), &[], purpose)?;
    let snapshot = records.with(|s| s.load_run_snapshot(run.id))?;
    let packages = again::packages_now(&area, &snapshot, context)?;
    Ok(made_of::stale(&noted, &area, packages.as_deref(), run))
}

fn head_line(run: &RunView, word: &str, style: anstyle::Style) -> String {
    let mut line = format!("{} {}", style::paint(HEAD, run.address()), style::paint(style, word));
    if !run.name.is_empty() {
        add!(line, " {}", style::paint(style::INFO, text::visible(&run.name)));
    }
    let target = text::target(&run.target);
    if !target.is_empty() {
        add!(line, " for {}", text::visible(&target));
    }
    add!(line, "{}", text::inputs(&run.inputs));
    add!(line, ", started {}", text::moment(run.started));
    if let Some(ended) = run.ended {
        add!(line, ", took {}", words::duration(ended.since(run.started)));
    }
    if let Some(lock) = &run.said.locked {
        add!(line, ", {}", text::visible(&lock.to_string()));
    }
    let undone = run.items.saturating_sub(run.counts.total());
    let mut came_to = Vec::new();
    if run.counts.total() > 0 {
        came_to.push(lines_counts_painted(&run.counts));
    }
    if undone > 0 {
        came_to.push(format!("{} not ended", text::count(undone.into())));
    }
    if !came_to.is_empty() {
        add!(line, ": {}", came_to.join(", "));
    }
    line
}

fn table(run: &RunView, quiet: bool, logs: &dyn Logs) -> Table {
    let mut table = Table::new(&[
        ("", Column::Left),
        ("", Column::Right),
        ("", Column::Shrink),
        ("", Column::Right),
        ("", Column::Cut),
    ]);
    for (test, item) in run.all_items() {
        if item.discovery && item.verdict.is_some_and(|v| v.is_ok() && v != Verdict::NoItems) {
            continue;
        }
        if quiet && item.verdict.is_some_and(Verdict::is_ok) {
            continue;
        }
        let (label, style) = match item.verdict {
            Some(verdict) => (style::label(verdict), style::of(verdict)),
            None => ("OPEN", style::INFO),
        };
        let took = item.last().map(|a| words::duration(a.result.duration)).unwrap_or_default();
        let tries = match item.attempts.len() {
            0 | 1 => String::new(),
            n => format!("×{n}"),
        };
        let why = if item.verdict == Some(Verdict::Pass) { String::new() } else { why_item(item, logs) };
        table.row(vec![
            Cell::new(label, style),
            Cell::new(took, style::DIM),
            item_name(&test.name, &item.path).into(),
            tries.into(),
            Cell::new(why, style::DIM),
        ]);
    }
    table
}
