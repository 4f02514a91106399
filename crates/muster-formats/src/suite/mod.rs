//! Test frameworks: how each is asked for its items, started, and understood.
//!
//! Two conversations, both plain values: [`Discovery`] asks for commands to be run until it knows the
//! items; [`launch`] says how to run some of them in one process, and its [`Reader`] turns what that
//! process prints into one report per item, live. Nothing here starts a process, reads a file or looks
//! at the clock; whoever drives it does (`muster-agent`).
//!
//! What is asked and recognised, framework by framework, is in `docs/reference/suites.md`.

mod autotest;
mod batch;
mod bytes;
mod cargo;
mod ctest;
mod files;
mod gtest;
mod item_log;
mod libtest;
mod list;
mod paths;
mod pytest;
mod single;
mod tap;
mod template;

pub use muster_core::judge::Ended as End;
pub use template::shown;

use muster_core::attempt::{Cause, StepResult};
use muster_core::definition::{Framework, Line, PassRule, SuiteDef, TestDef};
use muster_core::exchange::{Found, Group, UnitAttempt};
use muster_core::outcome::Outcome;
use muster_core::output::Stream;
use std::fmt;
use std::time::Duration;

/// Asks a framework for its items: a conversation of commands.
pub trait Discovery: Send {
    /// What to do next. `answer` is `None` the first time, then the answer to what was asked last; after
    /// [`Ask::Done`] it must not be called again.
    fn next(&mut self, answer: Option<Answer>) -> Ask;
}

/// What a discovery wants.
#[derive(Debug)]
pub enum Ask {
    /// Run this and answer with [`Answer::Ran`].
    Run(SuiteCommand),
    /// Answer with [`Answer::Files`]: the files that match any of the patterns.
    Glob {
        /// Globs (`*`, `?`, `[…]`, `**`), relative to `dir`.
        patterns: Vec<String>,
        /// Directory relative to the area, or absolute. Empty: the test's.
        dir: String,
        /// Only files that may be executed.
        executable: bool,
    },
    /// Answer with [`Answer::Files`]: those of these paths at which there is a file.
    Existing {
        /// Paths relative to `dir`.
        paths: Vec<String>,
        /// Directory relative to the area, or absolute. Empty: the test's.
        dir: String,
    },
    /// The conversation is over.
    Done(Result<Found, DiscoveryError>),
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// A command has ended.
    Ran {
        /// How.
        end: End,
        /// All of its standard output.
        stdout: Vec<u8>,
        /// Its standard error, or at least the end of it.
        stderr: Vec<u8>,
        /// All it wrote to file descriptor 3, where it was given one.
        report: Vec<u8>,
    },
    /// Paths relative to the directory asked about, with `/`, sorted by bytes, each once.
    Files(Vec<String>),
}

/// A command of a discovery.
#[derive(Clone, Debug, PartialEq)]
pub struct SuiteCommand {
    /// What to run.
    pub line: Line,
    /// Directory relative to the area, or absolute. Empty: the test's.
    pub dir: String,
    /// Environment beyond the test's.
    pub env: Vec<(String, String)>,
    /// Variables that must not be there, also where the area or the test sets them.
    pub unset: Vec<String>,
    /// It wants a pipe at file descriptor 3.
    pub report: bool,
}

/// Why a framework's items could not be had. The framework's own words are in `detail`: lines of what it
/// printed, already cut to what a person reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The command ended in a way that means it has no answer.
    #[error("`{command}` {end}{}", Detail(detail))]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        end: End,
        /// What it said.
        detail: String,
    },
    /// The command ended well, but what it printed is not what the framework prints.
    #[error("what `{command}` printed cannot be understood: {detail}")]
    Unreadable {
        /// What was run.
        command: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Globs or expected-output templates that cannot work.
    #[error("{detail}")]
    Definition {
        /// What is wrong.
        detail: String,
    },
}

/// `: text` where there is some.
struct Detail<'a>(&'a str);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

impl SuiteCommand {
    /// A command in the test's own directory and environment.
    pub(crate) fn plain(line: Line) -> Self {
        Self { line, dir: String::new(), env: Vec::new(), unset: Vec::new(), report: false }
    }
}

/// One item to run, as the lab gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchItem<'a> {
    /// Item path.
    pub path: &'a str,
    /// What discovery put into [`FoundItem::selector`](muster_core::exchange::FoundItem::selector).
    pub selector: &'a str,
}

impl<'a> From<&'a UnitAttempt> for LaunchItem<'a> {
    fn from(a: &'a UnitAttempt) -> Self {
        Self { path: &a.path, selector: &a.selector }
    }
}

/// How to run some items of one group in one process.
pub struct Launch {
    /// What to run.
    pub line: Line,
    /// Directory relative to the area, or absolute. Empty: the test's.
    pub dir: String,
    /// Environment beyond the test's.
    pub env: Vec<(String, String)>,
    /// Variables that must not be there, also where the area or the test sets them.
    pub unset: Vec<String>,
    /// It wants a pipe at file descriptor 3; its bytes go to [`Reader::report`].
    pub report: bool,
    /// Who says what the items came to.
    pub judge: Judge,
}

/// Who says what the items of a process came to.
pub enum Judge {
    /// The framework, by what it reports. The test's own log and measure rules may make it worse.
    Reader(Box<dyn Reader>),
    /// The process, as for a plain test: there is one item, and exit code and output are judged by this
    /// rule, which is the test's own with the item's expected output in it.
    Process(PassRule),
}

/// Turns what a process prints into one report per item.
///
/// The items of one process run one after the other: where one has [started](Reported::Started), the one
/// before it runs no more, though its end may be told later, when the framework has said all of it.
///
/// Calls come in the order the bytes were read. Every item is [ended](Reported::Ended) at most once; of
/// those that were run in one process, at least one is by the time [`ended`](Reader::ended) returns.
/// **An item without a report was not reached**: an earlier one took the process down with it, and it is
/// to be given out again.
///
/// The last item is never reported before the process has ended: so a process that ends badly after all
/// its items passed (a leak checker, a broken `atexit`) is not taken for a success, but counted against
/// the item that ran last, with a message that says so.
pub trait Reader: Send {
    /// Bytes of a stream, any split. `at`: since the start of the process.
    fn output(&mut self, stream: Stream, at: Duration, bytes: &[u8], out: &mut Vec<Reported>);

    /// Bytes from file descriptor 3, any split.
    fn report(&mut self, at: Duration, bytes: &[u8], out: &mut Vec<Reported>);

    /// The process has ended and all its bytes were given.
    fn ended(&mut self, end: &End, at: Duration, out: &mut Vec<Reported>);
}

/// What a reader found out. `index` is the item's place in what [`launch`] was given.
#[derive(Clone, Debug, PartialEq)]
pub enum Reported {
    /// An item has begun.
    Started {
        /// Which.
        index: usize,
        /// When, since the start of the process.
        at: Duration,
    },
    /// An item has ended.
    Ended {
        /// Which.
        index: usize,
        /// What came of it.
        end: ItemEnd,
    },
}

/// What came of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemEnd {
    /// What it came to.
    pub outcome: Outcome,
    /// Why.
    pub cause: Cause,
    /// One line for people; empty where there is nothing to say.
    pub message: String,
    /// When it began, since the start of the process.
    pub started: Duration,
    /// How long it took: by the framework's clock where it tells, else by when its lines arrived.
    pub duration: Duration,
    /// Its parts (test points, subtests); [`StepResult::output_from`] is a place in `log`.
    pub steps: Vec<StepResult>,
    /// Its part of what the process printed, framed as [`muster_core::output`] says, times since
    /// `started`, at most the test's `output_bytes_max` (the middle is cut, visibly).
    pub log: Vec<u8>,
}

/// The conversation that finds a suite's items.
pub fn discovery(def: &TestDef, suite: &SuiteDef) -> Box<dyn Discovery> {
    match &suite.framework {
        Framework::Cargo { args, ignored, binary_args: _ } => {
            Box::new(cargo::CargoDiscovery::new(args, *ignored, suite.batch))
        }
        Framework::Pytest { command, args } => {
            Box::new(pytest::PytestDiscovery::new(command, args, suite.batch))
        }
        Framework::Gtest { programs } => Box::new(gtest::GtestDiscovery::new(programs, suite.batch)),
        Framework::Ctest { build_dir, args } => Box::new(ctest::CtestDiscovery::new(build_dir, args)),
        Framework::Tap { programs, interpreter } => Box::new(tap::TapDiscovery::new(programs, interpreter)),
        Framework::Autotest { controls, command } => {
            Box::new(autotest::ControlDiscovery::new(controls, command))
        }
        Framework::Files { files, expected, .. } => {
            Box::new(files::FilesDiscovery::new(def, files, expected.as_deref()))
        }
        Framework::List { list, run: _ } => Box::new(list::ListDiscovery::new(list)),
    }
}

/// How to run `items`, all of `group` and at most its `batch_max`, in one process.
pub fn launch(def: &TestDef, suite: &SuiteDef, group: &Group, items: &[LaunchItem<'_>]) -> Launch {
    let log_max = usize::try_from(def.limits.output_bytes_max).unwrap_or(usize::MAX);
    match &suite.framework {
        Framework::Cargo { binary_args, ignored, .. } => {
            cargo::launch(binary_args, *ignored, group, items, log_max)
        }
        Framework::Pytest { command, args } => pytest::launch(command, args, group, items, log_max),
        Framework::Gtest { .. } => gtest::launch(group, items, log_max),
        Framework::Ctest { .. } => ctest::launch(group, items, log_max),
        Framework::Tap { .. } => tap::launch(group, items, log_max),
        Framework::Autotest { .. } => autotest::launch(group, items, log_max),
        Framework::Files { command, expected, pattern, .. } => {
            files::launch(def, command, expected.as_deref(), *pattern, group, items)
        }
        Framework::List { run, .. } => list::launch(def, run, group, items),
    }
}

/// The last lines of what a command said, for an error message.
fn tail(stderr: &[u8]) -> String {
    // Limit: what a person reads of an error before looking into the log.
    const LINES: usize = 10;
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// A message's first line, not too long to stand in a list.
fn shorten(line: &str) -> std::borrow::Cow<'_, str> {
    // Limit: a few lines of a terminal.
    const CHARS: usize = 300;
    muster_core::text::shorten(line, CHARS)
}

#[cfg(test)]
mod plain_tests;
#[cfg(test)]
mod tests;
