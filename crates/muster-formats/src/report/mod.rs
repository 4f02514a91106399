//! What a run looks like to others: JUnit XML, TAP 14, TeamCity, GitHub, JSON Lines, JSON, HTML.
//!
//! ```text
//! Told (live)  ──► LiveReport   teamcity, jsonl
//! RunView (end) ─► FinalReport  junit, tap, github, html, json
//! ```
//!
//! Everything here is text from values: no file is opened, no clock is read, nothing is kept beyond one
//! item at a time, so that a report of 100,000 items costs its own size on disk and not in memory.
//! Deciding anything (verdicts, counts, what is flaky) is not done here; `judge` only sorts verdicts
//! into the few drawers that foreign formats have.
//!
//! Text that a test printed is hostile: each format escapes all of it, and its tests say so.

mod dot;
pub mod github;
pub mod html;
mod json;
mod junit;
mod source_line;
mod tap;
mod teamcity;
pub mod wire;
pub mod words;

pub use dot::dot;
pub use json::{Json, Jsonl};
pub use junit::{Junit, Outputs};
pub use muster_core::text;
pub use tap::Tap;
pub use teamcity::Teamcity;

use muster_core::attempt::Output;
use muster_core::event::Told;
use muster_core::view::RunView;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

/// Live formats get each event as it is committed. What one call writes is whole lines; the caller
/// flushes after each call.
pub trait LiveReport: Send {
    /// Writes what this event means to the format, perhaps nothing.
    ///
    /// # Errors
    /// What `out` says.
    fn told(&mut self, told: &Told, out: &mut dyn Write) -> io::Result<()>;
}

/// Final formats are written from the whole run.
pub trait FinalReport: Send {
    /// Writes the report, many small pieces: give it a buffered `out`.
    ///
    /// # Errors
    /// What `out` says.
    fn write(&self, run: &RunView, logs: &dyn Logs, out: &mut dyn Write) -> io::Result<()>;
}

/// Fetches the framed log of an attempt (see [`muster_core::output`]), inline or from the run's files.
pub trait Logs {
    /// The log, at most about `bytes_max` bytes of it: [`text::cut_frames`] leaves out the middle of a
    /// longer one and says so in it. A log that cannot be had is a remark that says why, not a failure.
    fn log(&self, output: &Output, bytes_max: usize) -> Vec<u8>;
}

/// Logs that are in the results themselves; a log that is elsewhere becomes a remark that says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct InlineLogs;

impl Logs for InlineLogs {
    fn log(&self, output: &Output, bytes_max: usize) -> Vec<u8> {
        match output {
            Output::None => Vec::new(),
            Output::Inline(log) => text::cut_frames(log, bytes_max),
            Output::File { path, len } => text::remark(&format!("{len} bytes of output are in {path}\n")),
            Output::Segment { offset: _, len } => {
                text::remark(&format!("{len} bytes of output are in the run's store\n"))
            }
        }
    }
}

/// The report formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JUnit XML in the dialect Jenkins reads, with Surefire's elements for retries.
    Junit,
    /// Test Anything Protocol, version 14.
    Tap,
    /// TeamCity service messages.
    Teamcity,
    /// Annotations and log groups of GitHub's workflow commands.
    Github,
    /// One JSON object per event.
    Jsonl,
    /// One page that needs nothing else.
    Html,
    /// The whole run as one JSON document.
    Json,
}

impl Format {
    /// Every format, in the order of the documentation.
    pub const ALL: [Self; 7] =
        [Self::Junit, Self::Tap, Self::Teamcity, Self::Github, Self::Jsonl, Self::Html, Self::Json];

    /// The word written before the `:` of `--report`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Junit => "junit",
            Self::Tap => "tap",
            Self::Teamcity => "teamcity",
            Self::Github => "github",
            Self::Jsonl => "jsonl",
            Self::Html => "html",
            Self::Json => "json",
        }
    }

    /// One line for help texts.
    pub fn about(self) -> &'static str {
        match self {
            Self::Junit => "JUnit XML as Jenkins reads it",
            Self::Tap => "TAP version 14",
            Self::Teamcity => "TeamCity service messages, live",
            Self::Github => "GitHub annotations and log groups",
            Self::Jsonl => "one JSON object per event, live",
            Self::Html => "one self-contained page",
            Self::Json => "the whole run as JSON",
        }
    }

    /// Whether it makes no sense on a terminal, so that a file must be named.
    pub fn needs_file(self) -> bool {
        match self {
            Self::Junit | Self::Html | Self::Json => true,
            Self::Tap | Self::Teamcity | Self::Github | Self::Jsonl => false,
        }
    }

    /// A writer of this format with its usual settings. Live formats fetch logs through `logs`; final ones
    /// are given theirs when they are written.
    pub fn writer(self, logs: Arc<dyn Logs + Send + Sync>) -> Writer {
        match self {
            Self::Junit => Writer::Final(Box::new(Junit::default())),
            Self::Tap => Writer::Final(Box::new(Tap::default())),
            Self::Github => Writer::Final(Box::new(github::Github::default())),
            Self::Html => Writer::Final(Box::new(html::Html::default())),
            Self::Json => Writer::Final(Box::new(Json)),
            Self::Teamcity => Writer::Live(Box::new(Teamcity::new(logs))),
            Self::Jsonl => Writer::Live(Box::new(Jsonl)),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl std::str::FromStr for Format {
    type Err = BadSpec;

    fn from_str(word: &str) -> Result<Self, BadSpec> {
        Self::ALL.into_iter().find(|f| f.word() == word).ok_or_else(|| BadSpec::UnknownFormat {
            word: word.to_owned(),
            near: Self::ALL
                .into_iter()
                .map(|f| (strsim::jaro_winkler(word, f.word()), f))
                .filter(|(nearness, _)| *nearness > 0.75)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map(|(_, f)| f),
        })
    }
}

/// A report writer of either kind.
pub enum Writer {
    /// Wants every event.
    Live(Box<dyn LiveReport>),
    /// Wants the run at its end.
    Final(Box<dyn FinalReport>),
}

/// A format and where its report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The format.
    pub format: Format,
    /// Where to.
    pub to: Place,
}

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard output.
    Stdout,
    /// A file at this path, as it was written.
    File(String),
}

/// Why a `--report` argument cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSpec {
    /// There is no such format.
    #[error("there is no report format `{word}`{}; known: {}", hint(near), known())]
    UnknownFormat {
        /// What was written.
        word: String,
        /// What was perhaps meant.
        near: Option<Format>,
    },
    /// The format makes no sense on a terminal.
    #[error("report format `{0}` needs a file: `{0}:FILE`, or `{0}:-` for standard output")]
    NeedsFile(Format),
    /// There is nothing after the `:`.
    #[error("report `{0}:` names no file")]
    NoFile(Format),
}

#[expect(clippy::ref_option, reason = "called from thiserror's format arguments, which borrow the field")]
fn hint(near: &Option<Format>) -> String {
    near.map(|f| format!(", did you mean `{f}`?")).unwrap_or_default()
}

fn known() -> String {
    Format::ALL.map(|f| format!("`{f}`")).join(", ")
}

/// Reads `FORMAT`, `FORMAT:FILE` or `FORMAT:-` (standard output).
///
/// # Errors
/// [`BadSpec`] for an unknown format, or a missing file name where one is needed.
pub fn parse_spec(spec: &str) -> Result<Spec, BadSpec> {
    let (word, file) = match spec.split_once(':') {
        Some((word, file)) => (word, Some(file)),
        None => (spec, None),
    };
    let format: Format = word.parse()?;
    let to = match file {
        None if format.needs_file() => return Err(BadSpec::NeedsFile(format)),
        Some("") => return Err(BadSpec::NoFile(format)),
        None | Some("-") => Place::Stdout,
        Some(file) => Place::File(file.to_owned()),
    };
    Ok(Spec { format, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_read_back_from_its_word() {
        for format in Format::ALL {
            assert_eq!(format.word().parse(), Ok(format));
        }
    }

    #[test]
    fn a_spec_names_a_format_and_a_place() {
        let file = |format, file: &str| Ok(Spec { format, to: Place::File(file.to_owned()) });
        assert_eq!(parse_spec("junit:out.xml"), file(Format::Junit, "out.xml"));
        assert_eq!(parse_spec("html:C:\\out.html"), file(Format::Html, "C:\\out.html"));
        assert_eq!(parse_spec("tap"), Ok(Spec { format: Format::Tap, to: Place::Stdout }));
        assert_eq!(parse_spec("json:-"), Ok(Spec { format: Format::Json, to: Place::Stdout }));
    }

    #[test]
    fn a_bad_spec_says_what_would_be_good() {
        let say = |spec| parse_spec(spec).unwrap_err().to_string();
        assert_eq!(
            say("junt:x"),
            "there is no report format `junt`, did you mean `junit`?; known: `junit`, `tap`, `teamcity`, `github`, `jsonl`, `html`, `json`"
        );
        assert_eq!(
            say("html"),
            "report format `html` needs a file: `html:FILE`, or `html:-` for standard output"
        );
        assert_eq!(say("tap:"), "report `tap:` names no file");
    }
}
