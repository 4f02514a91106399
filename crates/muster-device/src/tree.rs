//! Files and whole directories, between this host and a device.
//!
//! What a device says about names is not believed: a name that could lead out of the directory that is
//! being filled is an error. Links on this host are followed; on a device they are left out, except the
//! one that is named.

use crate::device::{Files, Kind, Stat};
use crate::error::DeviceError;
use crate::until::Until;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Deepest tree that is moved.
// Limit: links on a device or here may go round in circles.
pub(crate) const DEPTH_MAX: usize = 64;

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Files.
    pub files: u64,
    /// Directories made or found.
    pub dirs: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Entries that were left out: links, sockets and the like.
    pub left_out: u64,
}

/// Files one by one, for [`Files::push_path`].
pub(crate) fn push_path<F: Files + ?Sized>(
    files: &F,
    from: &Path,
    to: &str,
    until: &Until,
) -> Result<Moved, DeviceError> {
    let mut moved = Moved::default();
    let meta = fs::metadata(from).map_err(|e| here("read", from, e))?;
    if meta.is_dir() {
        let Walk { entries, moved: walked } = Walk::of(from)?;
        for Walked { path, name, size, .. } in &entries {
            let to =
                if name.is_empty() { to.to_owned() } else { format!("{}/{name}", to.trim_end_matches('/')) };
            match size {
                None => files.make_dir(&to, until)?,
                Some(_) => push_file(files, path, &to, until, &mut moved)?,
            }
        }
        return Ok(Moved { files: moved.files, bytes: moved.bytes, ..walked });
    }
    let mut to = to.to_owned();
    if to.ends_with('/') || files.stat(&to, until)?.is_some_and(|s| s.kind == Kind::Dir) {
        let name = from.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        to = format!("{}/{name}", to.trim_end_matches('/'));
    }
    if let Some((above, _)) = to.rsplit_once('/')
        && !above.is_empty()
    {
        files.make_dir(above, until)?;
    }
    push_file(files, from, &to, until, &mut moved)?;
    Ok(moved)
}

/// What a directory of this host holds, each directory before what is in it.
pub(crate) struct Walk {
    pub(crate) entries: Vec<Walked>,
    /// What is moved when all of it is.
    pub(crate) moved: Moved,
}

/// A file or a directory of it.
pub(crate) struct Walked {
    pub(crate) path: PathBuf,
    /// Its path from where the walk began, with `/`; empty for that itself.
    pub(crate) name: String,
    /// Bytes of a file; none of a directory.
    pub(crate) size: Option<u64>,
    pub(crate) executable: bool,
}

impl Walk {
    pub(crate) fn of(dir: &Path) -> Result<Self, DeviceError> {
        let mut walk = Self { entries: Vec::new(), moved: Moved::default() };
        walk.dir(dir, String::new(), 0)?;
        Ok(walk)
    }

    fn dir(&mut self, dir: &Path, name: String, depth: usize) -> Result<(), DeviceError> {
        if depth == DEPTH_MAX {
            let what =
                format!("`{}` is nested more than {DEPTH_MAX} deep, or a link goes round", dir.display());
            return Err(DeviceError::Senseless { what });
        }
        let entries = fs::read_dir(dir).map_err(|e| here("list", dir, e))?;
        let entries: io::Result<Vec<_>> = entries.collect();
        let mut entries = entries.map_err(|e| here("list", dir, e))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let within = if name.is_empty() { String::new() } else { format!("{name}/") };
        self.entries.push(Walked { path: dir.to_owned(), name, size: None, executable: false });
        self.moved.dirs += 1;
        for entry in entries {
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                return Err(DeviceError::Senseless {
                    what: format!("`{}`: only names that are text can be pushed", path.display()),
                });
            };
            let name = format!("{within}{name}");
            let meta = fs::metadata(&path).map_err(|e| here("read", &path, e))?;
            if meta.is_dir() {
                self.dir(&path, name, depth + 1)?;
            } else if meta.is_file() {
                let executable = meta.permissions().mode() & 0o100 != 0;
                self.entries.push(Walked { path, name, size: Some(meta.len()), executable });
                self.moved.files += 1;
                self.moved.bytes += meta.len();
            } else {
                self.moved.left_out += 1;
            }
        }
        Ok(())
    }
}

fn push_file<F: Files + ?Sized>(
    files: &F,
    from: &Path,
    to: &str,
    until: &Until,
    moved: &mut Moved,
) -> Result<(), DeviceError> {
    let mut file = File::open(from).map_err(|e| here("read", from, e))?;
    let meta = file.metadata().map_err(|e| here("read", from, e))?;
    if !meta.is_file() {
        return Err(DeviceError::Senseless { what: format!("`{}` is no file", from.display()) });
    }
    files.push(&mut file, meta.len(), to, until).map_err(|e| match e {
        DeviceError::Here { doing, source, .. } => DeviceError::Here { doing, path: from.to_owned(), source },
        other => other,
    })?;
    if meta.permissions().mode() & 0o100 != 0 {
        match files.make_executable(to, until) {
            // A device that knows no such thing needs no such thing.
            Ok(()) | Err(DeviceError::Unsupported { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    moved.files += 1;
    moved.bytes += meta.len();
    Ok(())
}

/// Files one by one, for [`Files::pull_path`].
pub(crate) fn pull_path<F: Files + ?Sized>(
    files: &F,
    from: &str,
    to: &Path,
    until: &Until,
) -> Result<Moved, DeviceError> {
    let mut moved = Moved::default();
    let stat = files.stat(from, until)?;
    if stat.as_ref().is_some_and(|s| s.kind == Kind::Dir) {
        pull_dir(files, from, to, until, &mut moved, 0)?;
        return Ok(moved);
    }
    pull_one(files, from, stat.as_ref(), to, until)
}

/// A file, of which this is known.
pub(crate) fn pull_one<F: Files + ?Sized>(
    files: &F,
    from: &str,
    stat: Option<&Stat>,
    to: &Path,
    until: &Until,
) -> Result<Moved, DeviceError> {
    let mut moved = Moved::default();
    // What is not there is left to the pull, which knows how to say so.
    let to = if to.is_dir() {
        let name = from.rsplit('/').find(|n| !n.is_empty()).unwrap_or_default();
        to.join(name_of(name)?)
    } else {
        to.to_owned()
    };
    pull_file(files, from, stat.and_then(|s| s.mode), &to, until, &mut moved)?;
    Ok(moved)
}

fn pull_dir<F: Files + ?Sized>(
    files: &F,
    from: &str,
    to: &Path,
    until: &Until,
    moved: &mut Moved,
    depth: usize,
) -> Result<(), DeviceError> {
    if depth == DEPTH_MAX {
        let what = format!("`{from}` on the device is nested more than {DEPTH_MAX} deep");
        return Err(DeviceError::Senseless { what });
    }
    fs::create_dir_all(to).map_err(|e| here("create", to, e))?;
    moved.dirs += 1;
    for entry in files.list(from, until)? {
        let name = name_of(&entry.name)?;
        let (path, to) = (format!("{}/{name}", from.trim_end_matches('/')), to.join(name));
        match entry.stat.kind {
            Kind::Dir => pull_dir(files, &path, &to, until, moved, depth + 1)?,
            Kind::File => pull_file(files, &path, entry.stat.mode, &to, until, moved)?,
            Kind::Link | Kind::Other => moved.left_out += 1,
        }
    }
    Ok(())
}

fn pull_file<F: Files + ?Sized>(
    files: &F,
    from: &str,
    mode: Option<u32>,
    to: &Path,
    until: &Until,
    moved: &mut Moved,
) -> Result<(), DeviceError> {
    let coming = Coming::new(to)?;
    let mut file = io::BufWriter::with_capacity(256 << 10, &coming.file);
    let bytes = files.pull(from, 0, &mut file, until).map_err(|e| match e {
        DeviceError::Output { source, .. } => here("write", to, source),
        other => other,
    })?;
    file.flush().map_err(|e| here("write", to, e))?;
    drop(file);
    coming.finish(mode.is_some_and(|m| m & 0o100 != 0))?;
    moved.files += 1;
    moved.bytes += bytes;
    Ok(())
}

/// A file of this host that takes its place once it is whole.
pub(crate) struct Coming<'a> {
    pub(crate) file: File,
    temporary: Option<PathBuf>,
    to: &'a Path,
}

impl<'a> Coming<'a> {
    pub(crate) fn new(to: &'a Path) -> Result<Self, DeviceError> {
        // A pipe or a terminal is written to as it is.
        if fs::metadata(to).is_ok_and(|m| !m.is_file()) {
            let file = File::options().write(true).open(to).map_err(|e| here("write", to, e))?;
            return Ok(Self { file, temporary: None, to });
        }
        let name = to.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let temporary = to.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = File::create(&temporary).map_err(|e| here("create", &temporary, e))?;
        Ok(Self { file, temporary: Some(temporary), to })
    }

    /// Puts it in its place; `executable`: whoever may read it may run it.
    pub(crate) fn finish(mut self, executable: bool) -> Result<(), DeviceError> {
        if executable {
            let meta = self.file.metadata().map_err(|e| here("write", self.to, e))?;
            let mode = meta.permissions().mode();
            let mode = fs::Permissions::from_mode(mode | (mode & 0o444) >> 2);
            self.file.set_permissions(mode).map_err(|e| here("write", self.to, e))?;
        }
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        fs::rename(&temporary, self.to).map_err(|e| here("create", self.to, e))
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Where it cannot be removed, it could not be written either.
            drop(fs::remove_file(temporary));
        }
    }
}

/// A name from a device, if it is one.
pub(crate) fn name_of(name: &str) -> Result<&str, DeviceError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(DeviceError::Senseless {
            what: format!("the device tells of an entry called {name:?}, which is no name"),
        });
    }
    Ok(name)
}

pub(crate) fn here(doing: &'static str, path: &Path, source: io::Error) -> DeviceError {
    DeviceError::Here { doing, path: path.to_owned(), source }
}
