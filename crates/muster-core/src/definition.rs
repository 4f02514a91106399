//! What was asked for: an area's tests after all layers of configuration have been merged for one
//! target. Everything here is resolved (no inheritance, no conditions on the target), plain data, and
//! recorded with the run, so that a run can be resumed and explained after the files have changed.

mod devices;
mod needs;

pub use devices::{FROM_DEVICE, NeededDevices, Place, Role, TO_DEVICE, role_variable};
pub use needs::{Limiter, Needs};

use crate::outcome::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An area for one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AreaDef {
    /// The area's name, the first part of every address.
    pub name: String,
    /// What a target names, in order: `("os", "linux")`. Empty where the area has no keys.
    pub target: Vec<(String, String)>,
    /// Environment of every attempt, in the order it was written.
    pub env: Vec<(String, String)>,
    /// Limits over the whole area.
    pub limits: AreaLimits,
    /// The tests, in the order they were written. Names are unique.
    pub tests: Vec<TestDef>,
    /// Whether an unexpected pass fails the run.
    pub unexpected_pass: UnexpectedPass,
    /// The packages that its tests need, as they are asked for: `dep:chrome_test@1.2`.
    pub packages: Vec<String>,
    /// Where packages are had from: directories, relative to the area, and URLs, in this order.
    pub repositories: Vec<String>,
    /// What watches each attempt: profilers that are built in, or packages (`profiler:NAME`).
    pub profilers: Vec<String>,
    /// What becomes of its runs.
    #[serde(default)]
    pub records: Keeping,
}

/// What becomes of an area's runs, and whether there may be more of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// Whether runs may be begun here. `false`: an area that only keeps runs of others.
    pub allow_runs: bool,
    /// This many of the newest runs that are over stay where runs under way are; older ones are due.
    pub hot_runs: u32,
    /// Runs that ended longer ago are due; `None`: of any age they are not.
    pub hot_for: Option<Duration>,
    /// The area that runs which are due are moved to, relative to this one; `None`: they go to the cold
    /// tier.
    pub move_to: Option<String>,
}

impl Default for Keeping {
    fn default() -> Self {
        // So many that a table of them is read at once, and so few that it stays so.
        Self { allow_runs: true, hot_runs: 1_000, hot_for: None, move_to: None }
    }
}

/// What a pass that the expectations did not allow does to the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnexpectedPass {
    /// It fails the run, so that expectation files stay true.
    #[default]
    Fail,
    /// It is reported and counts as passed.
    Report,
}

/// Limits that hold over all tests of an area.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AreaLimits {
    /// Attempts at once; `None`: as many as the machine has cores.
    pub jobs: Option<u32>,
    /// Attempts at once over all runs of the area that share its records; `None`: each run has its own.
    #[serde(default)]
    pub jobs_of_all_runs: Option<u32>,
    /// Attempts at once of tests that name this group.
    pub groups: BTreeMap<String, u32>,
    /// How many tokens there are of each name, such as licences.
    #[serde(default)]
    pub tokens: BTreeMap<String, u32>,
    /// The place whose clocks hours are told by, as the system knows it; `None`: where the run is asked for.
    #[serde(default)]
    pub timezone: Option<String>,
    /// Nothing new is started while the load average per core is above this.
    pub load_max: Option<f64>,
    /// Nothing new is started while the area's file system has less free than this.
    pub disk_free_bytes_min: u64,
    /// The whole run ends after this long.
    pub run_timeout: Option<Duration>,
}

/// One test: a command with steps, or a suite whose items are discovered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestDef {
    /// Unique in the area; no `/`, `#`, `,` or blanks.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// What it comes after.
    pub after: Vec<After>,
    /// Tests that are part of each run that this one is part of, in no order.
    #[serde(default)]
    pub along: Vec<String>,
    /// Limits of each attempt.
    pub limits: Limits,
    /// Tries after a failure.
    pub retries: Retries,
    /// CEL expression over target and build facts; true means skip.
    pub skip_when: Option<String>,
    /// What must hold before an attempt starts.
    pub needs: Needs,
    /// Higher starts earlier.
    pub priority: i32,
    /// Words to select by.
    pub tags: Vec<String>,
    /// Who answers for it.
    pub owner: String,
    /// What it checks, for people.
    pub description: String,
    /// When an attempt has passed.
    pub pass: PassRule,
    /// Environment beyond the area's, in order.
    pub env: Vec<(String, String)>,
    /// Directory the commands run in, relative to the area. Empty: the area's own.
    pub dir: String,
    /// Expectations for its items, already reduced to those whose conditions hold for this target.
    pub expectations: Vec<Expectation>,
    /// What is brought to the device and back, where its steps run there.
    #[serde(default)]
    pub device_files: DeviceFiles,
    /// The packages that it needs beyond those of its area.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What watches its attempts beyond what watches all of the area.
    #[serde(default)]
    pub profilers: Vec<String>,
    /// Where it was written: `muster.toml:12`.
    pub origin: String,
}

impl TestDef {
    /// A test with nothing special about it.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            after: Vec::new(),
            along: Vec::new(),
            limits: Limits::default(),
            retries: Retries::default(),
            skip_when: None,
            needs: Needs::default(),
            priority: 0,
            tags: Vec::new(),
            owner: String::new(),
            description: String::new(),
            pass: PassRule::default(),
            env: Vec::new(),
            dir: String::new(),
            expectations: Vec::new(),
            device_files: DeviceFiles::default(),
            packages: Vec::new(),
            profilers: Vec::new(),
            origin: String::new(),
        }
    }

    /// Whether any of it runs on a device itself.
    pub fn uses_device(&self) -> bool {
        !self.devices_used().is_empty()
    }

    /// The devices on which any of it runs, by their places among those that an attempt has.
    pub fn devices_used(&self) -> BTreeSet<usize> {
        match &self.kind {
            Kind::Steps { steps, .. } => steps.iter().filter_map(|s| s.place.device()).collect(),
            Kind::Suite(suite) => suite.place.device().into_iter().collect(),
        }
    }
}

/// What is brought to the device before the steps, and back after them. Paths there are relative to the
/// directory that is made for the attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFiles {
    /// Files and directories that are brought there.
    pub push: Vec<Push>,
    /// Files and directories there that are brought back to the attempt's working directory, if they are there.
    pub pull: Vec<String>,
}

/// Something that is brought to the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Relative to the area.
    pub from: String,
    /// Where it is put: relative to the attempt's directory on the device, or absolute.
    pub to: String,
}

/// What a test does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// Ordered steps; a test with a plain command has one step named `run`.
    Steps {
        /// The steps, at least one.
        steps: Vec<Step>,
        /// The parameter combinations.
        items: Items,
    },
    /// A framework is asked for the items and runs them.
    Suite(SuiteDef),
}

/// The parameter combinations of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Items {
    /// The test is run once, as itself.
    None,
    /// Known from the start: matrix or table.
    Listed(Vec<ItemDef>),
    /// One per line of what a command prints, asked once the prerequisites have ended. A line is an item
    /// path, or a JSON object `{"item": "a/b", "env": {"VAR": "value"}}`.
    Command(Command),
}

/// One parameter combination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemDef {
    /// The item path; may contain `/`.
    pub path: String,
    /// Variables of this combination, exported to its attempts.
    pub vars: Vec<(String, String)>,
}

/// A command as it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Line {
    /// A line for `/bin/sh -c`; run without a shell where it has no shell syntax.
    Shell(String),
    /// Program and arguments.
    Argv(Vec<String>),
}

/// A command with its place and environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// What to run.
    pub line: Line,
    /// Directory relative to the area; `None`: the test's.
    pub dir: Option<String>,
    /// Environment beyond the test's.
    pub env: Vec<(String, String)>,
}

/// An ordered part of an attempt, with its own log and exit code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the test.
    pub name: String,
    /// What it runs.
    pub command: Command,
    /// Its own hard limit, within the attempt's.
    pub timeout: Option<Duration>,
    /// When the next step runs.
    pub proceed: Proceed,
    /// Where it runs.
    #[serde(default)]
    pub place: Place,
    /// What its log is judged by, beside its exit code or in its place.
    #[serde(default)]
    pub logpro: Option<LogproRules>,
}

impl Step {
    /// A step that runs a command on the host.
    pub fn new(name: impl Into<String>, line: Line) -> Self {
        let command = Command { line, dir: None, env: Vec::new() };
        Self {
            name: name.into(),
            command,
            timeout: None,
            proceed: Proceed::default(),
            place: Place::Host,
            logpro: None,
        }
    }
}

/// When the step after this one runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proceed {
    /// Only if this step passed or warned.
    #[default]
    Passed,
    /// Whatever this step came to; the attempt still takes the worst outcome.
    Always,
    /// Whatever this step came to, and its outcome does not count (clean-up, optional collection).
    Ignored,
}

/// What a test comes after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct After {
    /// The other test's name.
    pub test: String,
    /// What must have happened.
    pub mode: AfterMode,
}

/// What must have happened to the other test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AfterMode {
    /// All its items ended well.
    Passed,
    /// All its items ended, whatever they came to.
    Ended,
    /// The item of the other test with the same, or the mapped, path ended well.
    MatchingItem {
        /// Rewrites this test's item path into the other's, in order; in each, the first match is replaced.
        map: Vec<ItemMap>,
    },
    /// Not while any item of the other test runs, in any run of the area; no order. A test may name itself.
    Exclusive,
}

/// One rewriting rule of an item path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemMap {
    /// Regular expression looked for in the item path.
    pub pattern: String,
    /// What the match becomes; `$1` or `\1` for groups.
    pub replacement: String,
}

/// Limits of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Hard limit of the attempt.
    pub timeout: Option<Duration>,
    /// Longest time without a byte of output.
    pub silence: Option<Duration>,
    /// Between the polite signal (TERM) and the last one (KILL).
    pub grace: Duration,
    /// Most output kept of one attempt; the middle is cut visibly.
    pub output_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(600)),
            silence: None,
            grace: Duration::from_secs(5),
            output_bytes_max: 16 << 20,
        }
    }
}

/// Tries after a failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Retries {
    /// Most further attempts after the first; the lab's own errors have a budget of their own.
    pub count: u16,
    /// Pause before a further attempt.
    pub delay: Duration,
    /// What a pass after a failure counts as.
    pub flaky: FlakyPolicy,
    /// Only after these outcomes; empty: after any that is not good, but for an abort.
    #[serde(default)]
    pub on: Vec<Outcome>,
}

impl Retries {
    /// Whether there is a further attempt after one that came to this.
    pub fn is_after(&self, outcome: Outcome) -> bool {
        if self.on.is_empty() { outcome != Outcome::Abort } else { self.on.contains(&outcome) }
    }
}

/// What a pass after a failure counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlakyPolicy {
    /// Reported as flaky; the run may pass.
    #[default]
    Pass,
    /// Reported as flaky and failed.
    Fail,
}

/// When an attempt has passed: the exit code first, then what the output and the files say; the worst wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PassRule {
    /// Exit codes that mean something other than the contract (0 pass, 77 skip, 99 error, else fail).
    pub exit: Vec<(i32, Outcome)>,
    /// Standard output must be this.
    pub stdout: Option<ExpectedOutput>,
    /// Rules over the log's lines; a line is credited to the first rule that matches it.
    pub log: Vec<LogRule>,
    /// Measured values the test must write, beyond those its file carries expectations for itself.
    pub measures: Vec<MeasureRule>,
    /// What the log is judged by, beside the exit code or in its place.
    #[serde(default)]
    pub logpro: Option<LogproRules>,
}

/// Rule files of logpro, which `muster_formats::megatest::logpro` reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogproRules {
    /// The files, in their order.
    pub files: Vec<RuleFile>,
    /// Whether the exit code counts too. If not, it is as if it were 0; signals and limits count always.
    pub exit_counts: bool,
}

/// A file of rules, as it was when the run was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFile {
    /// Its path, relative to the area: for people.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// What standard output must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ExpectedOutput {
    /// Exactly this text; trailing blanks of lines and blank lines at the end do not count.
    Text(String),
    /// Exactly what this file (relative to the area) holds, compared in the same way.
    File(String),
    /// Lines of this file are patterns in the manner of V8's message tests: `*` is anything,
    /// `{NUMBER}` a number.
    Pattern(String),
}

/// One rule over the lines of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRule {
    /// Regular expression looked for in a line.
    pub pattern: String,
    /// What it means.
    pub means: LogMeaning,
    /// How many matching lines make it hold.
    pub count: Count,
    /// For people.
    pub description: String,
}

/// What it means when a log rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogMeaning {
    /// Required: the attempt fails unless the rule holds.
    Pass,
    /// Takes the line, and nothing comes of it.
    Ignore,
    /// The attempt gets this outcome, if it is worse than what it has.
    Warn,
    /// As above.
    Check,
    /// As above.
    Fail,
    /// The attempt counts as skipped, unless it failed.
    Skip,
    /// As above, and what depends on it stops.
    Abort,
}

/// How many lines: bounds inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
}

/// A measured value that is expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureRule {
    /// The value's name.
    pub name: String,
    /// What it should be; `None`: recorded only, but must be there.
    pub expected: Option<f64>,
    /// How far off it may be.
    pub tolerance: Tolerance,
    /// For people.
    pub units: String,
}

/// How a measured value is compared with the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Tolerance {
    /// |value − expected| ≤ this.
    Within(f64),
    /// value < expected.
    Less,
    /// value ≤ expected.
    LessOrEqual,
    /// value > expected.
    Greater,
    /// value ≥ expected.
    GreaterOrEqual,
}

impl Tolerance {
    /// Reads one: a number from 0, `<`, `<=`, `>` or `>=`; empty is exact.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" => Self::Within(0.0),
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            number => Self::Within(number.parse().ok().filter(|t: &f64| t.is_finite() && *t >= 0.0)?),
        })
    }

    /// As it is written.
    pub fn written(self) -> String {
        match self {
            Self::Within(t) => t.to_string(),
            Self::Less => "<".to_owned(),
            Self::LessOrEqual => "<=".to_owned(),
            Self::Greater => ">".to_owned(),
            Self::GreaterOrEqual => ">=".to_owned(),
        }
    }

    /// Whether a value is as expected.
    pub fn holds(self, value: f64, expected: f64) -> bool {
        match self {
            // In two ways, since 2.0 is within 0.1 of 1.9 to people, and to a computer it depends on how it counts.
            Self::Within(t) => {
                (value - expected).abs() <= t || (expected - t <= value && value <= expected + t)
            }
            Self::Less => value < expected,
            Self::LessOrEqual => value <= expected,
            Self::Greater => value > expected,
            Self::GreaterOrEqual => value >= expected,
        }
    }

    /// What is expected, in words: `10 ± 3`, `<= 10`.
    pub fn expects(self, expected: f64) -> String {
        match self {
            Self::Within(0.0) => expected.to_string(),
            Self::Within(t) => format!("{expected} ± {t}"),
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => {
                format!("{} {expected}", self.written())
            }
        }
    }
}

/// A test whose items are discovered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuiteDef {
    /// Who is asked, and how.
    pub framework: Framework,
    /// How many items share a process.
    pub batch: Batch,
    /// Where they are asked for and run.
    #[serde(default)]
    pub place: Place,
}

impl SuiteDef {
    /// A suite of this framework on the host, with as many items to a process as suits it.
    pub fn new(framework: Framework) -> Self {
        Self { framework, batch: Batch::Auto, place: Place::Host }
    }
}

/// How many items share a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Batch {
    /// As suits the framework: several where it can run several and report each, else one.
    #[default]
    Auto,
    /// Each item has a process of its own.
    Single,
    /// At most this many.
    Most(u32),
}

/// The frameworks Muster can ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Framework {
    /// libtest binaries of a Cargo package or workspace, built once.
    Cargo {
        /// Further arguments of `cargo test --no-run`: features, packages, profile.
        args: Vec<String>,
        /// Arguments passed to each test binary.
        binary_args: Vec<String>,
        /// What to do with `#[ignore]`d tests.
        ignored: Ignored,
    },
    /// pytest.
    Pytest {
        /// The interpreter and arguments before pytest's own, default `python3 -m pytest`.
        command: Vec<String>,
        /// Arguments: paths, `-k`, `-m`, plug-ins.
        args: Vec<String>,
    },
    /// Googletest binaries.
    Gtest {
        /// Program and arguments; several programs make several groups of items.
        programs: Vec<Vec<String>>,
    },
    /// A CMake build tree.
    Ctest {
        /// The build directory, relative to the area.
        build_dir: String,
        /// Further arguments of `ctest --show-only=json-v1`.
        args: Vec<String>,
    },
    /// Programs that print TAP; each program is an item, each test point a step of it.
    Tap {
        /// Globs of programs, relative to the test's directory.
        programs: Vec<String>,
        /// Put before each program (`perl`, `node`).
        interpreter: Vec<String>,
    },
    /// A command for each file of a glob.
    Files {
        /// Globs relative to the test's directory.
        files: Vec<String>,
        /// The command; `{file}`, `{stem}`, `{name}` and `{dir}` are replaced.
        command: Line,
        /// The file with the expected standard output, as a template like the command; taken where it exists.
        expected: Option<String>,
        /// The expected file's lines are patterns (see [`ExpectedOutput::Pattern`]).
        pattern: bool,
    },
    /// Control files of Autotest; each is an item, each test that it runs a step of it.
    Autotest {
        /// Globs of control files, relative to the test's directory.
        controls: Vec<String>,
        /// Runs one, named behind these, and prints its status log.
        command: Vec<String>,
    },
    /// Any command that prints names, one per line.
    List {
        /// Prints the names.
        list: Line,
        /// Runs one; `{item}` is replaced, and `MUSTER_ITEM` is set.
        run: Line,
    },
}

/// What to do with libtest's ignored tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ignored {
    /// They are listed as skipped.
    #[default]
    Skip,
    /// They are run like the others.
    Include,
    /// Only they are run.
    Only,
}

/// What is expected of items that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// Which items, by item path (the empty path is the test itself).
    pub items: ItemMatch,
    /// What they may come to, beside what the modifiers say. Empty with a modifier: anything good.
    pub allowed: Vec<Outcome>,
    /// They are not run.
    pub skip: bool,
    /// Their limits are doubled and they start early.
    pub slow: bool,
    /// For people: a bug's address, a name.
    pub reason: String,
    /// Where it was written: `expectations.status:40`.
    pub origin: String,
}

/// Which items an expectation is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemMatch {
    /// This one.
    Exact(String),
    /// Those whose path begins with this.
    Prefix(String),
    /// Those that match this glob (`*` any text).
    Glob(String),
}
