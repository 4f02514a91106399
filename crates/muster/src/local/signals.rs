//! Ctrl-C and the like, taken in between two turns instead of in the middle of one.

use crate::error::Complaint;
use crate::verdict::Stopped;
use muster_device::Cancel;
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use std::io::Read as _;
use std::os::unix::net::UnixStream;

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
        let both = || Ok(Self { interrupt: pipe(&[SIGINT])?, terminate: pipe(&[SIGTERM, SIGHUP])? });
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
