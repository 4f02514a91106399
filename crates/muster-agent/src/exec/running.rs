//! One running process: its pipes, its deadlines, its end.
//!
//! ```text
//!            leader ends                     nothing of it left
//!   Live ───────────────────► Sweeping ────────────────────────► ended
//!    │ limit, stop    ▲  ▲
//!    ▼   leader ends, │  │ leader ends, nobody holds its pipes; or grace over
//!  Grace ─────────────┼──┘ (Lingering while somebody still does)
//!    │ grace over     │
//!    ▼   leader ends  │
//!  Killed ────────────┘
//! ```

use super::cgroup::Group;
use super::engine::Stop;
use super::log::Log;
use super::orphans::{Ended, Finder, Mark, Swept};
use super::spawn::Child;
use super::sys::{self, Death};
use super::task::{Limits, ProcessEnd, Status, Task};
use muster_core::attempt::Usage;
use muster_core::output::Stream;
use muster_core::time::Time;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::time::{Duration, Instant};

/// A log is put into its file, for those who follow it, once the process has run this long; and from then
/// on, as often, orphans that have died are reaped.
const LONG: Duration = Duration::from_secs(1);
/// Between two looks at what is dying.
const SWEEP_EVERY: Duration = Duration::from_millis(1);
/// Looks in a row before the first such wait; what was a zombie already is gone with the first.
const SWEEPS_AT_ONCE: u32 = 4;
/// Limit: reads from one pipe before others have their turn.
const READS_AT_ONCE: u32 = 8;
/// Limit: reads from one pipe after the end: more than the largest pipe an ordinary user can make (1 MiB).
const LAST_READS: usize = 17;

/// A pipe's reading end and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pipe {
    Out = 0,
    Err = 1,
    Report = 2,
}

pub(super) const PIPES: [Pipe; 3] = [Pipe::Out, Pipe::Err, Pipe::Report];

/// A process of a task.
pub(super) struct Running {
    pub(super) child: Child,
    /// By [`Pipe`]; `None` once at its end.
    pub(super) pipes: [Option<OwnedFd>; 3],
    /// By [`Pipe`]: there is more to read than was.
    pub(super) has_more: [bool; 3],
    pub(super) mark: Mark,
    limits: Limits,
    log: Log,
    started: Time,
    start: Instant,
    last_byte: Instant,
    long_at: Instant,
    /// The log goes to its file as it comes.
    is_long: bool,
    phase: Phase,
    /// Why it was made to end.
    cause: Option<Status>,
}

enum Phase {
    /// It runs.
    Live,
    /// It was sent TERM.
    Grace { until: Instant },
    /// It has ended within its grace; others hold its pipes and have the rest of the grace.
    Lingering { until: Instant },
    /// It was sent KILL.
    Killed,
    /// It has been reaped; what it left behind is being killed.
    Sweeping { end: Box<(Death, Usage, Duration)>, next: Instant, give_up: Instant },
}

/// Whether there is more to come.
pub(super) enum Step {
    Stay,
    /// Nothing of it is left.
    Ended {
        killed: u32,
    },
}

/// What a running process needs of its thread.
pub(super) struct Around<'a> {
    pub(super) finder: &'a Finder,
    pub(super) group: Option<&'a Group>,
    pub(super) buffer: &'a mut [u8],
    /// Processes this thread has running.
    pub(super) leaders: &'a [i32],
    pub(super) now: Instant,
}

impl Running {
    pub(super) fn new(
        child: Child,
        pipes: [Option<OwnedFd>; 3],
        mark: Mark,
        limits: Limits,
        log: Log,
        started: Time,
        start: Instant,
    ) -> Self {
        let long_at = start + LONG;
        Self {
            child,
            pipes,
            has_more: [false; 3],
            mark,
            limits,
            log,
            started,
            start,
            last_byte: start,
            long_at,
            is_long: false,
            phase: Phase::Live,
            cause: None,
        }
    }

    /// The leader that has not been reaped.
    pub(super) fn leader(&self) -> Option<i32> {
        match self.phase {
            Phase::Sweeping { .. } => None,
            Phase::Live | Phase::Grace { .. } | Phase::Lingering { .. } | Phase::Killed => {
                Some(self.child.pid)
            }
        }
    }

    /// When [`on_time`](Self::on_time) wants to be called.
    pub(super) fn deadline(&self) -> Instant {
        let own = match &self.phase {
            Phase::Live => {
                let hard = self.limits.timeout.map(|t| after(self.start, t));
                let silence = self.limits.silence.map(|s| after(self.last_byte, s));
                hard.into_iter().chain(silence).min()
            }
            Phase::Grace { until } | Phase::Lingering { until } => Some(*until),
            Phase::Killed => None,
            Phase::Sweeping { next, .. } => return *next,
        };
        own.map_or(self.long_at, |own| own.min(self.long_at))
    }

    /// Something can be read from a pipe. It is read until the pipe is empty, which a short read tells, or
    /// to its end if this is the `last` that will be told of it; after some reads it is others' turn, and
    /// [`has_more`](Self::has_more) is set.
    pub(super) fn on_readable(
        &mut self,
        pipe: Pipe,
        last: bool,
        task: &mut dyn Task,
        around: &mut Around<'_>,
    ) -> Step {
        self.has_more[pipe as usize] = true;
        for _ in 0..READS_AT_ONCE {
            match self.read(pipe, task, around) {
                Some(n) if n == super::READ_BYTES || last => {}
                Some(_) | None => {
                    self.has_more[pipe as usize] = false;
                    break;
                }
            }
        }
        match self.phase {
            Phase::Lingering { .. } if !self.is_held() => self.reap(task, around),
            _ => Step::Stay,
        }
    }

    /// The leader has ended. It is not reaped before its group has been killed: until then its number is
    /// the group's and cannot become anybody else's.
    pub(super) fn on_end(&mut self, task: &mut dyn Task, around: &mut Around<'_>) -> Step {
        match self.phase {
            Phase::Live | Phase::Killed => self.reap(task, around),
            Phase::Grace { until } => {
                for pipe in PIPES {
                    self.drain(pipe, task, around);
                }
                if !self.is_held() {
                    return self.reap(task, around);
                }
                self.phase = Phase::Lingering { until };
                Step::Stay
            }
            Phase::Lingering { .. } | Phase::Sweeping { .. } => Step::Stay,
        }
    }

    /// Does what is due.
    pub(super) fn on_time(&mut self, task: &mut dyn Task, around: &mut Around<'_>) -> Step {
        let now = around.now;
        if now >= self.long_at {
            self.long_at = now + LONG;
            self.is_long = true;
            self.log.spill();
            around.finder.reap_dead();
        }
        match self.phase {
            Phase::Live => {
                if let Some(limit) = self.limits.timeout
                    && now >= after(self.start, limit)
                {
                    self.make_end(Status::HardLimit(limit), Stop::Grace, now);
                } else if let Some(limit) = self.limits.silence
                    && now >= after(self.last_byte, limit)
                {
                    self.make_end(Status::SilenceLimit(limit), Stop::Grace, now);
                }
                Step::Stay
            }
            Phase::Grace { until } if now >= until => {
                self.remark(now, "its grace is over: KILL");
                self.kill(around.group);
                self.phase = Phase::Killed;
                Step::Stay
            }
            Phase::Lingering { until } if now >= until => {
                self.remark(now, "what it left running has had its grace: KILL");
                self.reap(task, around)
            }
            Phase::Sweeping { next, .. } if now >= next => self.sweep(task, around),
            Phase::Grace { .. } | Phase::Lingering { .. } | Phase::Killed | Phase::Sweeping { .. } => {
                Step::Stay
            }
        }
    }

    /// Stops it on request.
    pub(super) fn stop(&mut self, how: Stop, task: &mut dyn Task, around: &mut Around<'_>) -> Step {
        let now = around.now;
        match (&self.phase, how) {
            (Phase::Live, _) => {
                self.make_end(Status::Stopped, how, now);
                Step::Stay
            }
            (Phase::Grace { .. }, Stop::Kill) => {
                self.remark(now, "stopped without waiting for its grace: KILL");
                self.kill(around.group);
                self.phase = Phase::Killed;
                Step::Stay
            }
            (Phase::Lingering { .. }, Stop::Kill) => self.reap(task, around),
            (Phase::Grace { .. } | Phase::Lingering { .. }, Stop::Grace)
            | (Phase::Killed | Phase::Sweeping { .. }, _) => Step::Stay,
        }
    }

    /// What the task is told.
    pub(super) fn finish(self, killed: u32, now: Instant) -> ProcessEnd {
        let at = millis(now - self.start);
        let (death, usage, duration) = match self.phase {
            Phase::Sweeping { end, .. } => *end,
            Phase::Live | Phase::Grace { .. } | Phase::Lingering { .. } | Phase::Killed => {
                unreachable!("only `sweep` says that a process has ended")
            }
        };
        let status = self.cause.unwrap_or(match death {
            Death::Exit(code) => Status::Exit(code),
            Death::Signal(signal) => Status::Signal(signal),
        });
        let log = self.log.finish(at);
        ProcessEnd { status, started: self.started, duration, usage, leaked: killed, log }
    }

    /// One read, and how much; `None` where there is nothing now, or never again.
    fn read(&mut self, pipe: Pipe, task: &mut dyn Task, around: &mut Around<'_>) -> Option<usize> {
        let fd = self.pipes[pipe as usize].as_ref()?;
        let n = match rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *around.buffer)) {
            Ok(n) if n > 0 => n,
            Err(Errno::AGAIN) => return None,
            // The end. No error but those above can come of a pipe of ours; it would be the end, too.
            Ok(_) | Err(_) => {
                self.pipes[pipe as usize] = None;
                return None;
            }
        };
        let bytes = &around.buffer[..n];
        self.last_byte = around.now;
        let at = around.now.saturating_duration_since(self.start);
        let stream = match pipe {
            Pipe::Out => Stream::Stdout,
            Pipe::Err => Stream::Stderr,
            Pipe::Report => {
                task.report(at, bytes);
                return Some(n);
            }
        };
        task.output(stream, at, bytes);
        self.log.push(stream, millis(at), bytes);
        if self.is_long {
            self.log.spill();
        }
        Some(n)
    }

    /// Reads all there is, within reason: somebody out of reach may write for ever.
    fn drain(&mut self, pipe: Pipe, task: &mut dyn Task, around: &mut Around<'_>) {
        for _ in 0..LAST_READS {
            if self.read(pipe, task, around).is_none() {
                break;
            }
        }
    }

    fn is_held(&self) -> bool {
        self.pipes.iter().any(Option::is_some)
    }

    fn make_end(&mut self, cause: Status, how: Stop, now: Instant) {
        if sys::has_ended(&self.child.pidfd) {
            // It was faster; the event of its end is on its way.
            return;
        }
        let why = match &cause {
            Status::HardLimit(limit) => format!("hard limit of {limit:?} reached"),
            Status::SilenceLimit(limit) => format!("no output for {limit:?}"),
            _ => "stopped".to_owned(),
        };
        self.cause = Some(cause);
        if how == Stop::Kill || self.limits.grace.is_zero() {
            self.remark(now, &format!("{why}: KILL"));
            self.signal(Signal::KILL);
            self.phase = Phase::Killed;
        } else {
            self.remark(now, &format!("{why}: TERM, and KILL in {:?}", self.limits.grace));
            self.signal(Signal::TERM);
            // One that was suspended could not even end.
            self.signal(Signal::CONT);
            self.phase = Phase::Grace { until: after(now, self.limits.grace) };
        }
    }

    fn kill(&mut self, group: Option<&Group>) {
        self.signal(Signal::KILL);
        if let Some(group) = group {
            group.kill();
        }
    }

    /// To its whole group. Only called before the leader has been reaped.
    fn signal(&self, signal: Signal) {
        // A group is at least its unreaped leader, so this fails for foreign processes only.
        let _ = kill_process_group(self.pid(), signal);
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.pid).expect("clone gives positive ids")
    }

    fn remark(&mut self, now: Instant, text: &str) {
        self.log.remark(millis(now.saturating_duration_since(self.start)), &format!("{text}\n"));
    }

    /// The leader has ended: ends its group, removes it, and looks for what is left.
    fn reap(&mut self, task: &mut dyn Task, around: &mut Around<'_>) -> Step {
        self.signal(Signal::KILL);
        let duration = around.now.saturating_duration_since(self.start);
        let (death, usage) = sys::reap(&self.child.pidfd)
            // Nobody but this line waits for it. If somebody did, its end is not known.
            .unwrap_or((Death::Signal(0), Usage::default()));
        let (next, give_up) = (around.now + SWEEP_EVERY, around.now + super::DYING_MAX);
        self.phase = Phase::Sweeping { end: Box::new((death, usage, duration)), next, give_up };
        let group_left = test_kill_process_group(self.pid()).is_ok();
        let control_left = around.group.is_some_and(Group::is_populated);
        if !group_left && !control_left && !around.finder.any() {
            return self.last_words(0, task, around);
        }
        if control_left && let Some(group) = around.group {
            group.kill();
        }
        self.sweep(task, around)
    }

    fn sweep(&mut self, task: &mut dyn Task, around: &mut Around<'_>) -> Step {
        let ended = Ended {
            mark: self.mark,
            session: self.child.pid,
            group: around.group.map(|g| g.name().to_owned()),
        };
        let mut swept = around.finder.sweep(&ended, around.leaders);
        for _ in 0..SWEEPS_AT_ONCE {
            if swept != Swept::Again {
                break;
            }
            std::thread::yield_now();
            swept = around.finder.sweep(&ended, around.leaders);
        }
        let control_left = around.group.is_some_and(Group::is_populated);
        match (swept, &mut self.phase) {
            (Swept::Clean { killed }, _) if !control_left => self.last_words(killed, task, around),
            (_, Phase::Sweeping { next, give_up, .. }) if around.now < *give_up => {
                *next = around.now + SWEEP_EVERY;
                Step::Stay
            }
            (swept, _) => {
                self.remark(around.now, "something it left running cannot be killed");
                let killed = match swept {
                    Swept::Clean { killed } => killed,
                    Swept::Again => 0,
                };
                self.last_words(killed, task, around)
            }
        }
    }

    /// What is still in the pipes was written before the last of them died.
    fn last_words(&mut self, killed: u32, task: &mut dyn Task, around: &mut Around<'_>) -> Step {
        for pipe in PIPES {
            self.drain(pipe, task, around);
        }
        Step::Ended { killed }
    }
}

/// A moment that may be as far as a limit says, or a century away.
fn after(moment: Instant, limit: Duration) -> Instant {
    moment.checked_add(limit).unwrap_or(moment + Duration::from_secs(100 * 365 * 86_400))
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
