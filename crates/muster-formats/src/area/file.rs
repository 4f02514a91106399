//! The keys of `muster.toml`, each once: what is written here is what is read, what the JSON schema says
//! and what the errors suggest. Nothing is resolved yet. The words among their values are in `words`.

use super::decode::{Cx, Decode, Node, Table, section, whole};
use super::scalar::{OneOrMore, Scalar, Size, Span, SpanOrNone};
use super::source::At;
use super::words::{
    CompareWord, ExitOutcome, ExpectWord, FlakyWord, FrameworkWord, IgnoredWord, LogWord, ModeWord,
    ProceedWord, RetryOutcome, UnexpectedPassWord,
};
use schemars::JsonSchema;
use toml::de::DeValue;

/// A list whose elements know where they were written.
pub(super) type List<T> = Vec<At<T>>;

section! {
    /// An area: what its tests are, what they need, and what is expected of them.
    File {
        /// Further files of the same form, relative to the area; what this file says wins over them.
        "include" include: List<String>,
        /// The area itself.
        "area" area: AreaKeys,
        /// Values for interpolation as `${name}`; not exported to the tests.
        "vars" vars: Table<Scalar>,
        /// Environment of every test.
        "env" env: Table<Scalar>,
        /// What holds for some targets only. The key is a pattern such as "linux/*"; of those that match, the more specific wins.
        "target" target: Table<TargetKeys>,
        /// Limits over the whole area.
        "limits" limits: LimitKeys,
        /// What holds for every test that does not say otherwise.
        "defaults" defaults: Settings,
        /// What holds for every test whatever it says; allowed in flags only (`--set override.retries=2`).
        "override" overrides: Settings,
        /// The tests, by name.
        "test" test: Table<TestKeys>,
        /// The suites, whose items are discovered by asking a framework, by name.
        "suite" suite: Table<SuiteKeys>,
        /// What is expected of tests and items.
        "expect" expect: List<ExpectKeys>,
        /// What becomes of runs that are over, and whether there may be more.
        "records" records: RecordKeys,
    }
}

section! {
    /// What becomes of runs that are over, and whether there may be more.
    RecordKeys {
        /// Whether runs may be begun here; default true. An area that only keeps runs of others says false.
        "allow-runs" allow_runs: bool,
        /// So many of the newest runs stay in the database; older ones go to the cold tier. Default 1000.
        "hot-runs" hot_runs: Positive,
        /// Runs that ended longer ago go to the cold tier; default none.
        "hot-for" hot_for: SpanOrNone,
        /// The directory of the area, relative to this one, that runs are moved to in place of the cold tier.
        "move-to" move_to: String,
    }
}

section! {
    /// The area itself.
    AreaKeys {
        /// The first part of every address; by default the name of the area's directory.
        "name" name: String,
        /// What a target names, in order.
        "keys" keys: List<TargetKey>,
        /// What a pass that the expectations did not allow does to the run.
        "unexpected-pass" unexpected_pass: UnexpectedPassWord,
        /// Packages that are installed before anything starts: "dep:chrome_test", with `@VERSION` or `@DIGEST` where one is meant.
        "packages" packages: List<String>,
        /// Where packages are had from, in this order: directories, relative to the area, URLs, or `lab`, the store of the lab that runs the tests.
        "repositories" repositories: List<String>,
        /// What watches each attempt and leaves files: "proc-sampler", "iostat", "perf", "strace", or a package "profiler:NAME".
        "profilers" profilers: List<String>,
    }
}

section! {
    /// A key of the target, with the values it may have and the one taken where none is given.
    TargetKeyTable {
        /// Its name.
        "name" name: String,
        /// The only values allowed.
        "values" values: List<String>,
        /// The value where the target does not say one; such keys come last.
        "default" default: String,
    }
}

/// A key of the target: its name, or a table.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum TargetKey {
    Name(String),
    Table(TargetKeyTable),
}

section! {
    /// What holds for the targets that match.
    TargetKeys {
        /// Values for interpolation.
        "vars" vars: Table<Scalar>,
        /// Environment of every test.
        "env" env: Table<Scalar>,
        /// Limits over the whole area.
        "limits" limits: LimitKeys,
        /// What holds for every test that does not say otherwise.
        "defaults" defaults: Settings,
    }
}

section! {
    /// Limits over the whole area.
    LimitKeys {
        /// Attempts at once; by default as many as the machine has cores.
        "jobs" jobs: Positive,
        /// Attempts at once of the tests that name a group, by group.
        "groups" groups: Table<Positive>,
        /// How many tokens there are of each name, such as licences; tests take some by `needs.tokens`.
        "tokens" tokens: Table<Positive>,
        /// Nothing is started but within these hours: "Mon-Fri 19:00-07:00", "Sat,Sun".
        "window" window: OneOrMore<String>,
        /// The place whose clocks hours are told by, "Europe/Berlin"; by default where the run is asked for.
        "timezone" timezone: String,
        /// Nothing is started while the file system of a directory has less free than this, by directory.
        "disk" disk: Table<Size>,
        /// A command that is asked before anything is started: it may if the command ends with 0.
        "launch-limiter" limiter: LimiterValue,
        /// Nothing is started while the load average per core is above this.
        "load" load: PositiveNumber,
        /// Nothing is started while the area's file system has less free than this.
        "disk-free" disk_free: Size,
        /// The whole run ends after this long.
        "run-timeout" run_timeout: SpanOrNone,
    }
}

section! {
    /// What a test may say and `[defaults]` may say for it.
    Settings {
        /// Hard limit of each attempt; default 10m.
        "timeout" timeout: SpanOrNone,
        /// Longest time without a byte of output; default none.
        "silence" silence: SpanOrNone,
        /// Between the polite signal and the last one; default 5s.
        "grace" grace: Span,
        /// Most output kept of one attempt, the middle is cut; default 16MiB.
        "output-limit" output_limit: Size,
        /// Further attempts after a failure: a number, or a table.
        "retries" retries: RetriesValue,
        /// What must hold before an attempt starts.
        "needs" needs: NeedKeys,
        /// Higher starts earlier; default 0.
        "priority" priority: i32,
        /// Words to select by.
        "tags" tags: List<String>,
        /// Who answers for it.
        "owner" owner: String,
        /// Directory the commands run in, relative to the area.
        "dir" dir: String,
        /// Exit codes that mean something other than the contract (0 pass, 77 skip, 99 error, else fail).
        "exit" exit: Table<ExitOutcome>,
        /// Rules over the lines of the log; a line is credited to the first that matches it.
        "log" log: List<LogKeys>,
        /// Where the commands run: on the "host" (default), on the "device" itself, or on one of several, by its name.
        "runs-on" runs_on: String,
        /// Files and directories of the area that are brought to the device before the commands run there.
        "push" push: OneOrMore<PushValue>,
        /// Files and directories of the device that are brought back afterwards, if they are there.
        "pull" pull: OneOrMore<String>,
        /// Packages that it needs beyond those of the area, as `packages` of `[area]` has them.
        "packages" packages: List<String>,
        /// What watches its attempts beyond what watches all of the area, as `profilers` of `[area]` has it.
        "profilers" profilers: List<String>,
    }
}

section! {
    /// Something that is brought to the device.
    PushKeys {
        /// Relative to the area.
        "from" from: String,
        /// Where it is put on the device; relative to the attempt's directory there, or absolute.
        "to" to: String,
    }
}

/// Something that is brought to the device: a path, which stays the same there, or a table.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum PushValue {
    Same(String),
    Table(PushKeys),
}

section! {
    /// Tries after a failure.
    RetryKeys {
        /// Most further attempts.
        "count" count: u16,
        /// Pause before each.
        "delay" delay: Span,
        /// What a pass after a failure counts as.
        "flaky" flaky: FlakyWord,
        /// Only after these outcomes: `["timeout", "crash"]`; default: after any that is not good, but for an abort.
        "on" on: OneOrMore<RetryOutcome>,
    }
}

/// Tries after a failure: how many, or a table.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum RetriesValue {
    Count(u16),
    Table(RetryKeys),
}

section! {
    /// What must hold before an attempt starts.
    NeedKeys {
        /// Free bytes on the area's file system.
        "disk-free" disk_free: Size,
        /// Load average per core not above this.
        "load" load: PositiveNumber,
        /// Groups of `[limits.groups]` that it takes one place in.
        "group" group: OneOrMore<String>,
        /// Tokens of `[limits.tokens]` that it takes, and how many of each.
        "tokens" tokens: Table<Positive>,
        /// It is started only within these hours: "Mon-Fri 19:00-07:00", "Sat,Sun".
        "window" window: OneOrMore<String>,
        /// Free bytes on the file systems of these directories; relative ones are the area's.
        "disk" disk: Table<Size>,
        /// A command that is asked before it is started: it may if the command ends with 0.
        "launch-limiter" limiter: LimiterValue,
        /// The devices that an attempt has, all at once, by what they are for: which may be it (CEL over `labels`, `name` and `host`), or a table. The commands run beside the first.
        "devices" devices: Table<RoleValue>,
        /// All of these devices must be of one host; default false.
        "same-host" same_host: bool,
    }
}

section! {
    /// A command that is asked before something is started.
    LimiterKeys {
        /// A line for the shell, run in the test's directory on the host that would run the test.
        "command" command: String,
        /// How long its answer is good for, on each host; default 1m.
        "every" every: Span,
        /// After this it is killed, and has said no; default 10s.
        "timeout" timeout: Span,
    }
}

/// A command that is asked before something is started: a line for the shell, or a table.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum LimiterValue {
    Command(String),
    Table(LimiterKeys),
}

section! {
    /// A device that an attempt needs, or several for the same.
    RoleKeys {
        /// Which devices may be it: CEL over `labels`, `name` and `host`; by default any that the run may have.
        "on" on: String,
        /// So many of them, named `NAME-1`, `NAME-2` and so on.
        "count" count: Positive,
    }
}

/// A device that an attempt needs: which may be it, or a table.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum RoleValue {
    On(String),
    Table(RoleKeys),
}

section! {
    /// One rule over the lines of the log.
    LogKeys {
        /// Regular expression looked for in each line.
        "pattern" pattern: String,
        /// What it means when the rule holds.
        "means" means: LogWord,
        /// It holds where exactly this many lines match.
        "count" count: u32,
        /// It holds where at least this many match; default 1.
        "min" min: u32,
        /// It holds where at most this many match.
        "max" max: u32,
        /// For people.
        "description" description: String,
    }
}

section! {
    /// What tests and suites share.
    CommonKeys {
        /// What it checks, for people.
        "description" description: String,
        /// What it comes after: a name, a list of names, or tables.
        "after" after: AfterValue,
        /// Condition under which it is skipped.
        "skip-when" skip_when: String,
        /// Environment beyond the area's.
        "env" env: Table<Scalar>,
        /// Standard output must be exactly this.
        "stdout" stdout: String,
        /// Standard output must be what this file holds.
        "stdout-file" stdout_file: String,
        /// The lines of this file are patterns for those of standard output: `*` is anything, `{NUMBER}` a number.
        "stdout-pattern" stdout_pattern: String,
        /// Values the test must measure.
        "measure" measure: List<MeasureKeys>,
        /// V8-style status files with expectations for its items, relative to the area.
        "status-files" status_files: List<String>,
        ..settings: Settings,
    }
}

section! {
    /// A measured value that is expected.
    MeasureKeys {
        /// The value's name.
        "name" name: String,
        /// What it should be; without it the value must only be there.
        "expected" expected: f64,
        /// How far off it may be, or how it compares with the expected value.
        "tolerance" tolerance: ToleranceValue,
        /// For people.
        "units" units: String,
    }
}

/// How a measured value is compared.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum ToleranceValue {
    Within(f64),
    Compare(CompareWord),
}

section! {
    /// What a test comes after.
    AfterKeys {
        /// The other test's name.
        "test" test: String,
        /// What must have happened; default "passed".
        "mode" mode: ModeWord,
        /// For "matching-item": pairs of a regular expression and its replacement, in order.
        "map" map: List<List<String>>,
    }
}

/// One thing a test comes after: a name (passed), or a table.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum AfterEntry {
    Name(String),
    Table(AfterKeys),
}

/// What a test comes after.
pub(super) type AfterValue = OneOrMore<AfterEntry>;

section! {
    /// A test: a command, or steps, for each of its items.
    TestKeys {
        /// A line for the shell.
        "run" run: String,
        /// Program and arguments.
        "cmd" cmd: List<String>,
        /// Ordered parts with their own logs and exit codes.
        "steps" steps: List<StepValue>,
        /// Items: every combination of the variables' values; the first variable varies slowest.
        "matrix" matrix: Table<List<Scalar>>,
        /// Combinations that the matrix leaves out; those that have all the values given.
        "exclude" exclude: List<Table<Scalar>>,
        /// Combinations beyond the matrix.
        "include" include: List<Table<Scalar>>,
        /// Items: one for each row, or for each place of equally long lists.
        "table" table: TableValue,
        /// Items by name.
        "items" items: List<Scalar>,
        /// Items: what a command prints, one on each line, asked once the prerequisites have ended.
        "items-from" items_from: CommandValue,
        /// Rule files of logpro that judge its log: a path, a list of paths, or a table.
        "logpro" logpro: LogproValue,
        ..common: CommonKeys,
    }
}

section! {
    /// What a log is judged by.
    LogproKeys {
        /// Rule files of logpro, relative to the area; waivers first.
        "rules" rules: OneOrMore<String>,
        /// Whether the exit code counts too; default true.
        "exit-counts" exit_counts: bool,
    }
}

/// Rule files of logpro: paths, or a table.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum LogproValue {
    Files(OneOrMore<String>),
    Table(LogproKeys),
}

/// A command: a line for the shell, or program and arguments.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum CommandValue {
    Shell(String),
    Argv(List<String>),
}

/// Rows of a table of items.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum TableValue {
    Rows(List<Table<Scalar>>),
    Columns(Table<List<Scalar>>),
}

section! {
    /// A step of a test.
    StepKeys {
        /// Unique in the test; by default `step-1` and so on.
        "name" name: String,
        /// A line for the shell.
        "run" run: String,
        /// Program and arguments.
        "cmd" cmd: List<String>,
        /// Directory, relative to the area; by default the test's.
        "dir" dir: String,
        /// Environment beyond the test's.
        "env" env: Table<Scalar>,
        /// Where it runs: on the "host", on the "device", or on one of several, by its name; by default where the test does.
        "runs-on" runs_on: String,
        /// Its own hard limit, within the attempt's.
        "timeout" timeout: SpanOrNone,
        /// When the next step runs: "passed" (default), "always", or "ignored", whose outcome does not count.
        "continue" proceed: ProceedWord,
        /// Rule files of logpro that judge its log: a path, a list of paths, or a table.
        "logpro" logpro: LogproValue,
    }
}

/// A step: a line for the shell, or a table.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum StepValue {
    Run(String),
    Table(Box<StepKeys>),
}

section! {
    /// A test whose items are discovered.
    SuiteKeys {
        /// Who is asked.
        "framework" framework: FrameworkWord,
        /// How many items share a process: "auto", "single" or a number.
        "batch" batch: BatchValue,
        /// cargo, pytest, ctest: further arguments.
        "args" args: List<String>,
        /// cargo: arguments passed to each test binary.
        "binary-args" binary_args: List<String>,
        /// cargo: what to do with `#[ignore]`d tests.
        "ignored" ignored: IgnoredWord,
        /// pytest: the interpreter and arguments before pytest's own; autotest: what runs a control file.
        "command" command: List<String>,
        /// gtest: the programs, each a path or a list with arguments; tap: globs of programs.
        "programs" programs: List<ProgramValue>,
        /// tap: put before each program.
        "interpreter" interpreter: List<String>,
        /// ctest: the build directory, relative to the area.
        "build-dir" build_dir: String,
        /// files: globs, relative to the suite's directory; autotest: globs of control files.
        "files" files: OneOrMore<String>,
        /// files: the file with the expected standard output, such as "{dir}/{stem}.out".
        "expected" expected: String,
        /// files: the lines of the expected file are patterns.
        "pattern" pattern: bool,
        /// list: prints the items' names.
        "list" list: CommandValue,
        /// files, list: a line for the shell that runs one item.
        "run" run: String,
        /// files, list: program and arguments that run one item.
        "cmd" cmd: List<String>,
        ..common: CommonKeys,
    }
}

/// A program: its path, or a list with its arguments.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[schemars(untagged)]
pub(super) enum ProgramValue {
    Path(String),
    Argv(List<String>),
}

section! {
    /// What is expected of tests and items.
    ExpectKeys {
        /// "test", "test/item", or with `*` for any text in either part.
        "test" test: OneOrMore<String>,
        /// What they may come to: "fail", "timeout", "crash", "pass"; or "skip", "slow".
        "is" is: OneOrMore<ExpectWord>,
        /// Condition under which this is expected.
        "when" when: String,
        /// For people: a bug's address, a name.
        "reason" reason: String,
    }
}

/// A whole number from 1.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema)]
pub(super) struct Positive(#[schemars(range(min = 1))] pub(super) u32);

impl Decode for Positive {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        whole(node, cx, 1, u32::MAX.into()).map(|n| Self(n as u32))
    }
}

/// A number above 0.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema)]
pub(super) struct PositiveNumber(pub(super) f64);

impl Decode for PositiveNumber {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        let number = f64::decode(node, cx)?;
        if number > 0.0 {
            return Some(Self(number));
        }
        let pos = cx.pos(node);
        cx.complaints.error(pos, "expected a number above 0");
        None
    }
}

/// How many items share a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BatchValue(pub(super) muster_core::definition::Batch);

impl Decode for BatchValue {
    fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
        use muster_core::definition::Batch;
        match node.get_ref() {
            DeValue::String(s) if s == "auto" => Some(Self(Batch::Auto)),
            DeValue::String(s) if s == "single" => Some(Self(Batch::Single)),
            DeValue::Integer(_) => whole(node, cx, 1, u32::MAX.into()).map(|n| Self(Batch::Most(n as u32))),
            _ => {
                let pos = cx.pos(node);
                cx.complaints.error(pos, "expected \"auto\", \"single\" or a number from 1");
                None
            }
        }
    }
}

impl JsonSchema for BatchValue {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Batch".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [
            { "type": "string", "enum": ["auto", "single"] },
            { "type": "integer", "minimum": 1 }
        ] })
    }
}

/// A value that is either a short form or a table.
macro_rules! short_or_long {
    ($($name:ident: $wanted:literal { $($pattern:pat => $variant:ident,)* })*) => {$(
        impl Decode for $name {
            fn decode(node: &Node<'_>, cx: &mut Cx<'_>) -> Option<Self> {
                match node.get_ref() {
                    $($pattern => Decode::decode(node, cx).map(Self::$variant),)*
                    _ => cx.wrong_type(node, $wanted),
                }
            }
        }
    )*};
}

short_or_long! {
    TargetKey: "a key's name or a table" { DeValue::String(_) => Name, DeValue::Table(_) => Table, }
    RetriesValue: "a number or a table" { DeValue::Integer(_) => Count, DeValue::Table(_) => Table, }
    ToleranceValue: "a number or one of \"<\", \"<=\", \">\", \">=\"" {
        DeValue::Integer(_) | DeValue::Float(_) => Within, DeValue::String(_) => Compare,
    }
    AfterEntry: "a test's name or a table" { DeValue::String(_) => Name, DeValue::Table(_) => Table, }
    CommandValue: "a line for the shell, or a list of program and arguments" {
        DeValue::String(_) => Shell, DeValue::Array(_) => Argv,
    }
    TableValue: "a list of rows, or a table of lists" { DeValue::Array(_) => Rows, DeValue::Table(_) => Columns, }
    RoleValue: "a condition over devices, or a table" { DeValue::String(_) => On, DeValue::Table(_) => Table, }
    LogproValue: "a path, a list of paths, or a table" {
        DeValue::String(_) | DeValue::Array(_) => Files, DeValue::Table(_) => Table,
    }
    PushValue: "a path, or a table" { DeValue::String(_) => Same, DeValue::Table(_) => Table, }
    LimiterValue: "a line for the shell, or a table" { DeValue::String(_) => Command, DeValue::Table(_) => Table, }
    StepValue: "a line for the shell, or a table" { DeValue::String(_) => Run, DeValue::Table(_) => Table, }
    ProgramValue: "a path, or a list of path and arguments" { DeValue::String(_) => Path, DeValue::Array(_) => Argv, }
}
