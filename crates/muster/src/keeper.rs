//! Doing something with runs that nobody works on: beside the area, or by asking the server that has them.

use crate::commands::records::find_run;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::door::{self, DoorAsk};
use crate::local::session::now;
use crate::remote::records::{ServerRecords, area_at_hand};
use crate::remote::{self, complain, os_user, whoever};
use muster_api::{Client, CommentRun, ItemName, KillItems, LockRun, RemoveRun, SetResults};
use muster_core::address::RunRef;
use muster_core::change::RunSnapshot;
use muster_core::id::ItemIx;
use muster_core::note::{NoteKind, Setting, Spot, killed_by, noted, spots};
use muster_core::outcome::Verdict;
use muster_core::select::{Selection, Selector, wildcard};
use muster_core::view::RunView;
use muster_store::{Extent, ItemFilter, Leftover, Removal, RunFilter, RunLock, Sqlite, Store, StoreError};
use std::collections::HashMap;

/// Where runs are kept.
pub(crate) struct Keeper {
    place: Place,
    area: String,
    program: String,
}

enum Place {
    Here(Box<Sqlite>),
    There(Client, ServerRecords),
}

/// An item of a run with what it came to.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// Its name.
    pub(crate) spot: Spot,
    /// What it came to; `None`: open.
    pub(crate) verdict: Option<Verdict>,
}

impl Keeper {
    /// Opens the records of the area at hand, for changing them.
    ///
    /// # Errors
    /// There are none, or they cannot be had.
    pub(crate) fn open(context: &Context) -> Result<Self, anyhow::Error> {
        let program = context.program();
        if let Some(server) = &context.server {
            let client = remote::client(server, context)?;
            let mut records = ServerRecords::new(client.clone());
            let area = match area_at_hand(context) {
                Some(area) => area,
                None => crate::commands::area_name(context, &mut records)?,
            };
            return Ok(Self { place: Place::There(client, records), area, program });
        }
        let dir = context.area_dir()?;
        // Looking for records where there are none makes none.
        drop(crate::wiring::open_sqlite(&dir)?);
        let mut store = crate::wiring::open_to_write(&dir)?;
        let area = crate::commands::area_name(context, &mut store)?;
        Ok(Self { place: Place::Here(Box::new(store)), area, program })
    }

    /// The records, for looking.
    pub(crate) fn store(&mut self) -> &mut dyn Store {
        match &mut self.place {
            Place::Here(store) => &mut **store,
            Place::There(_, records) => records,
        }
    }

    /// Whether the records are on this machine.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self.place, Place::Here(_))
    }

    /// The runs that are named, each once. A name may have `*` for any text.
    ///
    /// # Errors
    /// There is none of a name.
    pub(crate) fn find(&mut self, named: &[RunRef]) -> Result<Vec<RunView>, anyhow::Error> {
        let area = self.area.clone();
        let mut runs: Vec<RunView> = Vec::new();
        for run in named {
            let found = match run {
                RunRef::Name(pattern) if pattern.contains('*') => {
                    let all = self.all()?;
                    let hit: Vec<RunView> = all
                        .into_iter()
                        .filter(|r| wildcard(pattern, &r.name) && !r.name.is_empty())
                        .collect();
                    if hit.is_empty() {
                        return Err(Complaint::usage(format!("area `{area}` has no run `{pattern}`"))
                            .hint("`muster runs` lists them")
                            .into());
                    }
                    hit
                }
                run => vec![find_run(self.store(), &area, run)?],
            };
            for run in found {
                if runs.iter().all(|known| known.id != run.id) {
                    runs.push(run);
                }
            }
        }
        Ok(runs)
    }

    /// All runs of the area, newest first.
    ///
    /// # Errors
    /// The records cannot be read.
    pub(crate) fn all(&mut self) -> Result<Vec<RunView>, anyhow::Error> {
        let filter = RunFilter { area: Some(self.area.clone()), limit: u32::MAX, ..RunFilter::default() };
        Ok(self.store().list_runs(&filter)?)
    }

    /// The items of a run that a selection means, in the run's order. Questions for items are none.
    ///
    /// # Errors
    /// A pattern cannot be read, or the records.
    pub(crate) fn choose(
        &mut self,
        run: &RunView,
        selection: &Selection,
    ) -> Result<Vec<Chosen>, anyhow::Error> {
        let selector = Selector::new(selection)?;
        let whole = self.store().load_run(run.id, ItemFilter::All)?;
        let names: Vec<&str> = whole.tests.iter().map(|t| t.name.as_str()).collect();
        if let Some(wrong) = selector.unmatched(&names).first() {
            let said = format!("no test of run `{}` is called `{wrong}`", run.number);
            return Err(Complaint::usage(said)
                .hint(format!("`{} results {}` lists what it has", self.program, run.number))
                .into());
        }
        let wanted = whole.all_items().filter(|(test, item)| {
            !item.discovery && selector.test(&test.name, &test.tags) && selector.item(&test.name, &item.path)
        });
        Ok(wanted
            .map(|(test, item)| Chosen {
                spot: Spot { test: test.name.clone(), item: item.path.clone() },
                verdict: item.verdict,
            })
            .collect())
    }

    /// Locks or unlocks a run. Whether there was anything to do.
    ///
    /// # Errors
    /// Somebody else has locked it, or it cannot be recorded.
    pub(crate) fn lock(&mut self, run: &RunView, lock: bool, reason: &str) -> Result<bool, anyhow::Error> {
        match &run.said.locked {
            Some(known) if lock => {
                return Err(Complaint::usage(format!("{} is {known}", run.address()))
                    .hint(format!("`{} runs unlock {}` unlocks it", self.program, run.number))
                    .into());
            }
            None if !lock => return Ok(false),
            Some(_) | None => {}
        }
        match &mut self.place {
            Place::Here(store) => {
                let what = if lock { NoteKind::Locked } else { NoteKind::Unlocked };
                store.commit(&[noted(run.id, &os_user(), now(), reason, what)])?;
            }
            Place::There(client, _) => {
                let body = LockRun { by: whoever(), reason: reason.to_owned() };
                client.keep(run.id, if lock { "lock" } else { "unlock" }, &body).map_err(complain)?;
            }
        }
        Ok(true)
    }

    /// Comments on items of a run, or, without any, on the run.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(crate) fn comment(
        &mut self,
        run: &RunView,
        items: Vec<Spot>,
        text: &str,
    ) -> Result<(), anyhow::Error> {
        match &mut self.place {
            Place::Here(store) => {
                let (by, at) = (os_user(), now());
                let say = |on| noted(run.id, &by, at, text, NoteKind::Comment { on });
                let changes: Vec<_> = match items.is_empty() {
                    true => vec![say(None)],
                    false => items.into_iter().map(|on| say(Some(on))).collect(),
                };
                store.commit(&changes)?;
            }
            Place::There(client, _) => {
                let items = items.into_iter().map(ItemName::from).collect();
                let body = CommentRun { by: whoever(), text: text.to_owned(), items };
                client.keep(run.id, "comment", &body).map_err(complain)?;
            }
        }
        Ok(())
    }

    /// Says what a run is called as a whole.
    ///
    /// # Errors
    /// It cannot be recorded, or the records are a server's.
    pub(crate) fn call(&mut self, run: &RunView, word: &str) -> Result<(), anyhow::Error> {
        let what = NoteKind::Called { word: word.to_owned() };
        Ok(self.store().commit(&[noted(run.id, &os_user(), now(), "", what)])?)
    }

    /// Sets what items came to; `to` of `None`: they are to run again.
    ///
    /// # Errors
    /// The run is locked or under way, or it cannot be recorded.
    pub(crate) fn set(
        &mut self,
        run: &RunView,
        items: Vec<Spot>,
        to: Option<Verdict>,
        word: &str,
        reason: &str,
    ) -> Result<(), anyhow::Error> {
        self.must_be_open(run)?;
        match &mut self.place {
            Place::Here(store) => {
                let dir = store.run_dir(run.number).expect("the records of an area are in a directory");
                let _lock = RunLock::acquire(&dir).map_err(|e| under_way(run).because(e))?;
                let snapshot = store.adopt_run(run.id)?;
                let items = places(&snapshot, &items);
                let (word, reason) = (word.to_owned(), reason.to_owned());
                let setting = Setting { items, to, word, by: os_user(), reason, at: now() };
                store.commit(&setting.changes(&snapshot))?;
                store.delete_lab()?;
            }
            Place::There(client, _) => {
                let body = SetResults {
                    by: whoever(),
                    reason: reason.to_owned(),
                    items: items.into_iter().map(ItemName::from).collect(),
                    to: to.map(|v| v.word().to_owned()),
                    word: word.to_owned(),
                };
                client.keep(run.id, "set", &body).map_err(complain)?;
            }
        }
        Ok(())
    }

    /// Asks whoever executes a run to end items of it.
    ///
    /// # Errors
    /// Nobody does, or it does not answer.
    pub(crate) fn kill(
        &mut self,
        run: &RunView,
        items: Vec<Spot>,
        reason: &str,
    ) -> Result<(), anyhow::Error> {
        match &mut self.place {
            Place::Here(store) => {
                let dir = store.run_dir(run.number).expect("the records of an area are in a directory");
                if RunLock::holder(&dir).is_none() {
                    return Err(Complaint::usage(format!("no process executes {}", run.address()))
                        .hint(format!("`{} resume {}` goes on with it", self.program, run.number))
                        .into());
                }
                let snapshot = store.load_run_snapshot(run.id)?;
                let items = places(&snapshot, &items);
                door::ask(&dir, &DoorAsk::Kill { items, reason: killed_by(&os_user(), reason) })
            }
            Place::There(client, _) => {
                let items = items.into_iter().map(ItemName::from).collect();
                let body = KillItems { by: whoever(), reason: reason.to_owned(), items };
                client.keep(run.id, "kill", &body).map_err(complain)
            }
        }
    }

    /// Removes a run, its files, or the files of some items. What a server keeps of items cannot be told apart.
    ///
    /// # Errors
    /// The run is locked or under way, or it cannot be recorded.
    pub(crate) fn remove(
        &mut self,
        run: &RunView,
        extent: Extent,
        files: Vec<Leftover>,
        reason: &str,
    ) -> Result<(), anyhow::Error> {
        self.must_be_open(run)?;
        match &mut self.place {
            Place::Here(store) => {
                let removal = Removal { by: os_user(), at: now(), reason: reason.to_owned(), extent, files };
                store.remove_run(run.id, &removal).map_err(|e| match e {
                    StoreError::RunAlive { .. } => under_way(run).because(e).into(),
                    e => anyhow::Error::from(e),
                })?;
                store.finish_removals()?;
            }
            Place::There(client, _) => {
                let keep_records = match extent {
                    Extent::Run => false,
                    Extent::Files => true,
                    Extent::FilesOf(_) => {
                        return Err(Complaint::usage("a server removes runs as a whole, or all their files")
                            .hint("leave the patterns out")
                            .into());
                    }
                };
                let body = RemoveRun { by: whoever(), reason: reason.to_owned(), keep_records };
                client.keep(run.id, "remove", &body).map_err(complain)?;
            }
        }
        Ok(())
    }

    /// Refuses a run that a person has locked.
    ///
    /// # Errors
    /// It is.
    pub(crate) fn must_be_open(&self, run: &RunView) -> Result<(), anyhow::Error> {
        must_be_open(run, &self.program)
    }
}

/// Refuses a run that a person has locked.
///
/// # Errors
/// It is.
pub(crate) fn must_be_open(run: &RunView, program: &str) -> Result<(), anyhow::Error> {
    match &run.said.locked {
        None => Ok(()),
        Some(lock) => Err(Complaint::usage(format!("{} is {lock}", run.address()))
            .hint(format!("`{program} runs unlock {}` unlocks it", run.number))
            .into()),
    }
}

fn under_way(run: &RunView) -> Complaint {
    Complaint::usage(format!("{} is under way", run.address()))
        .hint("wait until it has ended, or stop that process with Ctrl-C first")
}

/// Where items are in their run.
fn places(snapshot: &RunSnapshot, items: &[Spot]) -> Vec<ItemIx> {
    let known: HashMap<Spot, ItemIx> =
        spots(snapshot).into_iter().zip(0u32..).filter_map(|(s, ix)| Some((s?, ItemIx(ix)))).collect();
    items.iter().filter_map(|spot| known.get(spot).copied()).collect()
}
