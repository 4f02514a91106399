//! From a package back to the directories of a run, or to another one. The index and all names in it are taken for
//! hostile: nothing is written outside the directories that this side names, nothing through a link, and nothing
//! over what is there.

use super::scratch::Scratch;
use super::{Archive, Entry, FILES, INDEX, Index, OUTPUTS, VERSION, Wants, What, complain, is_inside};
use crate::error::Complaint;
use muster_package::own::{Entry as Packed, Published};
use std::collections::HashSet;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Longest index.
// Limit: memory; some millions of files.
const INDEX_BYTES_MAX: u64 = 1 << 30;

/// Where files go.
pub(crate) enum Destination<'a> {
    /// Where they were, as far as these are directories of the run.
    There(&'a [PathBuf]),
    /// Below this directory, by the number of the directory they were in: those of the run's own at the top.
    Below(&'a Path),
}

/// What was brought back.
#[derive(Default)]
pub(crate) struct Restored {
    /// Files that were written.
    pub(crate) files: u32,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Files that were there already, as they were saved.
    pub(crate) there: u32,
    /// Where they went.
    pub(crate) dirs: Vec<PathBuf>,
}

/// Brings back those files whose path the choice wants. `scratch`: an existing directory on the same file system as
/// where they go, if that can be had.
///
/// # Errors
/// The archive is damaged, something else is where a file belongs, a directory is not one of the run's. What was
/// written until then stays, and may be gone on with.
pub(crate) fn restore(
    archive: &Archive,
    package: &Published,
    destination: &Destination<'_>,
    wants: &Wants<'_>,
    scratch: &Path,
) -> Result<(Index, Restored), anyhow::Error> {
    let index = index_of(archive, package, scratch)?;
    let dirs = directories(&index, destination)?;
    let scratch = Scratch::new(scratch)?;
    let files = bring(archive, package, &index, wants, &scratch)?;
    let mut done = Restored::default();
    let mut links = Vec::new();
    let mut modes = Vec::new();
    for Entry { root, path, what } in &index.entries {
        let inside = path.path();
        let Some(dir) = dirs.get(*root as usize) else { return Err(nonsense("a file is in no directory")) };
        if !is_inside(&inside) {
            return Err(nonsense("a path leads out of its directory"));
        }
        if !wants(*root, &inside) {
            continue;
        }
        let at = dir.join(&inside);
        match what {
            What::Dir { mode } => {
                make_dirs(dir, &inside)?;
                modes.push((at, *mode));
            }
            What::Link { to } => links.push((dir, inside, to.path())),
            What::File { file, mode, mtime, len } => {
                if let Some(parent) = inside.parent() {
                    make_dirs(dir, parent)?;
                }
                let from = files.join(place_of(*file));
                let is_outputs = *root == 0 && inside == Path::new(OUTPUTS);
                if is_outputs && begins_with(&at, &from).map_err(cannot("read", &at))?
                    || is_there(&at, *mtime, *len)?
                {
                    done.there += 1;
                    continue;
                }
                put(&from, &at, (*mode, *mtime, *len)).map_err(cannot("write", &at))?;
                done.files += 1;
                done.bytes += len;
            }
        }
    }
    // Last, so that nothing was written through one.
    for (dir, inside, to) in links {
        if let Some(parent) = inside.parent() {
            make_dirs(dir, parent)?;
        }
        let at = dir.join(&inside);
        match fs::read_link(&at) {
            Ok(there) if there == to => done.there += 1,
            _ => {
                std::os::unix::fs::symlink(&to, &at).map_err(cannot("make", &at))?;
                done.files += 1;
            }
        }
    }
    for (dir, mode) in modes {
        fs::set_permissions(&dir, Permissions::from_mode(mode & 0o777 | 0o700))
            .map_err(cannot("change", &dir))?;
    }
    done.dirs = dirs;
    Ok((index, done))
}

/// Takes the wanted files out of an archive: where they are by their names in it. Every byte is compared with its digest
/// on the way.
fn bring(
    archive: &Archive,
    package: &Published,
    index: &Index,
    wants: &Wants<'_>,
    scratch: &Scratch,
) -> Result<PathBuf, anyhow::Error> {
    let wanted = index.entries.iter().filter(|entry| wants(entry.root, &entry.path.path()));
    let names: HashSet<PathBuf> = wanted
        .filter_map(|entry| match entry.what {
            What::File { file, .. } => Some(place_of(file)),
            What::Link { .. } | What::Dir { .. } => None,
        })
        .collect();
    let to = scratch.path().join("tree");
    archive
        .sources()
        .pick(package, |packed: &Packed| names.contains(packed.path.as_path()), &to)
        .map_err(complain)?;
    Ok(to)
}

/// What a file is called in an archive.
pub(super) fn place_of(file: u32) -> PathBuf {
    Path::new(FILES).join((file / 1_000).to_string()).join((file % 1_000).to_string())
}

/// The index of an archive, which is compared with its digests.
///
/// # Errors
/// It is damaged, or there is none.
pub(super) fn index_of(
    archive: &Archive,
    package: &Published,
    scratch: &Path,
) -> Result<Index, anyhow::Error> {
    let scratch = Scratch::new(scratch)?;
    let tree = scratch.path().join("index");
    let is_index =
        |packed: &Packed| packed.path.as_path() == Path::new(INDEX) && packed.what.len() <= INDEX_BYTES_MAX;
    archive.sources().pick(package, is_index, &tree).map_err(complain)?;
    read_index(&tree)
}

fn read_index(tree: &Path) -> Result<Index, anyhow::Error> {
    let path = tree.join(INDEX);
    if !fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()) {
        return Err(nonsense("it has no index"));
    }
    let text = fs::read(&path).map_err(cannot("read", &path))?;
    let index: Index = serde_json::from_slice(&text)
        .map_err(|e| Complaint::lab("the archive is none of a run: its index cannot be read").because(e))?;
    if index.version > VERSION {
        return Err(Complaint::lab("the archive was written by a newer Muster").into());
    }
    Ok(index)
}

/// Where each directory of the archive goes.
fn directories(index: &Index, destination: &Destination<'_>) -> Result<Vec<PathBuf>, anyhow::Error> {
    let own = |nth: usize, saved: &PathBuf| match destination {
        Destination::There([own, ..]) if nth == 0 => Ok(own.clone()),
        Destination::There(known) if known.contains(saved) => Ok(saved.clone()),
        Destination::There(_) => {
            Err(Complaint::usage(format!("`{}` is no directory of this run here any more", saved.display()))
                .hint("`muster archive get RUN --to DIR` brings its files elsewhere")
                .into())
        }
        Destination::Below(dir) if nth == 0 => Ok((*dir).to_owned()),
        Destination::Below(dir) => Ok(dir.join(format!("disk-{nth}"))),
    };
    index.roots.iter().enumerate().map(|(nth, saved)| own(nth, saved)).collect()
}

/// Makes directories one by one, and refuses what is not one.
fn make_dirs(root: &Path, inside: &Path) -> Result<(), anyhow::Error> {
    fs::create_dir_all(root).map_err(cannot("make", root))?;
    let mut path = root.to_owned();
    for part in inside.components() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(in_the_way(&path)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&path).map_err(cannot("make", &path))?;
            }
            Err(e) => return Err(cannot("look at", &path)(e).into()),
        }
    }
    Ok(())
}

/// Whether the file is there as it was saved.
fn is_there(at: &Path, mtime: i64, len: u64) -> Result<bool, anyhow::Error> {
    match fs::symlink_metadata(at) {
        Ok(meta) if meta.is_file() && (meta.mtime(), meta.len()) == (mtime, len) => Ok(true),
        Ok(_) => Err(in_the_way(at)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(cannot("look at", at)(e).into()),
    }
}

/// Whether a file is there that begins with what was saved: only ever added to since.
fn begins_with(at: &Path, saved: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(at) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    }
    if !fs::symlink_metadata(saved)?.is_file() {
        return Ok(false);
    }
    let (mut there, mut saved) = (File::open(at)?, File::open(saved)?);
    let (mut some, mut same) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let n = saved.read(&mut some)?;
        if n == 0 {
            return Ok(true);
        }
        match there.read_exact(&mut same[..n]) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        if some[..n] != same[..n] {
            return Ok(false);
        }
    }
}

/// Puts a file in its place, whole or not at all, with this mode and time. It has this length.
fn put(from: &Path, at: &Path, (mode, mtime, len): (u32, i64, u64)) -> io::Result<()> {
    if !fs::symlink_metadata(from).is_ok_and(|meta| meta.is_file() && meta.len() == len) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the archive has no such file"));
    }
    let mut name = at.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    let new = at.with_file_name(name);
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // What was taken out is this call's own, and gone after it.
    if fs::rename(from, &new).is_err() {
        fs::copy(from, &new)?;
    }
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    let time = match u64::try_from(mtime) {
        Ok(after) => UNIX_EPOCH + Duration::from_secs(after),
        Err(_) => UNIX_EPOCH,
    };
    File::options().write(true).open(&new)?.set_times(FileTimes::new().set_modified(time))?;
    // Whoever made the archive does not say who may become whom here.
    fs::set_permissions(&new, Permissions::from_mode(mode & 0o777))?;
    fs::rename(&new, at)
}

fn nonsense(what: &str) -> anyhow::Error {
    Complaint::lab(format!("the archive is none of a run: {what}")).into()
}

fn in_the_way(path: &Path) -> anyhow::Error {
    Complaint::usage(format!("`{}` is in the way, and is not as it was saved", path.display()))
        .hint("nothing is written over; move it aside, or `muster archive get RUN --to DIR`")
        .into()
}

fn cannot<'a>(doing: &'a str, path: &'a Path) -> impl Fn(io::Error) -> Complaint + use<'a> {
    move |e| Complaint::lab(format!("cannot {doing} `{}`", path.display())).because(e)
}
