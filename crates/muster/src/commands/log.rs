//! `muster log`: what an attempt printed.

use super::typed::address_text;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::records::{Found, Life, Records};
use crate::terminal::log_printer::{Choice, LogPrinter, Shape};
use crate::wiring::RunningLog;
use clap::Args;
use muster_api::ClientError;
use muster_core::address::RunRef;
use muster_core::attempt::{AttemptResult, Output};
use muster_core::outcome::ExitCode;
use muster_formats::report::words;
use muster_store::ItemFilter;
use std::io::{BufWriter, Write};
use std::time::Duration;

/// Arguments of `muster log`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
An address is `[AREA/][RUN/]TEST[/ITEM][#ATTEMPT]`. Without a run the latest is meant, without an attempt the last.

Examples:
  muster log boot/arm64            of the latest run
  muster log 42/boot/arm64#1       the first attempt in run 42
  muster log -2/boot --stderr      standard error, in the run before the latest
  muster log boot/arm64 --follow   while it runs")]
pub(crate) struct LogArgs {
    /// Which attempt: `[RUN/]TEST[/ITEM][#ATTEMPT]`
    #[arg(value_name = "ADDRESS", value_parser = address_text, allow_negative_numbers = true)]
    pub(crate) address: String,
    /// Print more as it comes, until the attempt ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only standard output
    #[arg(long, conflicts_with = "stderr")]
    pub(crate) stdout: bool,
    /// Only standard error
    #[arg(long)]
    pub(crate) stderr: bool,
    /// Put the time since the attempt began in front of each line, and where the line came from
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Only this step's part
    #[arg(long, value_name = "STEP", conflicts_with = "follow")]
    pub(crate) step: Option<String>,
    /// Which attempt, from 1; the same as `#N` behind the address
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) attempt: Option<u16>,
}

/// Limit: bytes of a log in memory at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Looks at a server before a log that is not followed is taken to have nothing yet; each takes a second.
const LOOKS_THERE: u32 = 5;

/// Between two looks at a log that grows.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Prints a log.
pub(crate) fn run(args: &LogArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let records = Records::open_for(context, &args.address)?;
    let address = records.address(&args.address)?;
    let found = records.find_item(&address)?;
    let wanted = args.attempt.or(found.attempt);
    let choice = match (args.stdout, args.stderr) {
        (true, _) => Choice::Stdout,
        (_, true) => Choice::Stderr,
        (false, false) => Choice::All,
    };
    let shape = match (context.output, args.timestamps) {
        (OutputMode::Json, _) => Shape::Json,
        (OutputMode::Human | OutputMode::Quiet, true) => Shape::Timed,
        (OutputMode::Human | OutputMode::Quiet, false) => Shape::Plain,
    };
    // What tests print goes out as it is to a pipe; a terminal is spared what is no colour.
    let out: Box<dyn Write> = if context.stdout_is_terminal() || context.color_is_set() {
        Box::new(context.stdout())
    } else {
        Box::new(std::io::stdout().lock())
    };
    let (tame, color) = (context.stdout_is_terminal(), context.stdout_has_color());
    let mut printer = LogPrinter::new(BufWriter::new(out), choice, shape, tame, color);
    // An item that is tried again is followed where it goes on.
    let goes_on = args.follow && wanted.is_none() && found.item().verdict.is_none();
    match attempt(&found, wanted).filter(|_| !goes_on) {
        Some((_, result)) => recorded(&records, &found, result, args.step.as_deref(), &mut printer)?,
        None => growing(&records, found, wanted, args.follow, &mut printer)?,
    }
    printer.finish()?;
    Ok(ExitCode::Passed)
}

/// The recorded attempt that is wanted: the one asked for, else the last.
fn attempt(found: &Found, wanted: Option<u16>) -> Option<(u16, &AttemptResult)> {
    let mut all = found.item().attempts.iter();
    let it = match wanted {
        Some(n) => all.find(|a| a.number == n),
        None => all.next_back(),
    }?;
    Some((it.number, &it.result))
}

/// Prints the log of an attempt that has ended.
fn recorded(
    records: &Records,
    found: &Found,
    result: &AttemptResult,
    step: Option<&str>,
    printer: &mut LogPrinter<impl Write>,
) -> Result<(), anyhow::Error> {
    let len = match &result.output {
        Output::None => 0,
        Output::Inline(log) => log.len() as u64,
        Output::File { len, .. } | Output::Segment { len, .. } => *len,
    };
    let (mut from, to) = match step {
        None => (0, len),
        Some(name) => step_range(result, name, len)?,
    };
    while from < to {
        let piece = records.with(|s| {
            s.read_output_range(found.run.id, &result.output, from, (to - from).min(PIECE_BYTES))
        })?;
        if piece.is_empty() {
            return Err(Complaint::lab(format!(
                "the log of {} is cut at byte {from} of {len}",
                found.address()
            ))
            .into());
        }
        from += piece.len() as u64;
        printer.push(&piece)?;
    }
    Ok(())
}

fn step_range(result: &AttemptResult, name: &str, len: u64) -> Result<(u64, u64), anyhow::Error> {
    let steps = &result.steps;
    let Some(at) = steps.iter().position(|s| s.name == name) else {
        let names: Vec<String> = steps.iter().map(|s| format!("`{}`", s.name)).collect();
        let complaint = Complaint::usage(format!("the attempt has no step `{name}`"));
        return Err(if names.is_empty() {
            complaint.hint("it has no steps at all: leave out `--step`").into()
        } else {
            complaint.hint(format!("it has {}", names.join(", "))).into()
        });
    };
    let from = steps[at].output_from;
    // Test points may share a place; the part of a step ends where a later one begins.
    let to = steps[at + 1..].iter().map(|s| s.output_from).find(|o| *o > from).unwrap_or(len);
    Ok((from.min(len), to.min(len)))
}

/// Prints the log of an attempt that has no result yet, and follows it if asked to.
fn growing(
    records: &Records,
    mut found: Found,
    wanted: Option<u16>,
    follow: bool,
    printer: &mut LogPrinter<impl Write>,
) -> Result<(), anyhow::Error> {
    let item = found.item();
    let number = wanted.unwrap_or_else(|| item.attempts.last().map_or(1, |a| a.number + 1));
    if item.verdict.is_some() {
        return Err(never_run(&found, wanted));
    }
    let mut log = None;
    let (mut part, mut from) = (0, 0);
    // Whoever does not follow waits this often for what an agent elsewhere may bring.
    let mut patience = LOOKS_THERE;
    loop {
        // Whether it is over is asked before the log is read, so that nothing written in between is missed.
        let (run, fresh) = patiently(follow, || {
            let run = records.find_run(&RunRef::Number(found.run.number))?;
            let fresh = records.load(&run, ItemFilter::Item(&found.test().name, &found.item().path))?;
            Ok((run, fresh))
        })?;
        let over = !matches!(records.life(&run), Some(Life::Alive(_)));
        if fresh.tests.first().is_none_or(|t| t.items.is_empty()) {
            return Err(not_yet(&found, number, over));
        }
        found = Found { run: fresh, attempt: found.attempt };
        if let Some((_, result)) = attempt(&found, Some(number)) {
            // The record has all of it, and in the order of all its processes.
            printer.skip_what_was_printed();
            return recorded(records, &found, result, None, printer);
        }
        if log.is_none() {
            log = RunningLog::find(records, &found, number)?;
        }
        match &log {
            None => {}
            Some(RunningLog::Here(log)) => {
                from = printer.push_file(&log.part(part), from)?;
                while log.part(part + 1).exists() {
                    part += 1;
                    from = printer.push_file(&log.part(part), 0)?;
                }
            }
            Some(RunningLog::There(log)) => {
                let piece = log.piece(records, part, from)?;
                printer.push(&piece.frames)?;
                from += piece.frames.len() as u64;
                if !piece.frames.is_empty() {
                    printer.flush()?;
                    continue;
                }
                if piece.has_next {
                    (part, from) = (part + 1, 0);
                    continue;
                }
                patience = patience.saturating_sub(1);
                // The server has waited already.
                if (follow || (patience > 0 && !printer.has_printed()))
                    && !over
                    && found.item().verdict.is_none()
                {
                    continue;
                }
            }
        }
        if !follow || over || found.item().verdict.is_some() {
            return if printer.has_printed() { Ok(()) } else { Err(not_yet(&found, number, over)) };
        }
        printer.flush()?;
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Whoever follows waits for a server that is away.
fn patiently<T>(follow: bool, mut ask: impl FnMut() -> Result<T, anyhow::Error>) -> Result<T, anyhow::Error> {
    let is_away = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<ClientError>().is_some_and(ClientError::may_pass)
    };
    loop {
        match ask() {
            Err(e) if follow && e.chain().any(is_away) => std::thread::sleep(Duration::from_secs(1)),
            answer => return answer,
        }
    }
}

fn never_run(found: &Found, wanted: Option<u16>) -> anyhow::Error {
    let item = found.item();
    let address = found.address();
    match (wanted, item.attempts.len()) {
        (Some(n), made) if made > 0 => {
            Complaint::usage(format!("{address} has no attempt {n}: {made} {} made", was(made))).into()
        }
        _ => {
            let why = words::headline(item);
            let colon = if why.is_empty() { "" } else { ": " };
            Complaint::new(ExitCode::NothingRan, format!("{address} was not run{colon}{why}"))
                .hint(format!("`muster why {}` tells more", crate::terminal::text::quoted(&address)))
                .into()
        }
    }
}

fn was(n: usize) -> &'static str {
    if n == 1 { "was" } else { "were" }
}

fn not_yet(found: &Found, number: u16, over: bool) -> anyhow::Error {
    let address = found.address();
    let complaint = if over {
        Complaint::new(
            ExitCode::NothingRan,
            format!("attempt {number} of {address} came to no end and left no log"),
        )
        .hint(format!("its run is no longer worked on; `muster resume {}` goes on with it", found.run.number))
    } else {
        Complaint::new(ExitCode::NothingRan, format!("attempt {number} of {address} has no log yet"))
            .hint("`--follow` waits for it: a log is in memory until it is long or a while old")
    };
    complaint.into()
}
