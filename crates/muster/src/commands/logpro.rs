//! `muster logpro`: a log judged by rule files, as logpro does it, with its arguments and exit codes.

use crate::context::Context;
use crate::error::Complaint;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_core::output::Stream;
use muster_formats::megatest::logpro::{Evaluation, Page, Program};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Largest rule file, in bytes.
// Limit: it is read into memory; the largest seen have some tens of kilobytes.
const RULES_BYTES_MAX: u64 = 8 << 20;

/// Arguments of `muster logpro`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The log is read from standard input. Beside PAGE its results go into a `.dat` file. Exit codes are those of
logpro: 0 pass, 1 fail, 2 warn, 3 check, 4 waived, 5 abort, 6 skip; 1 too if a rule file cannot be used.
What else goes wrong is told by a code that is no verdict: 64 for wrong arguments, 74 for files.

Example: muster logpro boot.logpro boot.html < boot.log")]
pub(crate) struct LogproArgs {
    /// The rule file
    #[arg(value_name = "RULES")]
    pub(crate) rules: PathBuf,
    /// Where to write the log in colours, with links; `-` for nowhere
    #[arg(value_name = "PAGE")]
    pub(crate) page: PathBuf,
    /// A rule file of waivers, whose rules go first
    #[arg(value_name = "WAIVERS")]
    pub(crate) waivers: Option<PathBuf>,
}

/// Ends the program for wrong arguments, and for files that cannot be written or a log that cannot be read: codes from
/// `sysexits.h`, since all small ones are verdicts.
pub(crate) const WRONG_ARGUMENTS: i32 = 64;
const NO_FILE: i32 = 74;

/// Judges the log, and ends the program with the code for it.
pub(crate) fn run(args: &LogproArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let error = match judge(args, context) {
        Ok(code) => std::process::exit(code),
        Err(error) => error,
    };
    let is_rules = error.downcast_ref::<BadRules>().is_some();
    crate::error::say(&match error.downcast::<BadRules>() {
        Ok(BadRules(error)) | Err(error) => error,
    });
    std::process::exit(if is_rules { 1 } else { NO_FILE })
}

/// The rules cannot be used, for which logpro has a code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadRules(anyhow::Error);

fn judge(args: &LogproArgs, context: &Context) -> Result<i32, anyhow::Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let paths: Vec<&PathBuf> = args.waivers.iter().chain([&args.rules]).collect();
    let texts: Vec<String> =
        paths.iter().map(|path| read_rules(&context.dir.join(path))).collect::<Result<_, _>>()?;
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let files: Vec<(&str, &str)> = names.iter().zip(&texts).map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let program = Program::read(&files, i64::try_from(now).unwrap_or(i64::MAX)).map_err(|why| {
        BadRules(Complaint::lab(why).hint("the reference is docs/reference/logpro.md").into())
    })?;
    let mut said = context.stderr();
    for remark in &program.rules().remarks {
        writeln!(said, "remark: {remark}")?;
    }
    let page = if args.page == Path::new("-") {
        None
    } else {
        let path = context.dir.join(&args.page);
        let cannot = |e: io::Error| Complaint::lab(format!("cannot write `{}`", path.display())).because(e);
        let file = BufWriter::with_capacity(256 << 10, File::create(&path).map_err(cannot)?);
        let title = args.page.file_stem().unwrap_or_default().to_string_lossy();
        Some(Page::new(file, &title, Page::<File>::LOG_BYTES_MAX)?)
    };
    let mut evaluation = Evaluation::new(&program, page);
    let mut log = io::stdin().lock();
    let mut piece = vec![0; 1 << 20];
    loop {
        match log.read(&mut piece)? {
            0 => break,
            n => evaluation.feed(Stream::Stdout, &piece[..n])?,
        }
    }
    let report = evaluation.finish()?;
    if args.page != Path::new("-") {
        let dat = context.dir.join(&args.page).with_extension("dat");
        fs::write(&dat, report.dat(&program))
            .map_err(|e| Complaint::lab(format!("cannot write `{}`", dat.display())).because(e))?;
    }
    let blank = if report.message.is_empty() { "" } else { ": " };
    let mut out = context.stdout();
    writeln!(out, "{}{blank}{}", report.status, report.message)?;
    out.flush()?;
    drop((out, said));
    // The codes are logpro's, and mean something else than ours.
    Ok(i32::from(report.exit_code()))
}

fn read_rules(path: &Path) -> Result<String, anyhow::Error> {
    let read = || -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(path)?.take(RULES_BYTES_MAX).read_to_end(&mut bytes)?;
        // Old rules have comments in other encodings; the bytes that are no UTF-8 are shown as such.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().map_err(|e| {
        let said = format!("cannot read the rule file `{}`", path.display());
        BadRules(Complaint::lab(said).because(e).into()).into()
    })
}
