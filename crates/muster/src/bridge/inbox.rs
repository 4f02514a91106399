//! Events, and how far each of them is, as one file each. A file is whole or not there, and on disk when the
//! function that wrote it has returned.

use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use uuid::Uuid;

/// Ended events that are kept, so that a build which is announced again is known.
// Limit: disk; a build server does not announce a build again after so many others.
const KEPT_MAX: usize = 10_000;

/// A build that somebody announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Build {
    /// Who it is, of all builds there ever were: its address.
    pub(crate) identity: String,
    /// What it is, for people.
    pub(crate) title: String,
    /// When it ended, in milliseconds since 1970.
    pub(crate) ended_millis: u64,
    /// Where its result is.
    pub(crate) build: Option<String>,
    /// Where its tests are.
    pub(crate) tests: Option<String>,
    /// The change it is of.
    pub(crate) changeset: Option<String>,
}

/// A build, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) build: Build,
    /// Runs that ended by the lab's fault.
    pub(crate) lab_errors: u32,
    pub(crate) state: State,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It is to be run, or is running.
    Taken,
    /// The run has ended, and this is not reported yet.
    Ran(Verdict),
    /// All is done.
    Reported(Verdict),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// Of `muster run`.
    pub(crate) exit: i32,
    /// The run's address; empty where there was none.
    pub(crate) run: String,
    /// For people.
    pub(crate) summary: String,
}

impl Event {
    /// The name of its file.
    pub(crate) fn key(&self) -> String {
        blake3::hash(self.build.identity.as_bytes()).to_hex()[..32].to_owned()
    }

    /// The id of its run. The same for the same build; another after the lab has failed.
    pub(crate) fn run_id(&self) -> Uuid {
        let text = format!("{}\n{}", self.build.identity, self.lab_errors);
        let hash = blake3::hash(text.as_bytes());
        let (random, _) = hash.as_bytes().split_first_chunk::<10>().expect("a digest is longer");
        uuid::Builder::from_unix_timestamp_millis(self.build.ended_millis, random).into_uuid()
    }
}

/// Where events are kept.
#[derive(Debug)]
pub(crate) struct Inbox {
    dir: PathBuf,
    /// Held while a new event is written, so that of two that are the same one is new.
    taking: Mutex<()>,
    /// Held as long as this lives: two bridges would both run what comes in.
    _lock: File,
}

impl Inbox {
    /// Opens it; with the events that are not done.
    pub(crate) fn open(dir: PathBuf) -> io::Result<(Self, Vec<Event>)> {
        fs::create_dir_all(&dir)?;
        let lock = File::options().append(true).create(true).open(dir.join("lock"))?;
        lock.try_lock().map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "another bridge uses it"))?;
        let inbox = Self { dir, taking: Mutex::default(), _lock: lock };
        let (mut open, mut done) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&inbox.dir)? {
            let path = entry?.path();
            match path.extension().and_then(|e| e.to_str()) {
                Some("json") => {
                    let event: Event = serde_json::from_slice(&fs::read(&path)?).map_err(|e| {
                        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display()))
                    })?;
                    match event.state {
                        State::Reported(_) => done.push((event.build.ended_millis, path)),
                        State::Taken | State::Ran(_) => open.push(event),
                    }
                }
                // Not whole: whoever sent it was not told that it was taken.
                Some("new") => fs::remove_file(&path)?,
                Some(_) | None => {}
            }
        }
        open.sort_by_key(|e| e.build.ended_millis);
        done.sort();
        for (_, path) in done.iter().rev().skip(KEPT_MAX) {
            fs::remove_file(path)?;
        }
        Ok((inbox, open))
    }

    /// Takes a build in. `None`: it is known already.
    pub(crate) fn take(&self, build: Build) -> io::Result<Option<Event>> {
        let event = Event { build, lab_errors: 0, state: State::Taken };
        let _one = self.taking.lock().expect("nobody panics with it");
        if self.path(&event).exists() {
            // It may be there and not on disk, where the machine stopped between the two.
            sync(&self.dir)?;
            return Ok(None);
        }
        self.save(&event)?;
        Ok(Some(event))
    }

    /// Records how far an event is.
    pub(crate) fn save(&self, event: &Event) -> io::Result<()> {
        let path = self.path(event);
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(event)?)?;
        file.sync_all()?;
        fs::rename(new, path)?;
        sync(&self.dir)
    }

    fn path(&self, event: &Event) -> PathBuf {
        self.dir.join(event.key()).with_extension("json")
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(identity: &str) -> Build {
        Build {
            identity: identity.to_owned(),
            title: "compile/7".to_owned(),
            ended_millis: 1_795_197_600_000,
            build: Some("http://builds/7.tar.gz".to_owned()),
            tests: None,
            changeset: Some("1d2c3b".to_owned()),
        }
    }

    #[test]
    fn a_build_that_is_announced_twice_is_taken_once_also_by_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let (inbox, open) = Inbox::open(dir.path().to_owned()).unwrap();
        assert_eq!(open, []);
        let event = inbox.take(build("http://bb/1")).unwrap().unwrap();
        assert_eq!(inbox.take(build("http://bb/1")).unwrap(), None);
        assert!(inbox.take(build("http://bb/2")).unwrap().is_some());
        assert!(Inbox::open(dir.path().to_owned()).is_err(), "one bridge uses it");
        drop(inbox);
        let (inbox, open) = Inbox::open(dir.path().to_owned()).unwrap();
        assert_eq!(open.len(), 2, "neither was done");
        assert_eq!(inbox.take(build("http://bb/1")).unwrap(), None);
        let verdict = Verdict { exit: 0, run: "demo/1".into(), summary: "1 passed".into() };
        inbox.save(&Event { state: State::Reported(verdict), ..event }).unwrap();
        fs::write(dir.path().join("half.new"), "{").unwrap();
        drop(inbox);
        let (inbox, open) = Inbox::open(dir.path().to_owned()).unwrap();
        assert_eq!(open.len(), 1);
        assert_eq!(inbox.take(build("http://bb/1")).unwrap(), None, "what is done is known");
    }

    #[test]
    fn the_id_of_a_run_follows_from_the_build_and_is_another_after_the_lab_failed() {
        let event = Event { build: build("http://bb/1"), lab_errors: 0, state: State::Taken };
        let again = Event { lab_errors: 1, ..event.clone() };
        assert_eq!(event.run_id(), event.clone().run_id());
        assert_ne!(event.run_id(), again.run_id());
        assert_eq!(event.run_id().get_version_num(), 7, "runs are listed by their ids");
    }
}
