//! The data channel: a heartbeat, traced commands, and the news of a reboot, to whoever listens.

use super::session::Session;
use super::{SESSIONS_MAX, Shared};
use crate::host::facts::{self, Own};
use crate::stream::Stream;
use crate::until::Ended;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Carries lines to every connection of the data channel.
#[derive(Default)]
pub(super) struct Hub {
    listeners: Mutex<Vec<Arc<Listener>>>,
    trace: AtomicBool,
}

/// One of them: lines that wait, and a descriptor that is readable while there are any.
struct Listener {
    lines: Mutex<VecDeque<Vec<u8>>>,
    wake: OwnedFd,
}

// Limit: lines kept for a listener that does not read.
const LINES_MAX: usize = 1000;
/// How long a listener may read nothing before it is given up.
const SEND_MAX: Duration = Duration::from_secs(120);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// Tells a line, with the time before it, to all who listen.
    pub(super) fn tell(&self, line: &[u8]) {
        let line = [stamp().as_bytes(), b" ", line, b"\r\n"].concat();
        for listener in &*lock(&self.listeners) {
            let mut lines = lock(&listener.lines);
            if lines.len() < LINES_MAX {
                lines.push_back(line.clone());
                // Fails only where it is readable anyway.
                let _ = rustix::io::write(&listener.wake, &1u64.to_ne_bytes());
            }
        }
    }

    /// Tells a command line, if that is wanted.
    pub(super) fn trace(&self, line: &[u8]) {
        if self.trace.load(Ordering::Relaxed) {
            self.tell(line);
        }
    }

    pub(super) fn set_trace(&self, on: bool) {
        self.trace.store(on, Ordering::Relaxed);
    }
}

fn stamp() -> String {
    facts::now("%Y%m%d-%H:%M:%S")
}

/// Tells every so often that the device lives.
pub(super) fn beat(shared: &Arc<Shared>) {
    let forever = shared.forever();
    let own =
        Own { id: shared.config.id.as_deref(), since: shared.since, test_root: &shared.config.test_root };
    while forever.sleep(shared.config.heartbeat).is_ok() {
        let id = facts::one("id", &own).unwrap_or_default();
        shared.hub.tell(format!("Thump thump - {id}").as_bytes());
    }
}

/// Serves a connection of the data port. It takes commands too, as the first agents did, and answers
/// without a prompt.
pub(super) fn serve(shared: &Arc<Shared>, tcp: TcpStream) {
    let (Ok(stream), Ok(wake)) =
        (Stream::new(tcp), eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK))
    else {
        return;
    };
    let listener = Arc::new(Listener { lines: Mutex::new(VecDeque::new()), wake });
    {
        let mut listeners = lock(&shared.hub.listeners);
        if listeners.len() >= SESSIONS_MAX {
            return;
        }
        listeners.push(Arc::clone(&listener));
    }
    let mut session = Session::new(shared, stream);
    // However it ends, it is over.
    let _ = listen(&mut session, &listener);
    lock(&shared.hub.listeners).retain(|l| !Arc::ptr_eq(l, &listener));
}

fn listen(session: &mut Session<'_>, listener: &Listener) -> Result<(), super::session::Over> {
    session
        .stream
        .send_all(format!("{} trace output\r\n", stamp()).as_bytes(), &session.shared.within(SEND_MAX))?;
    loop {
        let ready = {
            let forever = session.shared.forever();
            let mut fds = vec![
                PollFd::new(&listener.wake, PollFlags::IN),
                PollFd::new(&session.stream, PollFlags::IN | PollFlags::RDHUP),
            ];
            match forever.poll(&mut fds) {
                Ok(()) => !fds[1].revents().is_empty(),
                Err(Ended::Cancelled | Ended::Deadline | Ended::Io(_)) => {
                    // What was told last, that the agent ends or reboots, is still said.
                    return send_lines(session, listener);
                }
            }
        };
        let mut count = [0; 8];
        let _ = rustix::io::read(&listener.wake, &mut count);
        send_lines(session, listener)?;
        if ready && !session.data_input()? {
            return Ok(());
        }
    }
}

fn send_lines(session: &mut Session<'_>, listener: &Listener) -> Result<(), super::session::Over> {
    loop {
        let Some(line) = lock(&listener.lines).pop_front() else { return Ok(()) };
        session
            .stream
            .send_all(&line, &crate::until::Until::within(SEND_MAX).at_most(Duration::from_secs(5)))?;
    }
}
