//! Folders of git repositories, as they are at a revision: checked out as anybody would, made packages like
//! any other folder, so that they have the digest that the same folder on disk has.
//!
//! The system's `git` does the talking, so that keys, helpers for passwords and filters are as the user has
//! them; it never asks anything. Submodules are not fetched.

use super::about::{About, Kind, Reference};
use super::address::Reach;
use super::build::Tree;
use super::error::{At as _, PackageError};
use super::lock::Lock;
use super::names::Published;
use super::repository::Repository;
use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{Read as _, Seek as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long all of git may take for one thing.
// Limit: what is longer hangs.
const GIT_SECS_MAX: u64 = 3600;
/// As deep as there is; what git takes for it.
const WHOLE_HISTORY: &str = "--depth=2147483647";

/// A folder of a git repository at a revision: `git+URL//DIR@REV`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitPlace {
    url: String,
    /// Without `/` at its ends; empty: all of it.
    dir: String,
    rev: String,
}

impl GitPlace {
    /// Reads what is behind `git+`.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) =
            text.split_once("://").ok_or("there are `git+https://` and `git+ssh://` and such")?;
        match scheme {
            "https" | "http" | "git" if rest.split('/').next().is_some_and(|place| place.contains('@')) => {
                return Err("a URL with a user or password would be recorded");
            }
            // A user of `ssh` is no secret, and a password is.
            "ssh" if rest.split('@').next().is_some_and(|user| user != rest && user.contains([':', '/'])) => {
                return Err("a URL with a password would be recorded");
            }
            "https" | "http" | "ssh" | "git" if rest.is_empty() || rest.starts_with(['/', '-']) => {
                return Err("it names no host");
            }
            "https" | "http" | "ssh" | "git" | "file" => {}
            _ => {
                return Err(
                    "there are `git+https://`, `git+http://`, `git+ssh://`, `git+git://` and `git+file://`",
                );
            }
        }
        // A user may be before the host; a revision is behind the folder.
        let (place, inside) = rest.split_once("//").unwrap_or((rest, ""));
        let (dir, rev) = inside.split_once('@').unwrap_or((inside, "HEAD"));
        if rev.is_empty() || rev.starts_with('-') || rev.contains([' ', ':', '^', '~', '\\', '|']) {
            return Err("a revision is a branch, a tag or a commit, and begins with no `-`");
        }
        let dir = dir.trim_matches('/');
        if dir.split('/').any(|part| part == "..") {
            return Err("its folder leads out of it");
        }
        Ok(Self { url: format!("{scheme}://{place}"), dir: dir.to_owned(), rev: rev.to_owned() })
    }

    /// The same at another revision.
    #[must_use]
    pub fn at(&self, rev: &str) -> Self {
        Self { rev: rev.to_owned(), ..self.clone() }
    }

    /// Whether it is on this host's disk.
    pub(super) fn is_here(&self) -> bool {
        self.url.starts_with("file:")
    }

    /// What the folder is called.
    pub fn name(&self) -> &str {
        let whole = if self.dir.is_empty() { self.url.trim_end_matches('/') } else { &self.dir };
        let last = whole.rsplit('/').next().unwrap_or_default();
        last.strip_suffix(".git").unwrap_or(last)
    }
}

impl fmt::Display for GitPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "git+{}", self.url)?;
        match (&self.dir[..], &self.rev[..]) {
            ("", "HEAD") => Ok(()),
            (dir, "HEAD") => write!(f, "//{dir}"),
            (dir, rev) => write!(f, "//{dir}@{rev}"),
        }
    }
}

/// A folder as it is at a revision, in a directory that goes away.
#[derive(Debug)]
pub struct Checkout {
    dir: TempDir,
    folder: String,
    commit: String,
}

impl Checkout {
    /// The folder.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("tree").join(&self.folder)
    }

    /// Fetches what is lacking of a repository elsewhere, and checks the folder out.
    ///
    /// # Errors
    /// It cannot be reached, or has no such revision or folder.
    pub fn of(place: &GitPlace, reach: &Reach) -> Result<Self, PackageError> {
        let shown = format!("`{place}`");
        let name = blake3::hash(place.url.as_bytes()).to_hex();
        let copy = reach.git_dir.join(format!("{}.git", &name[..32]));
        let _lock = Lock::exclusive(&reach.git_dir.join(format!("{}.lock", &name[..32])))?;
        let git = Git { git_dir: copy.clone(), shown: &shown, reach: Some(reach) };
        if !copy.join("HEAD").exists() {
            git.run(&["init", "--quiet", "--bare", "."], None)?;
        }
        let commit = git.fetch(place)?;
        git.check_out(&commit, &place.dir)
    }

    /// Checks out a folder that is in somebody's working tree, as it was at a revision.
    ///
    /// # Errors
    /// It is in no repository, or there is no such revision.
    pub fn of_folder(dir: &Path, rev: &str) -> Result<Self, PackageError> {
        let shown = format!("`{}`", dir.display());
        if rev.starts_with('-') {
            return Err(PackageError::Asked(format!("`{rev}` is no revision: it begins with `-`")));
        }
        let said = |what: &str| {
            let git = Git { git_dir: PathBuf::new(), shown: &shown, reach: None };
            let said = git.finish(Command::new("git").arg("-C").arg(dir).args(["rev-parse", what]))?;
            Ok::<_, PackageError>(said.trim_end_matches('\n').to_owned())
        };
        let git_dir = said("--absolute-git-dir")?;
        let folder = said("--show-prefix")?;
        let git = Git { git_dir: git_dir.into(), shown: &shown, reach: None };
        let commit = git.commit(rev)?;
        git.check_out(&commit, folder.trim_end_matches('/'))
    }
}

/// A repository, asked by the system's `git`.
struct Git<'a> {
    git_dir: PathBuf,
    shown: &'a str,
    reach: Option<&'a Reach>,
}

impl Git<'_> {
    /// The commit that is meant, with all that it has.
    fn fetch(&self, place: &GitPlace) -> Result<String, PackageError> {
        let is_commit =
            matches!(place.rev.len(), 40 | 64) && place.rev.bytes().all(|b| b.is_ascii_hexdigit());
        if is_commit && let Ok(commit) = self.commit(&place.rev) {
            return Ok(commit);
        }
        let fetch =
            ["fetch", "--quiet", "--no-tags", "--force", "--no-write-fetch-head", "--no-auto-maintenance"];
        let got = "refs/muster/got";
        let newest = format!("+{}:{got}", place.rev);
        let first = self.run(&[&fetch[..], &["--depth=1", "--", &place.url, &newest]].concat(), None);
        match first {
            Ok(_) => self.commit(got),
            // A commit that is not the end of a branch: some servers give those out, and some do not.
            Err(first @ PackageError::Missing { .. }) => {
                let all = ["+refs/heads/*:refs/remotes/muster/*", "+refs/tags/*:refs/tags/*"];
                self.run(&[&fetch[..], &[WHOLE_HISTORY, "--", &place.url], &all].concat(), None)?;
                self.commit(&place.rev).map_err(|_| first)
            }
            Err(other) => Err(other),
        }
    }

    fn commit(&self, rev: &str) -> Result<String, PackageError> {
        let commit = format!("{rev}^{{commit}}");
        let said = self.run(&["rev-parse", "--quiet", "--verify", "--end-of-options", &commit], None);
        let missing =
            |_| PackageError::Missing { what: format!("the revision `{rev}`"), place: self.shown.to_owned() };
        Ok(said.map_err(missing)?.trim().to_owned())
    }

    fn check_out(&self, commit: &str, folder: &str) -> Result<Checkout, PackageError> {
        let dir = tempfile::tempdir().at(&std::env::temp_dir())?;
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).at(&tree)?;
        let all = format!(":(top,literal){folder}");
        let what: &[&str] = if folder.is_empty() { &["."] } else { &[&all] };
        self.run(&[&["checkout", "--quiet", "--force", commit, "--"], what].concat(), Some(&tree))?;
        let checkout = Checkout { dir, folder: folder.to_owned(), commit: commit.to_owned() };
        let folder = checkout.folder();
        // A link in its place would lead elsewhere.
        if !fs::symlink_metadata(&folder).is_ok_and(|m| m.is_dir()) {
            let what = format!("a folder `{}`", checkout.folder);
            return Err(PackageError::Missing { what, place: self.shown.to_owned() });
        }
        Ok(checkout)
    }

    /// `work`: where files are checked out to, with an index of its own beside.
    fn run(&self, args: &[&str], work: Option<&Path>) -> Result<String, PackageError> {
        let mut git = Command::new("git");
        // Nothing of the repository is run, and nothing runs behind our back.
        for setting in [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "protocol.ext.allow=never",
            "fetch.recurseSubmodules=false",
            "submodule.recurse=false",
            "gc.auto=0",
            "maintenance.auto=false",
            "advice.detachedHead=false",
            "http.followRedirects=initial",
        ] {
            git.args(["-c", setting]);
        }
        if let Some(reach) = self.reach {
            let idle = reach.limits.idle.as_secs().max(1);
            git.args(["-c", "http.lowSpeedLimit=1", "-c", &format!("http.lowSpeedTime={idle}")]);
            if let Some(file) = &reach.ca_file {
                git.env("GIT_SSL_CAINFO", file);
            }
            let connect = reach.limits.connect.as_secs().max(1);
            let ssh = std::env::var("GIT_SSH_COMMAND").unwrap_or_else(|_| "ssh".to_owned());
            let alive = format!("-o ServerAliveInterval={} -o ServerAliveCountMax=3", (idle / 3).max(1));
            let batch = "-o BatchMode=yes -o StrictHostKeyChecking=yes";
            git.env("GIT_SSH_COMMAND", format!("{ssh} {batch} -o ConnectTimeout={connect} {alive}"));
        }
        if let Some(work) = work {
            git.arg("--work-tree").arg(work).env("GIT_INDEX_FILE", work.with_extension("index"));
        }
        if args.first() == Some(&"init") {
            fs::create_dir_all(&self.git_dir).at(&self.git_dir)?;
            git.arg("-C").arg(&self.git_dir);
        } else {
            git.arg("--git-dir").arg(&self.git_dir);
        }
        git.args(args);
        if let Some(work) = work {
            git.current_dir(work);
        }
        self.finish(&mut git)
    }

    fn finish(&self, git: &mut Command) -> Result<String, PackageError> {
        for variable in
            ["GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"]
        {
            git.env_remove(variable);
        }
        git.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").stdin(Stdio::null());
        let unreachable = |why: String| PackageError::Unreachable { place: self.shown.to_owned(), why };
        let (mut said, mut wrong) = (tempfile::tempfile(), tempfile::tempfile());
        let (Ok(said), Ok(wrong)) = (&mut said, &mut wrong) else {
            return Err(unreachable("no temporary file can be made".to_owned()));
        };
        let (Ok(out), Ok(err)) = (said.try_clone(), wrong.try_clone()) else {
            return Err(unreachable("no temporary file can be used".to_owned()));
        };
        let started = git.stdout(out).stderr(err).spawn();
        let mut child = started.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                unreachable("there is no program `git` here; on Debian: apt-get install git".to_owned())
            }
            _ => unreachable(format!("git cannot be started: {e}")),
        })?;
        let end = Instant::now() + Duration::from_secs(GIT_SECS_MAX);
        let mut look = Duration::from_millis(1);
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < end => {}
                _ => {
                    drop(child.kill());
                    drop(child.wait());
                    return Err(unreachable(format!("git was not done within {GIT_SECS_MAX} seconds")));
                }
            }
            std::thread::sleep(look);
            look = (look * 2).min(Duration::from_millis(50));
        };
        let text = |file: &mut fs::File| {
            let mut bytes = Vec::new();
            // Limit: what is told to people, or one line of an answer.
            let read = file.rewind().and_then(|()| file.take(1 << 16).read_to_end(&mut bytes));
            read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
        };
        if status.success() {
            return Ok(text(said));
        }
        let why = text(wrong);
        let why = why.lines().find(|l| !l.trim().is_empty()).unwrap_or("git failed and said nothing");
        let why = why.trim_start_matches("fatal: ").trim_start_matches("error: ").to_owned();
        let is_absent = [
            "couldn't find remote ref",
            "not our ref",
            "did not match any",
            "unadvertised object",
            "git failed and",
        ]
        .iter()
        .any(|said| why.contains(said));
        if is_absent {
            return Err(PackageError::Missing {
                what: format!("what was asked for ({why})"),
                place: self.shown.to_owned(),
            });
        }
        Err(unreachable(why))
    }
}

/// A git repository that is asked for packages: `dep:NAME` is its folder `dep/NAME` or `deps/NAME`.
#[derive(Debug)]
pub(super) struct GitSource {
    place: GitPlace,
    reach: Reach,
    ready: Mutex<Option<Ready>>,
}

/// What was checked out and made of it.
#[derive(Debug)]
struct Ready {
    checkout: Checkout,
    repository: Repository,
    built: BTreeSet<(Kind, String)>,
}

impl GitSource {
    pub(super) fn new(place: GitPlace, reach: Reach) -> Self {
        Self { place, reach, ready: Mutex::new(None) }
    }

    /// Itself, as it was found to be: at this commit, whatever the branch has been since.
    pub(super) fn pinned(&self) -> GitPlace {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.as_ref().map_or_else(|| self.place.clone(), |ready| self.place.at(&ready.checkout.commit))
    }

    /// The directory where what was made is; it is made by asking for it.
    pub(super) fn dir(&self) -> Option<PathBuf> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.as_ref().map(|ready| ready.repository.root().to_owned())
    }

    /// Makes packages of the folders that are asked for, and says what there is. `wanted`: only this.
    pub(super) fn list(&self, wanted: Option<&Reference>) -> Result<Vec<Published>, PackageError> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = match &mut *ready {
            Some(ready) => ready,
            empty => empty.insert(self.begin()?),
        };
        for (kind, name, dir) in folders(&ready.checkout.folder(), wanted)? {
            if ready.built.insert((kind, name.clone())) {
                let tree = Tree::open(&dir)?;
                let about = About::new(kind, name);
                // What cannot be a package's name is nobody's package.
                if about.check().is_ok() {
                    ready.repository.build(&tree, about)?;
                }
            }
        }
        ready.repository.list()
    }

    fn begin(&self) -> Result<Ready, PackageError> {
        let checkout = Checkout::of(&self.place, &self.reach)?;
        let repository = Repository::create(&checkout.dir.path().join("packages"))?;
        Ok(Ready { checkout, repository, built: BTreeSet::new() })
    }
}

/// The folders of packages: KIND/NAME, or KINDs/NAME as many have it.
fn folders(top: &Path, wanted: Option<&Reference>) -> Result<Vec<(Kind, String, PathBuf)>, PackageError> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        for above in [kind.word().to_owned(), format!("{}s", kind.word())] {
            let above = top.join(above);
            if !fs::symlink_metadata(&above).is_ok_and(|m| m.is_dir()) {
                continue;
            }
            for entry in fs::read_dir(&above).at(&above)? {
                let entry = entry.at(&above)?;
                let name = entry.file_name();
                let Ok(name) = std::str::from_utf8(name.as_bytes()) else { continue };
                let is_meant = wanted.is_none_or(|w| w.kind == kind && w.name == name);
                if is_meant && entry.file_type().at(&entry.path())?.is_dir() {
                    all.push((kind, name.to_owned(), entry.path()));
                }
            }
        }
    }
    all.sort();
    Ok(all)
}
