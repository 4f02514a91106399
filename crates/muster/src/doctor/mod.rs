//! What on this machine would make tests fail for reasons of their own, and the command that mends it.
//!
//! Looks only: nothing is changed, nothing is measured for longer than a blink.

mod cgroups;
mod clock;
mod containers;
mod drivers;
mod files;
mod limits;
mod tools;

use std::path::Path;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Tests may suffer.
    Warn,
    /// Tests will fail, or results may be lost.
    Bad,
}

/// Something looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Finding {
    /// How bad it is.
    pub(crate) level: Level,
    /// What was looked at, in a word.
    pub(crate) what: &'static str,
    /// What was found.
    pub(crate) found: String,
    /// What to type, or to do.
    pub(crate) fix: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, found: found.into(), fix: None }
    }

    fn warn(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warn, what, found: found.into(), fix: Some(fix.into()) }
    }

    fn bad(what: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Bad, what, found: found.into(), fix: Some(fix.into()) }
    }
}

/// What is looked at.
pub(crate) struct Subject<'a> {
    /// Where the records are or will be.
    pub(crate) area_dir: &'a Path,
    /// Attempts at once.
    pub(crate) jobs: u64,
    /// The area, where its configuration can be loaded.
    pub(crate) area: Option<&'a muster_core::definition::AreaDef>,
}

/// Looks at everything, in the order it is told.
pub(crate) fn look(subject: &Subject<'_>) -> Vec<Finding> {
    let mut all = files::look(subject);
    all.extend(limits::look(subject));
    all.extend(cgroups::look());
    all.extend(clock::look());
    all.extend(containers::look());
    all.extend(drivers::look());
    all.extend(subject.area.map(|area| tools::look(area, subject.area_dir)).unwrap_or_default());
    all
}

/// The first line of a file of the system, if it can be read.
fn line_of(path: impl AsRef<Path>) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().next().map(|l| l.trim().to_owned())
}

/// The number a file of the system holds.
fn number_of(path: impl AsRef<Path>) -> Option<u64> {
    line_of(path)?.parse().ok()
}
