//! The files of this host, all of them, those beneath one directory, or those of a root of its own.
//!
//! Every path is resolved by the kernel (`openat2`), from the directory's descriptor. Confined, no `..`
//! and no link leads out, whatever is renamed meanwhile: the kernel refuses, or takes the directory for `/`.

use crate::device::{Entry, Kind, Stat};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Deepest tree that is removed or walked.
// Limit: each level has a descriptor and a frame on the stack.
const DEPTH_MAX: u32 = 128;

/// Where files may be.
#[derive(Debug)]
pub(crate) struct Space {
    base: OwnedFd,
    bounds: Bounds,
}

/// Which files those are.
#[derive(Debug)]
enum Bounds {
    /// All of this host.
    None,
    /// Those beneath this directory, as it was resolved when this was made; paths name it.
    Beneath(PathBuf),
    /// Those of a root of its own, which paths begin at.
    Root,
}

/// A file being written, that takes its place once it is whole.
pub(crate) struct Coming {
    pub(crate) file: File,
    dir: OwnedFd,
    temporary: OsString,
    name: OsString,
    done: bool,
}

impl Space {
    /// All files of this host.
    pub(crate) fn all() -> io::Result<Self> {
        Ok(Self { base: open_dir(CWD, Path::new("/"))?, bounds: Bounds::None })
    }

    /// The files beneath a directory, which must be there.
    pub(crate) fn beneath(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        Ok(Self { base: open_dir(CWD, &root)?, bounds: Bounds::Beneath(root) })
    }

    /// The files that something sees for which this directory is `/`.
    pub(crate) fn of_root(root: &Path) -> io::Result<Self> {
        Ok(Self { base: open_dir(CWD, root)?, bounds: Bounds::Root })
    }

    /// The directory all must be beneath.
    pub(crate) fn root(&self) -> Option<&Path> {
        match &self.bounds {
            Bounds::Beneath(root) => Some(root),
            Bounds::None | Bounds::Root => None,
        }
    }

    /// Whether a path is the directory all must be beneath, or above it.
    pub(crate) fn is_above_root(&self, path: &Path) -> bool {
        self.root().is_some_and(|root| root.starts_with(plain(path)))
    }

    /// The path as the kernel is to resolve it from `base`.
    fn relative(&self, path: &Path) -> io::Result<PathBuf> {
        if path.as_os_str().as_bytes().contains(&0) {
            return Err(Errno::INVAL.into());
        }
        let relative = match self.root() {
            None => path.strip_prefix("/").map_err(|_| io::Error::from(Errno::INVAL))?.to_owned(),
            Some(root) => {
                plain(path).strip_prefix(root).map_err(|_| io::Error::from(Errno::XDEV))?.to_owned()
            }
        };
        Ok(if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative })
    }

    fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let relative = self.relative(path)?;
        let flags = flags | OFlags::CLOEXEC;
        let resolve = match self.bounds {
            Bounds::None => return Ok(openat(&self.base, &relative, flags, Mode::empty())?),
            Bounds::Beneath(_) => ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS,
            Bounds::Root => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        };
        // Limit: the kernel asks to try again when something was renamed while it looked.
        for _ in 0..1000 {
            match openat2(&self.base, &relative, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// The directory of a path, and its last name.
    fn place(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = match path.components().next_back() {
            Some(Component::Normal(name)) => name.to_owned(),
            _ => return Err(Errno::ISDIR.into()),
        };
        let above = path.parent().unwrap_or(Path::new("/"));
        Ok((self.open(above, OFlags::RDONLY | OFlags::DIRECTORY)?, name))
    }

    /// Opens a file for reading. What is no file is refused, so that a pipe does not block.
    pub(crate) fn read(&self, path: &Path) -> io::Result<File> {
        let file = File::from(self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
        let kind = file.metadata()?.file_type();
        if kind.is_file() {
            Ok(file)
        } else if kind.is_dir() {
            Err(Errno::ISDIR.into())
        } else {
            Err(io::Error::other("it is neither a file nor a directory"))
        }
    }

    /// Begins to write a file. An existing one stays until the new one is whole; its permissions are kept.
    pub(crate) fn create(&self, path: &Path) -> io::Result<Coming> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let (dir, name) = self.place(path)?;
        let mut mode = Mode::from_raw_mode(0o666);
        match statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return Err(Errno::ISDIR.into());
            }
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                mode = Mode::from_raw_mode(stat.st_mode & 0o777);
            }
            _ => {}
        }
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let temporary = OsString::from(format!(".muster-{}-{number}.part", std::process::id()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(&dir, &temporary, flags, mode)?;
        Ok(Coming { file: File::from(file), dir, temporary, name, done: false })
    }

    /// What a path leads to; `None` if to nothing.
    pub(crate) fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let fd = match self.open(path, OFlags::PATH) {
            Ok(fd) => fd,
            Err(e) if is_absent(&e) => return Ok(None),
            Err(e) => return Err(e),
        };
        Ok(Some(stat_of(&rustix::fs::fstat(&fd)?)))
    }

    /// What is in a directory, by name.
    pub(crate) fn list(&self, path: &Path) -> io::Result<Vec<(OsString, Stat)>> {
        let dir = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." {
                continue;
            }
            match statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.push((name, stat_of(&stat))),
                // Removed meanwhile.
                Err(Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            }
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }

    /// The same, with names as text; what is no text is shown with substitutes.
    pub(crate) fn entries(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let list = self.list(path)?;
        let entry = |(name, stat): (OsString, Stat)| Entry { name: name.to_string_lossy().into(), stat };
        Ok(list.into_iter().map(entry).collect())
    }

    /// Makes a directory and those above it.
    pub(crate) fn make_dir(&self, path: &Path) -> io::Result<()> {
        match self.stat(path)? {
            Some(stat) if stat.kind == Kind::Dir => return Ok(()),
            Some(_) => return Err(Errno::NOTDIR.into()),
            None => {}
        }
        // Limit: a path the kernel takes has fewer names.
        let mut missing = vec![path];
        while let Some(above) = missing.last().and_then(|p| p.parent()).filter(|_| missing.len() < 2048) {
            if self.is_above_root(above) && self.root() != Some(above) {
                break;
            }
            match self.stat(above)? {
                Some(stat) if stat.kind == Kind::Dir => break,
                Some(_) => return Err(Errno::NOTDIR.into()),
                None => missing.push(above),
            }
        }
        for path in missing.into_iter().rev() {
            let (dir, name) = self.place(path)?;
            match mkdirat(&dir, &name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Removes a file or link.
    pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        Ok(unlinkat(&dir, &name, AtFlags::empty())?)
    }

    /// Removes a file, a link, or a directory with all that is in it.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        remove_at(&dir, &name, 0)
    }

    /// Moves a file or directory.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from_name) = self.place(from)?;
        let (to_dir, to_name) = self.place(to)?;
        Ok(renameat(&from_dir, &from_name, &to_dir, &to_name)?)
    }

    /// Copies a file, with its permissions.
    pub(crate) fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut source = self.read(from)?;
        let permissions = source.metadata()?.permissions();
        let mut coming = self.create(to)?;
        io::copy(&mut source, &mut coming.file)?;
        coming.file.set_permissions(permissions)?;
        coming.finish()
    }

    /// Sets permission bits of a file or directory.
    pub(crate) fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let fd = self.open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        Ok(rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?)
    }
}

impl Coming {
    /// Puts the file where it belongs.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        renameat(&self.dir, &self.temporary, &self.dir, &self.name)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        if !self.done {
            // Where this fails, the directory is gone as well.
            let _ = unlinkat(&self.dir, &self.temporary, AtFlags::empty());
        }
    }
}

fn open_dir(at: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(at, path, flags, Mode::empty())?)
}

/// Without `.` and `..`, by the words of the path alone.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    plain
}

/// Nothing is there, as opposed to something that cannot be looked at.
fn is_absent(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR))
}

fn stat_of(stat: &rustix::fs::Stat) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    Stat {
        kind,
        size: (kind == Kind::File).then(|| u64::try_from(stat.st_size).unwrap_or(0)),
        mode: Some(stat.st_mode & 0o7777),
        modified_millis: Some(
            stat.st_mtime * 1000 + i64::try_from(stat.st_mtime_nsec / 1_000_000).unwrap_or(0),
        ),
    }
}

fn remove_at(dir: &OwnedFd, name: &OsStr, depth: u32) -> io::Result<()> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e.into()),
    }
    if depth == DEPTH_MAX {
        return Err(io::Error::other(format!("directories are nested more than {DEPTH_MAX} deep")));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let below = openat(dir, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&below)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        match remove_at(&below, name, depth + 1) {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::NOENT) => {}
            other => other?,
        }
    }
    Ok(unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}
