//! `muster doctor`: what on this machine would make tests fail, and how to mend it.

use super::typed::TargetArgs;
use crate::context::{Context, OutputMode};
use crate::doctor::{Finding, Level, Subject, look};
use crate::local::area::{Purpose, cores, load};
use crate::local::megatest;
use crate::terminal::style::{BAD, DIM, GOOD, INFO, WARN, paint};
use crate::terminal::text::{pad, visible};
use clap::Args;
use muster_core::outcome::ExitCode;
use std::io::Write as _;

/// Arguments of `muster doctor`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Exit code 1 if something is found that will make tests fail or lose results; warnings do not count."
)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Looks, and tells.
pub(crate) fn run(args: &DoctorArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    // Without an area the machine can be looked at all the same.
    let area = context
        .area_dir()
        .is_ok_and(|dir| crate::context::area_file(&dir).is_ok() || megatest::is_area(&dir))
        .then(|| load(context, None, args.target.target.as_deref(), &[], Purpose::Look));
    let broken = matches!(area, Some(Err(_)));
    let area = area.and_then(Result::ok);
    let def = area.as_ref().map(|a| &a.loaded.area);
    let jobs = def.and_then(|a| a.limits.jobs).map_or_else(|| u64::from(cores()), u64::from);
    let dir = context.area_dir().unwrap_or_else(|_| context.dir.clone());
    let mut findings = look(&Subject { area_dir: &dir, jobs, area: def });
    if broken {
        findings.push(Finding {
            level: Level::Warn,
            what: "area",
            found: "its configuration cannot be used like this; its tools were not looked at".to_owned(),
            fix: Some(format!("{0} config check, or {0} doctor --target …", context.program())),
        });
    }
    let mut out = context.stdout();
    match context.output {
        OutputMode::Json => {
            serde_json::to_writer(&mut out, &findings)?;
            writeln!(out)?;
        }
        OutputMode::Human | OutputMode::Quiet => {
            let quiet = context.output == OutputMode::Quiet;
            for line in findings.iter().filter(|f| !quiet || f.level != Level::Ok).flat_map(lines) {
                writeln!(out, "{line}")?;
            }
        }
    }
    let bad = findings.iter().any(|f| f.level == Level::Bad);
    Ok(if bad { ExitCode::Failed } else { ExitCode::Passed })
}

fn lines(finding: &Finding) -> Vec<String> {
    let (word, style) = match finding.level {
        Level::Ok => ("  ok", GOOD),
        Level::Warn => ("warn", WARN),
        Level::Bad => (" bad", BAD),
    };
    let mut lines = vec![format!(
        "{}  {} {}",
        paint(style, word),
        paint(DIM, pad(finding.what, 12)),
        visible(&finding.found)
    )];
    lines.extend(
        finding.fix.as_ref().map(|fix| format!("{}{} {}", " ".repeat(19), paint(INFO, "fix:"), visible(fix))),
    );
    lines
}
