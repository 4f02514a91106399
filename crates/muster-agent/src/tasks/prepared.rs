//! What is the same for all attempts of a test: compiled rules, merged environment, split commands.

use super::device::DevicePlan;
use super::environment::Env;
use super::logpro::LogJudge;
use super::shell;
use muster_core::definition::{Command, Kind, Proceed, Step, TestDef};
use muster_core::exchange::RunContext;
use muster_core::judge::CompiledRule;
use muster_core::time::Time;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A test, ready to be run many times.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Its pass rule, or why that cannot be used.
    pub(super) rule: Result<Arc<CompiledRule>, String>,
    /// What its whole log is judged by.
    pub(super) logpro: Option<Arc<LogJudge>>,
    /// Environment of all its processes, without the item's and the contract's.
    pub(super) env: Env,
    /// The same without what the host has: for what runs on the device.
    pub(super) device_env: Env,
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
    /// What it does on a device, where it runs there.
    pub(super) device: Option<DevicePlan>,
    /// On which: its place among those that the attempt has.
    pub(super) seat: usize,
    /// What its own log is judged by.
    pub(super) logpro: Option<Arc<LogJudge>>,
}

impl Prepared {
    pub(super) fn new(inherited: &Env, run: &RunContext, def: &TestDef, now: Time) -> Self {
        let layered = |mut env: Env| {
            env.set_all(&run.env);
            env.set_all(&def.env);
            env
        };
        let (env, device_env) = (layered(inherited.clone()), layered(Env::default()));
        let area_dir = PathBuf::from(&run.area_dir);
        let dir = within(&area_dir, &def.dir);
        let mut logpro = def.pass.logpro.as_ref().map(|rules| Arc::new(LogJudge::new(rules, now)));
        let steps = match &def.kind {
            Kind::Suite(_) => Arc::default(),
            Kind::Steps { steps, .. } => {
                let mut plans: Vec<StepPlan> =
                    steps.iter().map(|step| StepPlan::of_step(step, def, &area_dir, &dir, now)).collect();
                let used = def.devices_used();
                if !used.is_empty() {
                    let around = used.iter().map(|seat| around_seat(def, &area_dir, *seat));
                    let (opens, closes): (Vec<_>, Vec<_>) = around.map(|[open, close]| (open, close)).unzip();
                    plans.splice(0..0, opens);
                    // What was opened last is closed first.
                    plans.extend(closes.into_iter().rev());
                } else if let [only] = plans.as_mut_slice()
                    && only.name == "run"
                {
                    // A plain command is one step of this name, and no person thinks of it as a step.
                    only.name.clear();
                    logpro = logpro.or(only.logpro.take());
                }
                plans.into()
            }
        };
        let rule = CompiledRule::new(&def.pass).map(Arc::new).map_err(|e| e.to_string());
        Self { rule, logpro, env, device_env, area_dir, dir, steps }
    }
}

impl Prepared {
    /// Whether any log of it is judged by rules, and so has a page.
    pub(super) fn has_logpro(&self) -> bool {
        self.logpro.is_some() || self.steps.iter().any(|s| s.logpro.is_some())
    }
}

/// What comes before and after what a suite does on its device, where it does something there.
pub(super) fn around(def: &TestDef, area_dir: &Path) -> Option<[StepPlan; 2]> {
    def.uses_device().then(|| around_seat(def, area_dir, 0))
}

/// What comes before and after what a test does on one of its devices.
fn around_seat(def: &TestDef, area_dir: &Path, seat: usize) -> [StepPlan; 2] {
    let files = &def.device_files;
    let role = def.needs.devices.roles.get(seat).filter(|_| seat > 0);
    [DevicePlan::open(files, area_dir), DevicePlan::close(files)].map(|what| {
        let plan = StepPlan::of_device(what);
        let name = role.map_or_else(|| plan.name.clone(), |role| format!("{}-{}", plan.name, role.name));
        StepPlan { name, seat, ..plan }
    })
}

impl StepPlan {
    /// A step of a test.
    fn of_step(step: &Step, def: &TestDef, area_dir: &Path, test_dir: &Path, now: Time) -> Self {
        let mut plan = Self {
            name: step.name.clone(),
            timeout: step.timeout,
            proceed: step.proceed,
            logpro: step.logpro.as_ref().map(|rules| Arc::new(LogJudge::new(rules, now))),
            ..Self::of_command(&step.command, area_dir, test_dir)
        };
        if let Some(seat) = step.place.device() {
            plan.seat = seat;
            let dir = step.command.dir.clone().unwrap_or_else(|| def.dir.clone());
            let env = std::mem::take(&mut plan.env);
            plan.device = Some(DevicePlan::Run { dir, env, report: false });
            plan.dir = area_dir.to_owned();
        }
        plan
    }

    /// A step of Muster's own on the device.
    pub(super) fn of_device((name, device): (&str, DevicePlan)) -> Self {
        Self {
            name: name.to_owned(),
            argv: Vec::new(),
            dir: PathBuf::from("/"),
            env: Vec::new(),
            unset: Vec::new(),
            last_env: Vec::new(),
            timeout: device.own_limit(),
            proceed: device.proceed(Proceed::Passed),
            device: Some(device),
            seat: 0,
            logpro: None,
        }
    }

    /// The same on the device, in this directory: relative to the attempt's there, or absolute.
    pub(super) fn on_device(mut self, dir: String, report: bool) -> Self {
        let env = std::mem::take(&mut self.env);
        Self { device: Some(DevicePlan::Run { dir, env, report }), dir: PathBuf::from("/"), ..self }
    }

    /// What wins over the contract, in an environment that has that.
    pub(super) fn overrule(&self, env: &mut Env) {
        env.set_all(&self.last_env);
        for name in &self.unset {
            env.unset(name);
        }
    }

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
            device: None,
            seat: 0,
            logpro: None,
        }
    }
}

/// `dir` relative to the area, or absolute.
pub(super) fn within(area_dir: &Path, dir: &str) -> PathBuf {
    if dir.is_empty() || dir == "." { area_dir.to_owned() } else { area_dir.join(dir) }
}
