//! A job that another server has run: its status log is told as that of a job of ours is, with what its tests have
//! measured, so that a suite of such logs has the same items, steps and values. What its server left stays where it is.

use super::measures;
use super::tally::Tally;
use crate::context::Context;
use crate::error::Complaint;
use muster_core::outcome::ExitCode;
use std::io::Write as _;
use std::path::Path;

pub(super) fn run(log: &[u8], path: &Path, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let text = String::from_utf8_lossy(log);
    let mut tally = Tally::default();
    let mut out = context.stdout();
    for line in text.lines() {
        tally.add(line);
        writeln!(out, "{line}")?;
    }
    drop(out);
    let beside = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    measures::tell(beside)?;
    drop(writeln!(context.stderr(), "{tally}"));
    if !tally.has_ended() {
        return Err(Complaint::lab(format!("`{}` breaks off", path.display()))
            .hint("the job it is of has not ended, or its server died")
            .into());
    }
    Ok(if tally.is_good() { ExitCode::Passed } else { ExitCode::Failed })
}
