//! Removes trees in the background: what is large, or what tests took their own rights away from, holds nobody up.
//!
//! A tree is moved out of the way first, so that its place is free at once.

use rustix::fs::Mode;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What the names of trees that are on their way out begin with.
const GONE: &str = ".gone-";

/// Of all removers of this process: names are given once.
static REMOVED: AtomicU32 = AtomicU32::new(0);

/// Removes what it is given, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Remover {
    /// The thread that does so, once there was something to remove.
    thread: Mutex<Option<Removing>>,
}

#[derive(Debug)]
struct Removing {
    paths: Sender<PathBuf>,
    /// Ends when the thread has.
    done: Receiver<()>,
}

impl Remover {
    /// Frees a place: what is there is moved aside and removed. There may be nothing.
    ///
    /// # Errors
    /// It cannot be moved.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory, NotADirectory, NotFound};
        loop {
            let number = REMOVED.fetch_add(1, Ordering::Relaxed);
            let away = path.with_file_name(format!("{GONE}{}-{number}", std::process::id()));
            match fs::rename(path, &away) {
                Ok(()) => {
                    self.take(away);
                    return Ok(());
                }
                Err(e) if e.kind() == NotFound => return Ok(()),
                // What an earlier process of this number has left: in a container it is the same each time.
                Err(e)
                    if matches!(
                        e.kind(),
                        AlreadyExists | DirectoryNotEmpty | IsADirectory | NotADirectory
                    ) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Removes what an earlier process has moved aside in a directory and not removed.
    pub(crate) fn remove_left(&self, dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(GONE)) {
                self.take(entry.path());
            }
        }
    }

    fn take(&self, path: PathBuf) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let thread = thread.get_or_insert_with(Removing::start);
        // Where no thread could be had, it stays until what is around it is removed.
        let _gone = thread.paths.send(path);
    }

    /// Waits until all is removed, for so long at most; the rest stays where it is.
    pub(crate) fn finish(&self, wait: Duration) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Removing { paths, done }) = thread {
            drop(paths);
            // The end of the channel is the end of the thread.
            let _ended = done.recv_timeout(wait);
        }
    }
}

impl Removing {
    fn start() -> Self {
        let (sender, paths) = mpsc::channel::<PathBuf>();
        let (ends, done) = mpsc::channel();
        let _detached = thread::Builder::new().name("muster-remove".to_owned()).spawn(move || {
            for path in paths {
                remove_tree(&path);
            }
            drop(ends);
        });
        Self { paths: sender, done }
    }
}

/// Removes a tree, also where a test took its own rights to a directory away.
fn remove_tree(path: &Path) {
    if fs::remove_dir_all(path).is_ok() || fs::remove_file(path).is_ok() {
        return;
    }
    let mut open = vec![path.to_owned()];
    while let Some(dir) = open.pop() {
        let _not_ours = rustix::fs::chmod(&dir, Mode::RWXU);
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                open.push(entry.path());
            }
        }
    }
    // What cannot be removed even so stays until what is around it is removed.
    let _stays = fs::remove_dir_all(path);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_place_is_free_at_once_and_what_was_there_goes_with_all_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("place");
        let remover = Remover::default();
        remover.remove(&place).unwrap();
        for _ in 0..2 {
            fs::create_dir_all(place.join("closed/deep")).unwrap();
            fs::write(place.join("closed/deep/file"), "x").unwrap();
            fs::set_permissions(place.join("closed"), fs::Permissions::from_mode(0o500)).unwrap();
            remover.remove(&place).unwrap();
            assert!(!place.exists());
        }
        fs::write(&place, "a file").unwrap();
        remover.remove(&place).unwrap();
        remover.finish(Duration::from_secs(600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_an_earlier_process_did_not_come_to_remove_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".gone-1-2/some/tree")).unwrap();
        fs::create_dir(dir.path().join("stays")).unwrap();
        let remover = Remover::default();
        remover.remove_left(dir.path());
        remover.finish(Duration::from_secs(600));
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["stays"]);
    }
}
