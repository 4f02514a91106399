//! What is asked of the host before a unit starts: free space on disks, and what a user's own command says.
//!
//! Where the answer is no, the unit goes back with the reason, and the lab asks this host again after a pause. A
//! yes of the command, and a no, are good for as long as the test says.

use super::Host;
use super::prepared::{Prepared, within};
use super::shell;
use crate::exec::{Limits, Next, ProcessEnd, ProcessSpec, Status, Task};
use muster_core::definition::{Limiter, Line, Needs};
use muster_core::exchange::{AttemptEnd, TestContext, Unit};
use muster_core::id::RunId;
use muster_core::output::Stream;
use muster_core::time::Time;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A full disk is looked at again after this.
// Limit: the system tells nobody that one has become free.
const DISK_PAUSE: Duration = Duration::from_secs(10);
/// A command that could not say anything is asked again after this, where its answers are good for less.
const BROKEN_PAUSE: Duration = Duration::from_secs(5);
/// Of what a command prints, the end is looked at.
const PRINTED_MAX: usize = 4 << 10;
/// Answers of commands that are remembered.
// Limit: one for each command of each run under way here.
const ANSWERS_MAX: usize = 256;

/// A command of a run, and where it is asked.
type Asked = (RunId, String, PathBuf);

/// What the commands of runs said here, and until when that is good.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<HashMap<Asked, (Time, Option<String>)>>);

impl Answers {
    fn of(&self, key: &Asked, now: Time) -> Option<(Time, Option<String>)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).filter(|(until, _)| now < *until).cloned()
    }

    fn remember(&self, key: Asked, until: Time, no: Option<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ANSWERS_MAX {
            all.clear();
        }
        all.insert(key, (until, no));
    }
}

/// Whether anything is asked before what needs this.
pub(super) fn asks(needs: &Needs) -> bool {
    !needs.disks.is_empty() || needs.limiter.is_some()
}

/// A task that begins once its host lets it.
struct GateTask {
    host: Arc<Host>,
    unit: Arc<Unit>,
    test: Arc<TestContext>,
    prepared: Arc<Prepared>,
    inner: Box<dyn Task>,
    /// The command is being asked: the end of what it has printed.
    asking: Option<Vec<u8>>,
}

/// The same task behind its gate.
pub(super) fn before(
    inner: Box<dyn Task>,
    host: &Arc<Host>,
    unit: Arc<Unit>,
    test: Arc<TestContext>,
    prepared: Arc<Prepared>,
) -> Box<dyn Task> {
    Box::new(GateTask { host: Arc::clone(host), unit, test, prepared, inner, asking: None })
}

impl GateTask {
    /// The first disk with too little free space.
    fn full_disk(&self) -> Option<String> {
        self.test.def.needs.disks.iter().find_map(|(dir, min)| {
            let path = within(&self.prepared.area_dir, dir);
            match rustix::fs::statvfs(&path) {
                Err(e) => Some(format!("it needs {} on `{dir}`, which cannot be looked at: {e}", size(*min))),
                Ok(fs) => {
                    let free = fs.f_bavail.saturating_mul(fs.f_frsize);
                    (free < *min)
                        .then(|| format!("{} are free on `{dir}`, and it needs {}", size(free), size(*min)))
                }
            }
        })
    }

    fn key(&self, limiter: &Limiter) -> (RunId, String, PathBuf) {
        (self.unit.run, limiter.command.clone(), self.prepared.dir.clone())
    }

    fn begin(&mut self) -> Next {
        if let Some(why) = self.full_disk() {
            return self.shut(why, DISK_PAUSE);
        }
        let Some(limiter) = self.test.def.needs.limiter.clone() else { return self.inner.next(None) };
        let now = self.host.clock.now();
        match self.host.answers.of(&self.key(&limiter), now) {
            Some((_, None)) => self.inner.next(None),
            Some((until, Some(no))) => self.shut(no, until.since(now)),
            None => {
                self.asking = Some(Vec::new());
                let mut env = self.prepared.env.clone();
                env.set("MUSTER_TEST", self.test.def.name.as_str());
                Next::Run(ProcessSpec {
                    argv: shell::argv(&Line::Shell(limiter.command)),
                    env: env.into_vec(),
                    dir: self.prepared.dir.clone(),
                    limits: Limits {
                        timeout: Some(limiter.timeout),
                        silence: None,
                        grace: Duration::ZERO,
                        output_bytes_max: PRINTED_MAX as u64,
                    },
                    ..ProcessSpec::default()
                })
            }
        }
    }

    /// The command has answered.
    fn answered(&mut self, status: &Status, printed: &[u8]) -> Next {
        let Some(limiter) = self.test.def.needs.limiter.clone() else { return self.inner.next(None) };
        let now = self.host.clock.now();
        let Limiter { command, every, timeout: _ } = &limiter;
        let (no, pause) = match status {
            Status::Exit(0) => (None, *every),
            Status::Exit(code) => {
                let said = last_line(printed);
                let said = if said.is_empty() { format!("exit code {code}") } else { said };
                (Some(format!("{said}, says `{command}`")), *every)
            }
            Status::Signal(signal) => {
                (Some(format!("`{command}` was ended by signal {signal}")), (*every).max(BROKEN_PAUSE))
            }
            Status::HardLimit(limit) | Status::SilenceLimit(limit) => {
                (Some(format!("`{command}` has not answered in {limit:?}")), (*every).max(BROKEN_PAUSE))
            }
            Status::NotStarted(why) => {
                (Some(format!("`{command}` cannot be asked: {why}")), (*every).max(BROKEN_PAUSE))
            }
            // The lab wants the unit no more.
            Status::Stopped => return self.shut(super::STOPPED.to_owned(), Duration::ZERO),
        };
        if !pause.is_zero() {
            self.host.answers.remember(self.key(&limiter), now + pause, no.clone());
        }
        match no {
            None => self.inner.next(None),
            Some(why) => self.shut(why, pause),
        }
    }

    /// The unit goes back. What was to run it ends the unit as it is dropped.
    fn shut(&self, why: String, pause: Duration) -> Next {
        for attempt in &self.unit.attempts {
            let end = AttemptEnd::Shut { why: why.clone(), pause };
            self.host.ears.finished(self.unit.id, attempt.attempt, end);
        }
        Next::Done
    }
}

impl Task for GateTask {
    fn id(&self) -> u64 {
        self.inner.id()
    }

    fn next(&mut self, ended: Option<ProcessEnd>) -> Next {
        match (ended, self.asking.take()) {
            (None, _) => self.begin(),
            (Some(end), Some(printed)) => self.answered(&end.status, &printed),
            (ended, None) => self.inner.next(ended),
        }
    }

    fn output(&mut self, stream: Stream, at: Duration, bytes: &[u8]) {
        match &mut self.asking {
            None => self.inner.output(stream, at, bytes),
            Some(printed) => {
                printed.extend_from_slice(bytes);
                let more = printed.len().saturating_sub(PRINTED_MAX);
                printed.drain(..more);
            }
        }
    }

    fn report(&mut self, at: Duration, bytes: &[u8]) {
        if self.asking.is_none() {
            self.inner.report(at, bytes);
        }
    }
}

fn last_line(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect()
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_what_a_command_says() {
        assert_eq!(last_line(b"asking\nno licence left \n\n"), "no licence left");
        assert_eq!(last_line(b""), "");
        assert_eq!(last_line(b"\x1b[1mno\xff"), "[1mno\u{fffd}");
    }

    #[test]
    fn answers_are_good_for_a_time_and_for_their_run() {
        let answers = Answers::default();
        let key = |run| (RunId(run), "ok".to_owned(), PathBuf::from("/a"));
        answers.remember(key(1), Time(10), Some("no".to_owned()));
        assert_eq!(answers.of(&key(1), Time(9)), Some((Time(10), Some("no".to_owned()))));
        assert_eq!(answers.of(&key(1), Time(10)), None);
        assert_eq!(answers.of(&key(2), Time(9)), None);
    }
}
