//! What has come of a conversation and was not taken yet, read by a thread of its own: so that a call can be
//! cancelled, and an asker that goes away noticed, while the call goes on.

use super::lines::{self, Cut, Reader};
use super::words::Heard;
use crate::until::{Cancel, Until};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that wait.
// Limit: of a file that comes faster than the device takes it.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// A line that is for whoever answers.
#[derive(Debug)]
pub(super) enum Item {
    Request(Vec<u8>),
    /// Part of a file that is pushed, as base64.
    Data(String),
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Request(line) => line.len(),
            Self::Data(text) => text.len(),
        }
    }
}

/// What waits.
#[derive(Debug)]
pub(super) struct Inbox {
    state: Mutex<State>,
    come: Condvar,
    /// Wakes the reader when there is room again.
    room: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// Nothing more will come.
    over: bool,
    current: Option<(u64, Cancel)>,
    /// The last request that was cancelled, perhaps before it was begun.
    cancelled: u64,
}

impl Inbox {
    pub(super) fn new() -> io::Result<Self> {
        let room = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { state: Mutex::default(), come: Condvar::new(), room })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until the other side has gone or says what makes no sense.
    pub(super) fn fill(&self, mut from: Reader) {
        let forever = Until::within(std::time::Duration::MAX);
        loop {
            let full = self.lock().bytes >= WAITING_BYTES_MAX;
            if full {
                let gone = PollFlags::RDHUP | PollFlags::HUP;
                let mut fds =
                    [PollFd::from_borrowed_fd(from.fd(), gone), PollFd::new(&self.room, PollFlags::IN)];
                match poll(&mut fds, None) {
                    Ok(_) if fds[0].revents().is_empty() => {
                        let _count = rustix::io::read(&self.room, &mut [0; 8]);
                        continue;
                    }
                    Err(Errno::INTR) => continue,
                    Ok(_) | Err(_) => break,
                }
            }
            let Ok(line) = from.hear(&forever) else { break };
            if self.take_in(line).is_err() {
                break;
            }
        }
        let mut state = self.lock();
        state.over = true;
        if let Some((_, cancel)) = &state.current {
            cancel.cancel();
        }
        drop(state);
        self.come.notify_all();
    }

    fn take_in(&self, line: &[u8]) -> Result<(), Cut> {
        let heard: Heard<'_> = lines::read(line)?;
        let mut state = self.lock();
        let item = match heard {
            Heard { cancel: Some(id), .. } => {
                state.cancelled = state.cancelled.max(id);
                if let Some((_, cancel)) = state.current.as_ref().filter(|(current, _)| *current == id) {
                    cancel.cancel();
                }
                drop(state);
                self.come.notify_all();
                return Ok(());
            }
            Heard { data: Some(data), .. } => Item::Data(data.into_owned()),
            _ => Item::Request(line.to_owned()),
        };
        state.bytes += item.len();
        state.items.push_back(item);
        drop(state);
        self.come.notify_all();
        Ok(())
    }

    /// A request is begun: what ends it.
    pub(super) fn begin(&self, id: u64) -> io::Result<Cancel> {
        let cancel = Cancel::new()?;
        let mut state = self.lock();
        if state.over || state.cancelled >= id {
            cancel.cancel();
        }
        state.current = Some((id, cancel.clone()));
        Ok(cancel)
    }

    /// The current request has ended.
    pub(super) fn end(&self) {
        self.lock().current = None;
    }

    /// The next thing; `None` when nothing more comes.
    pub(super) fn next(&self) -> Option<Item> {
        self.wait_for(None)
    }

    /// The same, or `None` when the call ends before it comes.
    pub(super) fn next_until(&self, until: &Until) -> Option<Item> {
        self.wait_for(Some(until))
    }

    fn wait_for(&self, until: Option<&Until>) -> Option<Item> {
        let mut state = self.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                let was_full = state.bytes >= WAITING_BYTES_MAX;
                state.bytes -= item.len();
                if was_full && state.bytes < WAITING_BYTES_MAX {
                    // Fails only where the counter is full, and then the reader is awake.
                    let _woken = rustix::io::write(&self.room, &1u64.to_ne_bytes());
                }
                return Some(item);
            }
            if state.over {
                return None;
            }
            state = match until {
                None => self.come.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) if until.check().is_err() => return None,
                // A cancel that comes is a line, which wakes this too.
                Some(until) => {
                    self.come.wait_timeout(state, until.left()).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
