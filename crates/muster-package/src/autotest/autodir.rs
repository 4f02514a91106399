//! Installs packages into an *autodir*, the directory where an Autotest client is and looks for them.
//!
//! ```text
//! AUTODIR/            the client        .checksum            the MD5 of what is installed, for Autotest
//!   packages/         the cache         .NAME-TYPE-lock      one install of a package at a time
//!   tests/NAME/       a test            .muster/installed/   what was installed, file by file
//!   deps/NAME/        …                 .muster/staging/     what is being unpacked
//!   profilers/NAME/
//! ```
//!
//! What to do is `muster_core::install`'s; here it is done. What is unpacked gets into its place in one step, and
//! only when it is whole and on the disk; until then, and when anything fails, what was there stays.

use super::cache::{Cache, Measured};
use super::checksums::Md5;
use super::files;
use super::name::{Kind, PackageName, UrlTest};
use super::publish::free_bytes;
use super::sources::{Candidate, FetchError, Fetched, NotFetched, Sources};
use super::tree::{self, TreeError};
use super::unpack::{BYTES_MAX, UnpackError, unpack};
use muster_core::digest::Digest;
use muster_core::install::{self, Action, Have, Otherwise, Place, Want};
use rustix::fs::{CWD, RenameFlags, StatVfsMountFlags, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The stamp that Autotest looks at.
const STAMP: &str = ".checksum";
/// What a new client leaves where it is.
const KEPT: [&str; 5] = [".muster", "packages", "packages.checksum", "results", "result_tools"];

/// A directory where an Autotest client is, or will be.
#[derive(Debug)]
pub struct Autodir {
    root: PathBuf,
    cache: Cache,
}

/// How something is to be installed.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is done where no repository has it.
    pub otherwise: Otherwise,
    /// Only this version, whatever the repositories have.
    pub only: Option<Md5>,
    /// Files of the cache that are not given up to make room.
    pub keep: BTreeSet<String>,
    /// Most bytes that are unpacked.
    pub bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { otherwise: Otherwise::KeepLastGood, only: None, keep: BTreeSet::new(), bytes_max: BYTES_MAX }
    }
}

/// A package that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Where it is.
    pub dir: PathBuf,
    /// What Autotest knows it by.
    pub md5: Md5,
    /// What Muster knows its bytes by.
    pub digest: Digest,
    /// Where it came from.
    pub repository: String,
    /// How it came to be there.
    pub how: How,
    /// Bytes that were fetched for it.
    pub moved_bytes: u64,
    /// Where Autotest would find another test of this name, and may take that one.
    pub shadows: Vec<PathBuf>,
}

/// How a package came to be where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It was put there now.
    New,
    /// It was there, each file as it was installed.
    Unchanged,
    /// It is an earlier version that stays in use, and why the wanted one could not be had.
    LastGood(String),
}

/// Why a package cannot be used. What was installed before is still there.
#[derive(Debug, Error)]
pub enum InstallError {
    /// No repository has it whole.
    #[error(transparent)]
    NotFetched(#[from] NotFetched),
    /// The system says no.
    #[error("`{}`: {why}", path.display())]
    Io {
        /// What was used.
        path: PathBuf,
        /// What happened.
        #[source]
        why: io::Error,
    },
    /// There is not enough room.
    #[error("{lacking} more bytes must be free on the disk of `{}`", dir.display())]
    NoRoom {
        /// Where.
        dir: PathBuf,
        /// How many are lacking.
        lacking: u64,
    },
}

/// Why one candidate could not be installed.
enum Failed {
    /// The next repository may have it whole.
    Theirs(String),
    /// Every repository's would fail.
    Here(InstallError),
}

impl From<InstallError> for Failed {
    fn from(error: InstallError) -> Self {
        Self::Here(error)
    }
}

/// What was installed, and where it came from.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    md5: Md5,
    digest: Digest,
    repository: String,
    /// Each member, as it was installed.
    members: BTreeMap<String, String>,
}

/// What is wanted where.
struct Target {
    file: String,
    dir: PathBuf,
    /// Unique among the packages of an autodir, and a plain name.
    key: String,
    kind: Kind,
    /// The name under which Python imports it.
    module: Option<String>,
}

impl Autodir {
    /// The autodir at this path, which is made.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(root: &Path) -> Result<Self, InstallError> {
        let failed = |why| InstallError::Io { path: root.to_owned(), why };
        fs::create_dir_all(root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        for dir in [".muster/installed", ".muster/staging"] {
            fs::create_dir_all(root.join(dir)).map_err(failed)?;
        }
        Ok(Self { cache: Cache::open(&root.join("packages")).map_err(failed)?, root })
    }

    /// The packages that were fetched.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Whether programs in it cannot be executed.
    ///
    /// # Errors
    /// The system does not say.
    pub fn forbids_programs(&self) -> io::Result<bool> {
        forbids_programs(&self.root)
    }

    /// Where a package is installed.
    pub fn dir(&self, name: &PackageName) -> PathBuf {
        match name.kind() {
            Kind::Client => self.root.clone(),
            Kind::Test => self.root.join("tests").join(name.name()),
            Kind::Dep => self.root.join("deps").join(name.name()),
            Kind::Profiler => self.root.join("profilers").join(name.name()),
        }
    }

    /// Installs a package, where it is not what the first repository that has it says it is.
    ///
    /// # Errors
    /// [`InstallError`]; what was installed before is as it was.
    pub fn install(
        &self,
        name: &PackageName,
        sources: &mut Sources,
        options: &Options,
    ) -> Result<Installed, InstallError> {
        let target = Target {
            file: name.file(),
            dir: self.dir(name),
            key: format!("{}-{}", name.name(), name.kind().word()),
            kind: name.kind(),
            module: None,
        };
        self.install_target(&target, sources, options)
    }

    /// Installs a test that is named by its URL; `sources` is the place that it names.
    ///
    /// # Errors
    /// [`InstallError`]; what was installed before is as it was.
    pub fn install_url(
        &self,
        test: &UrlTest,
        sources: &mut Sources,
        options: &Options,
    ) -> Result<Installed, InstallError> {
        let target = Target {
            file: test.url.rsplit('/').next().unwrap_or_default().to_owned(),
            dir: self.root.join("tests").join(test.dir()),
            key: format!("{}.{}-url", test.group, test.name),
            kind: Kind::Test,
            module: Some(test.name.clone()),
        };
        self.install_target(&target, sources, options)
    }

    fn install_target(
        &self,
        target: &Target,
        sources: &mut Sources,
        options: &Options,
    ) -> Result<Installed, InstallError> {
        let lock = self.root.join(format!(".{}-lock", target.key));
        let _held = files::lock_file(&lock).map_err(|why| InstallError::Io { path: lock.clone(), why })?;
        self.clear_staging(target)?;
        let (candidates, mut tried) = sources.candidates(&target.file);
        for candidate in candidates {
            if options.only.is_some() && candidate.published.is_some() && candidate.published != options.only
            {
                let why = "it has another version than the one that is asked for";
                tried.push(sources.tried(candidate.at, why));
                continue;
            }
            match self.install_from(&candidate, target, sources, options) {
                Ok(installed) => return Ok(installed),
                Err(Failed::Theirs(why)) => tried.push(sources.tried(candidate.at, why)),
                Err(Failed::Here(error)) => return Err(error),
            }
        }
        let not_fetched = NotFetched { file: target.file.clone(), tried };
        self.last_good(target, sources, options, not_fetched)
    }

    /// Carries out one plan after the other, until there is nothing to do.
    fn install_from(
        &self,
        candidate: &Candidate,
        target: &Target,
        sources: &mut Sources,
        options: &Options,
    ) -> Result<Installed, Failed> {
        let mut want = want(target, candidate.published, options);
        let (mut have, record) = self.look(target, &mut want, sources)?;
        let mut fetched: Option<Fetched> = None;
        loop {
            let actions = install::plan(&want, &have);
            if actions.is_empty() {
                let record = record.expect("what is whole has a record");
                return Ok(self.installed(target, &record, How::Unchanged, fetched.as_ref()));
            }
            for action in actions {
                match action {
                    Action::MakeRoom { bytes } => self.make_room(target, bytes, options)?,
                    Action::Fetch { .. } => {
                        let got = self.fetch(candidate, target, sources)?;
                        if options.only.is_some_and(|only| only != got.is.md5) {
                            return Err(Failed::Theirs(format!(
                                "it has {}, which is another version",
                                got.is.md5
                            )));
                        }
                        want.digest = Some(got.is.md5);
                        want.packed_bytes = 0;
                        have.cached = Some(got.is.md5);
                        fetched = Some(got);
                    }
                    Action::Unpack { .. } => {
                        let got = match &fetched {
                            Some(got) => got.clone(),
                            None => self.fetch(candidate, target, sources)?,
                        };
                        self.unpack(target, &got, options)?;
                        fetched = Some(got);
                    }
                    Action::Swap { .. } => {
                        let got = fetched.as_ref().expect("it was unpacked");
                        let record = self.swap(target, got)?;
                        return Ok(self.installed(target, &record, How::New, Some(got)));
                    }
                }
            }
        }
    }

    /// What is there, measured.
    fn look(
        &self,
        target: &Target,
        want: &mut Want<Md5>,
        sources: &mut Sources,
    ) -> Result<(Have<Md5>, Option<Record>), InstallError> {
        let failed = |why| InstallError::Io { path: self.cache.path(&target.file), why };
        let cached = self.cache.measure(&target.file).map_err(failed)?;
        // It unpacks to no less.
        want.unpacked_bytes = cached.map_or(0, |is: Measured| is.bytes);
        let (installed, record) = self.look_at_place(target)?;
        let installed = match installed {
            install::Installed::Whole(md5) if sources.is_revoked(md5) => install::Installed::Altered(md5),
            other => other,
        };
        let free_bytes = free_bytes(&self.root).ok();
        Ok((Have { cached: cached.map(|is| is.md5), installed, free_bytes }, record))
    }

    fn look_at_place(
        &self,
        target: &Target,
    ) -> Result<(install::Installed<Md5>, Option<Record>), InstallError> {
        let failed = |path: &Path, why| InstallError::Io { path: path.to_owned(), why };
        match fs::symlink_metadata(&target.dir) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Ok((install::Installed::Unrecorded, None)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((install::Installed::Absent, None)),
            Err(e) => return Err(failed(&target.dir, e)),
        }
        let record = fs::read(self.record_path(target)).ok();
        let record: Option<Record> = record.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let stamp = fs::read_to_string(target.dir.join(STAMP)).ok();
        let stamp: Option<Md5> = stamp.and_then(|text| text.trim().parse().ok());
        // Where the two do not agree, somebody else installed something, or was killed doing so.
        let Some(record) = record.filter(|record| Some(record.md5) == stamp) else {
            return Ok((install::Installed::Unrecorded, None));
        };
        let md5 = record.md5;
        // What is not readable, or belongs in no package, was not installed by us.
        let is_whole = tree::is_whole(&target.dir, &record.members).unwrap_or(false);
        let installed =
            if is_whole { install::Installed::Whole(md5) } else { install::Installed::Altered(md5) };
        Ok((installed, Some(record)))
    }

    fn fetch(
        &self,
        candidate: &Candidate,
        target: &Target,
        sources: &mut Sources,
    ) -> Result<Fetched, Failed> {
        sources.fetch_from(candidate, &target.file, &self.cache).map_err(|error| match error {
            FetchError::Here(why) => {
                Failed::Here(InstallError::Io { path: self.cache.path(&target.file), why })
            }
            error if error.is_theirs() => Failed::Theirs(error.to_string()),
            error => {
                let why = io::Error::other(error);
                Failed::Here(InstallError::Io { path: self.cache.path(&target.file), why })
            }
        })
    }

    fn make_room(&self, target: &Target, bytes: u64, options: &Options) -> Result<(), InstallError> {
        let mut keep = options.keep.clone();
        keep.insert(target.file.clone());
        let freed = self.cache.evict(bytes, &keep);
        let freed = freed.map_err(|why| InstallError::Io { path: self.root.clone(), why })?;
        if freed < bytes {
            return Err(InstallError::NoRoom { dir: self.root.clone(), lacking: bytes - freed });
        }
        Ok(())
    }

    fn staging(&self, target: &Target) -> PathBuf {
        self.root.join(".muster/staging").join(&target.key)
    }

    fn record_path(&self, target: &Target) -> PathBuf {
        self.root.join(".muster/installed").join(format!("{}.json", target.key))
    }

    /// What an install that was killed has left, old or new: neither is in its place.
    fn clear_staging(&self, target: &Target) -> Result<(), InstallError> {
        let staging = self.staging(target);
        for path in [aside(&staging), staging] {
            remove_tree(&path).map_err(|why| InstallError::Io { path, why })?;
        }
        Ok(())
    }

    fn unpack(&self, target: &Target, got: &Fetched, options: &Options) -> Result<(), Failed> {
        let staging = self.staging(target);
        let done = self.unpack_to(&staging, target, got, options);
        if done.is_err() {
            // The disk may be full of it. What cannot be removed now is removed at the next install.
            drop(remove_tree(&staging));
        }
        if let Err(Failed::Theirs(_)) = done {
            // It is what was published, and cannot be used: asking for it again may bring another.
            drop(self.cache.remove(&target.file));
        }
        done
    }

    fn unpack_to(
        &self,
        staging: &Path,
        target: &Target,
        got: &Fetched,
        options: &Options,
    ) -> Result<(), Failed> {
        let here = |path: &Path, why| Failed::Here(InstallError::Io { path: path.to_owned(), why });
        fs::create_dir(staging).map_err(|e| here(staging, e))?;
        let path = self.cache.path(&target.file);
        let file = File::open(&path).map_err(|e| here(&path, e))?;
        match unpack(BufReader::with_capacity(1 << 16, file), staging, options.bytes_max) {
            Ok(_) => {}
            Err(UnpackError::Write { path, why }) => return Err(here(&path, why)),
            Err(why) => return Err(Failed::Theirs(format!("the package {why}"))),
        }
        let done = (|| {
            if let Some(module) = &target.module
                && !staging.join("__init__.py").exists()
            {
                symlink(format!("{module}.py"), staging.join("__init__.py"))?;
            }
            let stamp = staging.join(STAMP);
            if stamp.is_dir() {
                return Err(io::Error::other("it has a directory of the name of the stamp"));
            }
            fs::write(stamp, format!("{}\n", got.is.md5))?;
            fs::set_permissions(staging, fs::Permissions::from_mode(0o755))?;
            // What gets into its place is on the disk.
            Ok(rustix::fs::syncfs(File::open(staging)?)?)
        })();
        done.map_err(|e| here(staging, e))
    }

    /// Puts what was unpacked into its place.
    fn swap(&self, target: &Target, got: &Fetched) -> Result<Record, InstallError> {
        let staging = self.staging(target);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |why| InstallError::Io { path, why }
        };
        let members = tree::listing(&staging).map_err(|error| match error {
            TreeError::Io { path, why } => InstallError::Io { path, why },
            other => InstallError::Io { path: staging.clone(), why: io::Error::other(other) },
        })?;
        let record =
            Record { md5: got.is.md5, digest: got.is.digest, repository: got.repository.clone(), members };
        match target.kind {
            Kind::Client => self.swap_client(&staging).map_err(failed(&self.root))?,
            Kind::Test | Kind::Dep | Kind::Profiler => {
                let parent = target.dir.parent().expect("it is below the root");
                fs::create_dir_all(parent).map_err(failed(parent))?;
                let moved = put(&staging, &target.dir);
                moved.and_then(|()| files::sync_dir(parent)).map_err(failed(&target.dir))?;
            }
        }
        let path = self.record_path(target);
        let text = serde_json::to_vec(&record).map_err(io::Error::from).map_err(failed(&path))?;
        files::write(&path, &text).map_err(failed(&path))?;
        // Now it is the old version that lies there.
        self.clear_staging(target)?;
        Ok(record)
    }

    /// The client is installed round what lies in its directory: what is new takes the place of the old, name
    /// by name, and the old is taken away. The stamp is gone meanwhile, so one that was killed in the middle is
    /// known for what it is. Where something fails, what was done is taken back.
    fn swap_client(&self, staging: &Path) -> io::Result<()> {
        let stays = |name: &str| KEPT.contains(&name) || name.ends_with("-lock") && name.starts_with('.');
        let names = |dir: &Path| -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(dir)? {
                let name = entry?.file_name();
                names.push(name.into_string().map_err(|_| io::Error::other("a name is not in UTF-8"))?);
            }
            Ok(names)
        };
        let new = names(staging)?;
        if let Some(name) = new.iter().find(|name| KEPT.contains(&name.as_str())) {
            return Err(io::Error::other(format!("the package has a `{name}`, which is not the client's")));
        }
        let old = names(&self.root)?;
        let stamp = self.root.join(STAMP);
        if stamp.exists() {
            fs::remove_file(&stamp)?;
        }
        let mut done: Vec<&String> = Vec::new();
        for name in new.iter().filter(|name| *name != STAMP) {
            if let Err(error) = put(&staging.join(name), &self.root.join(name)) {
                for name in done.into_iter().rev() {
                    if old.contains(name) {
                        put(&staging.join(name), &self.root.join(name))?;
                    } else {
                        fs::rename(self.root.join(name), staging.join(name))?;
                    }
                }
                return Err(error);
            }
            done.push(name);
        }
        for name in old.iter().filter(|name| !new.contains(name) && *name != STAMP && !stays(name)) {
            fs::rename(self.root.join(name), staging.join(name))?;
        }
        fs::rename(staging.join(STAMP), stamp)?;
        files::sync_dir(&self.root)
    }

    /// What may be used where no repository serves.
    fn last_good(
        &self,
        target: &Target,
        sources: &mut Sources,
        options: &Options,
        not_fetched: NotFetched,
    ) -> Result<Installed, InstallError> {
        let mut want = want(target, None, options);
        let (have, record) = self.look(target, &mut want, sources)?;
        let Some((md5, record)) = install::last_good(&want, &have).zip(record) else {
            return Err(not_fetched.into());
        };
        if options.only.is_some_and(|only| only != *md5) {
            return Err(not_fetched.into());
        }
        let how = How::LastGood(not_fetched.to_string());
        Ok(self.installed(target, &record, how, None))
    }

    fn installed(&self, target: &Target, record: &Record, how: How, got: Option<&Fetched>) -> Installed {
        let moved = got.filter(|got| got.moved);
        Installed {
            dir: target.dir.clone(),
            md5: record.md5,
            digest: record.digest,
            repository: record.repository.clone(),
            how,
            moved_bytes: moved.map_or(0, |got| got.is.bytes),
            shadows: self.shadows(target),
        }
    }

    /// Autotest looks for tests in several directories, and the last that has one wins.
    fn shadows(&self, target: &Target) -> Vec<PathBuf> {
        let (Kind::Test, None, Some(name)) = (target.kind, &target.module, target.dir.file_name()) else {
            return Vec::new();
        };
        let other = self.root.join("site_tests").join(name);
        if other.exists() { vec![other] } else { Vec::new() }
    }
}

fn want(target: &Target, digest: Option<Md5>, options: &Options) -> Want<Md5> {
    Want {
        digest,
        place: if target.kind == Kind::Client { Place::Always } else { Place::WhenOther },
        otherwise: options.otherwise,
        packed_bytes: 0,
        unpacked_bytes: 0,
    }
}

/// Whether what is in this directory cannot be executed, by how its file system is mounted.
///
/// # Errors
/// The system does not say.
pub fn forbids_programs(dir: &Path) -> io::Result<bool> {
    Ok(rustix::fs::statvfs(dir)?.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

/// Puts something into a place. What is there comes to where that was, in the same step; where a file system
/// has no such step (those over a network), there is nothing in the place for a moment.
fn put(from: &Path, place: &Path) -> io::Result<()> {
    if let Err(e) = fs::symlink_metadata(place) {
        return if e.kind() == io::ErrorKind::NotFound { fs::rename(from, place) } else { Err(e) };
    }
    match renameat_with(CWD, from, CWD, place, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            let aside = aside(from);
            fs::rename(place, &aside)?;
            if let Err(e) = fs::rename(from, place) {
                fs::rename(&aside, place)?;
                return Err(e);
            }
            fs::rename(aside, from)
        }
        done => Ok(done?),
    }
}

/// Where what is taken out of its place lies for a moment.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".muster-old");
    name.into()
}

fn remove_tree(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
