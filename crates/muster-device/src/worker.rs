//! What has a device open for as long as it lives, and lets one process after the other use it.
//!
//! ```text
//! a step of a job ──► socket ──► conversation ──► Holder ──► dyn Device ──► the device
//! who started it  ──► control: "this job has ended", "are you well?"; its end is the worker's
//! ```
//!
//! Who uses it says for which job. A device that is to be fresh for each job is opened anew for another, and
//! let go when its job has ended. What a job has left on such a device is gone with a worker that was killed,
//! and this is said to the job's next step rather than that it works on with nothing.
//!
//! Deliberately absent: leases, idle times, restarts. They are the agent's, who starts it.

use crate::address::DeviceAddress;
use crate::device::Device;
use crate::error::DeviceError;
use crate::ext::serve;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long conversations may take to end when the worker does.
// Limit: their calls are cancelled; a driver that does not mind is not waited for.
const END_MAX: Duration = Duration::from_secs(10);

/// What a worker is asked on its control, to be answered with a byte: one that is stopped, or hangs, does not. As
/// `muster_agent::tasks` writes it.
const ARE_YOU_WELL: &str = "?";

/// For whom a device is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Tells the jobs of one worker apart.
    pub id: String,
    /// It goes on with what its earlier steps have left on the device.
    pub goes_on: bool,
}

impl Job {
    pub(crate) fn options(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([("job".to_owned(), self.id.clone())]);
        if self.goes_on {
            all.insert("goes-on".to_owned(), String::new());
        }
        all
    }

    fn of(options: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self { id: options.get("job")?.clone(), goes_on: options.contains_key("goes-on") })
    }
}

/// Has a device open.
pub struct Worker {
    address: DeviceAddress,
    held: Mutex<Option<Held>>,
}

struct Held {
    device: Arc<dyn Device>,
    /// The job it was opened for, or that used it last, until that has ended.
    job: Option<String>,
}

impl Worker {
    /// For a device, which is opened when it is first asked for.
    pub fn new(address: DeviceAddress) -> Arc<Self> {
        Arc::new(Self { address, held: Mutex::default() })
    }

    /// Lets those who connect to `listener` use the device, until `control` ends. Each line that comes there
    /// is a job that has ended, or `?`, which is answered with a byte.
    ///
    /// # Errors
    /// The system has no descriptors left, or does not let it wait.
    pub fn run(self: &Arc<Self>, listener: &UnixListener, control: UnixStream) -> io::Result<()> {
        let mut jobs = BufReader::new(control);
        let (ended, all_ended) = mpsc::channel();
        let mut conversations: Vec<(UnixStream, thread::JoinHandle<()>)> = Vec::new();
        loop {
            let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(jobs.get_ref(), PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let [came, told] = [0, 1].map(|n: usize| !fds[n].revents().is_empty());
            if told {
                // Whole lines: what is written is shorter than what a socket takes at once.
                let mut job = String::new();
                if jobs.read_line(&mut job).unwrap_or(0) == 0 {
                    break;
                }
                self.heed(job.trim_end(), jobs.get_ref());
                while jobs.buffer().contains(&b'\n') {
                    job.clear();
                    jobs.read_line(&mut job)?;
                    self.heed(job.trim_end(), jobs.get_ref());
                }
            }
            if came {
                conversations.retain(|(_, thread)| !thread.is_finished());
                let (stream, _) = listener.accept()?;
                let own = rustix::process::geteuid();
                if rustix::net::sockopt::socket_peercred(&stream).is_ok_and(|peer| peer.uid == own) {
                    conversations.push((stream.try_clone()?, self.converse(stream, ended.clone())?));
                }
            }
        }
        for (stream, _) in &conversations {
            // It cancels what is under way there.
            drop(stream.shutdown(Shutdown::Both));
        }
        drop(ended);
        // The end of the channel is the end of all who hold its other side.
        let _ended = all_ended.recv_timeout(END_MAX);
        self.lock().take();
        Ok(())
    }

    fn converse(
        self: &Arc<Self>,
        stream: UnixStream,
        ended: Sender<()>,
    ) -> io::Result<thread::JoinHandle<()>> {
        let this = Arc::clone(self);
        let line = stream.try_clone()?;
        thread::Builder::new().name("conversation".to_owned()).spawn(move || {
            // Nonsense ends a conversation and nothing else.
            drop(serve(stream, |options| this.open(Job::of(options))));
            // There is another descriptor of it, so that it can be ended from outside.
            drop(line.shutdown(Shutdown::Both));
            drop(ended);
        })
    }

    fn heed(&self, word: &str, mut control: &UnixStream) {
        if word == ARE_YOU_WELL {
            // Whoever asked and is gone needs no answer: the control ends next.
            let _answered = control.write_all(b"!");
        } else {
            self.end(word);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device, for a job if one is named.
    fn open(&self, job: Option<Job>) -> Result<Arc<dyn Device>, DeviceError> {
        let mut held = self.lock();
        let (id, goes_on) = job.map_or((None, false), |job| (Some(job.id), job.goes_on));
        if let Some(there) = &mut *held
            && (id.is_none() || there.job == id || !there.device.wants_fresh())
        {
            there.job = id.or(there.job.take());
            return Ok(Arc::clone(&there.device));
        }
        let unreachable = |source| DeviceError::Unreachable { device: self.address.to_string(), source };
        // First this: there may be room for one.
        *held = None;
        let device: Arc<dyn Device> = self.address.open().map_err(unreachable)?.into();
        if goes_on && device.wants_fresh() {
            let why = "what had it open for the steps before was ended, and what they left there is gone";
            return Err(DeviceError::Lost {
                device: self.address.to_string(),
                doing: "nothing was asked of it".to_owned(),
                source: io::Error::other(why),
            });
        }
        *held = Some(Held { device: Arc::clone(&device), job: id });
        Ok(device)
    }

    /// A job has ended.
    fn end(&self, job: &str) {
        let mut held = self.lock();
        if let Some(there) = held.as_mut().filter(|there| there.job.as_deref() == Some(job)) {
            there.job = None;
            if there.device.wants_fresh() {
                *held = None;
            }
        }
    }
}
