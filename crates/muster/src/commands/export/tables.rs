//! Tables of records, in the format that was asked for, to where it was.

use crate::commands::typed::run_ref;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::records::Records;
use crate::whole_file::beside;
use clap::{Args, ValueEnum};
use muster_core::address::RunRef;
use muster_core::outcome::ExitCode;
use muster_core::view::RunView;
use muster_formats::export::{Csv, Json, Ods, Refdb, Sexpr, Sink, Table};
use muster_formats::megatest::refdb::RefDb;
use muster_store::{ItemFilter, RunFilter};
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// Arguments of `muster export runs` and its like.
#[derive(Args, Clone, Debug, Default)]
#[command(after_help = "\
The first column names the row. Times are in UTC, durations in seconds.

Examples: muster export results -1 --format csv > results.csv
          muster export all --last 10 --format ods -o results.ods")]
pub(crate) struct TableArgs {
    /// Which runs [default: the latest; of the table of runs, all]
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) runs: Vec<RunRef>,
    /// The newest N runs
    #[arg(long, value_name = "N", conflicts_with = "runs", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) last: Option<u32>,
    /// The format [default: csv, or what `--output` says]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<Format>,
    /// Write to this file (for refdb: into this directory, which is made), in place of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// What tables are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// CSV with a line of headings
    Csv,
    /// A list of objects; of several tables, an object of lists
    Json,
    /// S-expressions, in refdb's layout
    Sexpr,
    /// A directory of text files, as Megatest's refdb has them
    Refdb,
    /// A spreadsheet (OpenDocument), a sheet for each table
    Ods,
}

impl Format {
    /// The format that Megatest calls so.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        <Self as ValueEnum>::from_str(if word == "sexp" { "sexpr" } else { word }, false).ok()
    }
}

/// Writes tables of runs.
pub(crate) fn run(tables: &[Table], args: &TableArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let format = args.format.unwrap_or(match context.output {
        OutputMode::Json => Format::Json,
        OutputMode::Human | OutputMode::Quiet => Format::Csv,
    });
    let records = Records::open(context)?;
    let runs = runs(&records, tables, args)?;
    let several = tables.len() > 1;
    to(format, several, args.out.as_deref(), context, |sink| {
        for table in tables {
            sink.begin(table.name(), &table.columns())?;
            for head in &runs {
                // Run by run: several of a hundred thousand items need not be in memory together.
                let run = if table.needs_items() { &records.load(head, ItemFilter::All)? } else { head };
                table.rows(run, |row| sink.row(row))?;
            }
            sink.end()?;
        }
        Ok(())
    })?;
    Ok(ExitCode::Passed)
}

/// The heads of the runs that are meant, the oldest first.
fn runs(records: &Records, tables: &[Table], args: &TableArgs) -> Result<Vec<RunView>, anyhow::Error> {
    if !args.runs.is_empty() {
        return args.runs.iter().map(|run| records.find_run(run)).collect();
    }
    let limit = args.last.unwrap_or(if tables == [Table::Runs] { u32::MAX } else { 1 });
    let area = Some(records.area().to_owned());
    let mut runs = records.with(|s| s.list_runs(&RunFilter { area, limit, ..RunFilter::default() }))?;
    runs.reverse();
    Ok(runs)
}

/// Has tables written in a format to a file, a directory or standard output. A file is there whole or not at all.
///
/// # Errors
/// What `fill` says; the format cannot be written there.
pub(crate) fn to(
    format: Format,
    several: bool,
    out: Option<&Path>,
    context: &Context,
    fill: impl FnOnce(&mut dyn Sink) -> Result<(), anyhow::Error>,
) -> Result<(), anyhow::Error> {
    let path = out.filter(|path| path.as_os_str() != "-").map(|path| context.dir.join(path));
    let needs = |what: &str| {
        Complaint::usage(format!("{what} is not written to standard output")).hint("name where with `-o`")
    };
    match (format, path) {
        (Format::Refdb, None) => Err(needs("a refdb, which is a directory,").into()),
        (Format::Refdb, Some(dir)) => {
            let mut sink = Refdb::default();
            fill(&mut sink)?;
            write_refdb(&sink.db, &dir)
        }
        (Format::Ods, None) => Err(needs("a spreadsheet").into()),
        (format, None) => {
            let mut out = BufWriter::new(context.stdout());
            fill_text(format, several, &mut out, fill)?;
            Ok(out.flush()?)
        }
        (format, Some(path)) => {
            let complain = |e: io::Error| {
                Complaint::usage(format!("`{}` cannot be written", path.display()))
                    .because(e)
                    .hint("name a file in a directory that is there and writable")
            };
            let mut file = beside(&path).map_err(complain)?;
            let mut out = BufWriter::new(file.as_file_mut());
            if format == Format::Ods {
                let mut sink = Ods::new(&mut out).map_err(complain)?;
                fill(&mut sink)?;
                sink.finish().map_err(complain)?;
            } else {
                fill_text(format, several, &mut out, fill)?;
            }
            out.flush().map_err(complain)?;
            drop(out);
            file.as_file().sync_all().map_err(complain)?;
            file.persist(&path).map_err(|e| complain(e.error))?;
            Ok(())
        }
    }
}

fn fill_text(
    format: Format,
    several: bool,
    out: &mut dyn io::Write,
    fill: impl FnOnce(&mut dyn Sink) -> Result<(), anyhow::Error>,
) -> Result<(), anyhow::Error> {
    let mut sink: Box<dyn Sink + '_> = match format {
        Format::Json => Box::new(Json::new(out, several)),
        Format::Sexpr => Box::new(Sexpr::new(out)),
        Format::Csv | Format::Refdb | Format::Ods => Box::new(Csv::new(out)),
    };
    fill(&mut *sink)?;
    Ok(sink.finish()?)
}

/// Writes a refdb into a directory that has none.
pub(super) fn write_refdb(db: &RefDb, dir: &Path) -> Result<(), anyhow::Error> {
    let files = db.files().map_err(|e| Complaint::usage(e.to_string()))?;
    let complain = |path: &Path, e: io::Error| {
        let complaint = Complaint::usage(format!("`{}` cannot be written", path.display()));
        match e.kind() {
            io::ErrorKind::AlreadyExists => {
                complaint.because(e).hint("name a directory that is not there yet")
            }
            _ => complaint.because(e),
        }
    };
    fs::create_dir_all(dir).map_err(|e| complain(dir, e))?;
    for (name, text) in files {
        let path = dir.join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        file.and_then(|mut f| f.write_all(text.as_bytes())).map_err(|e| complain(&path, e))?;
    }
    Ok(())
}
