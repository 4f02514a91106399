//! What is the same for all attempts of a test: compiled rules, merged environment, split commands.

use super::environment::Env;
use super::shell;
use muster_core::definition::{Command, Kind, Proceed, TestDef};
use muster_core::exchange::RunContext;
use muster_core::judge::CompiledRule;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A test, ready to be run many times.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Its pass rule, or why that cannot be used.
    pub(super) rule: Result<Arc<CompiledRule>, String>,
    /// Environment of all its processes, without the item's and the contract's.
    pub(super) env: Env,
    /// The area's directory.
    pub(super) area_dir: PathBuf,
    /// The directory its commands run in.
    pub(super) dir: PathBuf,
    /// Its steps; none for a suite.
    pub(super) steps: Arc<[StepPlan]>,
}

/// A step, ready to be run.
#[derive(Clone, Debug)]
pub(super) struct StepPlan {
    /// Its name; empty where it is not shown as a step.
    pub(super) name: String,
    /// Program and arguments.
    pub(super) argv: Vec<String>,
    /// Where it runs.
    pub(super) dir: PathBuf,
    /// Environment beyond the test's.
    pub(super) env: Vec<(String, String)>,
    /// Variables that must not be there.
    pub(super) unset: Vec<String>,
    /// Environment that wins over the contract's.
    pub(super) last_env: Vec<(String, String)>,
    /// Its own hard limit.
    pub(super) timeout: Option<Duration>,
    /// When the next runs.
    pub(super) proceed: Proceed,
}

impl Prepared {
    pub(super) fn new(inherited: &Env, run: &RunContext, def: &TestDef) -> Self {
        let mut env = inherited.clone();
        env.set_all(&run.env);
        env.set_all(&def.env);
        let area_dir = PathBuf::from(&run.area_dir);
        let dir = within(&area_dir, &def.dir);
        let steps = match &def.kind {
            Kind::Suite(_) => Arc::default(),
            Kind::Steps { steps, .. } => steps
                .iter()
                .map(|step| StepPlan {
                    // A plain command is one step of this name, and no person thinks of it as a step.
                    name: if steps.len() == 1 && step.name == "run" {
                        String::new()
                    } else {
                        step.name.clone()
                    },
                    timeout: step.timeout,
                    proceed: step.proceed,
                    ..StepPlan::of_command(&step.command, &area_dir, &dir)
                })
                .collect(),
        };
        let rule = CompiledRule::new(&def.pass).map(Arc::new).map_err(|e| e.to_string());
        Self { rule, env, area_dir, dir, steps }
    }
}

impl StepPlan {
    /// A single command.
    pub(super) fn of_command(command: &Command, area_dir: &Path, test_dir: &Path) -> Self {
        Self {
            name: String::new(),
            argv: shell::argv(&command.line),
            dir: command.dir.as_deref().map_or_else(|| test_dir.to_owned(), |dir| within(area_dir, dir)),
            env: command.env.clone(),
            unset: Vec::new(),
            last_env: Vec::new(),
            timeout: None,
            proceed: Proceed::Passed,
        }
    }
}

/// `dir` relative to the area, or absolute.
pub(super) fn within(area_dir: &Path, dir: &str) -> PathBuf {
    if dir.is_empty() || dir == "." { area_dir.to_owned() } else { area_dir.join(dir) }
}
