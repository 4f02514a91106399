//! Where a run that is executed here can be asked by other processes: a socket in the run's directory.
//!
//! A line of JSON comes in, and a line goes out when the lab has taken it in. Who may write to the area may ask. The
//! socket is reached by way of an open directory, since the path of an area may be longer than that of a socket can.

use crate::error::Complaint;
use muster_core::id::ItemIx;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Its name in the run's directory.
const NAME: &str = "door";
/// Who asks says at once what is wanted.
const SAY_MAX: Duration = Duration::from_secs(1);
/// Longest question.
// Limit: a hundred thousand items by number.
const ASK_BYTES_MAX: u64 = 2 << 20;
/// How long an executing process may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What may be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DoorAsk {
    /// End these items, and go on with the others.
    Kill {
        /// The items.
        items: Vec<ItemIx>,
        /// Who, and why.
        reason: String,
    },
}

/// The door of a run that this process executes. It goes with it.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Opens it. The run's lock is held, so what is left of an earlier one is nobody's.
    ///
    /// # Errors
    /// The file system has no sockets.
    pub(crate) fn open(run_dir: &Path) -> io::Result<Self> {
        let path = run_dir.join(NAME);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let (_dir, short) = short(run_dir)?;
        let listener = UnixListener::bind(short)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path })
    }

    /// What was asked since the last call. An answer goes to whoever asked.
    pub(crate) fn take(&self) -> Vec<(DoorAsk, UnixStream)> {
        let mut asks = Vec::new();
        while let Ok((stream, _)) = self.listener.accept() {
            let read = || -> io::Result<DoorAsk> {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(SAY_MAX))?;
                let mut line = String::new();
                BufReader::new((&stream).take(ASK_BYTES_MAX)).read_line(&mut line)?;
                Ok(serde_json::from_str(&line)?)
            };
            // Who says nothing that can be understood is not answered.
            if let Ok(ask) = read() {
                asks.push((ask, stream));
            }
        }
        asks
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // One that is left is taken away by the next who executes the run.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Says that something was taken in.
pub(crate) fn answer(mut stream: UnixStream) {
    // Whoever asked may be gone.
    drop(stream.write_all(b"ok\n"));
}

/// Asks the process that executes a run.
///
/// # Errors
/// There is none, or it does not answer.
pub(crate) fn ask(run_dir: &Path, ask: &DoorAsk) -> Result<(), anyhow::Error> {
    let speak = || -> io::Result<()> {
        let (_dir, short) = short(run_dir)?;
        let mut stream = UnixStream::connect(short)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        stream.write_all(line.as_bytes())?;
        let mut heard = String::new();
        BufReader::new(&stream).read_line(&mut heard)?;
        if heard.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    };
    speak().map_err(|e| {
        Complaint::lab("the process that executes the run does not answer")
            .because(e)
            .hint("it may have just ended: `muster runs` shows")
            .into()
    })
}

/// The socket by a short path, and what keeps that path good.
fn short(run_dir: &Path) -> io::Result<(File, PathBuf)> {
    let dir = File::open(run_dir)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(NAME);
    Ok((dir, short))
}
