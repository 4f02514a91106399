//! From the directories of a run to a package.

use super::restore::index_of;
use super::{
    Archive, Entry, FILES, INDEX, Index, Name, OUTPUTS, VERSION, What, complain, is_inside, name_of, verify,
};
use crate::error::Complaint;
use muster_core::time::Time;
use muster_core::view::RunView;
use muster_package::own::{About, Kind, Published, Tree, Upload};
use muster_store::RunLock;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What saving a run came to.
pub(crate) struct Saved {
    /// Where the files are.
    pub(crate) package: Published,
    /// Bytes that the archive took in: none where all was there.
    pub(crate) bytes_written: u64,
    /// Files of the run that were found.
    pub(crate) files: u32,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Sockets, pipes and devices, which no archive holds.
    pub(crate) left_out: Vec<PathBuf>,
}

/// Saves a run that is over, unless all that is there is in its newest archive as it is; with `remove`, its files go from where they are once all of the archive was read and
/// found right. `scratch`: an existing directory on the same file system as the run's own.
///
/// # Errors
/// Somebody works on the run, a file cannot be read, the archive cannot be written; some files are only in the newest
/// archive, which one without them would hide. Nothing is removed then.
pub(crate) fn save(
    archive: &Archive,
    run: &RunView,
    roots: &[PathBuf],
    scratch: &Path,
    now: Time,
    remove: bool,
) -> Result<Saved, anyhow::Error> {
    let _lock = RunLock::acquire(&roots[0])
        .map_err(|e| Complaint::usage(format!("run `{}` cannot be archived", run.number)).because(e))?;
    let former = match archive.newest(run.id)? {
        Some(package) => Some((index_of(archive, &package, scratch)?, package)),
        None => None,
    };
    let stage = tempfile::Builder::new().prefix("archiving-").tempdir_in(scratch)?;
    let mut staging = Staging {
        dir: stage.path().join(FILES),
        entries: Vec::new(),
        left_out: Vec::new(),
        files: 0,
        bytes: 0,
    };
    fs::create_dir(&staging.dir)?;
    for (nth, root) in (0..).zip(roots) {
        staging.take(nth, root, Path::new(""))?;
    }
    let Staging { dir: _, entries, left_out, files, bytes } = staging;
    let index = Index {
        version: VERSION,
        run: run.id.to_string(),
        area: run.area.clone(),
        number: run.number,
        name: run.name.clone(),
        target: run.target.clone(),
        saved: now,
        roots: roots.to_vec(),
        entries,
    };
    if let Some((former, package)) = former {
        match compare(&former, &index) {
            Since::Nothing => {
                if remove {
                    verify(archive, &package).map_err(complain)?;
                    take_away(&former, roots)?;
                }
                return Ok(Saved { package, bytes_written: 0, files, bytes, left_out });
            }
            Since::More => {}
            Since::Apart(lacking) => {
                let said = format!(
                    "run `{}` has files that are only in its archive, as `{}`, and others that changed since",
                    run.number,
                    lacking.display()
                );
                return Err(Complaint::usage(said)
                    .hint(format!(
                        "restore it first: `muster archive restore {}`, and save it then",
                        run.number
                    ))
                    .into());
            }
        }
    }
    fs::write(stage.path().join(INDEX), serde_json::to_vec(&index)?)?;
    let tree = Tree::open(stage.path()).map_err(complain)?;
    let Upload { package, bytes_written, .. } =
        archive.repository.build(&tree, About::new(Kind::Build, name_of(run.id))).map_err(complain)?;
    if remove {
        verify(archive, &package).map_err(complain)?;
        take_away(&index, roots)?;
    }
    Ok(Saved { package, bytes_written, files, bytes, left_out })
}

/// What became of a run's files since they were saved.
enum Since {
    /// What is there is as it was saved; some may have been taken away.
    Nothing,
    /// Nothing is lacking, and some came or changed.
    More,
    /// This one is lacking, and others came or changed.
    Apart(PathBuf),
}

fn compare(former: &Index, now: &Index) -> Since {
    let (before, there) = (all(former), all(now));
    if there.iter().all(|(at, what)| before.get(at) == Some(what)) {
        return Since::Nothing;
    }
    match before.keys().find(|at| !there.contains_key(at)) {
        None => Since::More,
        Some((_, lacking)) => Since::Apart(lacking.clone()),
    }
}

/// What a file is known by: its time and length, or where it leads.
#[derive(PartialEq)]
enum Look {
    File(i64, u64),
    Link(PathBuf),
}

/// The files of an index by the directory they are in, where the run's own is `None`: its area may have been moved.
fn all(index: &Index) -> HashMap<(Option<&Path>, PathBuf), Look> {
    let entries = index.entries.iter().filter_map(|Entry { root, path, what }| {
        let look = match what {
            What::File { mtime, len, .. } => Look::File(*mtime, *len),
            What::Link { to } => Look::Link(to.path()),
            What::Dir { .. } => return None,
        };
        let dir = match root {
            0 => None,
            nth => Some(index.roots.get(*nth as usize)?.as_path()),
        };
        Some(((dir, path.path()), look))
    });
    entries.collect()
}

struct Staging {
    dir: PathBuf,
    entries: Vec<Entry>,
    left_out: Vec<PathBuf>,
    files: u32,
    bytes: u64,
}

impl Staging {
    /// Enters all that is below a directory of a root.
    fn take(&mut self, root: u32, dir: &Path, inside: &Path) -> Result<(), anyhow::Error> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |e: io::Error| Complaint::lab(format!("`{}` cannot be read", path.display())).because(e)
        };
        let list = match fs::read_dir(dir.join(inside)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(at(dir))?,
        };
        let mut names =
            list.map(|e| e.map(|e| e.file_name())).collect::<Result<Vec<_>, _>>().map_err(at(dir))?;
        names.sort_unstable();
        for name in names {
            let inside = inside.join(&name);
            // Who works on it is no part of what it left.
            if root == 0 && inside == Path::new("lock") {
                continue;
            }
            let path = dir.join(&inside);
            let meta = fs::symlink_metadata(&path).map_err(at(&path))?;
            let what = if meta.is_dir() {
                self.take(root, dir, &inside)?;
                What::Dir { mode: mode(&meta) }
            } else if meta.is_symlink() {
                What::Link { to: Name::of(fs::read_link(&path).map_err(at(&path))?.as_os_str()) }
            } else if meta.is_file() {
                let file = self.stage(&path).map_err(at(&path))?;
                self.bytes += meta.len();
                What::File { file, mode: mode(&meta), mtime: meta.mtime(), len: meta.len() }
            } else {
                self.left_out.push(path);
                continue;
            };
            self.entries.push(Entry { root, path: Name::of(inside.as_os_str()), what });
        }
        Ok(())
    }

    /// Puts a file where the package is made of: by a link, or by a copy from another file system and of what
    /// must not be linked.
    fn stage(&mut self, path: &Path) -> io::Result<u32> {
        let number = self.files;
        self.files += 1;
        // A directory of a hundred thousand files is slow on some file systems.
        let dir = self.dir.join((number / 1_000).to_string());
        if number.is_multiple_of(1_000) {
            fs::create_dir(&dir)?;
        }
        let staged = dir.join((number % 1_000).to_string());
        let special = fs::metadata(path)?.mode() & 0o6000 != 0;
        if special || fs::hard_link(path, &staged).is_err() {
            fs::copy(path, &staged)?;
            fs::set_permissions(&staged, fs::Permissions::from_mode(0o600))?;
        }
        Ok(number)
    }
}

fn mode(meta: &Metadata) -> u32 {
    meta.mode() & 0o7777
}

/// Removes what is in the archive and is still as it was saved. What was changed or came since stays.
fn take_away(index: &Index, roots: &[PathBuf]) -> Result<(), anyhow::Error> {
    for Entry { root, path, what } in &index.entries {
        let (inside, saved) = (path.path(), index.roots.get(*root as usize));
        // An index that was read comes from outside.
        let is_outputs = *root == 0 && inside == Path::new(OUTPUTS);
        if is_outputs || !is_inside(&inside) {
            continue;
        }
        let Some(dir) = (if *root == 0 { roots.first() } else { saved.filter(|dir| roots.contains(dir)) })
        else {
            continue;
        };
        let path = dir.join(inside);
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let gone = match what {
            What::File { mtime, len, .. }
                if meta.is_file() && (meta.mtime(), meta.len()) == (*mtime, *len) =>
            {
                fs::remove_file(&path)
            }
            What::Link { to } if fs::read_link(&path).is_ok_and(|now| now == to.path()) => {
                fs::remove_file(&path)
            }
            // Those below it come before it; one with something else in it stays.
            What::Dir { .. } if meta.is_dir() => match fs::remove_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                other => other,
            },
            What::File { .. } | What::Link { .. } | What::Dir { .. } => continue,
        };
        gone.map_err(|e| Complaint::lab(format!("`{}` cannot be removed", path.display())).because(e))?;
    }
    Ok(())
}
