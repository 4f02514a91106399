//! `muster run`: plans, runs, records and reports.

use super::typed::{ExecArgs, SelectArgs, TargetArgs, duration};
use crate::context::Context;
use crate::error::Complaint;
use crate::local::agent::Agent;
use crate::local::area::Purpose;
use crate::local::given::{Given, beside_records};
use crate::local::megatest::Megatest;
use crate::local::session::Request;
use crate::local::{area, made_of, megatest, packages, request, session, tier};
use crate::remote;
use clap::{Args, ValueEnum};
use muster_core::inputs::PROFILERS;
use muster_core::outcome::ExitCode;
use muster_store::Store as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `muster run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muster run                              everything
  muster run unit 'net/*' '!net/slow*'    one test, some items of another
  muster run --tags 'smoke && !hw' -j4    by tags, four at once
  muster run --failed-in latest           what failed last time, as a new run
  muster run --report junit:out.xml       with a report for CI

Progress and summary go to standard error, reports without a file to standard output.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Give the run a name, by which it can be pointed at
    #[arg(short, long, value_name = "NAME", value_parser = name, help_heading = "How to run")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) exec: ExecArgs,
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
    #[command(flatten)]
    pub(crate) lab: LabArgs,
}

/// What a run is given from outside, as CI does.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What to test")]
pub(crate) struct InputArgs {
    /// Fetch this build; tests find it at MUSTER_BUILD, and unpacked in MUSTER_BUILD_DIR
    #[arg(long, value_name = "URL")]
    pub(crate) build: Option<String>,
    /// Fetch packed tests with their `muster.toml`, and run them in place of the area at hand
    #[arg(long, value_name = "URL", conflicts_with = "changed_since")]
    pub(crate) tests: Option<String>,
    /// By what a server is known that a build or tests are fetched from: the certificate of its authority [default: what the
    /// system trusts]
    #[arg(long, value_name = "FILE", env = "MUSTER_FETCH_CA_FILE", hide_env_values = true)]
    pub(crate) fetch_ca: Option<PathBuf>,
    /// The change that is tested, for the record; tests find it in MUSTER_CHANGESET
    #[arg(long, value_name = "ID")]
    pub(crate) changeset: Option<String>,
    /// Where the packages of the area are had from, in place of what it says
    #[arg(long, value_name = "DIR|URL", env = "MUSTER_REPO", hide_env_values = true, value_delimiter = ',')]
    pub(crate) repo: Vec<String>,
    /// Make this package of this folder as it is now, in place of one that is published
    #[arg(long, value_name = "PACKAGE=DIR")]
    pub(crate) local: Vec<String>,
    /// Have this watch each attempt and leave files, besides what the area names: `proc-sampler`, `iostat`, `perf`,
    /// `strace`, or a package `profiler:NAME`
    #[arg(long, value_name = "NAME", value_parser = profiler)]
    pub(crate) profile: Vec<String>,
}

/// What only a lab can do.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "On a lab (with --server)")]
pub(crate) struct LabArgs {
    /// Run on devices for which this is true: CEL over `labels`, `name` and `host`, e.g. `labels.os == "linux"`
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) on: Option<String>,
    /// Ask for the run and do not wait for it
    #[arg(long)]
    pub(crate) detach: bool,
    /// Wait for the run to end, as is done without this
    #[arg(long, conflicts_with = "detach")]
    pub(crate) wait: bool,
    /// The id of the run, a UUID: asking again with the same id joins the run there is
    #[arg(long, value_name = "UUID")]
    pub(crate) id: Option<uuid::Uuid>,
    /// Before runs of lower priority, behind those of higher; 0 unless said
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) priority: Option<i32>,
    /// End with exit code 7 if nothing of it has been started after this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) start_within: Option<Duration>,
    /// Stop older runs of yours of the same area, name and target: those that wait, or all
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "waiting")]
    pub(crate) supersede: Option<SupersedeWhich>,
    /// Try what failed again on another device (with retries), to tell a bad device from bad code
    #[arg(long)]
    pub(crate) retry_elsewhere: bool,
}

/// Which older runs a new one takes the place of.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum SupersedeWhich {
    /// Those of which nothing has been started
    Waiting,
    /// All that are under way
    All,
}

impl LabArgs {
    /// The first flag that is for a lab alone, if one was given.
    fn flag(&self) -> Option<&'static str> {
        let Self { on, detach, wait: _, id, priority, start_within, supersede, retry_elsewhere } = self;
        [
            (*detach, "--detach"),
            (on.is_some(), "--on"),
            (id.is_some(), "--id"),
            (priority.is_some(), "--priority"),
            (start_within.is_some(), "--start-within"),
            (supersede.is_some(), "--supersede"),
            (*retry_elsewhere, "--retry-elsewhere"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }
}

/// A name must not look like another way to point at a run.
fn name(text: &str) -> Result<String, String> {
    if text == "latest" || text.bytes().all(|b| b.is_ascii_digit()) || text.starts_with('-') {
        return Err("a name is not a number, not `latest`, and does not begin with `-`".to_owned());
    }
    if text.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '#' | ',')) {
        return Err("a name has no blanks and none of `/`, `#` and `,`".to_owned());
    }
    Ok(text.to_owned())
}

fn profiler(text: &str) -> Result<String, String> {
    if PROFILERS.contains(&text) || text.starts_with("profiler:") {
        return Ok(text.to_owned());
    }
    Err(format!("there are {}, and packages as `profiler:NAME`", PROFILERS.join(", ")))
}

/// Runs the tests.
pub(crate) fn run(args: RunArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    if let Some(server) = &context.server {
        return remote::run(args, server, context);
    }
    let RunArgs { select, target, name, exec, inputs, lab } = args;
    if let Some(flag) = lab.flag() {
        return Err(Complaint::usage(format!("`{flag}` is for a lab"))
            .hint("name its server with `--server http://HOST:PORT`, or in MUSTER_SERVER")
            .into());
    }
    let here = if inputs.tests.is_some() { context.dir.clone() } else { context.area_dir()? };
    let given = Given::fetch(&inputs, &beside_records(&here), context)?;
    let purpose = Purpose::Run { name: name.as_deref() };
    let area = area::load(context, given.area(), target.target.as_deref(), &request::flags(&exec), purpose)?;
    let def = &area.loaded.area;
    tier::must_take_runs(def)?;
    // The agent makes itself ready while the records are opened and the plan is made.
    let agent = Agent::start(&area.dir, request::jobs(def, context))?;
    let mut store = crate::wiring::open_to_write(&area.dir)?;
    if let (Some(_), Some(name)) = (&area.megatest, &name) {
        megatest::must_be_new(&mut store, name, &def.target, &context.program())?;
    }
    let durations = Arc::new(store.list_durations(&def.name, &def.target)?);
    let selection = request::selection(&select, &area, &mut store, context)?;
    let plan =
        request::make_plan(def, &area.loaded.facts, &selection, durations.as_ref(), &context.program())?;
    if plan.tests.is_empty() {
        let said = format!("nothing to run: no test is selected{}", select.by());
        return Err(Complaint::new(ExitCode::NothingRan, said)
            .hint(format!("`{} plan` lists the tests", context.program()))
            .into());
    }
    if let Some(Megatest { before: Some(line), .. }) = &area.megatest {
        megatest::run_hook("pre-hook", line, &area.dir, &def.env)?;
    }
    let packages = packages::install(&inputs, &area, &plan, context)?;
    let profilers = packages::profilers(&inputs, &area);
    let number = store.reserve_number(&def.name)?;
    let failures_max = exec.fail_fast.map(std::num::NonZeroU32::get);
    let mut record = request::run_record(&area, selection, plan, name, failures_max, number, session::now());
    let run_dir = store.run_dir(number).expect("the records of an area are in a directory");
    packages.show(&run_dir)?;
    let inputs = &mut Arc::make_mut(&mut record.spec).inputs;
    inputs.clone_from(&given.inputs);
    inputs.packages = packages.needed();
    inputs.profilers = profilers;
    given.place(&run_dir)?;
    made_of::note(&run_dir, &area, session::now())?;
    // They stay where they are until the run has ended.
    let _leases = packages.into_leases();
    let code = session::execute(Request::New(Arc::new(record)), store, agent, durations, &exec, context)?;
    if let Some(Megatest { after: Some(line), .. }) = &area.megatest {
        megatest::run_hook("post-hook", line, &area.dir, &def.env)?;
    }
    tier::settle(def, &area.dir, context);
    Ok(code)
}
