//! Ctrl-C and the like, taken in between two turns instead of in the middle of one.

use crate::error::Complaint;
use crate::verdict::Stopped;
use muster_device::Cancel;
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Signals that came while something runs that would outlive this process.
pub(crate) struct HeldBack(Arc<AtomicUsize>);

/// From the first call on none of these signals ends the process by itself: who has called asks for them, and
/// [`Signals::catch`] has those that came before it.
///
/// # Errors
/// The system does not let signals be caught.
pub(crate) fn hold_back() -> std::io::Result<HeldBack> {
    static HELD: Mutex<Option<Arc<AtomicUsize>>> = Mutex::new(None);
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(held) = &*held {
        return Ok(HeldBack(Arc::clone(held)));
    }
    let last = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register_usize(signal, Arc::clone(&last), signal.unsigned_abs() as usize)?;
    }
    *held = Some(Arc::clone(&last));
    EARLY.store(true, Ordering::Relaxed);
    Ok(HeldBack(last))
}

/// Signals have been held back.
static EARLY: AtomicBool = AtomicBool::new(false);

impl HeldBack {
    fn signal(&self) -> Option<i32> {
        i32::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
    }

    /// Whether one came.
    pub(crate) fn is_any(&self) -> bool {
        self.signal().is_some()
    }

    /// Does what the signal would have done, if one came: ends the process.
    pub(crate) fn let_go(&self) {
        if let Some(signal) = self.signal() {
            // All of them end the process unless the system refuses, and then it ends by itself.
            drop(signal_hook::low_level::emulate_default_handler(signal));
        }
    }
}

/// Ctrl-C and the like, as bytes to be read.
pub(crate) struct Signals {
    interrupt: UnixStream,
    terminate: UnixStream,
}

impl Signals {
    /// Takes signals in from now on.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub(crate) fn catch() -> Result<Self, anyhow::Error> {
        let pipe = |signals: &[i32]| -> std::io::Result<UnixStream> {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            for signal in signals {
                signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
            }
            Ok(read)
        };
        let both = || {
            let caught = Self { interrupt: pipe(&[SIGINT])?, terminate: pipe(&[SIGTERM, SIGHUP])? };
            if EARLY.load(Ordering::Relaxed) {
                // What came since the files were read ends the program before it has begun.
                hold_back()?.let_go();
            }
            Ok(caught)
        };
        both().map_err(|e: std::io::Error| Complaint::lab("cannot catch signals").because(e).into())
    }

    /// One stream for all of them, for those who end at the first.
    pub(crate) fn any() -> Result<UnixStream, anyhow::Error> {
        Self::of(&[SIGINT, SIGTERM, SIGHUP])
    }

    /// What is cancelled by the first of them, from now on.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub(crate) fn cancelling() -> Result<Cancel, anyhow::Error> {
        let cancel = Cancel::new().map_err(|e| Complaint::lab("no descriptor is left").because(e))?;
        let mut signals = Self::any()?;
        let ended = cancel.clone();
        // It ends with the program; there is nothing to be waited for.
        std::thread::spawn(move || {
            if signals.read(&mut [0]).is_ok_and(|n| n > 0) {
                ended.cancel();
            }
        });
        Ok(cancel)
    }

    /// Those that end a service, and that which has it read its files again.
    pub(crate) fn of_service() -> Result<[UnixStream; 2], anyhow::Error> {
        Ok([Self::of(&[SIGINT, SIGTERM])?, Self::of(&[SIGHUP])?])
    }

    fn of(signals: &[i32]) -> Result<UnixStream, anyhow::Error> {
        let both = || -> std::io::Result<UnixStream> {
            let (read, write) = UnixStream::pair()?;
            for signal in signals {
                signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
            }
            Ok(read)
        };
        both().map_err(|e| Complaint::lab("cannot catch signals").because(e).into())
    }

    /// Only the one that asks a process to end, whatever becomes of its terminal.
    pub(crate) fn terminate() -> Result<UnixStream, anyhow::Error> {
        let both = || -> std::io::Result<UnixStream> {
            let (read, write) = UnixStream::pair()?;
            signal_hook::low_level::pipe::register(SIGTERM, write)?;
            Ok(read)
        };
        both().map_err(|e| Complaint::lab("cannot catch signals").because(e).into())
    }

    /// What can be read when there is one.
    pub(crate) fn streams(&self) -> [&UnixStream; 2] {
        [&self.interrupt, &self.terminate]
    }

    /// Signals since the last call.
    pub(crate) fn take(&self) -> Vec<Stopped> {
        let count = |mut stream: &UnixStream| {
            let (mut buffer, mut count) = ([0u8; 16], 0);
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                count += n;
            }
            count
        };
        let mut all = vec![Stopped::Interrupted; count(&self.interrupt)];
        all.extend(vec![Stopped::Terminated; count(&self.terminate)]);
        all
    }
}
