//! Brings what goes along with results to the server: files of long outputs, and files that attempts have left.
//! One after the other, each until it is there. Results are told when theirs are; on a slow link everything else
//! is told meanwhile.

use super::{Done, Mail};
use muster_api::{Client, ClientError};
use muster_core::artifact::{Artifact, Artifacts};
use muster_core::digest::Digest;
use muster_core::id::RunId;
use muster_formats::report::words;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// First pause after a failure; doubled with each further one, up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Most bytes of the files of one attempt that are brought.
// Limit: its result waits for them, and so do those behind it.
const ARTIFACTS_BYTES_MAX: u64 = 1 << 30;

/// Something to be brought to the server before the result that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) run: RunId,
    /// As the result names it, relative to the run's directory.
    pub(super) place: String,
    /// Where it is on this host.
    pub(super) path: PathBuf,
    pub(super) what: What,
}

/// What is brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The file of a long output.
    Output,
    /// These files in a directory; when they were brought, those that the server has, with their digests.
    Artifacts(Box<Artifacts>),
}

/// Starts the thread that brings what it is given; it ends when nothing can be given any more.
pub(super) fn start(client: Client, mail: Mail) -> io::Result<Sender<Load>> {
    let (loads, inbox) = channel();
    let work = move || bring_all(&client, &inbox, &mail);
    std::thread::Builder::new().name("bring".into()).stack_size(256 << 10).spawn(work)?;
    Ok(loads)
}

fn bring_all(client: &Client, inbox: &Receiver<Load>, mail: &Mail) {
    for Load { run, place, path, what } in inbox {
        let brought = match what {
            What::Output => {
                bring_output(client, run, &place, &path);
                What::Output
            }
            What::Artifacts(kept) => What::Artifacts(Box::new(bring_artifacts(client, &path, *kept))),
        };
        mail.send(Done::Brought(run, place, brought));
    }
}

/// Until the server has it, or will never take it (it does not know the run, or it is too long). That is no reason to
/// lose the verdict, nor all else that runs here.
fn bring_output(client: &Client, run: RunId, place: &str, path: &Path) {
    // A file that is gone was brought before, with a result whose acknowledgement was lost, or cannot
    // be had: the record then says that the output is missing, and the verdict stands.
    let Ok(file) = File::open(path) else { return };
    let Ok(len) = file.metadata().map(|m| m.len()) else { return };
    let _never = until_heard(|| client.put_output(run, place, &file, len));
}

/// Asks until there is an answer.
fn until_heard<T>(ask: impl Fn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    let mut pause = PAUSE_MIN;
    loop {
        match ask() {
            Err(e) if e.may_pass() => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
            answer => return answer,
        }
    }
}

/// Brings files as blobs; those that the server does not get are left out, with the reason.
fn bring_artifacts(client: &Client, dir: &Path, mut kept: Artifacts) -> Artifacts {
    let mut room = ARTIFACTS_BYTES_MAX;
    for Artifact { path, bytes: _, digest: _ } in std::mem::take(&mut kept.files) {
        match bring_file(client, dir, &path, room) {
            Ok((bytes, digest)) => {
                room -= bytes;
                kept.files.push(Artifact { path, bytes, digest: Some(digest) });
            }
            Err(why) => kept.leave_out(path, why),
        }
    }
    kept
}

fn bring_file(client: &Client, dir: &Path, path: &str, room: u64) -> Result<(u64, Digest), String> {
    let unread = |e: io::Error| format!("it cannot be read: {e}");
    let mut file = open_beneath(dir, path).map_err(unread)?;
    let meta = file.metadata().map_err(unread)?;
    if !meta.is_file() {
        return Err("it is no file any more".to_owned());
    }
    let bytes = meta.len();
    if bytes > room {
        let (own, all) = (words::bytes(bytes), words::bytes(ARTIFACTS_BYTES_MAX));
        return Err(format!("it has {own}, and all files of an attempt have {all} at most"));
    }
    let mut hash = blake3::Hasher::new();
    let read = hash.update_reader((&mut file).take(bytes)).map(|hash| hash.count()).map_err(unread)?;
    let digest = Digest(*hash.finalize().as_bytes());
    let changed = || "it changed while it was brought".to_owned();
    if read != bytes {
        return Err(changed());
    }
    // What somebody still writes to is asked about once more before each try, which would fail for ever.
    let is_as_it_was = || file.metadata().is_ok_and(|meta| meta.len() == bytes);
    let put = || match client.has_blob(digest)? {
        true => Ok(true),
        false if !is_as_it_was() => Ok(false),
        false => client.put_blob(digest, &file, bytes).map(|()| true),
    };
    match until_heard(put) {
        Ok(true) => Ok((bytes, digest)),
        Ok(false) => Err(changed()),
        Err(e) if e.code() == Some("wrong-digest") => Err(changed()),
        Err(e) => Err(format!("the server does not take it: {e}")),
    }
}

/// Opens a file in a directory. Where the path has a link in it, whoever it leads to, nothing is opened.
fn open_beneath(dir: &Path, path: &str) -> io::Result<File> {
    // A pipe does not keep us waiting.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(dir, flags | OFlags::DIRECTORY, Mode::empty())?;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let more = if parts.peek().is_some() { OFlags::DIRECTORY } else { OFlags::empty() };
        at = rustix::fs::openat(&at, part, flags | more, Mode::empty())?;
    }
    Ok(File::from(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_is_followed_out_of_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, secret) = (dir.path().join("kept"), dir.path().join("secret"));
        fs::create_dir_all(kept.join("sub")).unwrap();
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("key"), "secret").unwrap();
        fs::write(kept.join("sub/file"), "good").unwrap();
        symlink(secret.join("key"), kept.join("link")).unwrap();
        symlink(&secret, kept.join("dir")).unwrap();
        let mut text = String::new();
        open_beneath(&kept, "sub/file").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "good");
        for bad in ["link", "dir/key", "absent"] {
            assert!(open_beneath(&kept, bad).is_err(), "{bad}");
        }
    }
}
