//! `megatest` and `mtutil` as names of Muster's: what the scripts of Megatest areas call, and what people are
//! used to type. `muster megatest …` is the same.
//!
//! Nothing is decided here that Muster's own commands decide: a run is `muster run`, what it came to is read
//! from the same records.

pub(crate) mod afterwards;
mod again;
mod archive;
mod args;
mod code;
mod diff;
mod envs;
mod ezstep;
mod fields;
mod inside;
mod items;
mod job;
mod launch;
pub(crate) mod leftovers;
mod list_runs;
mod list_targets;
mod log;
mod manage;
mod mtutil;
mod pages;
mod record;
mod run;
mod show;
mod skip;
mod subrun;
mod summary;
mod tables;
mod told;
mod triggers;
mod wait;
mod waive;

use crate::commands;
use crate::commands::new::{AreaArgs, TestArgs};
use crate::context::Context;
use crate::error::Complaint;
use args::Args;
pub(crate) use list_runs::ticket_of;
use muster_core::outcome::{ExitCode, Outcome};
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;

/// The names that Megatest's programs have.
const NAMES: [&str; 2] = ["megatest", "mtutil"];

/// Arguments of `muster megatest`.
#[derive(clap::Args, Clone, Debug)]
#[command(disable_help_flag = true)]
pub(crate) struct MegatestArgs {
    /// As on Megatest's command line: `-run -target a/b -runname w1 -testpatt %`
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}

/// Whether the program was called by one of Megatest's names.
pub(crate) fn is_called(program: &OsStr) -> bool {
    Path::new(program).file_name().is_some_and(|name| NAMES.iter().any(|n| name == *n))
}

/// What the program does that was called by one of Megatest's names.
pub(crate) fn main() -> std::process::ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    let is_mtutil = Path::new(&program).file_name().is_some_and(|n| n == "mtutil");
    if words.first().is_some_and(|w| w == "-ezstep" || w == "-subrun") {
        return as_step(&words);
    }
    // `catch` takes no closure, so that a panic finds nothing half done; what was typed is read again there.
    if is_mtutil { crate::error::catch(mtutil) } else { crate::error::catch(megatest) }
}

/// A step of a test, whose exit code is for Muster.
fn as_step(words: &[OsString]) -> std::process::ExitCode {
    let words: Vec<String> = words.iter().map(|w| w.to_string_lossy().into_owned()).collect();
    let (without_mt, words) = match words.split_first() {
        Some((first, rest)) if first == "-subrun" => (true, rest),
        _ => (false, words.as_slice()),
    };
    let done = match words {
        [_, name, command] => ezstep::run(name, command, without_mt),
        _ => Err(anyhow::anyhow!("a step has a name and a command")),
    };
    let code = done.unwrap_or_else(|error| {
        drop(writeln!(std::io::stderr(), "megatest: {error:#}"));
        ezstep::exit_of(Outcome::Error)
    });
    std::process::ExitCode::from(code)
}

fn megatest() -> Result<ExitCode, anyhow::Error> {
    do_as_told(std::env::args_os().skip(1).map(|w| w.to_string_lossy().into_owned()))
}

fn mtutil() -> Result<ExitCode, anyhow::Error> {
    let words = std::env::args_os().skip(1).map(|w| w.to_string_lossy().into_owned());
    mtutil::run(words, &Context::new(&crate::cli::Global::plain(None))?)
}

/// `muster mtutil …`
pub(crate) fn run_mtutil(args: MegatestArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    mtutil::run(args.args, context)
}

/// `muster megatest …`
pub(crate) fn run(args: MegatestArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let args = match parse(args.args) {
        Ok(args) => args,
        Err(wrong) => return code::of(Err(wrong), None, None),
    };
    code::of(with(&args, context), Some(&args), Some(context))
}

fn parse(words: impl IntoIterator<Item = String>) -> Result<Args, anyhow::Error> {
    let args = Args::parse(words).map_err(|wrong| {
        let complaint = Complaint::usage(wrong.to_string());
        match wrong {
            args::Wrong::Never(_, why) => complaint.hint(why),
            args::Wrong::Unknown(_) | args::Wrong::NoValue(_) | args::Wrong::Left(_) => {
                complaint.hint("`megatest -h` lists the switches")
            }
        }
    })?;
    if let Some(file) = args.get("log") {
        print_into(file).map_err(|e| {
            Complaint::usage(format!("`-log {file}`: nothing can be written there")).because(e)
        })?;
    }
    Ok(args)
}

/// From now on all that this process says is written behind what is in this file.
fn print_into(file: &str) -> std::io::Result<()> {
    if let Some(dir) = Path::new(file).parent() {
        std::fs::create_dir_all(dir)?;
    }
    let file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    rustix::stdio::dup2_stdout(&file)?;
    rustix::stdio::dup2_stderr(&file)?;
    Ok(())
}

fn do_as_told(words: impl IntoIterator<Item = String>) -> Result<ExitCode, anyhow::Error> {
    let args = match parse(words) {
        Ok(args) => args,
        Err(wrong) => return code::of(Err(wrong), None, None),
    };
    let global = crate::cli::Global::plain(args.get("start-dir").map(Into::into));
    let context = match Context::new(&global) {
        Ok(context) => context,
        Err(wrong) => return code::of(Err(wrong), Some(&args), None),
    };
    code::of(with(&args, &context), Some(&args), Some(&context))
}

/// What scripts ask for now and then, and what is so here anyway: what has died is known by its lock; there are no
/// servers and no copies of records.
const NOTHING_TO_DO: [&str; 8] = [
    "mark-incompletes",
    "rollup",
    "rename-run",
    "list-servers",
    "kill-servers",
    "cleanup-db",
    "update-meta",
    "process-reap",
];

/// What the scripts of tests call.
const INSIDE: [&str; 9] = [
    "step",
    "runstep",
    "test-status",
    "load-test-data",
    "set-values",
    "summarize-items",
    "show-cmdinfo",
    "set-toplog",
    "setlog",
];

fn with(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let has = |name: &str| args.has(name);
    if has("version") {
        writeln!(context.stdout(), "1.65 (Muster {})", env!("CARGO_PKG_VERSION"))?;
        return Ok(ExitCode::Passed);
    }
    if has("h") || has("help") {
        return show::help(context);
    }
    if has("expand-items") {
        return items::expand(context);
    }
    if INSIDE.iter().any(|name| has(name)) {
        return inside::run(args, context);
    }
    let again = has("rerun") || has("rerun-clean") || has("rerun-all");
    if has("run") || has("runall") || has("runtests") || again {
        return run::run(args, context);
    }
    // After a run that was asked for with it there is nothing to wait for.
    if has("run-wait") {
        return wait::run(args, context);
    }
    if has("archive") {
        return archive::run(args, context);
    }
    if has("list-runs") || has("test-paths") || has("test-files") {
        return list_runs::run(args, context);
    }
    if has("list-run-time") || has("list-test-time") {
        return tables::times(args, context);
    }
    if let Some(patt) = args.get("testdata-csv") {
        return tables::test_data(args, patt, context);
    }
    if let Some(file) = args.get("extract-ods") {
        return tables::extract_ods(args, file, context);
    }
    if let Some(dir) = args.get("refdb2dat") {
        return tables::refdb2dat(args, dir, context);
    }
    if has("generate-html") || has("generate-html-structure") {
        return pages::run(args, context);
    }
    if has("create-megatest-area") {
        let args = AreaArgs { megatest: true, ..AreaArgs::default() };
        return commands::new::area(args, context);
    }
    if let Some(name) = args.get("create-test") {
        let args = TestArgs { name: Some(name.to_owned()), ..TestArgs::default() };
        return commands::new::test(args, context);
    }
    if has("diff-rep") {
        return run::honest(diff::run(args, context)?);
    }
    if has("list-targets")
        || has("list-db-targets")
        || has("list-tests")
        || has("list-disks")
        || has("show-keys")
    {
        return list_targets::run(args, context);
    }
    if has("show-config") || has("show-runconfig") {
        return show::run(args, context);
    }
    if manage::is_meant(args) {
        return manage::run(args, context);
    }
    if has("env2file") || has("envcap") || has("envdelta") {
        return envs::run(args, context);
    }
    if NOTHING_TO_DO.iter().any(|name| has(name)) {
        return Ok(ExitCode::Passed);
    }
    show::help(context)
}
