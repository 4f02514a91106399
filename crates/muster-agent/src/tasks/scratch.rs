//! The directory an attempt may write to. Every attempt finds an empty one at `MUSTER_WORK_DIR`, and none
//! is made for those that do not use it: a slot keeps its directory from one attempt to the next for as
//! long as it stays empty. One look into it after each attempt tells, and finds measured values too.
//!
//! What an attempt leaves there is kept under `work/` in the run's directory if the attempt was not good,
//! and removed, by a thread of its own, if it was.

use crate::remove::Remover;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Name of the file of measured values in the directory.
pub const MEASURES: &str = ".muster-measures";

/// Name of the file of steps in the directory.
pub(super) const STEPS: &str = ".muster-steps";

/// Most bytes read of each.
// Limit: far more lines than anyone looks at; a test that floods the file is cut, not obeyed.
const TOLD_BYTES_MAX: u64 = 1 << 20;

/// The directories of all slots.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Directories nobody uses just now, by slot.
    idle: Mutex<Vec<Option<WorkDir>>>,
    /// What removes directories.
    remover: Remover,
}

/// An empty directory for one attempt.
#[derive(Debug)]
pub(super) struct WorkDir {
    path: PathBuf,
    text: String,
    fd: OwnedFd,
    /// Device and inode: whether what is at `path` is still this directory.
    id: (u64, u64),
}

/// What an attempt left in its directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// The text of its file of measured values.
    pub(super) measures: String,
    /// The text of its file of steps.
    pub(super) steps: String,
    /// There is something else.
    pub(super) files: bool,
}

impl Scratch {
    pub(super) fn new(slots: usize) -> Self {
        Self { idle: Mutex::new((0..slots).map(|_| None).collect()), remover: Remover::default() }
    }

    /// The directory for an attempt that runs on a slot.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn take(&self, run_dir: &str, slot: u32) -> io::Result<WorkDir> {
        let parent = Path::new(run_dir).join("work");
        let path = parent.join(format!("slot-{slot}"));
        let idle = self.lock_idle().get_mut(slot as usize).and_then(Option::take);
        if let Some(dir) = idle.filter(|dir| dir.path == path) {
            return Ok(dir);
        }
        fs::create_dir_all(&parent)?;
        if let Err(e) = fs::create_dir(&path) {
            // Left by an agent that was killed.
            if e.kind() != io::ErrorKind::AlreadyExists {
                return Err(e);
            }
            self.remover.remove(&path)?;
            fs::create_dir(&path)?;
        }
        WorkDir::open(path)
    }

    /// Gives an empty directory back for the slot's next attempt.
    pub(super) fn give_back(&self, slot: u32, dir: WorkDir) {
        if let Some(place) = self.lock_idle().get_mut(slot as usize) {
            *place = Some(dir);
        }
    }

    /// Ends the use of a directory: empty it is given back, filled it is kept under this name or removed.
    /// Where it is kept: the path relative to the run's directory.
    ///
    /// # Errors
    /// It cannot be moved.
    pub(super) fn leave(
        &self,
        slot: u32,
        dir: WorkDir,
        left: &Left,
        keep: Option<&str>,
    ) -> io::Result<Option<String>> {
        if !left.files {
            self.give_back(slot, dir);
            return Ok(None);
        }
        let kept = keep.and_then(|name| {
            // Of an attempt that was given out again, what it left before may still be on its way to the server.
            let others = (2..=9).map(|n| format!("{name}~{n}"));
            let mut names = std::iter::once(name.to_owned()).chain(others);
            let name = names.find(|name| fs::rename(&dir.path, dir.path.with_file_name(name)).is_ok())?;
            Some(format!("work/{name}"))
        });
        if kept.is_none() {
            self.remover.remove(&dir.path)?;
        }
        fs::create_dir(&dir.path)?;
        self.give_back(slot, WorkDir::open(dir.path)?);
        Ok(kept)
    }

    /// Removes the slots' empty directories, and waits for those on their way out, for this long at most.
    pub(super) fn finish(&self, wait: Duration) {
        for dir in self.lock_idle().iter_mut().filter_map(Option::take) {
            // One that is not empty, or holds others, stays.
            let _stays = fs::remove_dir(&dir.path);
            let _stays = dir.path.parent().map(fs::remove_dir);
        }
        self.remover.finish(wait);
    }

    fn lock_idle(&self) -> MutexGuard<'_, Vec<Option<WorkDir>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WorkDir {
    fn open(path: PathBuf) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty())?;
        let text = path.to_str().ok_or_else(|| io::Error::other("the path is not UTF-8"))?.to_owned();
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Self { path, text, fd, id: (stat.st_dev, stat.st_ino) })
    }

    /// The directory's path.
    pub(super) fn path(&self) -> &str {
        &self.text
    }

    /// Looks what was left; takes the files of measured values and of steps away.
    ///
    /// # Errors
    /// The directory or a file cannot be read.
    pub(super) fn look(&self) -> io::Result<Left> {
        let mut left = Left::default();
        rustix::fs::seek(&self.fd, rustix::fs::SeekFrom::Start(0))?;
        let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
        let mut entries = rustix::fs::RawDir::new(&self.fd, &mut buffer);
        let (mut measures, mut steps) = (false, false);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Err(Errno::NOENT) => break,
                other => other?,
            };
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name if OsStr::from_bytes(name) == MEASURES => measures = true,
                name if OsStr::from_bytes(name) == STEPS => steps = true,
                _ => left.files = true,
            }
            if left.files && measures && steps {
                break;
            }
        }
        if measures {
            left.measures = self.take_file(MEASURES)?;
        }
        if steps {
            left.steps = self.take_file(STEPS)?;
        }
        // The test may have removed the directory itself, or put something else in its place.
        if !left.files && self.is_gone() {
            left.files = true;
        }
        Ok(left)
    }

    fn is_gone(&self) -> bool {
        rustix::fs::lstat(&self.path).map_or(true, |now| (now.st_dev, now.st_ino) != self.id)
    }

    fn take_file(&self, name: &str) -> io::Result<String> {
        // Not through a link, and not from a pipe that would keep us waiting.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = fs::File::from(rustix::fs::openat(&self.fd, name, flags, Mode::empty())?);
        let mut bytes = Vec::new();
        if file.metadata()?.is_file() {
            file.take(TOLD_BYTES_MAX).read_to_end(&mut bytes)?;
            if bytes.len() as u64 == TOLD_BYTES_MAX {
                // The last line may be half of one, which would be read as a mistake of the test.
                bytes.truncate(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1));
            }
        }
        rustix::fs::unlinkat(&self.fd, name, rustix::fs::AtFlags::empty())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A file name for what an attempt left: readable, and different for different attempts.
pub(super) fn kept_name(test: &str, item: &str, attempt: u16, record: u32) -> String {
    // Limit: file systems allow 255 bytes.
    const NAME_BYTES_MAX: usize = 160;
    let address = if item.is_empty() { test.to_owned() } else { format!("{test}_{item}") };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,=+@".contains(c);
    let mut name: String = address.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    name.truncate(NAME_BYTES_MAX);
    let dot = if name.starts_with('.') { "_" } else { "" };
    // The record's number makes names differ that were made alike.
    let number = if name == address && item.is_empty() { String::new() } else { format!("~{record}") };
    format!("{dot}{name}{number}#{attempt}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn scratch() -> (tempfile::TempDir, String, Scratch) {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("runs/1").to_str().unwrap().to_owned();
        (dir, run_dir, Scratch::new(2))
    }

    #[test]
    fn a_directory_that_stays_empty_serves_the_slots_next_attempt() {
        let (_dir, run_dir, scratch) = scratch();
        let first = scratch.take(&run_dir, 1).unwrap();
        let path = first.path().to_owned();
        assert!(path.ends_with("/work/slot-1"));
        let left = first.look().unwrap();
        assert_eq!(left, Left::default());
        assert_eq!(scratch.leave(1, first, &left, Some("kept")).unwrap(), None);
        let again = scratch.take(&run_dir, 1).unwrap();
        assert_eq!(again.path(), path);
        assert_eq!(again.look().unwrap(), Left::default(), "it can be looked into twice");
    }

    #[test]
    fn of_too_many_measured_values_whole_lines_are_read() {
        let (_dir, run_dir, scratch) = scratch();
        let dir = scratch.take(&run_dir, 0).unwrap();
        let line = "{\"name\":\"x\",\"value\":1}\n";
        fs::write(Path::new(dir.path()).join(MEASURES), line.repeat(100_000)).unwrap();
        let read = dir.look().unwrap().measures;
        assert!(read.len() as u64 <= TOLD_BYTES_MAX && read.len() as u64 > TOLD_BYTES_MAX - 100);
        assert!(read.lines().all(|l| l == line.trim_end()));
    }

    #[test]
    fn measured_values_are_read_once_and_leave_the_directory_empty() {
        let (_dir, run_dir, scratch) = scratch();
        let dir = scratch.take(&run_dir, 0).unwrap();
        fs::write(Path::new(dir.path()).join(MEASURES), "{}\n").unwrap();
        let left = dir.look().unwrap();
        assert_eq!(left, Left { measures: "{}\n".into(), ..Left::default() });
        assert_eq!(dir.look().unwrap(), Left::default());
    }

    #[test]
    fn what_is_left_is_kept_or_removed_and_the_next_attempt_finds_nothing_of_it() {
        let (_dir, run_dir, scratch) = scratch();
        for (keep, n) in [(Some("t#1"), 1), (None, 2), (Some("t#3"), 3)] {
            let dir = scratch.take(&run_dir, 0).unwrap();
            fs::write(Path::new(dir.path()).join("core"), n.to_string()).unwrap();
            let left = dir.look().unwrap();
            assert!(left.files);
            let kept = scratch.leave(0, dir, &left, keep).unwrap();
            assert_eq!(kept, keep.map(|k| format!("work/{k}")));
            if let Some(kept) = kept {
                let text = fs::read_to_string(Path::new(&run_dir).join(kept).join("core")).unwrap();
                assert_eq!(text, n.to_string());
            }
            let next = scratch.take(&run_dir, 0).unwrap();
            assert_eq!(next.look().unwrap(), Left::default());
            scratch.give_back(0, next);
        }
    }

    #[test]
    fn at_the_end_only_what_is_kept_remains() {
        let (_dir, run_dir, scratch) = scratch();
        for (slot, keep) in [(0, Some("kept")), (1, None)] {
            let dir = scratch.take(&run_dir, slot).unwrap();
            fs::create_dir_all(Path::new(dir.path()).join("a/b")).unwrap();
            fs::set_permissions(Path::new(dir.path()).join("a"), fs::Permissions::from_mode(0o500)).unwrap();
            let left = dir.look().unwrap();
            scratch.leave(slot, dir, &left, keep).unwrap();
        }
        scratch.finish(Duration::from_secs(3600));
        let names: Vec<_> = fs::read_dir(Path::new(&run_dir).join("work")).unwrap().flatten().collect();
        assert_eq!(names.iter().map(fs::DirEntry::file_name).collect::<Vec<_>>(), ["kept"]);
    }

    #[test]
    fn what_a_killed_agent_left_is_not_the_next_attempts() {
        let (_dir, run_dir, scratch) = scratch();
        let old = Path::new(&run_dir).join("work/slot-0/sub");
        fs::create_dir_all(&old).unwrap();
        assert_eq!(scratch.take(&run_dir, 0).unwrap().look().unwrap(), Left::default());
    }

    #[test]
    fn a_directory_that_the_test_removed_or_replaced_is_made_again() {
        let (_dir, run_dir, scratch) = scratch();
        let dir = scratch.take(&run_dir, 0).unwrap();
        let path = dir.path().to_owned();
        let breaks: [fn(&str); 3] = [
            |path| fs::remove_dir(path).unwrap(),
            |path| fs::rename(path, format!("{path}-moved")).unwrap(),
            |path| {
                fs::remove_dir(path).unwrap();
                fs::write(path, "a file").unwrap();
            },
        ];
        scratch.give_back(0, dir);
        for break_it in breaks {
            let dir = scratch.take(&run_dir, 0).unwrap();
            break_it(&path);
            let left = dir.look().unwrap();
            assert!(left.files);
            scratch.leave(0, dir, &left, None).unwrap();
            assert!(Path::new(&path).is_dir());
        }
    }

    #[test]
    fn a_pipe_or_link_in_place_of_the_values_is_not_followed() {
        let (_dir, run_dir, scratch) = scratch();
        let dir = scratch.take(&run_dir, 0).unwrap();
        let measures = Path::new(dir.path()).join(MEASURES);
        std::os::unix::fs::symlink("/etc/passwd", &measures).unwrap();
        assert!(dir.look().is_err());
        fs::remove_file(&measures).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &measures, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(dir.look().unwrap().measures, "");
    }

    #[test]
    fn names_of_kept_directories_are_tame_and_differ() {
        assert_eq!(kept_name("boot", "", 2, 7), "boot#2");
        assert_eq!(kept_name("boot", "arm/64", 1, 7), "boot_arm_64~7#1");
        assert_eq!(kept_name("..", "../../etc", 1, 3), "_.._.._.._etc~3#1");
        assert!(kept_name("t", &"ü/".repeat(1000), 1, 3).len() < 200);
    }
}
