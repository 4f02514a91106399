//! What is installed, as the file system tells: a record of each file's number, length and times, so that
//! what nobody has touched is known without reading it. A record is evidence and never proof: what differs is
//! read, and after a reboot everything is read once.

use super::about::Reference;
use super::codec;
use super::error::{At as _, PackageError};
use super::manifest::{Manifest, What};
use super::names::Published;
use super::parallel;
use super::tree_path::TreePath;
use rustix::fs::{AtFlags, Mode, OFlags, Stat};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::{CStr, OsStr};
use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const MAGIC: &[u8] = b"muster install record 2\n";
/// Directories that one thread looks at in one go.
const RUN: usize = 8;

/// How much is done to make sure that what is installed is what it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// The record is held against the file system; what differs is read.
    #[default]
    Record,
    /// Every byte is read.
    Bytes,
}

/// What was installed, when all of it was right.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) package: Published,
    /// The boot of the system in which it was verified.
    pub(super) boot: String,
    /// What it needs: known without its manifest, which is as long as the list of its files.
    pub(super) deps: Vec<Reference>,
    dirs: Vec<DirRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DirRecord {
    /// `None` at the top.
    path: Option<TreePath>,
    /// Of the directory: changed whenever a name in it is.
    mark: Mark,
    names: Names,
    /// Of the names.
    marks: Vec<Mark>,
}

/// Names in a directory one behind the other, each with NUL behind it: as the system wants them, in one piece.
#[derive(Debug)]
struct Names(Vec<u8>);

impl Names {
    fn of(names: &[TreePath]) -> Self {
        Self(names.iter().flat_map(|name| [name.bytes(), b"\0"]).flatten().copied().collect())
    }

    fn iter(&self) -> impl Iterator<Item = &CStr> {
        self.0.split_inclusive(|b| *b == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok())
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        codec::bytes(from, "names of files").map(Names)
    }
}

/// What the file system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    ino: u64,
    len: u64,
    /// Nanoseconds. Of a directory's change only this is kept: moving it is no change of what is in it.
    modified: i64,
    changed: i64,
}

impl Mark {
    fn of(stat: &Stat) -> Self {
        Self {
            ino: stat.st_ino,
            len: stat.st_size.cast_unsigned(),
            modified: nanos(stat.st_mtime, stat.st_mtime_nsec),
            changed: nanos(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    fn of_dir(stat: &Stat) -> Self {
        Self { changed: 0, len: 0, ..Self::of(stat) }
    }
}

fn nanos(seconds: i64, nanos: u64) -> i64 {
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos.cast_signed())
}

/// What is not as the record says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Suspects {
    /// Files and links that are other than they were, or gone.
    pub(super) names: Vec<TreePath>,
    /// Whether a directory is: something may be there that should not.
    pub(super) is_reshaped: bool,
}

impl Suspects {
    pub(super) fn is_none(&self) -> bool {
        self.names.is_empty() && !self.is_reshaped
    }
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        codec::seal(MAGIC, self)
    }

    /// The record in this file; `None` where there is none that can be used.
    pub(super) fn read(file: &Path) -> Option<Self> {
        let record: Self = codec::unseal_own(MAGIC, &fs::read(file).ok()?).ok()?;
        record.dirs.iter().all(|dir| dir.names.iter().count() == dir.marks.len()).then_some(record)
    }

    /// Whether it was made since the system was started.
    pub(super) fn is_of_this_boot(&self) -> bool {
        !self.boot.is_empty() && self.boot == boot()
    }

    /// What an installed package looks like.
    pub(super) fn of(tree: &Path, manifest: &Manifest, package: &Published) -> Result<Self, PackageError> {
        let dirs = dirs_of(manifest);
        let dirs = parallel::each(&dirs, RUN, |_, dir| -> Result<DirRecord, PackageError> {
            let path = dir.path.as_ref().map_or_else(|| tree.to_owned(), |p| p.below(tree));
            let fd = open_dir(&path)?;
            let names = Names::of(&dir.names);
            let marks = names.iter().map(|name| {
                let stat = stat_in(fd.as_fd(), name);
                stat.map(|stat| Mark::of(&stat)).at(&path.join(OsStr::from_bytes(name.to_bytes())))
            });
            let marks = marks.collect::<Result<_, PackageError>>()?;
            let mark = Mark::of_dir(&rustix::fs::fstat(&fd).at(&path)?);
            Ok(DirRecord { path: dir.path.clone(), mark, names, marks })
        })?;
        Ok(Self { package: package.clone(), boot: boot(), deps: manifest.about.deps.clone(), dirs })
    }

    /// Holds it against what is there.
    pub(super) fn suspects(&self, tree: &Path) -> Suspects {
        let look = |_, dir: &DirRecord| -> Result<(Vec<TreePath>, bool), ()> {
            let path = dir.path.as_ref().map_or_else(|| tree.to_owned(), |p| p.below(tree));
            let whole = |name: &CStr| {
                let name = name.to_bytes();
                let whole = dir.path.as_ref().map(|dir| [dir.bytes(), b"/", name].concat());
                TreePath::new(whole.unwrap_or_else(|| name.to_vec())).expect("it was in the package")
            };
            let Ok(fd) = open_dir(&path) else {
                return Ok((dir.names.iter().map(whole).collect(), true));
            };
            let is_same = rustix::fs::fstat(&fd).is_ok_and(|stat| Mark::of_dir(&stat) == dir.mark);
            let differs = |(name, mark): &(&CStr, &Mark)| {
                !stat_in(fd.as_fd(), name).is_ok_and(|stat| Mark::of(&stat) == **mark)
            };
            let names = dir.names.iter().zip(&dir.marks).filter(differs);
            Ok((names.map(|(name, _)| whole(name)).collect(), !is_same))
        };
        let mut suspects = Suspects::default();
        for (names, is_reshaped) in parallel::each(&self.dirs, RUN, look).unwrap_or_default() {
            suspects.names.extend(names);
            suspects.is_reshaped |= is_reshaped;
        }
        suspects
    }
}

/// A directory of a package, and what of it is no directory that something is in.
pub(super) struct DirOf {
    /// `None` at the top.
    pub(super) path: Option<TreePath>,
    pub(super) names: Vec<TreePath>,
    /// The places of these names among the entries.
    pub(super) entries: Vec<usize>,
}

/// All directories of a package, those above before those in them.
pub(super) fn dirs_of(manifest: &Manifest) -> Vec<DirOf> {
    let mut dirs = vec![DirOf { path: None, names: Vec::new(), entries: Vec::new() }];
    // From the top to the one at hand, by their places.
    let mut open: Vec<usize> = vec![0];
    for (at, entry) in manifest.entries.iter().enumerate() {
        let (mut dir, name) = entry.path.split();
        if matches!(entry.what, What::Dir) {
            dir = entry.path.bytes();
        }
        // Up to what is above this one, …
        while let Some(above) = open.last().and_then(|at| dirs[*at].path.as_ref()) {
            let is_above = dir == above.bytes()
                || dir.strip_prefix(above.bytes()).is_some_and(|rest| rest.first() == Some(&b'/'));
            if is_above {
                break;
            }
            open.pop();
        }
        // … and down again.
        let above = open.last().and_then(|at| dirs[*at].path.as_ref()).map_or(0, |p| p.bytes().len() + 1);
        let ends = (above..=dir.len()).filter(|end| *end > 0 && (*end == dir.len() || dir[*end] == b'/'));
        for end in ends {
            let path = TreePath::new(&dir[..end]).expect("it is a part of one");
            open.push(dirs.len());
            dirs.push(DirOf { path: Some(path), names: Vec::new(), entries: Vec::new() });
        }
        if !matches!(entry.what, What::Dir) {
            let of_it = &mut dirs[*open.last().expect("the top is never left")];
            of_it.names.push(TreePath::new(name).expect("it is a part of one"));
            of_it.entries.push(at);
        }
    }
    dirs
}

pub(super) fn open_dir(path: &Path) -> Result<OwnedFd, PackageError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).at(path)
}

fn stat_in(dir: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Stat> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Names this start of the system; empty where it cannot be said.
fn boot() -> String {
    let read = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::own::{About, Chunking, Entry, Kind};

    #[test]
    fn directories_come_before_what_is_in_them() {
        let file = |path: &str| Entry {
            path: TreePath::new(path).unwrap(),
            what: What::File { executable: false, pieces: Vec::new() },
        };
        let dir = |path: &str| Entry { path: TreePath::new(path).unwrap(), what: What::Dir };
        let entries =
            vec![file("a/b/c"), file("a/b/d"), dir("a/e"), dir("a/f/g/h"), file("a-b/x"), file("z")];
        let manifest = Manifest { about: About::new(Kind::Dep, "a"), chunking: Chunking::default(), entries };
        manifest.check().unwrap();
        let shown: Vec<_> = dirs_of(&manifest)
            .into_iter()
            .map(|d| format!("{} {:?}", d.path.map(|p| p.to_string()).unwrap_or_default(), d.entries))
            .collect();
        assert_eq!(
            shown,
            [" [5]", "a []", "a/b [0, 1]", "a/e []", "a/f []", "a/f/g []", "a/f/g/h []", "a-b [4]"]
        );
    }
}
