//! What watches an attempt on its host.
//!
//! A process of the test is started by a program that knows profilers (`muster` itself, in a hidden command): it holds
//! the process back until they watch it, ends as it ends, and lets them leave their files in the attempt's directory.
//! Whatever becomes of a profiler, the process is judged as without; what went wrong is told below its output.
//!
//! Deliberately absent: steps on devices, whose processes are not on this host.

use super::environment::Env;
use super::job::Job;
use super::prepared::StepPlan;
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
    /// The directory of its package; empty for one that is built in.
    pub dir: String,
}

/// The words and the variable by which a process is started so that it is watched. `None`: it is not.
pub(super) fn watched(
    job: &Job,
    plan: &StepPlan,
    argv: &[String],
    env: &Env,
    work_dir: &str,
    deadline: Option<Time>,
) -> Option<(Vec<String>, String)> {
    let inputs = &job.run.inputs;
    // What cannot be started is told in the same words as without.
    if inputs.profilers.is_empty() || job.unit.discovery || !starts(plan, argv, env) {
        return None;
    }
    let profiler = |name: &String| {
        let dir = name.strip_prefix("profiler:").map_or_else(String::new, |asked| {
            let asked = asked.split('@').next().unwrap_or(asked);
            let package = inputs.packages.iter().find(|n| n.kind == "profiler" && n.name == asked);
            package.map(|n| format!("{}/{}", job.run.run_dir, n.dir())).unwrap_or_default()
        });
        Profiler { name: name.clone(), dir }
    };
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let step = ProfileStep::Watch {
        profilers: inputs.profilers.iter().map(profiler).collect(),
        dir: format!("{work_dir}/{PROFILE_DIR}"),
        step: plan.name.chars().map(plain).collect(),
        deadline_millis: deadline.map(|at| at.0 / 1_000),
    };
    let words = ["/proc/self/exe".to_owned(), PROFILE_COMMAND.to_owned()];
    let argv = words.into_iter().chain(argv.iter().cloned()).collect();
    Some((argv, serde_json::to_string(&step).ok()?))
}

/// Whether there is such a program.
fn starts(plan: &StepPlan, argv: &[String], env: &Env) -> bool {
    let Some(program) = argv.first().filter(|p| !p.is_empty()) else { return false };
    let is_program = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return is_program(&plan.dir.join(program));
    }
    let path = env.get("PATH").unwrap_or_default();
    path.split(':').any(|dir| is_program(&plan.dir.join(dir).join(program)))
}

/// What profilers have to tell of an attempt, line by line.
pub(super) fn told(work_dir: &str) -> Vec<String> {
    let text = fs::read(format!("{work_dir}/{PROFILE_DIR}/{PROFILE_TOLD}")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..text.len().min(TOLD_BYTES_MAX)]).into_owned();
    text.lines().map(|line| line.chars().filter(|c| !c.is_control()).collect()).collect()
}
