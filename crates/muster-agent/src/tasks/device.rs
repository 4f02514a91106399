//! Steps that run on the device itself.
//!
//! The agent knows no driver. It starts a program that does (`muster` itself, in a hidden command), which is
//! limited, stopped and recorded as any other process, and says on its report pipe how the step ended: what
//! the device's program came to and what went wrong on the way there are never mixed.
//!
//! ```text
//! to-device ─► the test's steps ─► from-device        each a process with MUSTER_DEVICE_STEP
//!    │            │                    └ brings back what is pulled, removes the attempt's directory
//!    │            └ runs the command in that directory
//!    └ makes the attempt's directory anew, brings what is pushed
//! ```
//!
//! An attempt that has several devices does so on each that a step runs on.
//!
//! Suites are asked for their items and run in the same way, with as many steps in between as that takes.
//!
//! A device that is not the host itself is held open from one step to the next by a [worker](super::workers).

use super::environment::ADDRESS;
use super::profile::Watched;
use crate::exec::Status;
use muster_core::definition::{DeviceFiles, FROM_DEVICE, Proceed, Push, TO_DEVICE};
use muster_core::exchange::DeviceOffer;
use muster_core::inputs::Needed;
use muster_core::judge::Ended;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// The variable that holds a [`DeviceStep`] as JSON.
pub const DEVICE_STEP: &str = "MUSTER_DEVICE_STEP";

/// How long bringing files there or back may take.
// Limit: a device that takes longer is taken for hung.
const MOVE_MAX: Duration = Duration::from_secs(3600);

/// Most bytes of a report that are kept.
const REPORT_BYTES_MAX: usize = 64 << 10;

/// What is to be done on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceStep {
    /// Its address.
    pub address: String,
    /// Where it is held open; the step opens it by itself where it is not.
    pub held: Option<HeldOpen>,
    /// The attempt's directory there: absolute, or a name in the device's directory for tests.
    pub dir: String,
    /// What.
    pub part: DevicePart,
}

/// Where a device is held open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldOpen {
    /// The socket of who does so.
    pub socket: String,
    /// The job the step belongs to.
    pub job: String,
}

/// One step on a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DevicePart {
    /// Make the attempt's directory anew, and bring these; `from` is a path of this host.
    Open {
        /// What is brought.
        push: Vec<Push>,
        /// What is installed first.
        packages: Packages,
    },
    /// Run a program.
    Run {
        /// It and its arguments.
        argv: Vec<String>,
        /// Its variables, beside those the device has.
        env: Vec<(String, String)>,
        /// Where, relative to the attempt's directory or absolute.
        dir: String,
        /// What it finds installed.
        packages: Packages,
        /// What it writes to descriptor 3 is passed on as it comes.
        report: bool,
        /// What watches it.
        watched: Option<Watched>,
    },
    /// Print the files that match any of these, one a line: relative paths, sorted, each once.
    List {
        /// Globs, relative to `dir`.
        patterns: Vec<String>,
        /// Where, relative to the attempt's directory or absolute.
        dir: String,
        /// Only those that may be executed, where the device tells.
        executable: bool,
    },
    /// Bring these back, and the measured values, into a directory of this host; remove the attempt's
    /// directory.
    Close {
        /// What is brought back.
        pull: Vec<String>,
        /// The directory here.
        into: String,
        /// The file here that the measured values are added to.
        measures: String,
        /// What is not used any more.
        packages: Packages,
        /// The directory here for what profilers left, where some have watched it.
        profile: Option<String>,
    },
}

/// The packages of a run, for a device that is not the host itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// The run's directory here, where they are shown.
    pub run_dir: String,
    /// All of them.
    pub needed: Vec<Needed>,
}

/// How a step on a device ended, as its process reports it: in JSON, behind [`BEFORE_END`], which comes after what
/// a framework on the device has reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceEnd {
    /// The program ended with this code, or what was to be done is done (0).
    Code(i32),
    /// This signal ended the program.
    Signal(i32),
    /// The device, or the way to it, failed: nothing is known about the test.
    Failed(String),
}

/// The byte on a step's report pipe that its end comes behind. Frameworks report in text.
pub const BEFORE_END: u8 = 0;

/// The hidden command of this very program that carries a step out; started as whatever file it was started
/// from, also where that has been replaced since.
pub const DEVICE_COMMAND: &str = "__device-step";

/// The command line that carries a step out.
pub(super) fn argv() -> Vec<String> {
    vec!["/proc/self/exe".to_owned(), DEVICE_COMMAND.to_owned()]
}

/// The attempt's directory on a device. One device has one attempt at a time, so that what an attempt left
/// that was cut off is removed by the next. A slot of this host shares its file system with others.
pub(super) fn dir(address: &str, device: &str, work_dir: &str, seat: usize) -> String {
    match (address, seat) {
        (LOCAL, 0) => return format!("{work_dir}/device"),
        (LOCAL, _) => return format!("{work_dir}/device-{seat}"),
        _ => {}
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("muster-{}", device.chars().map(plain).collect::<String>())
}

/// The address of a device that is a slot of the host.
pub(super) const LOCAL: &str = "local:";

/// Whether a device is another than the host itself.
pub(super) fn is_elsewhere(device: &DeviceOffer) -> bool {
    device.labels.get(ADDRESS).is_some_and(|address| address != LOCAL)
}

/// A step's part of the work on a device, as it is known before the attempt.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum DevicePlan {
    Open { push: Vec<Push> },
    Run { dir: String, env: Vec<(String, String)>, report: bool },
    List { patterns: Vec<String>, dir: String, executable: bool },
    Close { pull: Vec<String> },
}

impl DevicePlan {
    /// What happens before the test's own steps: its name, what, how long it may take, and what comes next.
    pub(super) fn open(files: &DeviceFiles, area_dir: &Path) -> (&'static str, Self) {
        let here =
            |p: &Push| Push { from: area_dir.join(&p.from).to_string_lossy().into_owned(), to: p.to.clone() };
        (TO_DEVICE, Self::Open { push: files.push.iter().map(here).collect() })
    }

    /// What happens after them, whatever they came to.
    pub(super) fn close(files: &DeviceFiles) -> (&'static str, Self) {
        (FROM_DEVICE, Self::Close { pull: files.pull.clone() })
    }

    /// Whether the test's own limit does not hold for it: moving files is the lab's doing.
    pub(super) fn own_limit(&self) -> Option<Duration> {
        match self {
            Self::Open { .. } | Self::Close { .. } => Some(MOVE_MAX),
            Self::Run { .. } | Self::List { .. } => None,
        }
    }

    /// When the next step runs.
    pub(super) fn proceed(&self, written: Proceed) -> Proceed {
        match self {
            Self::Open { .. } => Proceed::Passed,
            Self::Run { .. } | Self::List { .. } => written,
            Self::Close { .. } => Proceed::Always,
        }
    }
}

/// What a step's process says on its report pipe of its end.
#[derive(Debug, Default)]
pub(super) struct Said(Option<Vec<u8>>);

impl Said {
    /// Takes in what was said; what of it a framework has reported.
    pub(super) fn take_in<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (reported, said) = match &self.0 {
            Some(_) => (&[][..], bytes),
            None => match bytes.iter().position(|b| *b == BEFORE_END) {
                None => return bytes,
                Some(at) => (&bytes[..at], &bytes[at + 1..]),
            },
        };
        let all = self.0.get_or_insert_default();
        let room = REPORT_BYTES_MAX.saturating_sub(all.len());
        all.extend_from_slice(&said[..said.len().min(room)]);
        reported
    }

    /// How the step ended, given how its process did. What was said is forgotten.
    pub(super) fn end(&mut self, status: &Status) -> Option<Ended> {
        let said = self.0.take().unwrap_or_default();
        // A process that was ended by a limit or a stop was ended by it, whatever it still said.
        let code = match status {
            Status::Exit(code) => *code,
            Status::Signal(_)
            | Status::HardLimit(_)
            | Status::SilenceLimit(_)
            | Status::Stopped
            | Status::NotStarted(_) => return None,
        };
        Some(match serde_json::from_slice(&said) {
            Ok(DeviceEnd::Code(code)) => Ended::Exit(code),
            Ok(DeviceEnd::Signal(signal)) => Ended::Signal(signal),
            Ok(DeviceEnd::Failed(why)) => Ended::NotStarted(why),
            Err(_) => Ended::NotStarted(format!(
                "what talks to the device ended with code {code} and did not say what came of the step"
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(said: &str, status: Status) -> Option<Ended> {
        let mut all = Said::default();
        let said = format!("{{\"event\":1}}\n\0{said}");
        let reported: Vec<u8> =
            said.as_bytes().chunks(3).flat_map(|part| all.take_in(part).to_vec()).collect();
        assert_eq!(reported, b"{\"event\":1}\n");
        all.end(&status)
    }

    #[test]
    fn a_program_s_code_and_the_device_s_fault_are_never_mixed() {
        assert_eq!(end("{\"code\":3}", Status::Exit(0)), Some(Ended::Exit(3)));
        assert_eq!(end("{\"signal\":11}", Status::Exit(0)), Some(Ended::Signal(11)));
        let lost = Ended::NotStarted("it went away".to_owned());
        assert_eq!(end("{\"failed\":\"it went away\"}", Status::Exit(3)), Some(lost));
    }

    #[test]
    fn a_process_that_says_nothing_is_the_lab_s_fault() {
        for said in ["", "{", "{\"code\":"] {
            assert!(matches!(end(said, Status::Exit(0)), Some(Ended::NotStarted(_))), "{said}");
        }
    }

    #[test]
    fn a_limit_is_a_limit_whatever_was_said() {
        let limit = Duration::from_secs(1);
        assert_eq!(end("{\"code\":0}", Status::HardLimit(limit)), None);
        assert_eq!(end("{\"failed\":\"cancelled\"}", Status::Stopped), None);
    }
}
