//! The environment of a test's processes. What each variable means is in `docs/reference/environment.md`.
//!
//! Later layers win: the agent's own environment, the area's, the test's, the command's, the item's, and
//! last the variables of the contract, which nothing may replace.

use muster_core::definition::role_variable;
use muster_core::exchange::{DeviceOffer, RunContext, Seat, TestContext, Unit, UnitAttempt};
use muster_core::inputs::Needed;
use muster_core::time::Time;
use std::time::Duration;

/// The label that says how a device is spoken with, where it is not the host itself.
pub(super) const ADDRESS: &str = "address";

/// The label that says where packages for the build on a device are.
const JOB_REPO_URL: &str = "job_repo_url";

/// Variables of the agent's own environment that tests do not inherit: what another runner told *us* about
/// our part of its work would be taken by the frameworks as told to them.
const NOT_INHERITED: &[&str] = &[
    "GTEST_TOTAL_SHARDS",
    "GTEST_SHARD_INDEX",
    "GTEST_SHARD_STATUS_FILE",
    "TEST_TOTAL_SHARDS",
    "TEST_SHARD_INDEX",
    "TEST_SHARD_STATUS_FILE",
    "PYTEST_XDIST_WORKER",
    "PYTEST_XDIST_WORKER_COUNT",
    "PYTEST_XDIST_TESTRUNUID",
    "PYTEST_CURRENT_TEST",
    "NEXTEST",
    "NEXTEST_EXECUTION_MODE",
    "NEXTEST_RUN_ID",
    "TRACEPARENT",
    "TRACESTATE",
];

/// What tests inherit of an environment. Values that are not UTF-8 cannot be passed on.
pub fn inherited(all: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>) -> Env {
    let mut env = Env::default();
    for (name, value) in all {
        let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) else { continue };
        if !name.starts_with("MUSTER_") && !NOT_INHERITED.contains(&name.as_str()) {
            env.set(&name, &value);
        }
    }
    env
}

/// Variables, sorted by name, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env(Vec<(String, String)>);

impl Env {
    /// Sets a variable. A name that no process could be given (empty, with `=` or NUL) is left out, and
    /// so is a value with NUL.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return;
        }
        match self.place(name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name.to_owned(), value)),
        }
    }

    pub(super) fn set_all(&mut self, vars: &[(String, String)]) {
        for (name, value) in vars {
            self.set(name, value.as_str());
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.place(name).ok().map(|at| self.0[at].1.as_str())
    }

    pub(super) fn unset(&mut self, name: &str) {
        if let Ok(at) = self.place(name) {
            self.0.remove(at);
        }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(n, _)| n.as_str().cmp(name))
    }

    pub(super) fn into_vec(self) -> Vec<(String, String)> {
        self.0
    }
}

/// What the contract's variables are taken from.
pub(super) struct Contract<'a> {
    pub(super) run: &'a RunContext,
    pub(super) test: &'a TestContext,
    pub(super) unit: &'a Unit,
    /// The device.
    pub(super) device: Option<&'a DeviceOffer>,
    /// The step's name; empty for suites.
    pub(super) step: &'a str,
    /// The directory made for the attempt.
    pub(super) work_dir: &'a str,
    /// When the attempt's hard limit ends.
    pub(super) deadline: Option<Time>,
}

impl Contract<'_> {
    /// Adds the item's variables and the contract's.
    pub(super) fn apply(&self, env: &mut Env) {
        let Self { run, test, unit, device, step, work_dir, deadline } = self;
        // Several items of one process share its environment, so what is one item's is not set.
        let alone = match unit.attempts.as_slice() {
            [one] => Some(one),
            _ => None,
        };
        if let Some(one) = alone {
            env.set_all(&one.vars);
        }
        let address = address(run, test, alone);
        let area = run.address.rsplit_once('/').map_or(run.address.as_str(), |(area, _)| area);
        env.set("MUSTER_AREA", area);
        env.set("MUSTER_RUN", run.number.to_string());
        env.set("MUSTER_TEST", test.def.name.as_str());
        env.set("MUSTER_AREA_DIR", run.area_dir.as_str());
        env.set("MUSTER_SLOT", device.map_or("", |d| d.name.as_str()));
        if let Some(address) = device.and_then(|d| d.labels.get(ADDRESS)) {
            env.set("MUSTER_DEVICE_ADDRESS", address.as_str());
        }
        // As Autotest's servers keep it with a host: the repository of the build that is on the device.
        match device.and_then(|d| d.labels.get(JOB_REPO_URL)) {
            Some(url) => env.set("MUSTER_JOB_REPO_URL", url.as_str()),
            None => env.unset("MUSTER_JOB_REPO_URL"),
        }
        self.seats(env);
        self.given(env);
        env.set("MUSTER_WORK_DIR", *work_dir);
        match alone {
            Some(one) => {
                env.set("MUSTER_ITEM", &*one.path);
                env.set("MUSTER_ATTEMPT", one.attempt.attempt.to_string());
                env.set("MUSTER_MEASURES", format!("{work_dir}/{}", super::scratch::MEASURES));
                env.set("MUSTER_STEPS", format!("{work_dir}/{}", super::scratch::STEPS));
            }
            None => {
                for name in ["MUSTER_ITEM", "MUSTER_ATTEMPT", "MUSTER_MEASURES", "MUSTER_STEPS"] {
                    env.unset(name);
                }
            }
        }
        match alone.and_then(|one| one.part.as_ref()) {
            None => env.unset("MUSTER_ONLY_STEPS"),
            Some(part) => env.set("MUSTER_ONLY_STEPS", part.run.join(" ")),
        }
        match step {
            &"" => env.unset("MUSTER_STEP"),
            step => env.set("MUSTER_STEP", *step),
        }
        match deadline {
            Some(at) => env.set("MUSTER_DEADLINE", (at.0 / 1_000_000).to_string()),
            None => env.unset("MUSTER_DEADLINE"),
        }
        if run.trace_id.len() == 32 && run.trace_id.bytes().all(|b| b.is_ascii_hexdigit()) {
            env.set("TRACEPARENT", format!("00-{}-{:016x}-01", run.trace_id, span(&address)));
        }
        env.set("MUSTER_ADDRESS", address);
    }
}

impl Contract<'_> {
    /// The devices of an attempt that has several, by what they are for.
    fn seats(&self, env: &mut Env) {
        for Seat { role, device, host, address } in &self.unit.devices {
            let variable = role_variable(role);
            env.set(&format!("{variable}_NAME"), device.as_str());
            env.set(&format!("{variable}_HOST"), host.as_str());
            match address.as_str() {
                "" => env.unset(&variable),
                address => env.set(&variable, address),
            }
        }
    }

    /// What the run was given from outside.
    fn given(&self, env: &mut Env) {
        let RunContext { inputs, run_dir, .. } = self.run;
        match &inputs.build {
            Some(build) => {
                env.set("MUSTER_BUILD", format!("{run_dir}/{}", build.file()));
                env.set("MUSTER_BUILD_DIR", format!("{run_dir}/{}", build.dir()));
                env.set("MUSTER_BUILD_URL", build.url.as_str());
                env.set("MUSTER_BUILD_DIGEST", build.digest.to_string());
            }
            None => {
                for name in ["MUSTER_BUILD", "MUSTER_BUILD_DIR", "MUSTER_BUILD_URL", "MUSTER_BUILD_DIGEST"] {
                    env.unset(name);
                }
            }
        }
        env.unset("MUSTER_PACKAGES");
        for needed in inputs.packages_of(&self.test.def.name) {
            env.set("MUSTER_PACKAGES", format!("{run_dir}/{}", Needed::DIR));
            env.set(&needed.variable(), format!("{run_dir}/{}", needed.dir()));
        }
        match inputs.changeset.as_str() {
            "" => env.unset("MUSTER_CHANGESET"),
            changeset => env.set("MUSTER_CHANGESET", changeset),
        }
    }
}

/// `AREA/RUN/TEST/ITEM#ATTEMPT`; without item and attempt where several share the process.
pub(super) fn address(run: &RunContext, test: &TestContext, alone: Option<&UnitAttempt>) -> String {
    let (head, name) = (&run.address, &test.def.name);
    match alone {
        None => format!("{head}/{name}"),
        Some(one) if one.path.is_empty() => format!("{head}/{name}#{}", one.attempt.attempt),
        Some(one) => format!("{head}/{name}/{}#{}", one.path, one.attempt.attempt),
    }
}

/// A span id out of an address, so that whoever reads the trace can compute it too: FNV-1a, never zero.
fn span(address: &str) -> u64 {
    let hash = address
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    hash.max(1)
}

/// A limit, doubled where the item is expected to be slow.
pub(super) fn stretched(limit: Option<Duration>, slow: bool) -> Option<Duration> {
    limit.map(|l| if slow { l.saturating_mul(2) } else { l })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    #[test]
    fn what_another_runner_told_muster_is_not_inherited() {
        let all = [
            ("PATH", &b"/bin"[..]),
            ("GTEST_TOTAL_SHARDS", b"4"),
            ("MUSTER_ANYTHING", b"x"),
            ("TRACEPARENT", b"00-1-2-01"),
            ("BINARY", b"\xff\xfe"),
            ("HOME", b"/root"),
        ];
        let all = all.map(|(name, value)| (OsString::from(name), OsString::from_vec(value.to_vec())));
        let names: Vec<String> = inherited(all).into_vec().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["HOME", "PATH"]);
    }

    #[test]
    fn variables_that_no_process_could_be_given_are_left_out() {
        let mut env = Env::default();
        env.set("", "x");
        env.set("a=b", "x");
        env.set("a\0", "x");
        env.set("c", "x\0y");
        env.set("d", "");
        env.set("d", "last");
        assert_eq!(env.into_vec(), [("d".to_owned(), "last".to_owned())]);
    }
}
