//! `muster archive`: the files of runs, kept once where several runs have the same.

use crate::commands::area_name;
use crate::commands::records::find_run;
use crate::commands::typed::run_ref;
use crate::context::{Context, OutputMode, RECORDS};
use crate::error::Complaint;
use crate::keeper::must_be_open;
use crate::local::archive::{self, Archive, Destination, Index, Restored, Saved, Survey, Wants};
use crate::local::session;
use crate::terminal::table::{Column, Table};
use crate::terminal::text;
use clap::{Args, Subcommand};
use muster_core::address::RunRef;
use muster_core::outcome::ExitCode;
use muster_core::select::testpatt::TestPatt;
use muster_core::select::wildcard;
use muster_core::view::RunView;
use muster_formats::megatest::item_dirs;
use muster_formats::report::words;
use muster_store::{ItemFilter, RunFilter, Sqlite, Store as _};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Arguments of `muster archive`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
An archive has the files that a run left: its outputs, the files its tests left, and in a Megatest area the run
directories on all disks. It is a repository of packages: what several runs have in common is kept once, and each
byte is verified when it is read. What is recorded of a run stays in the records (`muster runs reduce` makes that
small).

  muster archive save 41 42 --remove
  muster archive get 41 '*.log' --to /tmp/logs
  muster archive restore 41")]
pub(crate) struct ArchiveArgs {
    #[command(subcommand)]
    command: ArchiveCommand,
    /// Where the archive is; by default `.muster/archive` of the area
    #[arg(long, value_name = "DIR", global = true)]
    archive: Option<PathBuf>,
}

#[derive(Subcommand, Clone, Debug)]
enum ArchiveCommand {
    /// Put the files of runs that are over into the archive
    Save(SaveArgs),
    /// Bring the files of runs back to where they were
    Restore(RunsArgs),
    /// Copy files of a run out of the archive into a directory
    Get(GetArgs),
    /// List the runs in the archive
    List,
    /// Read archives whole and compare every byte with its digest
    Verify(VerifyArgs),
}

#[derive(Args, Clone, Debug)]
struct SaveArgs {
    /// The runs: their numbers, their names, `latest`, or `-2` for the one before
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true, required = true)]
    runs: Vec<RunRef>,
    /// Remove the files from where they are, once all of the archive was read and found right
    #[arg(long)]
    remove: bool,
    /// Say what would be saved and removed, and do nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args, Clone, Debug)]
struct RunsArgs {
    /// The runs: their numbers, their names, `latest`, or `-2` for the one before
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true, required = true)]
    runs: Vec<RunRef>,
}

#[derive(Args, Clone, Debug)]
struct GetArgs {
    /// The run: its number, its name, `latest`, or `-2` for the one before
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true)]
    run: RunRef,
    /// Only files whose path matches one of these; `*` for any text, and a directory means all below it
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// The directory they are copied into; nothing there is written over
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

#[derive(Args, Clone, Debug)]
struct VerifyArgs {
    /// Only these runs; by default all in the archive
    #[arg(value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true)]
    runs: Vec<RunRef>,
}

/// Does what is asked with the archive.
pub(crate) fn run(args: &ArchiveArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if context.server.is_some() {
        return Err(Complaint::usage("the files of a server's runs are archived where the server is")
            .hint("call this without --server in the directory of an area")
            .into());
    }
    let desk = Desk::open(args.archive.as_deref(), context)?;
    match &args.command {
        ArchiveCommand::Save(args) => {
            let runs = desk.runs(&args.runs)?;
            match args.dry_run {
                true => survey(&desk, &runs, args.remove, context),
                false => save(&desk, &runs, args.remove, None, context),
            }
        }
        ArchiveCommand::Restore(args) => {
            let runs = desk.runs(&args.runs)?;
            restore(&desk, &runs, None, context)
        }
        ArchiveCommand::Get(args) => get(&desk, args, context),
        ArchiveCommand::List => list(&desk, context),
        ArchiveCommand::Verify(args) => verify(&desk, args, context),
    }
}

/// What `megatest -archive` asks for: the runs that are selected there. With `tests` only the run directories of these
/// are removed or brought back; saved is always all of a run, since an archive of it hides no former one.
///
/// # Errors
/// As for the commands; no test of a run is meant.
pub(crate) fn for_megatest(
    what: MegatestArchive,
    runs: &[RunView],
    tests: Option<&TestPatt>,
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let desk = Desk::open(None, context)?;
    match what {
        MegatestArchive::Save => save(&desk, runs, false, tests, context),
        MegatestArchive::SaveRemove => save(&desk, runs, true, tests, context),
        MegatestArchive::Restore => restore(&desk, runs, tests, context),
        MegatestArchive::Get => {
            for run in runs {
                let wants = desk.part(run, tests)?;
                let (index, restored) = copy(&desk, run, &context.dir.join(run.number.to_string()), &*wants)?;
                tell_restored(&index, &restored, context)?;
            }
            Ok(ExitCode::Passed)
        }
    }
}

/// The words of `megatest -archive`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MegatestArchive {
    Save,
    SaveRemove,
    Restore,
    Get,
}

/// The records and the archive at hand.
struct Desk {
    store: std::cell::RefCell<Sqlite>,
    area: String,
    /// Of the records.
    records: PathBuf,
    dir: PathBuf,
}

impl Desk {
    fn open(dir: Option<&Path>, context: &Context) -> Result<Self, anyhow::Error> {
        let area_dir = context.area_dir()?;
        let mut store = crate::wiring::open_sqlite(&area_dir)?;
        let area = area_name(context, &mut store)?;
        let dir = dir.map_or_else(|| archive::dir_of(&area_dir), |dir| context.dir.join(dir));
        Ok(Self { store: std::cell::RefCell::new(store), area, records: area_dir.join(RECORDS), dir })
    }

    fn runs(&self, named: &[RunRef]) -> Result<Vec<RunView>, anyhow::Error> {
        let mut store = self.store.borrow_mut();
        named.iter().map(|run| find_run(&mut *store, &self.area, run)).collect()
    }

    /// The directories that a run's files are or were in.
    fn roots(&self, run: &RunView) -> Result<Vec<PathBuf>, anyhow::Error> {
        let mut store = self.store.borrow_mut();
        let snapshot = store.load_run_snapshot(run.id)?;
        let run_dir = store.run_dir(run.number).expect("the records of an area are in a directory");
        Ok(archive::roots(&mut *store, run, &snapshot, &run_dir)?)
    }

    /// The files of a run that are meant: all, or those in the run directories of these tests.
    ///
    /// # Errors
    /// The run has none of them.
    fn part(&self, run: &RunView, tests: Option<&TestPatt>) -> Result<Box<Wants<'static>>, anyhow::Error> {
        let Some(tests) = tests else { return Ok(Box::new(|_, _| true)) };
        let whole = self.store.borrow_mut().load_run(run.id, ItemFilter::All)?;
        let mut dirs: HashMap<PathBuf, bool> = HashMap::new();
        for test in &whole.tests {
            let items = test.items.iter().filter(|item| !item.discovery).map(|item| item.path.as_str());
            let elsewhere = item_dirs(items.clone());
            dirs.extend(items.map(|item| {
                let dir = elsewhere.get(item).map_or(item, String::as_str);
                (Path::new(&test.name).join(dir), tests.matches(&test.name, item))
            }));
        }
        if !dirs.values().any(|is_meant| *is_meant) {
            return Err(Complaint::usage(format!("run `{}` has none of these tests", run.number)).into());
        }
        // What lies in the run's own directory is not of one test alone.
        Ok(Box::new(move |root, path| {
            root > 0 && path.ancestors().find_map(|dir| dirs.get(dir)) == Some(&true)
        }))
    }

    /// The directories that are there of a run that may be saved, and its files removed if that is wanted.
    fn roots_to_save(
        &self,
        run: &RunView,
        remove: bool,
        context: &Context,
    ) -> Result<Vec<PathBuf>, anyhow::Error> {
        if remove {
            // As it is now: those before it may have taken long.
            let now = self.store.borrow_mut().load_run(run.id, ItemFilter::Failed)?;
            must_be_open(&now, &context.program())?;
        }
        if run.ended.is_none() {
            return Err(Complaint::usage(format!("run `{}` has not ended", run.number))
                .hint(format!("`muster resume {}` goes on with it", run.number))
                .into());
        }
        let roots = self.roots(run)?.into_iter().enumerate();
        Ok(roots.filter(|(nth, dir)| *nth == 0 || dir.is_dir()).map(|(_, dir)| dir).collect())
    }
}

fn survey(desk: &Desk, runs: &[RunView], remove: bool, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let archive = Archive::open(&desk.dir).ok();
    let mut all = Vec::new();
    for run in runs {
        let roots = desk.roots_to_save(run, remove, context)?;
        let survey = archive::survey(archive.as_ref(), run, &roots, &desk.records, session::now(), remove)?;
        let Survey { files, bytes, new, goes } = survey;
        if context.output == OutputMode::Human {
            let mut out = context.stdout();
            let files = text::plural(files.into(), "file", "files");
            writeln!(
                out,
                "run {}: {files} of {}, {new} new to the archive, would be saved",
                run.number,
                words::bytes(bytes)
            )?;
            for path in &goes {
                writeln!(out, "  `{}` would be removed", path.display())?;
            }
        }
        all.push(json!({
            "run": run.number, "files": files, "bytes": bytes, "new": new, "would_remove": goes,
        }));
    }
    finish(&all, context)
}

fn save(
    desk: &Desk,
    runs: &[RunView],
    remove: bool,
    tests: Option<&TestPatt>,
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let archive = Archive::create(&desk.dir)?;
    let mut all = Vec::new();
    for run in runs {
        let roots = desk.roots_to_save(run, remove, context)?;
        let part = desk.part(run, tests)?;
        let goes = remove.then_some(&*part);
        let saved = archive::save(&archive, run, &roots, &desk.records, session::now(), goes)?;
        let Saved { package, bytes_written, files, bytes, left_out } = saved;
        if context.output == OutputMode::Human {
            let mut out = context.stdout();
            writeln!(
                out,
                "run {}: {} of {}, {} new in the archive{}",
                run.number,
                text::plural(files.into(), "file", "files"),
                words::bytes(bytes),
                words::bytes(bytes_written),
                match (remove, tests) {
                    (false, _) => "",
                    (true, None) => "; removed from where they were",
                    (true, Some(_)) => "; those of the tests were removed from where they were",
                }
            )?;
            for path in &left_out {
                writeln!(context.stderr(), "`{}` is no file, and stays where it is", path.display())?;
            }
        }
        all.push(json!({
            "run": run.number, "package": package.digest.to_string(), "files": files, "bytes": bytes,
            "bytes_written": bytes_written, "removed": remove, "left_out": left_out,
        }));
    }
    finish(&all, context)
}

fn restore(
    desk: &Desk,
    runs: &[RunView],
    tests: Option<&TestPatt>,
    context: &Context,
) -> Result<ExitCode, anyhow::Error> {
    let archive = Archive::open(&desk.dir)?;
    let mut all = Vec::new();
    for run in runs {
        let package = archive.find(run)?;
        let roots = desk.roots(run)?;
        let there = Destination::There(&roots);
        let part = desk.part(run, tests)?;
        let (index, restored) = archive::restore(&archive, &package, &there, &*part, &desk.records)?;
        all.push(tell_restored(&index, &restored, context)?);
    }
    finish(&all, context)
}

fn get(desk: &Desk, args: &GetArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let GetArgs { run, paths, to } = args;
    let run = desk.runs(std::slice::from_ref(run))?.remove(0);
    let wants = |_: u32, path: &Path| {
        let path = path.to_string_lossy();
        let below = |dir: &str| {
            path.strip_prefix(dir.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
        };
        paths.is_empty() || paths.iter().any(|pattern| wildcard(pattern, &path) || below(pattern))
    };
    let (index, restored) = copy(desk, &run, &context.dir.join(to), &wants)?;
    if restored.files == 0 && restored.there == 0 {
        return Err(Complaint::usage(format!("the archive of run `{}` has no such file", run.number)).into());
    }
    let told = tell_restored(&index, &restored, context)?;
    finish(&[told], context)
}

fn copy(
    desk: &Desk,
    run: &RunView,
    to: &Path,
    wants: &Wants<'_>,
) -> Result<(Index, Restored), anyhow::Error> {
    let archive = Archive::open(&desk.dir)?;
    let package = archive.find(run)?;
    std::fs::create_dir_all(to)
        .map_err(|e| Complaint::usage(format!("`{}` cannot be made", to.display())).because(e))?;
    archive::restore(&archive, &package, &Destination::Below(to), wants, to)
}

fn list(desk: &Desk, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let archive = Archive::open(&desk.dir)?;
    let filter = RunFilter { limit: u32::MAX, ..RunFilter::default() };
    let known = desk.store.borrow_mut().list_runs(&filter)?;
    let mut all = Vec::new();
    let mut table = Table::new(&[
        ("run", Column::Right),
        ("name", Column::Shrink),
        ("target", Column::Left),
        ("files", Column::Right),
        ("bytes", Column::Right),
    ]);
    for (id, package) in archive.list()? {
        let run = known.iter().find(|run| run.id == id);
        let number = run.map(|run| run.number);
        // The index is one of its files.
        let files = package.files.saturating_sub(1);
        all.push(json!({
            "run": number, "id": id.to_string(), "package": package.digest.to_string(), "files": files,
            "bytes": package.bytes,
        }));
        table.row(vec![
            number.map_or_else(|| "not here".to_owned(), |n| n.to_string()).into(),
            run.map_or("", |run| run.name.as_str()).into(),
            run.map(|run| text::target(&run.target)).unwrap_or_default().into(),
            text::count(files).into(),
            words::bytes(package.bytes).into(),
        ]);
    }
    if context.output == OutputMode::Human {
        let mut out = context.stdout();
        for line in table.lines(context.stdout_width()) {
            writeln!(out, "{line}")?;
        }
    }
    finish(&all, context)
}

fn verify(desk: &Desk, args: &VerifyArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let archive = Archive::open(&desk.dir)?;
    let wanted = desk.runs(&args.runs)?;
    let mut packages = Vec::new();
    match wanted.is_empty() {
        true => packages.extend(archive.list()?),
        false => {
            for run in &wanted {
                packages.push((run.id, archive.find(run)?));
            }
        }
    }
    let filter = RunFilter { limit: u32::MAX, ..RunFilter::default() };
    let known = desk.store.borrow_mut().list_runs(&filter)?;
    let (mut all, mut is_whole) = (Vec::new(), true);
    for (id, package) in packages {
        let number = known.iter().find(|run| run.id == id).map(|run| run.number);
        let shown = number.map_or_else(|| id.to_string(), |n| n.to_string());
        let wrong = archive::verify(&archive, &package).err();
        is_whole &= wrong.is_none();
        if context.output == OutputMode::Human {
            let mut out = context.stdout();
            match &wrong {
                None => writeln!(out, "run {shown}: whole, {}", words::bytes(package.bytes))?,
                Some(error) => writeln!(out, "run {shown}: {error}")?,
            }
        }
        all.push(json!({ "run": number, "whole": wrong.is_none(), "wrong": wrong.map(|e| e.to_string()) }));
    }
    finish(&all, context)?;
    Ok(if is_whole { ExitCode::Passed } else { ExitCode::Lab })
}

fn tell_restored(index: &Index, restored: &Restored, context: &Context) -> Result<Value, anyhow::Error> {
    let Restored { files, bytes, there, dirs } = restored;
    if context.output == OutputMode::Human {
        let mut out = context.stdout();
        let already = if *there > 0 { format!(", {there} were there") } else { String::new() };
        let files = text::plural((*files).into(), "file", "files");
        let place = dirs.first().map(|d| d.display().to_string()).unwrap_or_default();
        writeln!(out, "run {}: {files} of {} in `{place}`{already}", index.number, words::bytes(*bytes))?;
    }
    Ok(json!({ "run": index.number, "files": files, "bytes": bytes, "there": there, "dirs": dirs }))
}

fn finish(all: &[Value], context: &Context) -> Result<ExitCode, anyhow::Error> {
    if context.output == OutputMode::Json {
        let mut out = context.stdout();
        serde_json::to_writer(&mut out, all)?;
        writeln!(out)?;
    }
    Ok(ExitCode::Passed)
}
