//! What watches an attempt.
//!
//! On its host: a process of the test is started by a program that knows profilers (`muster` itself, in a hidden command): it holds
//! the process back until they watch it, ends as it ends, and lets them leave their files in the attempt's directory.
//! On a device, who runs the step there starts the profilers beside it ([`Watched`]).
//! Whatever becomes of a profiler, the process is judged as without; what went wrong is told below its output.

use super::environment::Env;
use super::job::Job;
use super::prepared::StepPlan;
use muster_core::digest::Digest;
use muster_core::exchange::RunContext;
use muster_core::time::Time;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The variable that holds a [`ProfileStep`] as JSON.
pub const PROFILE_STEP: &str = "MUSTER_PROFILE_STEP";

/// The hidden command of this very program that has a process watched; behind it the process's words.
pub const PROFILE_COMMAND: &str = "__profile";

/// Where profilers leave their files, in the attempt's directory.
pub const PROFILE_DIR: &str = "profile";

/// The file there in which is told what went wrong.
pub const PROFILE_TOLD: &str = "told";

/// Most bytes of that which are passed on.
// Limit: a line for each profiler of each step.
const TOLD_BYTES_MAX: usize = 4 << 10;

/// What is to be done with a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileStep {
    /// Have it watched.
    Watch {
        /// By these.
        profilers: Vec<Profiler>,
        /// The directory in which what went wrong is told.
        dir: String,
        /// Where files are left, below that; empty for there.
        step: String,
        /// When the attempt's time is over, in milliseconds since 1970.
        deadline_millis: Option<u64>,
    },
    /// Become it when this pipe says so.
    Hold {
        /// Its path.
        gate: String,
    },
}

/// A profiler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profiler {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: ProfilerPlace,
}

/// Where a profiler is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfilerPlace {
    /// It is built in.
    BuiltIn,
    /// In this directory of this host, which is its package.
    Dir(String),
    /// In its package, installed on the device.
    OnDevice(Digest),
    /// The run was not given its package.
    Nowhere,
}

/// How a step on a device is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Watched {
    /// As a process of the host, which is the device.
    OnHost(ProfileStep),
    /// On the device itself.
    OnDevice {
        /// By these.
        profilers: Vec<Profiler>,
        /// The directory of this host in which what went wrong is told.
        dir: String,
        /// Where files are left, below the directory for that on the device; empty for there.
        step: String,
    },
}

/// What watches a job, which runs on this host or on a device elsewhere.
fn profilers(job: &Job, elsewhere: bool) -> Vec<Profiler> {
    let RunContext { inputs, run_dir, .. } = &*job.run;
    let place = |name: &str| {
        let Some(asked) = name.strip_prefix("profiler:") else { return ProfilerPlace::BuiltIn };
        let asked = asked.split('@').next().unwrap_or(asked);
        match inputs.packages.iter().find(|n| n.kind == "profiler" && n.name == asked) {
            None => ProfilerPlace::Nowhere,
            Some(package) if elsewhere => ProfilerPlace::OnDevice(package.digest),
            Some(package) => ProfilerPlace::Dir(format!("{run_dir}/{}", package.dir())),
        }
    };
    let names = job.profilers().into_iter();
    names.map(|name| Profiler { name: name.to_owned(), place: place(name) }).collect()
}

/// A step's name as that of a directory.
fn step_dir(plan: &StepPlan) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    plan.name.chars().map(plain).collect()
}

/// How a step on a device elsewhere is watched there. `None`: it is not.
pub(super) fn on_device(job: &Job, plan: &StepPlan, work_dir: &str) -> Option<Watched> {
    let profilers = profilers(job, true);
    let dir = format!("{work_dir}/{PROFILE_DIR}");
    let is_watched = !profilers.is_empty() && !job.unit.discovery;
    is_watched.then(|| Watched::OnDevice { profilers, dir, step: step_dir(plan) })
}

/// How a process in this directory of the host is watched. `None`: it is not.
pub(super) fn on_host(
    job: &Job,
    plan: &StepPlan,
    dir: &Path,
    env: &Env,
    work_dir: &str,
    deadline: Option<Time>,
) -> Option<ProfileStep> {
    let profilers = profilers(job, false);
    // What cannot be started is told in the same words as without.
    if profilers.is_empty() || job.unit.discovery || !starts(dir, &plan.argv, env) {
        return None;
    }
    Some(ProfileStep::Watch {
        profilers,
        dir: format!("{work_dir}/{PROFILE_DIR}"),
        step: step_dir(plan),
        deadline_millis: deadline.map(|at| at.0 / 1_000),
    })
}

impl ProfileStep {
    /// The words by which a process is started so that this is done with it, and the variable they need.
    pub fn words(&self, argv: &[String]) -> (Vec<String>, (String, String)) {
        let words = ["/proc/self/exe".to_owned(), PROFILE_COMMAND.to_owned()];
        let step = serde_json::to_string(self).expect("it is plain data");
        (words.into_iter().chain(argv.iter().cloned()).collect(), (PROFILE_STEP.to_owned(), step))
    }
}

/// Whether there is such a program.
fn starts(dir: &Path, argv: &[String], env: &Env) -> bool {
    let Some(program) = argv.first().filter(|p| !p.is_empty()) else { return false };
    let is_program = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return is_program(&dir.join(program));
    }
    let path = env.get("PATH").unwrap_or_default();
    path.split(':').any(|of_path| is_program(&dir.join(of_path).join(program)))
}

/// What profilers have to tell of an attempt, line by line.
pub(super) fn told(work_dir: &str) -> Vec<String> {
    let text = fs::read(format!("{work_dir}/{PROFILE_DIR}/{PROFILE_TOLD}")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..text.len().min(TOLD_BYTES_MAX)]).into_owned();
    text.lines().map(|line| line.chars().filter(|c| !c.is_control()).collect()).collect()
}
