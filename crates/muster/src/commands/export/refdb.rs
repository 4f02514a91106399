//! `muster export refdb`: parameter tables that are kept as a refdb, in another format; and tables in CSV as a refdb.

use super::tables::{Format, to, write_refdb};
use crate::context::Context;
use crate::error::Complaint;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_formats::export::{Cell, Sink};
use muster_formats::megatest::refdb::{RefDb, SHEET_NAMES, Sheet};
use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Arguments of `muster export refdb`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples: muster export refdb params --sheet boards --format csv
          muster export refdb boards.csv hosts.csv --format refdb -o params")]
pub(crate) struct RefdbArgs {
    /// The directory of a refdb, or CSV files, which are sheets of that name
    #[arg(value_name = "DIR|FILE", required = true)]
    pub(crate) from: Vec<PathBuf>,
    /// Only this sheet; may be given several times
    #[arg(long, value_name = "SHEET")]
    pub(crate) sheet: Vec<String>,
    /// The format
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "sexpr")]
    pub(crate) format: Format,
    /// Write to this file (for refdb: into this directory, which is made), in place of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Largest file that is read.
// Limit: a sheet is in memory as a whole; people edit them by hand.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Writes it.
pub(crate) fn run(args: &RefdbArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut db = RefDb::default();
    for from in &args.from {
        let path = context.dir.join(from);
        let read = if path.is_dir() { read_dir(&path)? } else { read_csv(&path)? };
        for sheet in read.sheets {
            if db.sheets.iter().any(|s| s.name == sheet.name) {
                return Err(Complaint::usage(format!("there are two sheets `{}`", sheet.name)).into());
            }
            db.sheets.push(sheet);
        }
    }
    if let Some(missing) = args.sheet.iter().find(|name| db.sheets.iter().all(|s| s.name != **name)) {
        let known: Vec<&str> = db.sheets.iter().map(|s| s.name.as_str()).collect();
        return Err(Complaint::usage(format!("there is no sheet `{missing}`"))
            .hint(format!("there are {}", known.join(", ")))
            .into());
    }
    if !args.sheet.is_empty() {
        db.sheets.retain(|s| args.sheet.contains(&s.name));
    }
    match (args.format, &args.out) {
        // What a refdb can say beyond a table of lines, it keeps.
        (Format::Refdb, Some(dir)) => write_refdb(&db, &context.dir.join(dir))?,
        _ => to(args.format, db.sheets.len() > 1, args.out.as_deref(), context, |sink| {
            db.sheets.iter().try_for_each(|sheet| Ok(put(sheet, sink)?))
        })?,
    }
    Ok(ExitCode::Passed)
}

fn put(sheet: &Sheet, sink: &mut dyn Sink) -> io::Result<()> {
    let columns = sheet.columns();
    let names: Vec<Cow<'static, str>> =
        std::iter::once("row").chain(columns.iter().copied()).map(|c| Cow::Owned(c.to_owned())).collect();
    sink.begin(&sheet.name, &names)?;
    for row in &sheet.rows {
        let cell = |column: &&str| {
            let value = row.cells.iter().find(|(c, _)| c == column);
            value.map_or(Cell::Empty, |(_, v)| Cell::Text(v.clone()))
        };
        let cells: Vec<Cell> =
            std::iter::once(Cell::from(row.name.as_str())).chain(columns.iter().map(cell)).collect();
        sink.row(&cells)?;
    }
    sink.end()
}

fn read(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than a sheet may be (64 MiB)"));
    }
    fs::read_to_string(path)
}

fn read_dir(dir: &Path) -> Result<RefDb, anyhow::Error> {
    let names = dir.join(SHEET_NAMES);
    let names = read(&names).map_err(|e| {
        Complaint::usage(format!("`{}` cannot be read", names.display()))
            .because(e)
            .hint("the directory of a refdb has a file of that name, with a sheet's name on each line")
    })?;
    let db = RefDb::read(&names, |name| read(&dir.join(name)).map_err(|e| e.to_string()));
    Ok(db.map_err(|e| Complaint::usage(e.to_string()))?)
}

fn read_csv(path: &Path) -> Result<RefDb, anyhow::Error> {
    let text = read(path)
        .map_err(|e| Complaint::usage(format!("`{}` cannot be read", path.display())).because(e))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let sheet = Sheet::from_csv(&name, &text).map_err(|e| Complaint::usage(e.to_string()))?;
    Ok(RefDb { sheets: vec![sheet] })
}
