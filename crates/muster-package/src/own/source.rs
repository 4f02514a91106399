//! Where packages are had from: repositories here and elsewhere, asked in their order. One that does not
//! answer is not asked again; what one has damaged is taken from the next.

use super::about::{Reference, Wanted};
use super::address::{Address, Limits, Reach};
use super::chunk::ChunkId;
use super::error::PackageError;
use super::fetch::{self, Take, Traffic};
use super::git::GitSource;
use super::http::Http;
use super::manifest::{self, MANIFEST_BYTES_MAX, Manifest};
use super::names::{self, NAMES_BYTES_MAX, NAMES_FILE, Published};
use super::pack::{Map, TABLE_BYTES_MAX};
use super::repository::window_log;
use super::ssh::Ssh;
use muster_core::digest::Digest;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How often a map is asked for where packs are gone that it leads to.
// Limit: each time somebody packed anew meanwhile.
const MAPS_MAX: usize = 4;

/// A repository to fetch from.
#[derive(Debug)]
pub struct Source {
    address: Address,
    place: Place,
    /// It has what the one before it has: what is published there is asked for only where that does not say.
    is_mirror: bool,
    /// It did not answer.
    is_dead: AtomicBool,
    /// Bytes that came from it.
    pub(super) bytes: AtomicU64,
    /// Requests that were made of it.
    pub(super) requests: AtomicU64,
    list: OnceLock<Vec<Published>>,
}

#[derive(Debug)]
enum Place {
    Dir(PathBuf),
    Http(Http, Limits),
    Ssh(Ssh, Limits),
    Git(GitSource),
    Through(Through),
}

/// Somebody who gives the files of a repository.
struct Through {
    shown: String,
    open: Box<Open>,
}

/// Opens a file or a part of it; `None`: there is none.
type Open = dyn Fn(&str, Option<Range<u64>>) -> Result<Option<Box<dyn Read>>, NotHad> + Send + Sync;

/// Why a file is not had.
#[derive(Clone, Debug)]
pub struct NotHad {
    /// In words.
    pub why: String,
    /// Whether it may be different at the next try.
    pub may_pass: bool,
}

impl std::fmt::Debug for Through {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Source {
    /// What is at an address.
    ///
    /// # Errors
    /// There is nothing by which a web server could be known, or it is only a name.
    pub fn at(address: Address, reach: &Reach) -> Result<Self, PackageError> {
        let place = match &address {
            Address::Dir(dir) => Place::Dir(dir.clone()),
            Address::Web(url) => Place::Http(Http::new(url, reach)?, reach.limits),
            Address::Ssh(place) => Place::Ssh(Ssh::new(place.clone(), reach.limits), reach.limits),
            Address::Git(place) => Place::Git(GitSource::new(place.clone(), reach.clone())),
            Address::Named(name) => {
                let said = format!("nobody here knows how `{name}` is asked for packages");
                return Err(PackageError::Asked(said));
            }
        };
        Ok(Self::new(address, place))
    }

    /// What is in a directory.
    pub fn dir(dir: PathBuf) -> Self {
        Self::new(Address::Dir(dir.clone()), Place::Dir(dir))
    }

    /// What somebody gives, by its name and as it is shown: a file of the repository, or a part of it, of which no more
    /// than that is read.
    pub fn through(
        name: &str,
        shown: impl Into<String>,
        open: impl Fn(&str, Option<Range<u64>>) -> Result<Option<Box<dyn Read>>, NotHad> + Send + Sync + 'static,
    ) -> Self {
        let through = Through { shown: shown.into(), open: Box::new(open) };
        Self::new(Address::Named(name.to_owned()), Place::Through(through))
    }

    fn new(address: Address, place: Place) -> Self {
        Self {
            address,
            place,
            is_mirror: false,
            is_dead: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            list: OnceLock::new(),
        }
    }

    /// As it is shown to people.
    pub fn shown(&self) -> String {
        match &self.place {
            Place::Http(http, _) => format!("`{}`", http.shown),
            Place::Dir(_) | Place::Ssh(..) | Place::Git(_) => format!("`{}`", self.address),
            Place::Through(through) => through.shown.clone(),
        }
    }

    fn address(&self) -> Address {
        match &self.place {
            Place::Git(git) => Address::Git(git.pinned()),
            Place::Dir(_) | Place::Http(..) | Place::Ssh(..) | Place::Through(_) => self.address.clone(),
        }
    }

    /// How many parts are fetched at once: where each has a way to go, more than there are cores.
    pub(super) fn lanes(&self) -> usize {
        match &self.place {
            // The one connection of `ssh` is busy while the others unpack.
            Place::Dir(_) | Place::Git(_) | Place::Ssh(..) => super::parallel::threads().max(2),
            // Limit: what a web server gladly gives to one client.
            Place::Http(..) | Place::Through(_) => super::parallel::threads().clamp(4, 8),
        }
    }

    /// What is published there, oldest first.
    ///
    /// # Errors
    /// [`PackageError`]
    pub fn list(&self) -> Result<Vec<Published>, PackageError> {
        self.listed(None)
    }

    /// `wanted`: others need not be in it.
    fn listed(&self, wanted: Option<&Reference>) -> Result<Vec<Published>, PackageError> {
        if let Some(list) = self.list.get() {
            return Ok(list.clone());
        }
        if let Place::Git(git) = &self.place {
            if self.is_dead.load(Ordering::Relaxed) {
                return Err(self.was_dead());
            }
            let list = git.list(wanted);
            // A revision that is not there will not be there a moment later.
            self.is_dead.fetch_or(matches!(list, Err(PackageError::Unreachable { .. })), Ordering::Relaxed);
            return list;
        }
        let bytes = self.read(NAMES_FILE, NAMES_BYTES_MAX)?.ok_or_else(|| PackageError::Missing {
            what: format!("`{NAMES_FILE}`, which every repository has,"),
            place: self.shown(),
        })?;
        let list = names::decode(&bytes)
            .map_err(|why| PackageError::damaged(format!("`{NAMES_FILE}`"), self.shown(), why))?;
        Ok(self.list.get_or_init(|| list).clone())
    }

    /// A whole file; `None` where there is none.
    pub(super) fn read(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, PackageError> {
        self.again(name, || {
            let Some(from) = self.open(name, None)? else { return Ok(None) };
            let read = read_limited(from, max).map_err(|e| Failure::of(&e))?;
            self.bytes.fetch_add(read.len() as u64, Ordering::Relaxed);
            Ok(Some(read))
        })
    }

    /// How long it is waited for.
    pub(super) fn limits(&self) -> Limits {
        match &self.place {
            Place::Dir(_) | Place::Git(_) => Limits { tries: 1, ..Limits::default() },
            Place::Through(_) => Limits::default(),
            Place::Http(_, limits) | Place::Ssh(_, limits) => *limits,
        }
    }

    /// Tries again what may pass.
    pub(super) fn again<T>(
        &self,
        name: &str,
        mut one: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, PackageError> {
        let limits = self.limits();
        let mut pause = limits.pause;
        for attempt in 1.. {
            if self.is_dead.load(Ordering::Relaxed) {
                break;
            }
            match one() {
                Ok(done) => return Ok(done),
                Err(Failure::Ours(error)) => return Err(error),
                Err(Failure::Passing(_)) if attempt < limits.tries => {
                    std::thread::sleep(pause);
                    pause *= 4;
                }
                Err(Failure::Passing(why) | Failure::Lasting(why)) => {
                    self.is_dead.store(true, Ordering::Relaxed);
                    return Err(PackageError::Unreachable {
                        place: self.shown(),
                        why: format!("`{name}`: {why}"),
                    });
                }
            }
        }
        Err(self.was_dead())
    }

    fn was_dead(&self) -> PackageError {
        PackageError::Unreachable { place: self.shown(), why: "it did not answer before".to_owned() }
    }

    /// A file or a part of it.
    pub(super) fn open(
        &self,
        name: &str,
        part: Option<Range<u64>>,
    ) -> Result<Option<Box<dyn Read>>, Failure> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let failure = |why, may_pass| if may_pass { Failure::Passing(why) } else { Failure::Lasting(why) };
        match &self.place {
            Place::Http(http, _) => http.open(name, part).map_err(|e| failure(e.why, e.may_pass)),
            Place::Ssh(ssh, _) => ssh.open(name, part).map_err(|e| failure(e.why, e.may_pass)),
            Place::Dir(dir) => open_file(&dir.join(name), part),
            // What was not listed was not made.
            Place::Git(git) => git.dir().map_or(Ok(None), |dir| open_file(&dir.join(name), part)),
            Place::Through(through) => {
                let most = part.as_ref().map_or(u64::MAX, |part| part.end - part.start);
                let file = (through.open)(name, part).map_err(|e| failure(e.why, e.may_pass))?;
                Ok(file.map(|file| Box::new(file.take(most)) as Box<dyn Read>))
            }
        }
    }
}

fn open_file(path: &Path, part: Option<Range<u64>>) -> Result<Option<Box<dyn Read>>, Failure> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Failure::of(&e)),
    };
    let Some(part) = part else { return Ok(Some(Box::new(file))) };
    file.seek(SeekFrom::Start(part.start)).map_err(|e| Failure::of(&e))?;
    Ok(Some(Box::new(file.take(part.end - part.start))))
}

/// Why one try failed.
pub(super) enum Failure {
    /// It may be different at the next.
    Passing(String),
    /// It will not.
    Lasting(String),
    /// What was fetched cannot be used here.
    Ours(PackageError),
}

impl Failure {
    pub(super) fn of(error: &io::Error) -> Self {
        Self::Passing(error.to_string())
    }
}

/// All of it, if it is not too long.
pub(super) fn read_limited(from: impl Read, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {max} bytes")));
    }
    Ok(bytes)
}

/// A package that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is published.
    pub package: Published,
    /// Where, as it is shown.
    pub place: String,
}

/// Repositories, in the order in which they are asked.
#[derive(Debug, Default)]
pub struct Sources {
    all: Vec<Source>,
    /// What was found damaged on the way, though another had it whole.
    mended: Mutex<Vec<PackageError>>,
}

impl Sources {
    /// In this order.
    pub fn new(all: Vec<Source>) -> Self {
        Self { all, mended: Mutex::default() }
    }

    /// What is at these addresses, in this order, each of them perhaps of several mirrors (see [`Address`]).
    /// Directories are beside this one.
    ///
    /// # Errors
    /// One is no address.
    pub fn at<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        beside: &Path,
        reach: &Reach,
    ) -> Result<Self, PackageError> {
        let mut all = Vec::new();
        for text in texts {
            for (at, address) in Address::mirrors(text, beside)?.into_iter().enumerate() {
                all.push(Source { is_mirror: at > 0, ..Source::at(address, reach)? });
            }
        }
        Ok(Self::new(all))
    }

    /// These, and behind them those.
    #[must_use]
    pub fn and(mut self, mut others: Self) -> Self {
        self.all.append(&mut others.all);
        self
    }

    pub(super) fn one(source: Source) -> Self {
        Self::new(vec![source])
    }

    /// What one of these mirrors says that it has.
    fn said_by<'a>(
        &self,
        mirrors: &'a [Source],
        wanted: Option<&Reference>,
    ) -> Result<(&'a Source, Vec<Published>), PackageError> {
        let mut trouble = None;
        for source in mirrors {
            match source.listed(wanted) {
                Ok(list) => {
                    self.tell(trouble);
                    return Ok((source, list));
                }
                Err(error) => drop(trouble.get_or_insert(error)),
            }
        }
        Err(trouble.expect("there is one at least"))
    }

    fn repositories(&self) -> impl Iterator<Item = &[Source]> {
        self.all.chunk_by(|_, next| next.is_mirror)
    }

    /// The addresses, as others are to be told them: what moves on (a branch) stands where it was found.
    pub fn addresses(&self) -> Vec<String> {
        let one = |mirrors: &[Source]| {
            mirrors.iter().map(|s| s.address().to_string()).collect::<Vec<_>>().join("|")
        };
        self.repositories().map(one).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What was found damaged or did not answer, so that another was asked.
    pub fn troubles(&self) -> Vec<String> {
        self.mended.lock().unwrap_or_else(PoisonError::into_inner).iter().map(ToString::to_string).collect()
    }

    /// What was moved until now.
    pub fn traffic(&self) -> Traffic {
        let sum = |count: fn(&Source) -> &AtomicU64| {
            self.all.iter().map(|s| count(s).load(Ordering::Relaxed)).sum()
        };
        Traffic { bytes: sum(|s| &s.bytes), requests: sum(|s| &s.requests) }
    }

    /// The same of each of them, as it is shown.
    pub fn traffic_of_each(&self) -> Vec<(String, Traffic)> {
        let of = |source: &Source| {
            let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
            (source.shown(), Traffic { bytes: count(&source.bytes), requests: count(&source.requests) })
        };
        self.all.iter().map(of).collect()
    }

    /// All that is published in any of them, with where.
    ///
    /// # Errors
    /// The first that none of them can say.
    pub fn list(&self) -> Result<Vec<Found>, PackageError> {
        let mut all = Vec::new();
        for mirrors in self.repositories() {
            let (source, list) = self.said_by(mirrors, None)?;
            let place = source.shown();
            all.extend(list.into_iter().map(|package| Found { package, place: place.clone() }));
        }
        Ok(all)
    }

    /// Finds a package: the newest that fits, in the first repository that has any.
    ///
    /// # Errors
    /// There is none, or nobody answers.
    pub fn find(
        &self,
        wanted: &Reference,
        fits: &dyn Fn(&str) -> Result<bool, String>,
    ) -> Result<Found, PackageError> {
        let (mut near, mut trouble) = (None, None);
        for mirrors in self.repositories() {
            let (source, list) = match self.said_by(mirrors, Some(wanted)) {
                Ok(said) => said,
                Err(error) => {
                    trouble.get_or_insert(error);
                    continue;
                }
            };
            for package in list.into_iter().rev() {
                if !package.is(wanted) {
                    if package.kind == wanted.kind && package.name == wanted.name {
                        near.get_or_insert_with(|| format!("; there is `{}`", package.title()));
                    }
                    continue;
                }
                // Who asks for exactly this one means it.
                let is_exact = matches!(wanted.wanted, Wanted::Exactly(_));
                if package.platform.is_empty()
                    || is_exact
                    || fits(&package.platform).map_err(|why| {
                        let title = package.title();
                        PackageError::damaged(format!("the platform of `{title}`"), source.shown(), why)
                    })?
                {
                    self.tell(trouble);
                    return Ok(Found { package, place: source.shown() });
                }
                near.get_or_insert_with(|| format!("; `{}` is for `{}`", package.title(), package.platform));
            }
        }
        if let Some(error) = trouble {
            return Err(error);
        }
        let places: Vec<_> = self.all.iter().map(Source::shown).collect();
        let place = if places.is_empty() { "any repository".to_owned() } else { places.join(" or ") };
        Err(PackageError::Missing {
            what: format!("`{wanted}`"),
            place: format!("{place}{}", near.unwrap_or_default()),
        })
    }

    fn tell(&self, trouble: Option<PackageError>) {
        self.mended.lock().unwrap_or_else(PoisonError::into_inner).extend(trouble);
    }

    /// Asks one after the other until one has what is asked for, whole.
    fn first<T>(
        &self,
        what: &str,
        ask: impl Fn(&Source) -> Result<Option<T>, PackageError>,
    ) -> Result<T, PackageError> {
        let mut trouble = None;
        for source in &self.all {
            match ask(source) {
                Ok(Some(found)) => {
                    self.tell(trouble);
                    return Ok(found);
                }
                Ok(None) => {}
                Err(error) => drop(trouble.get_or_insert(error)),
            }
        }
        Err(trouble.unwrap_or_else(|| PackageError::Missing {
            what: what.to_owned(),
            place: self.all.iter().map(Source::shown).collect::<Vec<_>>().join(" or "),
        }))
    }

    /// The manifest of a package, verified, with its bytes. `have`: one that is here already, of which it may
    /// be had as a patch.
    ///
    /// # Errors
    /// [`PackageError`]
    pub fn manifest(
        &self,
        package: &Published,
        have: Option<(Digest, &[u8])>,
    ) -> Result<(Manifest, Vec<u8>), PackageError> {
        let what = format!("the manifest of `{}`", package.title());
        let (manifest, bytes) = self.manifest_of(package.digest, &what, have)?;
        let about = &manifest.about;
        let said = (package.kind, &package.name, &package.version, &package.platform);
        if said != (about.kind, &about.name, &about.version, &about.platform) {
            let why = format!("it says that it is `{}`", about.reference());
            return Err(PackageError::damaged(what, "every repository", why));
        }
        Ok((manifest, bytes))
    }

    /// Fetches all of a package and keeps nothing of it.
    ///
    /// # Errors
    /// What of it cannot be had, or is not what it should be.
    pub fn verify(&self, package: &Published) -> Result<(), PackageError> {
        let (manifest, _) = self.manifest(package, None)?;
        let chunks = manifest.chunks();
        self.fetch(package, &chunks, &vec![true; chunks.len()], &|_, _| Ok(()))
    }

    /// What has this digest, whether or not it is on a list.
    ///
    /// # Errors
    /// [`PackageError`]
    pub fn known(&self, digest: Digest) -> Result<Published, PackageError> {
        let (manifest, _) = self.manifest_of(digest, &format!("package `{digest}`"), None)?;
        Ok(Published::of(&manifest, digest))
    }

    fn manifest_of(
        &self,
        digest: Digest,
        what: &str,
        have: Option<(Digest, &[u8])>,
    ) -> Result<(Manifest, Vec<u8>), PackageError> {
        let bytes = self.first(what, |source| {
            if let Some((old, old_bytes)) = have
                && let Some(patch) = source.read(&format!("patches/{digest}-{old}"), MANIFEST_BYTES_MAX)?
                && let Ok(bytes) = apply_patch(&patch, old_bytes)
                && manifest::digest_of(&bytes) == digest
            {
                return Ok(Some(bytes));
            }
            let Some(packed) = source.read(&format!("manifests/{digest}"), MANIFEST_BYTES_MAX)? else {
                return Ok(None);
            };
            let bytes = zstd::Decoder::new(&packed[..])
                .and_then(|unpacked| read_limited(unpacked, MANIFEST_BYTES_MAX))
                .map_err(|e| PackageError::damaged(what, source.shown(), e))?;
            if manifest::digest_of(&bytes) != digest {
                return Err(PackageError::damaged(what, source.shown(), "its digest is another"));
            }
            Ok(Some(bytes))
        })?;
        // Its digest is right, so nobody else has it better.
        let manifest =
            Manifest::decode(&bytes).map_err(|why| PackageError::damaged(what, "every repository", why))?;
        Ok((manifest, bytes))
    }

    /// Where the chunks of a package are in the first repository that knows.
    pub(super) fn map_of(&self, package: &Published, chunks: usize) -> Result<Map, PackageError> {
        let what = format!("the map of `{}`", package.title());
        self.first(&what, |source| map_of(source, package, chunks))
    }

    /// Fetches chunks, and hands each on once it is verified; threads do so at the same time. What one
    /// repository has not, or not whole, is had from the next.
    ///
    /// # Errors
    /// What `take` says, or that not all can be had.
    pub(super) fn fetch(
        &self,
        package: &Published,
        chunks: &[(ChunkId, u32)],
        wanted: &[bool],
        take: &Take<'_>,
    ) -> Result<(), PackageError> {
        let lacking: Vec<AtomicBool> = wanted.iter().map(|w| AtomicBool::new(*w)).collect();
        let count = || lacking.iter().filter(|l| l.load(Ordering::Relaxed)).count();
        let mut trouble = None;
        for source in &self.all {
            let mut last = None;
            // Where a pack is gone, what it had may be in another since: then the map is another, too.
            for _ in 0..MAPS_MAX {
                if count() == 0 {
                    break;
                }
                let map = match map_of(source, package, chunks.len()) {
                    Ok(Some(map)) if last.as_ref() != Some(&map) => map,
                    Ok(_) => break,
                    Err(error) => {
                        trouble.get_or_insert(error);
                        break;
                    }
                };
                let error = fetch::fetch(source, &map, chunks, &lacking, take)?;
                let is_gone = matches!(error, Some(PackageError::Missing { .. }));
                trouble = trouble.or(error);
                if !is_gone {
                    break;
                }
                last = Some(map);
            }
        }
        match count() {
            0 => {
                self.tell(trouble);
                Ok(())
            }
            chunks => Err(PackageError::Incomplete {
                package: format!("`{}`", package.title()),
                chunks,
                last: trouble.map(Box::new),
            }),
        }
    }
}

fn map_of(source: &Source, package: &Published, chunks: usize) -> Result<Option<Map>, PackageError> {
    let Some(bytes) = source.read(&format!("maps/{}", package.digest), TABLE_BYTES_MAX)? else {
        return Ok(None);
    };
    let what = || format!("the map of `{}`", package.title());
    Map::decode(&bytes, chunks).map(Some).map_err(|why| PackageError::damaged(what(), source.shown(), why))
}

pub(super) fn apply_patch(patch: &[u8], old: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoder = zstd::stream::Decoder::with_ref_prefix(patch, old)?;
    // Limit: as much as is used to make one of this length.
    decoder.window_log_max(window_log(old.len().saturating_mul(4)).max(27))?;
    read_limited(decoder, MANIFEST_BYTES_MAX)
}
