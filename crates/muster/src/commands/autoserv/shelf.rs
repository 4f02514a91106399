//! Where the packages of a job come from: the sources beside the server, else the repositories.

use crate::error::Complaint;
use muster_package::autotest::{Cache, Kind, Limits, Location, Md5, PackageName, Source, Sources, build};
use muster_package::exclude::Exclude;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// Packages that can be given to a client.
pub(super) struct Shelf {
    sources: Option<PathBuf>,
    /// What was built or fetched in this job.
    cache: Cache,
    inner: Mutex<Inner>,
    _dir: TempDir,
}

struct Inner {
    repositories: Sources,
    /// What was built from the sources, which are taken to stay as they are while a job runs.
    built: BTreeMap<String, Package>,
}

/// A package that is here.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) path: PathBuf,
    pub(super) md5: Md5,
    pub(super) bytes: u64,
    /// Where it is from, for people.
    pub(super) from: String,
}

impl Shelf {
    pub(super) fn new(
        sources: Option<PathBuf>,
        repositories: Vec<Location>,
        limits: Limits,
    ) -> Result<Self, anyhow::Error> {
        if let Some(dir) = sources.as_ref().filter(|dir| !dir.join("client").is_dir()) {
            return Err(Complaint::usage(format!("`{}` is no Autotest tree", dir.display()))
                .hint("it has a directory `client`")
                .into());
        }
        let dir = tempfile::tempdir().map_err(|e| Complaint::lab("no place for packages").because(e))?;
        let cache =
            Cache::open(dir.path()).map_err(|e| Complaint::lab("no place for packages").because(e))?;
        let inner = Inner { repositories: Sources::new(repositories, limits), built: BTreeMap::new() };
        Ok(Self { sources, cache, inner: Mutex::new(inner), _dir: dir })
    }

    /// Nothing can be had from it.
    pub(super) fn is_empty(&self) -> bool {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.sources.is_none() && inner.repositories.is_empty()
    }

    /// The package in this file, from wherever it can be had; `Err`: why it cannot.
    pub(super) fn get(&self, file: &str) -> Result<Package, String> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(package) = inner.built.get(file) {
            return Ok(package.clone());
        }
        if let Some(source) = PackageName::of_file(file).ok().and_then(|name| self.source(name)) {
            let path = self.cache.path(&format!("built-{file}"));
            let from = source.dir.display().to_string();
            let built = build(&source, &path).map_err(|e| e.to_string())?;
            let package = Package { path, md5: built.md5, bytes: built.bytes, from };
            inner.built.insert(file.to_owned(), package.clone());
            return Ok(package);
        }
        let fetched = inner.repositories.fetch(file, &self.cache).map_err(|e| e.to_string())?;
        let path = self.cache.path(file);
        Ok(Package { path, md5: fetched.is.md5, bytes: fetched.is.bytes, from: fetched.repository })
    }

    /// What the package in this file would be, without moving it where a repository's list says so.
    pub(super) fn md5(&self, file: &str) -> Option<Md5> {
        let is_source = PackageName::of_file(file).ok().and_then(|name| self.source(name)).is_some();
        if is_source {
            return self.get(file).ok().map(|package| package.md5);
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (candidates, _) = inner.repositories.candidates(file);
        candidates.first().and_then(|candidate| candidate.published)
    }

    /// The folder a package is built from, where there is one.
    fn source(&self, name: PackageName) -> Option<Source> {
        let top = self.sources.as_ref()?;
        let client = top.join("client");
        let dir = match name.kind() {
            Kind::Client => client.clone(),
            Kind::Test => ["site_tests", "tests"]
                .iter()
                .map(|tests| client.join(tests).join(name.name()))
                .find(|dir| dir.is_dir())?,
            Kind::Dep => client.join("deps").join(name.name()),
            Kind::Profiler => client.join("profilers").join(name.name()),
        };
        let config = top.join("global_config.ini");
        let extra = (name.kind() == Kind::Client && config.is_file()).then_some(config);
        let extra = extra.into_iter().collect();
        dir.is_dir().then(|| Source { name, dir, exclude: Exclude::default(), extra })
    }
}

impl Package {
    /// The path, to be opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
