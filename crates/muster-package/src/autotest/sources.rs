//! The repositories of one job, in the order in which they are tried.
//!
//! Each is known by its own list of sums: a package is *this file in this repository with this sum*, and never
//! judged by what another repository says. What does not answer is not asked again in this job.

use super::cache::{Cache, Measured, Record, measure};
use super::checksums::{self, Checksums, Md5, Remark};
use super::get::{Answer, BYTES_MAX, GetError, Limits, get};
use super::location::Location;
use super::name::SUFFIX;
use super::revoked::{self, Revoked};
use bzip2::read::MultiBzDecoder;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use thiserror::Error;

/// Repositories in the order in which they are tried.
#[derive(Debug)]
pub struct Sources {
    repositories: Vec<Repository>,
    limits: Limits,
}

#[derive(Debug)]
struct Repository {
    location: Location,
    list: List,
}

/// What is known of what a repository has.
#[derive(Debug)]
enum List {
    NotAsked,
    /// It has a list.
    Sums {
        sums: Checksums,
        remarks: Vec<Remark>,
        revoked: Revoked,
    },
    /// It has none, or what it has under that name is none.
    Without(Option<String>),
    /// It does not answer, and why.
    Dead(String),
}

/// What a repository may have under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The place of the repository in the order.
    pub(super) at: usize,
    /// What it says that the file is, where it says that.
    pub published: Option<Md5>,
}

/// A file that is in the cache now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What it is.
    pub is: Measured,
    /// Where it came from.
    pub repository: String,
    /// Whether bytes were moved; otherwise the cache had it.
    pub moved: bool,
}

/// Why one repository did not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Which.
    pub repository: String,
    /// Why not.
    pub why: String,
}

/// No repository has it.
#[derive(Debug, Error)]
pub struct NotFetched {
    /// What was looked for.
    pub file: String,
    /// Where, and why it was not had from there.
    pub tried: Vec<Tried>,
}

impl fmt::Display for NotFetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tried.is_empty() {
            return write!(f, "`{}` cannot be had: there are no repositories", self.file);
        }
        write!(f, "`{}` cannot be had from any repository", self.file)?;
        self.tried.iter().try_for_each(|t| write!(f, "; `{}`: {}", t.repository, t.why))
    }
}

/// Why a file is not had from a repository.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Get(GetError),
    #[error("it is {got}, and `packages.checksum` there says {published}")]
    Other { published: Md5, got: Md5 },
    #[error("what it sends is no `.tar.bz2`: {0}")]
    NoPackage(String),
    #[error("this version ({0}) was revoked there")]
    Revoked(Md5),
    #[error("the cache cannot be written: {0}")]
    Here(#[source] io::Error),
}

impl FetchError {
    /// Whether the next repository may do better.
    pub(super) fn is_theirs(&self) -> bool {
        !matches!(self, Self::Here(_) | Self::Get(GetError::Here(_)))
    }
}

impl Sources {
    /// These, in this order.
    pub fn new(locations: impl IntoIterator<Item = Location>, limits: Limits) -> Self {
        let repository = |location| Repository { location, list: List::NotAsked };
        Self { repositories: locations.into_iter().map(repository).collect(), limits }
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.repositories.is_empty()
    }

    /// The candidates for a file: repositories that list it, or have no list, in order; then those whose list
    /// has it not, since entries get lost. And why the others are none.
    pub fn candidates(&mut self, file: &str) -> (Vec<Candidate>, Vec<Tried>) {
        let (mut first, mut last, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        self.ask_all();
        for at in 0..self.repositories.len() {
            match &self.repositories[at].list {
                List::Sums { sums, .. } => match sums.get(file) {
                    published @ Some(_) => first.push(Candidate { at, published }),
                    None => last.push(Candidate { at, published: None }),
                },
                List::Without(_) => first.push(Candidate { at, published: None }),
                List::Dead(why) => dead.push(self.tried(at, why)),
                List::NotAsked => unreachable!("it was asked"),
            }
        }
        first.extend(last);
        (first, dead)
    }

    /// What a repository of the order is called.
    pub fn name(&self, candidate: &Candidate) -> String {
        self.repositories[candidate.at].location.to_string()
    }

    /// What is strange about the lists that were read.
    pub fn remarks(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for repository in &self.repositories {
            let name = repository.location.to_string();
            match &repository.list {
                List::Sums { remarks, .. } => {
                    all.extend(remarks.iter().map(|r| (name.clone(), r.to_string())));
                }
                List::Without(Some(why)) | List::Dead(why) => all.push((name, why.clone())),
                List::Without(None) | List::NotAsked => {}
            }
        }
        all
    }

    /// Whether a repository says that this version must not be used any more.
    pub fn is_revoked(&mut self, md5: Md5) -> bool {
        self.ask_all();
        self.repositories.iter().any(|r| matches!(&r.list, List::Sums { revoked, .. } if revoked.has(md5)))
    }

    pub(super) fn tried(&self, at: usize, why: impl ToString) -> Tried {
        Tried { repository: self.repositories[at].location.to_string(), why: why.to_string() }
    }

    /// Fetches the lists, once, all at the same time: those that do not answer are waited for together.
    fn ask_all(&mut self) {
        let is_new = |at: &usize| matches!(self.repositories[*at].list, List::NotAsked);
        let new: Vec<usize> = (0..self.repositories.len()).filter(is_new).collect();
        let asker: &Self = self;
        let lists: Vec<List> = std::thread::scope(|scope| {
            let asked: Vec<_> = new.iter().map(|&at| scope.spawn(move || asker.read_list(at))).collect();
            asked.into_iter().map(|list| list.join().expect("reading a list does not panic")).collect()
        });
        for (at, list) in new.into_iter().zip(lists) {
            self.repositories[at].list = list;
        }
    }

    fn read_list(&self, at: usize) -> List {
        let location = &self.repositories[at].location;
        let (sums, remarks) = match small(location, checksums::FILE, &self.limits) {
            Ok(bytes) => match Checksums::read(&bytes) {
                Ok(read) => read,
                Err(why) => return List::Without(Some(why.to_string())),
            },
            Err(GetError::Absent) => return List::Without(None),
            Err(GetError::Unreachable(why)) => return List::Dead(why),
            Err(why) => return List::Without(Some(format!("`{}`: {why}", checksums::FILE))),
        };
        let revoked = match small(location, revoked::FILE, &self.limits) {
            Ok(bytes) => Revoked::read(&bytes),
            Err(_) => Revoked::default(),
        };
        List::Sums { sums, remarks, revoked }
    }

    /// Puts a file into the cache, from the repositories in their order, unless it is there.
    ///
    /// # Errors
    /// No repository has it, or not as it should be; or the cache cannot be written, which is told as well.
    pub fn fetch(&mut self, file: &str, cache: &Cache) -> Result<Fetched, NotFetched> {
        let (candidates, mut tried) = self.candidates(file);
        for candidate in candidates {
            match self.fetch_from(&candidate, file, cache) {
                Ok(fetched) => return Ok(fetched),
                Err(e) => {
                    tried.push(self.tried(candidate.at, &e));
                    if !e.is_theirs() {
                        break;
                    }
                }
            }
        }
        Err(NotFetched { file: file.to_owned(), tried })
    }

    pub(super) fn fetch_from(
        &mut self,
        candidate: &Candidate,
        file: &str,
        cache: &Cache,
    ) -> Result<Fetched, FetchError> {
        let repository = self.name(candidate);
        let cached = cache.measure(file).map_err(FetchError::Here)?;
        if let Some(is) = cached.filter(|is| Some(is.md5) == candidate.published) {
            return self.allowed(Fetched { is, repository, moved: false });
        }
        let known = cached.as_ref().and_then(|is| cache.record(file, is));
        let known = known.filter(|record| candidate.published.is_none() && record.repository == repository);
        let mut to = cache.begin(file).map_err(FetchError::Here)?;
        let location = &self.repositories[candidate.at].location;
        let version = known.as_ref().map(|record| &record.version);
        let mut version = match get(location, file, to.as_file_mut(), BYTES_MAX, version, &self.limits) {
            Ok(Answer::Bytes(version)) => version,
            Ok(Answer::Unchanged) => {
                let is = cached.expect("a version was named");
                return self.allowed(Fetched { is, repository, moved: false });
            }
            Err(e) => {
                if let GetError::Unreachable(why) = &e {
                    self.repositories[candidate.at].list = List::Dead(why.clone());
                }
                return Err(FetchError::Get(e));
            }
        };
        let is = again(to.as_file_mut()).and_then(measure).map_err(FetchError::Here)?;
        match candidate.published {
            Some(published) if published != is.md5 => {
                self.published_meanwhile(candidate, file, published, is.md5)?;
            }
            Some(_) => {}
            None => look_like_a_package(file, to.as_file_mut())?,
        }
        if version.etag.is_none() && version.modified.is_none() {
            version.etag = Some(is.md5.to_string());
        }
        let fetched = self.allowed(Fetched { is, repository, moved: true })?;
        let record = Record { repository: fetched.repository.clone(), md5: is.md5, version };
        cache.keep(to, file, &record).map_err(FetchError::Here)?;
        Ok(fetched)
    }

    /// Somebody may have published another version since the list was read: it is read once more.
    fn published_meanwhile(
        &mut self,
        candidate: &Candidate,
        file: &str,
        published: Md5,
        got: Md5,
    ) -> Result<(), FetchError> {
        let list = self.read_list(candidate.at);
        let now = match &list {
            List::Sums { sums, .. } => sums.get(file),
            List::NotAsked | List::Without(_) | List::Dead(_) => None,
        };
        self.repositories[candidate.at].list = list;
        if now == Some(got) {
            Ok(())
        } else {
            Err(FetchError::Other { published: now.unwrap_or(published), got })
        }
    }

    fn allowed(&mut self, fetched: Fetched) -> Result<Fetched, FetchError> {
        if self.is_revoked(fetched.is.md5) { Err(FetchError::Revoked(fetched.is.md5)) } else { Ok(fetched) }
    }

    /// The list of the first repository, for those who have one.
    ///
    /// # Errors
    /// It does not answer.
    pub fn list(&mut self) -> Result<Checksums, NotFetched> {
        self.ask_all();
        match &self.repositories[0].list {
            List::Sums { sums, .. } => Ok(sums.clone()),
            List::Without(None) => Ok(Checksums::default()),
            List::Without(Some(why)) | List::Dead(why) => {
                Err(NotFetched { file: checksums::FILE.to_owned(), tried: vec![self.tried(0, why)] })
            }
            List::NotAsked => unreachable!("it was asked"),
        }
    }
}

fn again(file: &mut File) -> io::Result<File> {
    file.seek(SeekFrom::Start(0))?;
    file.try_clone()
}

/// A short file, held in memory.
fn small(location: &Location, file: &str, limits: &Limits) -> Result<Vec<u8>, GetError> {
    let mut to = tempfile::tempfile().map_err(GetError::Here)?;
    get(location, file, &mut to, checksums::BYTES_MAX, None, limits)?;
    let mut bytes = Vec::new();
    to.seek(SeekFrom::Start(0)).and_then(|_| to.read_to_end(&mut bytes)).map_err(GetError::Here)?;
    Ok(bytes)
}

/// Where nobody says what a package should be, its own checks have to do: each block of bzip2 has one.
fn look_like_a_package(file: &str, content: &mut File) -> Result<(), FetchError> {
    if !file.ends_with(SUFFIX) {
        return Ok(());
    }
    let content = again(content).map_err(FetchError::Here)?;
    let mut decoder = MultiBzDecoder::new(BufReader::with_capacity(1 << 16, content));
    let mut buffer = vec![0; 1 << 16];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(FetchError::NoPackage(e.to_string())),
        }
    }
}
