//! How long a call may take, and how another thread ends it.
//!
//! Every call to a device has an [`Until`]: nothing here waits without one. Waiting is `poll` over what is
//! waited for and the [`Cancel`], so that a cancelled call returns at once and nobody looks every so often.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::Errno;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Ends calls from another thread. All clones are one; what is cancelled stays so.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<OwnedFd>);

impl Cancel {
    /// Not cancelled yet.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Ends every call that was given this, and those that will be.
    pub fn cancel(&self) {
        // It can only fail where it has been cancelled 2^64 times.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Whether it has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        let mut fds = [PollFd::new(&*self.0, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
    }
}

/// When a call must be over.
#[derive(Clone, Debug)]
pub struct Until {
    deadline: Instant,
    begun: Instant,
    cancel: Option<Cancel>,
}

/// Why waiting ended without what was waited for.
#[derive(Debug)]
pub(crate) enum Ended {
    Deadline,
    Cancelled,
    Io(io::Error),
}

/// A moment that never comes: what is longer than this is meant as "no limit".
// Limit: keeps sums of moments from overflowing.
const FAR: Duration = Duration::from_secs(100 * 366 * 86_400);

impl Until {
    /// So long from now.
    pub fn within(duration: Duration) -> Self {
        let begun = Instant::now();
        Self { deadline: begun + duration.min(FAR), begun, cancel: None }
    }

    /// The same, ended also by this.
    #[must_use]
    pub fn or(mut self, cancel: &Cancel) -> Self {
        self.cancel = Some(cancel.clone());
        self
    }

    /// The same cancel with a deadline that is no later than so long from now.
    #[must_use]
    pub fn at_most(&self, duration: Duration) -> Self {
        let begun = Instant::now();
        let deadline = self.deadline.min(begun + duration.min(FAR));
        Self { deadline, begun, cancel: self.cancel.clone() }
    }

    /// The same cancel with so long from now, whatever the deadline was. For tidying up.
    #[must_use]
    pub(crate) fn anew(&self, duration: Duration) -> Self {
        Self { cancel: None, ..Self::within(duration) }
    }

    /// What is left.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// How long the call was given.
    pub fn given(&self) -> Duration {
        self.deadline.saturating_duration_since(self.begun)
    }

    /// Whether the call should go on.
    pub(crate) fn check(&self) -> Result<(), Ended> {
        if self.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
            return Err(Ended::Cancelled);
        }
        if self.left().is_zero() { Err(Ended::Deadline) } else { Ok(()) }
    }

    /// Waits until one of these is ready, and leaves what they are ready for in them.
    pub(crate) fn poll<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) -> Result<(), Ended> {
        loop {
            let left = self.left();
            let timeout = timespec(left);
            let answer = match &self.cancel {
                None => poll(fds, Some(&timeout)),
                Some(cancel) => {
                    fds.push(PollFd::from_borrowed_fd(cancel.0.as_fd(), PollFlags::IN));
                    let answer = poll(fds, Some(&timeout));
                    if fds.pop().is_some_and(|fd| !fd.revents().is_empty()) {
                        return Err(Ended::Cancelled);
                    }
                    answer
                }
            };
            match answer {
                Ok(0) if left.is_zero() => return Err(Ended::Deadline),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(e) => return Err(Ended::Io(e.into())),
            }
        }
    }

    /// Sleeps, unless the call ends before that.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<(), Ended> {
        match self.at_most(duration).poll(&mut Vec::new()) {
            Err(Ended::Deadline) => self.check(),
            Err(other) => Err(other),
            Ok(()) => Ok(()),
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancel_ends_a_wait_from_another_thread() {
        let cancel = Cancel::new().unwrap();
        let until = Until::within(Duration::from_secs(3600)).or(&cancel);
        let other = cancel.clone();
        let thread = std::thread::spawn(move || other.cancel());
        assert!(matches!(until.sleep(Duration::from_secs(3600)), Err(Ended::Cancelled)));
        thread.join().unwrap();
        assert!(matches!(until.check(), Err(Ended::Cancelled)));
    }

    #[test]
    fn a_deadline_ends_a_wait_and_a_nap_does_not() {
        let until = Until::within(Duration::from_millis(20));
        assert!(matches!(until.sleep(Duration::from_secs(3600)), Err(Ended::Deadline)));
        assert!(Until::within(Duration::MAX).sleep(Duration::from_millis(1)).is_ok());
    }
}
