//! What a running test says of itself with `megatest -step`, `-test-status` and `-load-test-data`: kept in
//! `.muster` of its run directory, where the step that ran it takes it up when it ends.
//!
//! ```text
//! .muster/steps    a line of JSON for each report of a step
//! .muster/status   state and status that the test set
//! .muster/data     test data, in Megatest's own form
//! .muster/over     the test has ended before its last step
//! .muster/attempt  which attempt set the run directory up
//! .muster/subrun   the run of another area that the test is
//! .muster/host     what the host was like when the test began
//! ```

use crate::context::ATTEMPT;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The directory in a run directory.
const DIR: &str = ".muster";

/// What a test said of itself.
#[derive(Debug)]
pub(crate) struct Record {
    dir: PathBuf,
}

/// A report of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StepReport {
    /// Its name.
    pub(crate) step: String,
    /// `start` or `end`.
    pub(crate) state: String,
    /// The exit code, or what the script calls it.
    pub(crate) status: String,
    /// Seconds since 1970.
    pub(crate) time: u64,
    #[serde(default)]
    pub(crate) comment: String,
    #[serde(default)]
    pub(crate) log: String,
}

/// State and status that a test set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OwnStatus {
    pub(crate) state: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) comment: String,
    #[serde(default)]
    pub(crate) log: String,
}

/// The run of another area that a test is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubRunOf {
    /// The area's directory.
    pub(crate) area: PathBuf,
    pub(crate) target: String,
    pub(crate) run_name: String,
    /// The run's number there; `None` until it has one.
    pub(crate) number: Option<u32>,
}

/// What the host of a test was like when it began, as Megatest lists it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct HostFacts {
    /// Load average of the last minute.
    pub(crate) cpuload: f64,
    /// Free space for run directories, in blocks of 1024 bytes.
    pub(crate) diskfree: u64,
    /// System, release and machine.
    pub(crate) uname: String,
}

impl HostFacts {
    /// Those of this host, for a directory.
    pub(super) fn now(dir: &Path) -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let cpuload = load.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default();
        let disk = rustix::fs::statvfs(dir);
        let diskfree = disk.map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize) / 1024);
        let name = rustix::system::uname();
        let words = [name.sysname(), name.release(), name.version(), name.machine()];
        let uname = words.map(|word| word.to_string_lossy().into_owned()).join(" ");
        Self { cpuload, diskfree, uname }
    }
}

impl Record {
    /// That of a run directory.
    pub(crate) fn of(run_dir: &Path) -> Self {
        Self { dir: run_dir.join(DIR) }
    }

    /// Whether this directory is a run directory.
    pub(super) fn is_in(run_dir: &Path) -> bool {
        run_dir.join(DIR).is_dir()
    }

    /// Forgets what an earlier attempt said. `attempt`: the number of the one that begins.
    pub(super) fn clear(run_dir: &Path, attempt: &str) -> io::Result<()> {
        let dir = run_dir.join(DIR);
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("host"), serde_json::to_string(&HostFacts::now(run_dir))?)?;
        fs::write(dir.join(ATTEMPT), attempt)
    }

    /// What the host was like when the test began; nothing of a test that has not.
    pub(crate) fn host(&self) -> Option<HostFacts> {
        serde_json::from_str(&fs::read_to_string(self.dir.join("host")).ok()?).ok()
    }

    /// Goes on from an earlier attempt, of which only these steps run again: what they said is forgotten, and what the
    /// test came to. `attempt`: the number of the one that begins.
    pub(super) fn go_on(&self, attempt: &str, steps: &[&str]) -> io::Result<()> {
        for gone in ["status", "over"] {
            match fs::remove_file(self.dir.join(gone)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        let kept = self.steps().into_iter().filter(|report| !steps.contains(&report.step.as_str()));
        let lines: Result<Vec<String>, _> = kept.map(|report| serde_json::to_string(&report)).collect();
        let text: String = lines?.into_iter().map(|line| line + "\n").collect();
        fs::create_dir_all(&self.dir)?;
        fs::write(self.dir.join("steps"), text)?;
        fs::write(self.dir.join("attempt"), attempt)
    }

    /// The number of the attempt that set the run directory up last.
    pub(crate) fn attempt(&self) -> Option<u16> {
        fs::read_to_string(self.dir.join(ATTEMPT)).ok()?.trim().parse().ok()
    }

    /// When that was, in seconds since 1970.
    pub(crate) fn begun(&self) -> Option<u64> {
        let at = fs::metadata(self.dir.join(ATTEMPT)).ok()?.modified().ok()?;
        Some(at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
    }

    /// The test has ended, whatever steps there are.
    pub(super) fn set_over(&self) -> io::Result<()> {
        fs::write(self.dir.join("over"), "")
    }

    /// Whether it has.
    pub(super) fn is_over(&self) -> bool {
        self.dir.join("over").exists()
    }

    pub(super) fn set_subrun(&self, run: &SubRunOf) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        fs::write(self.dir.join("subrun"), serde_json::to_string(run)?)
    }

    /// The run of another area that the test is, if it is one.
    pub(crate) fn subrun(&self) -> Option<SubRunOf> {
        serde_json::from_str(&fs::read_to_string(self.dir.join("subrun")).ok()?).ok()
    }

    fn append(&self, file: &str, line: &str) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut file = OpenOptions::new().create(true).append(true).open(self.dir.join(file))?;
        // In one piece: steps may run side by side.
        file.write_all(format!("{line}\n").as_bytes())
    }

    pub(super) fn add_step(&self, report: &StepReport) -> io::Result<()> {
        self.append("steps", &serde_json::to_string(report)?)
    }

    /// The reports so far.
    pub(crate) fn steps(&self) -> Vec<StepReport> {
        let text = fs::read_to_string(self.dir.join("steps")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub(super) fn set_status(&self, status: &OwnStatus) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let new = self.dir.join(format!("status-{}", std::process::id()));
        fs::write(&new, serde_json::to_string(status)?)?;
        fs::rename(new, self.dir.join("status"))
    }

    /// What the test set, if it did.
    pub(crate) fn status(&self) -> Option<OwnStatus> {
        serde_json::from_str(&fs::read_to_string(self.dir.join("status")).ok()?).ok()
    }

    pub(super) fn add_data(&self, lines: &str) -> io::Result<()> {
        self.append("data", lines.trim_end_matches('\n'))
    }

    pub(super) fn data(&self) -> String {
        fs::read_to_string(self.dir.join("data")).unwrap_or_default()
    }
}
