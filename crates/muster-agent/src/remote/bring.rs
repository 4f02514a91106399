//! Brings the files of long outputs to the server, one after the other, each until it is there. Results are
//! told when theirs are; on a slow link everything else is told meanwhile.

use super::{Done, Mail};
use muster_api::Client;
use muster_core::id::RunId;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// First pause after a failure; doubled with each further one, up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The file of a long output, to be brought to the server before the result that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OutputFile {
    pub(super) run: RunId,
    /// As the result names it, relative to the run's directory.
    pub(super) place: String,
    /// Where it is on this host.
    pub(super) path: PathBuf,
}

/// Starts the thread that brings what it is given; it ends when nothing can be given any more.
pub(super) fn start(client: Client, mail: Mail) -> io::Result<Sender<OutputFile>> {
    let (files, inbox) = channel();
    let work = move || bring_all(&client, &inbox, &mail);
    std::thread::Builder::new().name("bring".into()).stack_size(256 << 10).spawn(work)?;
    Ok(files)
}

fn bring_all(client: &Client, inbox: &Receiver<OutputFile>, mail: &Mail) {
    for OutputFile { run, place, path } in inbox {
        let mut pause = PAUSE_MIN;
        loop {
            // A file that is gone was brought before, with a result whose acknowledgement was lost, or cannot
            // be had: the record then says that the output is missing, and the verdict stands.
            let Ok(file) = File::open(&path) else { break };
            let Ok(len) = file.metadata().map(|m| m.len()) else { break };
            match client.put_output(run, &place, &file, len) {
                Err(e) if e.may_pass() => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                // The server has it, or will never take it (it does not know the run, or it is too long). That
                // is no reason to lose the verdict, nor all else that runs here.
                Ok(()) | Err(_) => break,
            }
        }
        mail.send(Done::Brought(run, place));
    }
}
