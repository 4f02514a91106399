//! The way from what a person calls a run or an item to its record.

use crate::commands::records::{area_name, find_run};
use crate::context::{Context, RECORDS};
use crate::error::Complaint;
use crate::local::standing;
use crate::remote::records::{ServerRecords, area_at_hand};
use crate::terminal::text::quoted;
use muster_api::Why;
use muster_core::address::{Address, RunRef, Scope, item_name};
use muster_core::artifact::{Artifact, Artifacts, is_path};
use muster_core::attempt::Output;
use muster_core::id::{ItemIx, RunId};
use muster_core::kind::HEALTH_AREA;
use muster_core::view::{ItemView, RunState, RunView, TestView};
use muster_formats::report::{Logs, text};
use muster_store::{ItemFilter, RunLock, RunName, Sqlite, Store, StoreError};
use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The records of the area at hand, for reading.
pub(crate) struct Records {
    store: RefCell<Source>,
    /// The area of the latest run; the configuration is not needed to look at records, and may be broken.
    area: String,
}

/// Where records are.
enum Source {
    /// Beside the area.
    Here(Box<Sqlite>),
    /// With a server.
    There(ServerRecords),
}

impl Source {
    fn store(&mut self) -> &mut dyn Store {
        match self {
            Self::Here(store) => &mut **store,
            Self::There(store) => store,
        }
    }
}

/// An item as a person pointed at it.
pub(crate) struct Found {
    /// Its run, with this one test and item.
    pub(crate) run: RunView,
    /// The attempt asked for.
    pub(crate) attempt: Option<u16>,
}

impl Found {
    /// Its test.
    pub(crate) fn test(&self) -> &TestView {
        &self.run.tests[0]
    }

    /// Itself.
    pub(crate) fn item(&self) -> &ItemView {
        &self.run.tests[0].items[0]
    }

    /// Its whole address.
    pub(crate) fn address(&self) -> String {
        Address::of_item(&self.run.area, self.run.number, &self.test().name, &self.item().path).to_string()
    }
}

/// Whether a run that has not ended is being worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// By this process, if it said so.
    Alive(Option<u32>),
    /// By nobody: its process was killed.
    Dead,
}

impl Records {
    /// Opens the records of the area at hand.
    ///
    /// # Errors
    /// There is no area, it has no records yet, or they cannot be read.
    pub(crate) fn open(context: &Context) -> Result<Self, anyhow::Error> {
        if let Some(server) = &context.server {
            let mut store = ServerRecords::new(crate::remote::client(server, context)?);
            let area = match area_at_hand(context) {
                Some(area) => area,
                None => area_name(context, &mut store)?,
            };
            return Ok(Self { store: RefCell::new(Source::There(store)), area });
        }
        let dir = context.area_dir()?;
        let mut store = crate::wiring::open_sqlite(&dir)?;
        let area = area_name(context, &mut store)?;
        Ok(Self { store: RefCell::new(Source::Here(Box::new(store))), area })
    }

    /// Opens the records that something typed is about: those of the area at hand, or, with a server, the
    /// checks of its devices, `lab-health/NUMBER`.
    ///
    /// # Errors
    /// As for [`Records::open`].
    pub(crate) fn open_for(context: &Context, typed: &str) -> Result<Self, anyhow::Error> {
        let is_check = typed.split('/').next() == Some(HEALTH_AREA) && typed.contains('/');
        match &context.server {
            Some(server) if is_check => {
                let store = ServerRecords::new(crate::remote::client(server, context)?);
                let area = HEALTH_AREA.to_owned();
                Ok(Self { store: RefCell::new(Source::There(store)), area })
            }
            Some(_) | None => Self::open(context),
        }
    }

    /// The area's name.
    pub(crate) fn area(&self) -> &str {
        &self.area
    }

    /// The store, for queries of a command's own.
    pub(crate) fn with<T, E>(&self, ask: impl FnOnce(&mut dyn Store) -> Result<T, E>) -> Result<T, E> {
        ask(self.store.borrow_mut().store())
    }

    /// What a lab says of an item that has no verdict: a server's, or, where a gate is the reason, that of the process
    /// here that works on the run.
    pub(crate) fn why_now(&self, run: RunId, number: u32, item: ItemIx, test: &str) -> Option<Why> {
        match &*self.store.borrow() {
            Source::Here(store) => {
                let dir = store.run_dir(number).filter(|dir| RunLock::holder(dir).is_some())?;
                Some(Why { why: standing::why(&dir, item, test)?, devices: Vec::new() })
            }
            Source::There(store) => store.why(run, item),
        }
    }

    /// Asks the server that has the records; `None` where they are here.
    pub(crate) fn with_there<T>(&self, ask: impl FnOnce(&ServerRecords) -> T) -> Option<T> {
        match &*self.store.borrow() {
            Source::Here(_) => None,
            Source::There(store) => Some(ask(store)),
        }
    }

    /// The database beside the area; `None` where the records are a server's.
    pub(crate) fn with_here<T, E>(
        &self,
        ask: impl FnOnce(&mut Sqlite) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        match &mut *self.store.borrow_mut() {
            Source::Here(store) => ask(store),
            Source::There(_) => Ok(None),
        }
    }

    /// The run a person means, without its tests.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn find_run(&self, run: &RunRef) -> Result<RunView, anyhow::Error> {
        // `AREA/RUN`, as runs are printed.
        let of_area = match run {
            RunRef::Name(name) => name.strip_prefix(&format!("{}/", self.area)).map(RunRef::parse),
            RunRef::Number(_) | RunRef::Back(_) => None,
        };
        let run = of_area.and_then(Result::ok).unwrap_or_else(|| run.clone());
        self.with(|s| find_run(s, &self.area, &run))
    }

    /// A run with the items that are wanted.
    ///
    /// # Errors
    /// The records cannot be read.
    pub(crate) fn load(&self, run: &RunView, filter: ItemFilter<'_>) -> Result<RunView, anyhow::Error> {
        Ok(self.with(|s| s.load_run(run.id, filter))?)
    }

    /// Reads an address in this area.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn address(&self, text: &str) -> Result<Address, anyhow::Error> {
        let is_run_name = |word: &str| {
            // A store that cannot be read says so at the next question.
            matches!(self.with(|s| s.find_run(&self.area, RunName::Name(word))), Ok(Some(_)))
        };
        let scope = Scope { area: &self.area, is_run_name: &is_run_name };
        Ok(Address::parse(text, scope).map_err(|e| Complaint::usage(e.to_string()))?)
    }

    /// The one item an address means. Of a test with a single item the test's name is enough.
    ///
    /// # Errors
    /// There is no such item; what there is instead is named.
    pub(crate) fn find_item(&self, address: &Address) -> Result<Found, anyhow::Error> {
        let run = self.find_run(address.run.as_ref().unwrap_or(&RunRef::LATEST))?;
        let Some(test) = &address.test else {
            return Err(Complaint::usage(format!("`{address}` is a run: name a test or an item of it"))
                .hint(format!("`muster results {}` lists them", run.number))
                .into());
        };
        let exact = self.load(&run, ItemFilter::Item(test, &address.item))?;
        if exact.tests.first().is_some_and(|t| t.items.len() == 1) {
            return Ok(Found { run: exact, attempt: address.attempt });
        }
        let mut of_test = self.load(&run, ItemFilter::Test(test))?;
        let Some(found) = of_test.tests.first_mut() else {
            return Err(self.no_such_test(&run, test));
        };
        if address.item.is_empty() {
            found.items.retain(|i| !i.discovery);
            if found.items.len() == 1 {
                return Ok(Found { run: of_test, attempt: address.attempt });
            }
            let n = found.items.len();
            let example = found.items.iter().find(|i| i.verdict.is_none_or(|v| !v.is_ok()));
            let example = example.or(found.items.first()).map_or("", |i| &i.path);
            return Err(Complaint::usage(format!("`{test}` has {n} items in {}: name one", run.address()))
                .hint(format!(
                    "for instance {}; `muster results {} --test {}` lists them",
                    quoted(&item_name(test, example)),
                    run.number,
                    quoted(test)
                ))
                .into());
        }
        let paths = found.items.iter().map(|i| i.path.as_str());
        let near = nearest(&address.item, paths);
        let complaint =
            Complaint::usage(format!("`{test}` has no item `{}` in {}", address.item, run.address()));
        Err(match near {
            Some(near) => complaint.hint(format!("did you mean `{}`?", item_name(test, near))),
            None => complaint.hint(format!("`muster results {} --test {test}` lists them", run.number)),
        }
        .into())
    }

    fn no_such_test(&self, run: &RunView, test: &str) -> anyhow::Error {
        let complaint = Complaint::usage(format!("{} has no test `{test}`", run.address()));
        let all = self.load(run, ItemFilter::All).map(|r| r.tests).unwrap_or_default();
        let hint = match nearest(test, all.iter().map(|t| t.name.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("`muster results {}` lists what it has", run.number),
        };
        complaint.hint(hint).into()
    }

    /// The directory on this machine that an attempt's files are in; `None` where a server has them.
    pub(crate) fn artifacts_dir(&self, found: &Found, kept: &Artifacts) -> Option<PathBuf> {
        let run_dir = self.with(|s| Ok::<_, StoreError>(s.run_dir(found.run.number))).ok()??;
        is_path(&kept.dir).then(|| run_dir.join(&kept.dir))
    }

    /// Reads a file that an attempt has left.
    ///
    /// # Errors
    /// It is not there any more, or the server cannot be asked.
    pub(crate) fn artifact(
        &self,
        found: &Found,
        attempt: u16,
        kept: &Artifacts,
        file: &Artifact,
    ) -> Result<Box<dyn Read>, anyhow::Error> {
        if let Some(dir) = self.artifacts_dir(found, kept).filter(|_| is_path(&file.path)) {
            let path = dir.join(&file.path);
            let opened = File::open(&path)
                .map_err(|e| Complaint::lab(format!("{} cannot be read", path.display())).because(e))?;
            return Ok(Box::new(opened));
        }
        let item = found.item();
        let snapshot = self.with(|s| s.load_run_snapshot(found.run.id))?;
        let place = crate::wiring::place(&snapshot, &found.test().name, &item.path, item.discovery);
        let place = place.ok_or_else(|| Complaint::lab(format!("{} is not in its run", found.address())))?;
        let asked = self.with_there(|s| s.artifact(found.run.id, place, attempt, &file.path));
        match asked {
            Some(read) => read.map_err(crate::remote::complain),
            None => Err(Complaint::lab(format!("`{}` is not kept here", file.path)).into()),
        }
    }

    /// Whether somebody works on a run. `None` for a run that is over.
    pub(crate) fn life(&self, run: &RunView) -> Option<Life> {
        if run.state != RunState::Active {
            return None;
        }
        match &*self.store.borrow() {
            Source::Here(store) => {
                let dir = store.run_dir(run.number)?;
                Some(RunLock::holder(&dir).map_or(Life::Dead, Life::Alive))
            }
            // The lab that has it is the one that answers.
            Source::There(_) => Some(Life::Alive(None)),
        }
    }

    /// The logs of a run's attempts, for reports. The store is asked no more through these records.
    pub(crate) fn into_logs(self, run: &RunView) -> StoreLogs {
        StoreLogs { run: run.id, store: Mutex::new(Lazy::Open(self.store.into_inner())) }
    }
}

/// The known word that is most like the one given, if it is like it at all: by its end, by its letters.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Limit: comparing is quadratic, and names come from anywhere.
    let short = |k: &&str| k.len() <= 300;
    known
        .filter(short)
        .map(|k| {
            let score = strsim::jaro_winkler(wrong, k);
            (if k.contains(wrong) { score.max(0.9) } else { score }, k)
        })
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// Outputs of one run as the store keeps them, for those who show them.
pub(crate) struct StoreLogs {
    run: RunId,
    store: Mutex<Lazy>,
}

/// Records that are opened when an output is asked for that is not in the result itself.
enum Lazy {
    /// Those in this directory.
    Closed(PathBuf),
    Open(Source),
}

impl StoreLogs {
    /// Of a run of the area in this directory.
    pub(crate) fn new(area_dir: &Path, run: RunId) -> Self {
        Self { run, store: Mutex::new(Lazy::Closed(area_dir.join(RECORDS))) }
    }

    /// Of a run of this server.
    pub(crate) fn of_server(client: muster_api::Client, run: RunId) -> Self {
        Self { run, store: Mutex::new(Lazy::Open(Source::There(ServerRecords::new(client)))) }
    }

    fn read(&self, output: &Output) -> Result<Vec<u8>, StoreError> {
        let mut lazy = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Lazy::Closed(root) = &*lazy {
            *lazy = Lazy::Open(Source::Here(Box::new(Sqlite::open_to_read(root)?)));
        }
        match &mut *lazy {
            Lazy::Open(source) => source.store().read_output(self.run, output),
            Lazy::Closed(_) => unreachable!("opened above"),
        }
    }
}

impl Logs for StoreLogs {
    fn log(&self, output: &Output, bytes_max: usize) -> Vec<u8> {
        match output {
            Output::None => return Vec::new(),
            Output::Inline(log) => return text::cut_frames(log, bytes_max),
            Output::File { .. } | Output::Segment { .. } => {}
        }
        match self.read(output) {
            Ok(log) => text::cut_frames(&log, bytes_max),
            Err(e) => text::remark(&format!("its output cannot be read: {e}\n")),
        }
    }
}
