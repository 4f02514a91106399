//! From the directories of a run to a package.

use super::restore::{index_of, place_of};
use super::scratch::Scratch;
use super::{
    Archive, Entry, INDEX, Index, Name, OUTPUTS, VERSION, Wants, What, complain, is_inside, name_of, verify,
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

/// Saves a run that is over, unless all that is there is in its newest archive as it is; those of its
/// files that `remove` wants go from where they are once all of the archive was read and found right. `scratch`: an existing directory on the same file system as the run's own.
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
    remove: Option<&Wants<'_>>,
) -> Result<Saved, anyhow::Error> {
    let _lock = RunLock::acquire(&roots[0])
        .map_err(|e| Complaint::usage(format!("run `{}` cannot be archived", run.number)).because(e))?;
    let former = match archive.newest(run.id)? {
        Some(package) => Some((index_of(archive, &package, scratch)?, package)),
        None => None,
    };
    let stage = Scratch::new(scratch)?;
    let found = Staging::of(Some(stage.path()), roots)?;
    let (left_out, files, bytes) = (found.left_out.clone(), found.files, found.bytes);
    let index = found.index(run, roots, now);
    if let Some((former, package)) = former {
        match compare(&former, &index) {
            Since::Nothing => {
                if let Some(wants) = remove {
                    verify(archive, &package).map_err(complain)?;
                    take_away(&former, roots, wants)?;
                }
                return Ok(Saved { package, bytes_written: 0, files, bytes, left_out });
            }
            Since::More => {}
            Since::Apart(lacking) => {
                return Err(hides(run, &lacking).into());
            }
        }
    }
    fs::write(stage.path().join(INDEX), serde_json::to_vec(&index)?)?;
    let tree = Tree::open(&stage.path()).map_err(complain)?;
    let Upload { package, bytes_written, .. } =
        archive.repository.build(&tree, About::new(Kind::Build, name_of(run.id))).map_err(complain)?;
    if let Some(wants) = remove {
        verify(archive, &package).map_err(complain)?;
        take_away(&index, roots, wants)?;
    }
    Ok(Saved { package, bytes_written, files, bytes, left_out })
}

/// What saving a run would come to.
pub(crate) struct Survey {
    /// Files of the run that are there.
    pub(crate) files: u32,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// How many of them its newest archive has not, as they are.
    pub(crate) new: u32,
    /// What would be removed from where it is.
    pub(crate) goes: Vec<PathBuf>,
}

/// Says what [`save`] would do, and does nothing. `archive`: if there is one yet.
///
/// # Errors
/// As saving would be refused.
pub(crate) fn survey(
    archive: Option<&Archive>,
    run: &RunView,
    roots: &[PathBuf],
    scratch: &Path,
    now: Time,
    remove: bool,
) -> Result<Survey, anyhow::Error> {
    let mut former = None;
    if let Some(archive) = archive
        && let Some(package) = archive.newest(run.id)?
    {
        former = Some(index_of(archive, &package, scratch)?);
    }
    let found = Staging::of(None, roots)?;
    let (files, bytes) = (found.files, found.bytes);
    let index = found.index(run, roots, now);
    if let Some(former) = &former
        && let Since::Apart(lacking) = compare(former, &index)
    {
        return Err(hides(run, &lacking).into());
    }
    let before = former.as_ref().map(all).unwrap_or_default();
    let new = all(&index).iter().filter(|(at, look)| before.get(at) != Some(look)).count();
    let goes = index.entries.iter().filter(|entry| remove && !is_outputs(entry));
    let goes = goes.filter(|entry| !matches!(entry.what, What::Dir { .. }));
    let goes = goes.map(|entry| roots[entry.root as usize].join(entry.path.path())).collect();
    Ok(Survey { files, bytes, new: u32::try_from(new).unwrap_or(u32::MAX), goes })
}

/// A new archive would hide what only the newest one has.
fn hides(run: &RunView, lacking: &Path) -> Complaint {
    let said = format!(
        "run `{}` has files that are only in its archive, as `{}`, and others that changed since",
        run.number,
        lacking.display()
    );
    Complaint::usage(said)
        .hint(format!("restore it first: `muster archive restore {}`, and save it then", run.number))
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

/// What is found in the directories of a run, and put where a package is made of it.
struct Staging {
    /// `None`: it is only looked at.
    dir: Option<PathBuf>,
    entries: Vec<Entry>,
    left_out: Vec<PathBuf>,
    files: u32,
    bytes: u64,
}

impl Staging {
    fn of(dir: Option<PathBuf>, roots: &[PathBuf]) -> Result<Self, anyhow::Error> {
        let mut staging = Self { dir, entries: Vec::new(), left_out: Vec::new(), files: 0, bytes: 0 };
        for (nth, root) in (0..).zip(roots) {
            staging.take(nth, root, Path::new(""))?;
        }
        Ok(staging)
    }

    fn index(self, run: &RunView, roots: &[PathBuf], saved: Time) -> Index {
        Index {
            version: VERSION,
            run: run.id.to_string(),
            area: run.area.clone(),
            number: run.number,
            name: run.name.clone(),
            target: run.target.clone(),
            saved,
            roots: roots.to_vec(),
            entries: self.entries,
        }
    }

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
        let Some(dir) = &self.dir else { return Ok(number) };
        let staged = dir.join(place_of(number));
        // A directory of a hundred thousand files is slow on some file systems.
        if number.is_multiple_of(1_000) {
            fs::create_dir_all(staged.parent().expect("it is in one"))?;
        }
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

/// Whether this is the file of the run's outputs.
fn is_outputs(entry: &Entry) -> bool {
    entry.root == 0 && entry.path.path() == Path::new(OUTPUTS)
}

/// Removes what is in the archive and is still as it was saved. What was changed or came since stays.
fn take_away(index: &Index, roots: &[PathBuf], wants: &Wants<'_>) -> Result<(), anyhow::Error> {
    // Directories that were looked at: an index comes from outside, and may lead through links.
    let mut real: HashMap<PathBuf, bool> = HashMap::new();
    for entry in &index.entries {
        let Entry { root, path, what } = entry;
        let (inside, saved) = (path.path(), index.roots.get(*root as usize));
        if is_outputs(entry) || !is_inside(&inside) || !wants(*root, &inside) {
            continue;
        }
        let Some(dir) = (if *root == 0 { roots.first() } else { saved.filter(|dir| roots.contains(dir)) })
        else {
            continue;
        };
        let parents = inside.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        let is_real = |parent: &Path| fs::symlink_metadata(parent).is_ok_and(|meta| meta.is_dir());
        if !parents
            .map(|parent| dir.join(parent))
            .all(|parent| *real.entry(parent).or_insert_with_key(|parent| is_real(parent)))
        {
            continue;
        }
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
