//! Megatest's questions that are answered by tables: `-list-runs -dumpmode csv|sexpr|ods`, `-extract-ods`,
//! `-list-run-time`, `-list-test-time`, `-testdata-csv`, `-refdb2dat`.

use super::args::Args;
use super::fields::Fields;
use super::list_runs::{Chosen, Line, Wanted, lines, sort, state, status, ticket_of};
use super::record::Record;
use crate::commands::export::refdb::{self, RefdbArgs};
use crate::commands::export::tables::{Format, to};
use crate::context::Context;
use crate::error::Complaint;
use muster_core::outcome::ExitCode;
use muster_core::select::testpatt::{TestPatt, part_matches};
use muster_core::view::RunView;
use muster_formats::export::{Cell, Sink, Table};
use muster_formats::megatest::test_data::{Datum, Judged, read_csv};
use muster_store::{ItemFilter, Store};
use std::borrow::Cow;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

/// Columns of the table of runs.
const RUNS: [&str; 8] = ["run", "id", "target", "runname", "state", "status", "event_time", "run_duration"];
/// Columns of the table of tests, as Megatest calls its fields.
const TESTS: [&str; 14] = [
    "test",
    "run_id",
    "target",
    "runname",
    "testname",
    "item_path",
    "state",
    "status",
    "event_time",
    "run_duration",
    "host",
    "rundir",
    "final_logf",
    "comment",
];

/// A run that is meant, with the records that are.
struct Listed {
    view: RunView,
    target: String,
    name: String,
    lines: Vec<Line>,
}

fn listed(args: &Args, context: &Context) -> Result<Vec<Listed>, anyhow::Error> {
    let (mut store, filter) = crate::wiring::open_at_hand(context)?;
    let chosen = Wanted::of(args).find(store.as_mut(), &filter)?;
    chosen.into_iter().map(|run| load(run, args, store.as_mut())).collect()
}

fn load(run: Chosen, args: &Args, store: &mut dyn Store) -> Result<Listed, anyhow::Error> {
    let tests = TestPatt::new(args.get("testpatt").unwrap_or("%"));
    let view = store.load_run(run.head.id, ItemFilter::All)?;
    let snapshot = store.load_run_snapshot(run.head.id)?;
    let ticket = snapshot.record.plan.tests.first().and_then(|t| ticket_of(&t.def.env));
    let mut lines = lines(&view, &snapshot.record.spec, ticket.as_ref(), &run.name);
    lines.retain(|line| tests.matches(&line.test, &line.item));
    if let Some(field) = args.get("sort") {
        sort(&mut lines, field, view.number)?;
    }
    Ok(Listed { view, target: run.target, name: run.name, lines })
}

fn heads(columns: &[&'static str]) -> Vec<Cow<'static, str>> {
    columns.iter().copied().map(Cow::Borrowed).collect()
}

fn put_runs(all: &[Listed], sink: &mut dyn Sink) -> std::io::Result<()> {
    sink.begin("runs", &heads(&RUNS))?;
    for run in all {
        sink.row(&[
            format!("{}/{}", run.target, run.name).into(),
            Cell::Whole(run.view.number.into()),
            run.target.as_str().into(),
            run.name.as_str().into(),
            state(&run.view).into(),
            status(&run.view).into(),
            Cell::Time(run.view.started),
            took(&run.view).map_or(Cell::Empty, Cell::from),
        ])?;
    }
    sink.end()
}

fn took(run: &RunView) -> Option<Duration> {
    run.ended.map(|ended| ended.since(run.started))
}

fn put_tests(all: &[Listed], sink: &mut dyn Sink) -> std::io::Result<()> {
    sink.begin("tests", &heads(&TESTS))?;
    for run in all {
        for line in &run.lines {
            sink.row(&[
                // A test's own record has no item, and so ends with a slash where it has items.
                format!("{}/{}/{}/{}", run.target, run.name, line.test, line.item).into(),
                Cell::Whole(run.view.number.into()),
                run.target.as_str().into(),
                run.name.as_str().into(),
                line.test.as_str().into(),
                line.item.as_str().into(),
                line.state.word().into(),
                line.status.word().into(),
                line.time.as_str().into(),
                Cell::Whole(line.seconds),
                line.host.as_str().into(),
                line.run_dir.to_string_lossy().as_ref().into(),
                line.log.as_str().into(),
                line.comment.as_str().into(),
            ])?;
        }
    }
    sink.end()
}

fn out(args: &Args) -> Option<&Path> {
    args.get("o").map(Path::new)
}

/// `-list-runs -dumpmode MODE`, of which text and JSON are Megatest's own.
pub(super) fn list_runs(args: &Args, mode: &str, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let format = Format::of_word(mode).filter(|f| *f != Format::Refdb).ok_or_else(|| unknown(mode))?;
    let fields = Fields::of(args);
    fields.check("runs", &RUNS[1..])?;
    fields.check("tests", &TESTS[1..])?;
    let all = listed(args, context)?;
    to(format, true, out(args), context, |sink| {
        let mut only = fields.only(sink);
        put_runs(&all, &mut only)?;
        Ok(put_tests(&all, &mut only)?)
    })?;
    Ok(ExitCode::Passed)
}

fn unknown(mode: &str) -> Complaint {
    Complaint::usage(format!("there is no `-dumpmode {mode}` here")).hint("`json`, `csv`, `sexpr` or `ods`")
}

/// `-extract-ods FILE`
pub(super) fn extract_ods(args: &Args, file: &str, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut all = listed(args, context)?;
    if let Some(prefix) = args.get("pathmod") {
        for Listed { name, lines, .. } in &mut all {
            lines.iter_mut().for_each(|line| line.log = as_seen_from(prefix, name, line));
        }
    }
    to(Format::Ods, true, Some(Path::new(file)), context, |sink| {
        put_runs(&all, sink)?;
        put_tests(&all, sink)?;
        sink.begin(Table::Steps.name(), &Table::Steps.columns())?;
        for run in &all {
            Table::Steps.rows(&run.view, |row| sink.row(row))?;
        }
        sink.end()?;
        Ok(put_data(&all, "%", "%", sink)?)
    })?;
    writeln!(context.stderr(), "wrote {}", context.dir.join(file).display())?;
    Ok(ExitCode::Passed)
}

/// `-pathmod PREFIX`: the path of a test's log as other machines see it, `PREFIX/RUN/TEST[/ITEM]/LOG`; with backslashes
/// where the prefix has some.
fn as_seen_from(prefix: &str, run: &str, line: &Line) -> String {
    if line.log.is_empty() {
        return String::new();
    }
    let parts = [prefix, run, &line.test, &line.item, &line.log];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let path = parts.join("/");
    if prefix.contains('\\') { path.replace('/', "\\") } else { path }
}

/// `-list-run-time` and `-list-test-time`, as text, CSV or JSON.
pub(super) fn times(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let by_test = args.has("list-test-time");
    let all = listed(args, context)?;
    let columns: &[&str] = if by_test {
        &["test", "seconds", "state", "status"]
    } else {
        &["run", "seconds", "state", "status"]
    };
    let mut rows: Vec<[Cell; 4]> = Vec::new();
    for run in &all {
        let name = format!("{}/{}", run.target, run.name);
        if by_test {
            rows.extend(run.lines.iter().map(|line| {
                let item = if line.item.is_empty() { String::new() } else { format!("/{}", line.item) };
                [
                    format!("{name}/{}{item}", line.test).into(),
                    Cell::Whole(line.seconds),
                    line.state.word().into(),
                    line.status.word().into(),
                ]
            }));
        } else {
            let seconds = took(&run.view).map_or(Cell::Empty, |t| Cell::Whole(t.as_secs()));
            rows.push([name.into(), seconds, state(&run.view).into(), status(&run.view).into()]);
        }
    }
    match args.get("dumpmode") {
        None | Some("plain-text" | "text") => {
            let mut out = context.stdout();
            for [name, seconds, state, status] in &rows {
                writeln!(
                    out,
                    "{:>8}s  {:<12} {:<12} {}",
                    seconds.text(),
                    state.text(),
                    status.text(),
                    name.text()
                )?;
            }
        }
        Some(mode) => {
            let format =
                Format::of_word(mode).filter(|f| *f != Format::Refdb).ok_or_else(|| unknown(mode))?;
            to(format, false, out(args), context, |sink| {
                sink.begin(if by_test { "test-times" } else { "run-times" }, &heads(columns))?;
                rows.iter().try_for_each(|row| sink.row(row))?;
                Ok(sink.end()?)
            })?;
        }
    }
    Ok(ExitCode::Passed)
}

/// Columns of the table of test data, as Megatest calls them.
const DATA: [&str; 13] = [
    "datum",
    "run_id",
    "testname",
    "item_path",
    "category",
    "variable",
    "value",
    "expected",
    "tol",
    "units",
    "comment",
    "status",
    "type",
];

/// Test data whose category and variable match: as the tests themselves have written them where their run directories
/// are there, else what was recorded of them.
fn put_data(all: &[Listed], category: &str, variable: &str, sink: &mut dyn Sink) -> std::io::Result<()> {
    sink.begin("data", &heads(&DATA))?;
    for run in all {
        for line in run.lines.iter().filter(|line| !line.is_top) {
            let (mut data, _) = read_csv(&Record::of(&line.run_dir).data());
            if data.is_empty() {
                let item = run.view.all_items().find(|(t, i)| t.name == line.test && i.path == line.item);
                let last = item.and_then(|(_, item)| item.last());
                data = last.map(|a| a.result.measures.iter().map(Datum::from).collect()).unwrap_or_default();
            }
            let meant =
                |d: &&Datum| part_matches(category, &d.category) && part_matches(variable, &d.variable);
            for datum in data.iter().filter(meant) {
                let status = match datum.judged() {
                    Judged::Pass => "pass".to_owned(),
                    Judged::Fail => "fail".to_owned(),
                    Judged::Nothing => datum.status.clone(),
                    Judged::Unclear(why) => why,
                };
                let name =
                    format!("{}/{}/{}/{}:{}", run.target, run.name, line.test, line.item, datum.name());
                sink.row(&[
                    name.into(),
                    Cell::Whole(run.view.number.into()),
                    line.test.as_str().into(),
                    line.item.as_str().into(),
                    datum.category.as_str().into(),
                    datum.variable.as_str().into(),
                    datum.value.as_str().into(),
                    datum.expected.as_str().into(),
                    datum.tolerance.as_str().into(),
                    datum.units.as_str().into(),
                    datum.comment.as_str().into(),
                    status.into(),
                    datum.kind.as_str().into(),
                ])?;
            }
        }
    }
    sink.end()
}

/// `-testdata-csv [CATEGORY/]VARIABLE`
pub(super) fn test_data(args: &Args, patt: &str, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let (category, variable) = patt.split_once('/').unwrap_or(("%", patt));
    let all = listed(args, context)?;
    to(Format::Csv, false, out(args), context, |sink| Ok(put_data(&all, category, variable, sink)?))?;
    Ok(ExitCode::Passed)
}

/// `-refdb2dat DIR`
pub(super) fn refdb2dat(args: &Args, dir: &str, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mode = args.get("dumpmode").unwrap_or("sexpr");
    let format = match mode {
        "perl" | "ruby" | "sqlite3" => {
            return Err(Complaint::usage(format!("`-dumpmode {mode}` of a refdb is not done by Muster"))
                .hint("`sexp`, `csv`, `json` and `ods` are, and every language reads JSON")
                .into());
        }
        mode => Format::of_word(mode).ok_or_else(|| unknown(mode))?,
    };
    let args =
        RefdbArgs { from: vec![dir.into()], sheet: Vec::new(), format, out: args.get("o").map(Into::into) };
    refdb::run(&args, context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_where_other_machines_see_them() {
        let line = |item: &str, log: &str| Line {
            test: "t".to_owned(),
            item: item.to_owned(),
            log: log.to_owned(),
            ..Line::default()
        };
        assert_eq!(as_seen_from("/net/x", "w1", &line("a/b", "s.html")), "/net/x/w1/t/a/b/s.html");
        assert_eq!(as_seen_from("\\\\srv\\x", "w1", &line("", "s.html")), "\\\\srv\\x\\w1\\t\\s.html");
        assert_eq!(as_seen_from("/net/x", "w1", &line("", "")), "");
    }
}
