//! Puts packages into a repository, and takes them out. What is listed is there, whole, at every moment: files
//! come before their entry and go after it.
//!
//! A repository is a directory, here, behind `ssh`, or behind a web server that takes files.

use super::checksums::{self, Checksums, Md5};
use super::elsewhere::Elsewhere;
use super::files;
use super::get::{BYTES_MAX, GetError, Limits, get};
use super::location::Location;
use super::name::is_publishable;
use super::revoked::{self, Revoked};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// Why a repository is not changed.
#[derive(Debug, Error)]
pub enum PublishError {
    /// What it is behind takes no files, from nobody or not from us.
    #[error("`{repository}` cannot be written: {why}")]
    Refused {
        /// Where.
        repository: String,
        /// What it says.
        why: io::Error,
    },
    /// Only somebody on that host can.
    #[error("`{0}` is on another host: do this there")]
    Elsewhere(String),
    /// A file that has no place in a repository.
    #[error(
        "`{0}` cannot be published: a name has letters, digits, `.`, `_`, `+`, `-`, `~` and `^`, and neither `.` \
         nor `-` at its beginning"
    )]
    Name(String),
    /// The disk would be full.
    #[error("`{repository}` has {free} bytes free, and {needed} are needed")]
    NoRoom {
        /// Where.
        repository: String,
        /// How many are.
        free: u64,
        /// How many should be.
        needed: u64,
    },
    /// There is no such file in it.
    #[error("`{repository}` has no `{file}`, neither as a file nor in its list")]
    Absent {
        /// Where.
        repository: String,
        /// What.
        file: String,
    },
    /// The system, or the host, says no.
    #[error("`{path}`: {why}")]
    Io {
        /// What was used.
        path: String,
        /// What happened.
        #[source]
        why: io::Error,
    },
}

/// What became of a file that was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was not there, or was another.
    Moved,
    /// It was there already.
    Unchanged,
}

/// A file that was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its name.
    pub file: String,
    /// What it was, if it was listed.
    pub md5: Option<Md5>,
    /// How long it was, where that is known.
    pub bytes: u64,
}

/// Something that is not as the list says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
}

fn io_at<P: AsRef<Path>>(path: P) -> impl FnOnce(io::Error) -> PublishError {
    move |why| PublishError::Io { path: path.as_ref().display().to_string(), why }
}

fn there(target: &Location) -> impl FnOnce(io::Error) -> PublishError {
    let path = target.to_string();
    move |why| match why.kind() {
        io::ErrorKind::Unsupported => PublishError::Refused { repository: path, why },
        _ => PublishError::Io { path, why },
    }
}

/// Publishes files under their own names, and says for each whether it was moved. So many bytes are to stay
/// free.
///
/// # Errors
/// [`PublishError`]; the list is as it was then.
pub fn upload(
    target: &Location,
    files: &[PathBuf],
    keep_free: u64,
    limits: &Limits,
) -> Result<Vec<(String, Put)>, PublishError> {
    let mut ours = Vec::new();
    for path in files {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        if !is_publishable(&name) {
            return Err(PublishError::Name(path.display().to_string()));
        }
        let file = File::open(path).map_err(io_at(path))?;
        let bytes = file.metadata().map_err(io_at(path))?.len();
        let md5 = Md5::of_reader(&file).map_err(io_at(path))?;
        ours.push(Ours { name, path: path.clone(), file, md5, bytes });
    }
    match target {
        Location::Dir(dir) => upload_to_dir(dir, &mut ours, keep_free),
        Location::Http(place) => upload_elsewhere(target, place, &ours, keep_free, limits),
        Location::Ssh(place) => upload_elsewhere(target, place, &ours, keep_free, limits),
    }
}

fn upload_elsewhere(
    target: &Location,
    place: &dyn Elsewhere,
    ours: &[Ours],
    keep_free: u64,
    limits: &Limits,
) -> Result<Vec<(String, Put)>, PublishError> {
    if let Some(free) = place.free_bytes(limits).map_err(there(target))? {
        check_room(target, free, ours, keep_free)?;
    }
    let listed = place.list(limits).map_err(there(target))?;
    let mut done = Vec::new();
    for Ours { name, file, md5, bytes, .. } in ours {
        let is_there =
            listed.get(name) == Some(*md5) && matches!(place.has(name, *md5, *bytes, limits), Ok(true));
        if !is_there {
            place.put(name, file, *md5, limits).map_err(there(target))?;
        }
        done.push((name.clone(), if is_there { Put::Unchanged } else { Put::Moved }));
    }
    place.update(limits, &mut |sums| enter(sums, ours)).map_err(there(target))?;
    Ok(done)
}

/// A file that is to be published.
struct Ours {
    name: String,
    path: PathBuf,
    file: File,
    md5: Md5,
    bytes: u64,
}

fn enter(sums: &mut Checksums, ours: &[Ours]) {
    for our in ours {
        sums.insert(&our.name, our.md5);
    }
}

fn check_room(target: &Location, free: u64, ours: &[Ours], keep_free: u64) -> Result<(), PublishError> {
    let needed = ours.iter().map(|o| o.bytes).sum::<u64>().saturating_add(keep_free);
    let repository = target.to_string();
    if free < needed { Err(PublishError::NoRoom { repository, free, needed }) } else { Ok(()) }
}

fn upload_to_dir(dir: &Path, ours: &mut [Ours], keep_free: u64) -> Result<Vec<(String, Put)>, PublishError> {
    fs::create_dir_all(dir).map_err(io_at(dir))?;
    check_room(&Location::Dir(dir.to_owned()), free_bytes(dir).map_err(io_at(dir))?, ours, keep_free)?;
    let mut ready = Vec::new();
    for our in ours.iter_mut() {
        let to = dir.join(&our.name);
        let is_there = match File::open(&to) {
            Ok(file) => Md5::of_reader(file).map_err(io_at(&to))? == our.md5,
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(io_at(&to)(e)),
        };
        if !is_there {
            let mut partial = files::partial(dir, &to).map_err(io_at(&to))?;
            our.file.seek(SeekFrom::Start(0)).map_err(io_at(&our.path))?;
            io::copy(&mut our.file, partial.as_file_mut()).map_err(io_at(&to))?;
            ready.push((to, partial));
        }
    }
    let moved: BTreeSet<PathBuf> = ready.iter().map(|(to, _)| to.clone()).collect();
    update(&hold(dir)?, |sums| {
        for (to, partial) in ready {
            files::publish(partial, &to)?;
        }
        enter(sums, ours);
        Ok(())
    })?;
    let became = |o: &Ours| if moved.contains(&dir.join(&o.name)) { Put::Moved } else { Put::Unchanged };
    Ok(ours.iter().map(|o| (o.name.clone(), became(o))).collect())
}

/// A directory that nobody else who takes the same lock writes to: `flock DIRECTORY packager …` does.
struct Held<'a> {
    dir: &'a Path,
    _lock: File,
}

fn hold(dir: &Path) -> Result<Held<'_>, PublishError> {
    Ok(Held { dir, _lock: files::lock_dir(dir).map_err(io_at(dir))? })
}

/// Changes the list of a directory. Whoever reads it has the old one or the new one.
fn update<R>(
    held: &Held<'_>,
    change: impl FnOnce(&mut Checksums) -> io::Result<R>,
) -> Result<R, PublishError> {
    let dir = held.dir;
    let path = dir.join(checksums::FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(io_at(&path)(e)),
    };
    // What is no list is not overwritten: it may be anything of somebody's.
    let (mut sums, _) = Checksums::read(&bytes).map_err(io::Error::other).map_err(io_at(&path))?;
    let result = change(&mut sums).map_err(io_at(dir))?;
    let text = sums.write();
    if text.as_bytes() != bytes {
        files::write(&path, text.as_bytes()).map_err(io_at(&path))?;
    }
    Ok(result)
}

/// How many bytes may be written to the file system of a directory.
pub(super) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(dir)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Takes a file out of a repository: first its entry, then itself. With `revoke`, devices are told not to use
/// the version that they may have.
///
/// # Errors
/// [`PublishError`]; there is no such file.
pub fn remove(target: &Location, file: &str, revoke: bool, limits: &Limits) -> Result<Removed, PublishError> {
    if !is_publishable(file) {
        return Err(PublishError::Name(file.to_owned()));
    }
    let absent = || PublishError::Absent { repository: target.to_string(), file: file.to_owned() };
    match target {
        Location::Http(_) | Location::Ssh(_) if revoke => Err(PublishError::Elsewhere(target.to_string())),
        Location::Http(place) => remove_elsewhere(target, place, file, limits)?.ok_or_else(absent),
        Location::Ssh(place) => remove_elsewhere(target, place, file, limits)?.ok_or_else(absent),
        Location::Dir(dir) => {
            let path = dir.join(file);
            let held = hold(dir)?;
            let removed = update(&held, |sums| {
                let md5 = sums.remove(file);
                if revoke && let Some(md5) = md5 {
                    let list = dir.join(revoked::FILE);
                    let mut revoked = Revoked::read(&fs::read(&list).unwrap_or_default());
                    revoked.insert(md5, file);
                    files::write(&list, revoked.write().as_bytes())?;
                }
                Ok(md5)
            })?;
            let bytes = fs::metadata(&path).map(|m| m.len());
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound && removed.is_some() => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(absent()),
                Err(e) => return Err(io_at(&path)(e)),
            }
            Ok(Removed { file: file.to_owned(), md5: removed, bytes: bytes.unwrap_or(0) })
        }
    }
}

/// `None`: it was neither there nor listed.
fn remove_elsewhere(
    target: &Location,
    place: &dyn Elsewhere,
    file: &str,
    limits: &Limits,
) -> Result<Option<Removed>, PublishError> {
    let mut md5 = None;
    place.update(limits, &mut |sums| md5 = sums.remove(file).or(md5)).map_err(there(target))?;
    let was_there = place.take_away(file, limits).map_err(there(target))?;
    let removed = Removed { file: file.to_owned(), md5, bytes: 0 };
    Ok((removed.md5.is_some() || was_there).then_some(removed))
}

/// Takes what was published longer ago than this out of a directory, but for what is to be kept. When a file
/// was last read says nothing: where that is not recorded it would be everything.
///
/// # Errors
/// [`PublishError`]
pub fn prune(
    target: &Location,
    older_than: Duration,
    keep: &BTreeSet<String>,
    dry_run: bool,
) -> Result<Vec<Removed>, PublishError> {
    let dir = target.dir().ok_or_else(|| PublishError::Elsewhere(target.to_string()))?;
    let held = hold(dir)?;
    let now = SystemTime::now();
    let mut old = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_at(dir))? {
        let entry = entry.map_err(io_at(dir))?;
        let meta = entry.metadata().map_err(io_at(entry.path()))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let age = meta.modified().ok().and_then(|at| now.duration_since(at).ok());
        let ours = is_publishable(&name) && name != revoked::FILE && !keep.contains(&name);
        if meta.is_file() && ours && age.is_some_and(|age| age > older_than) {
            old.push((name, meta.len()));
        }
    }
    old.sort();
    let removed = update(&held, |sums| {
        let mut entry = |file: &str| if dry_run { sums.get(file) } else { sums.remove(file) };
        Ok(old
            .into_iter()
            .map(|(file, bytes)| Removed { md5: entry(&file), file, bytes })
            .collect::<Vec<_>>())
    })?;
    for Removed { file, .. } in removed.iter().filter(|_| !dry_run) {
        let path = dir.join(file);
        fs::remove_file(&path).map_err(io_at(path))?;
    }
    Ok(removed)
}

/// Reads every file that is listed, and says which is not as it should be; in a directory also what is there
/// and not listed.
///
/// # Errors
/// The repository does not answer.
pub fn verify(target: &Location, sums: &Checksums, limits: &Limits) -> Result<Vec<Damage>, PublishError> {
    let mut wrong = Vec::new();
    for (file, published) in sums.iter() {
        let mut to = tempfile::tempfile().map_err(there(target))?;
        let why = match get(target, file, &mut to, BYTES_MAX, None, limits) {
            Ok(_) => {
                let measured = to.seek(SeekFrom::Start(0)).and_then(|_| Md5::of_reader(to));
                match measured.map_err(there(target))? {
                    md5 if md5 == published => continue,
                    md5 => format!("it is {md5}, and the list says {published}"),
                }
            }
            Err(GetError::Unreachable(why)) => return Err(there(target)(io::Error::other(why))),
            Err(GetError::Here(why)) => return Err(there(target)(why)),
            Err(why) => why.to_string(),
        };
        wrong.push(Damage { file: file.to_owned(), why });
    }
    if let Some(dir) = target.dir() {
        for entry in fs::read_dir(dir).map_err(io_at(dir))? {
            let entry = entry.map_err(io_at(dir))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_file = entry.file_type().is_ok_and(|t| t.is_file());
            if is_file && is_publishable(&name) && name != revoked::FILE && sums.get(&name).is_none() {
                wrong.push(Damage { file: name, why: "it is there and not listed".to_owned() });
            }
        }
    }
    wrong.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(wrong)
}
