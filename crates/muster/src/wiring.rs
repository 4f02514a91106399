//! Which store, opened how, and where the executor keeps what it has not recorded yet.

use crate::commands::records::no_runs;
use crate::context::{Context, RECORDS};
use crate::records::{Found, Records};
use crate::remote::complain;
use crate::remote::records::{ServerRecords, area_at_hand};
use muster_api::LivePiece;
use muster_core::change::RunSnapshot;
use muster_core::id::{ItemIx, RunId, UnitId};
use muster_core::plan::PlannedItems;
use muster_store::{LabKey, RunFilter, Sqlite, Store, StoreError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Opens the records of the area in this directory, making them where there are none.
///
/// # Errors
/// They cannot be opened, are damaged, or are newer than this program.
pub(crate) fn open_to_write(area_dir: &Path) -> Result<Sqlite, StoreError> {
    // The random half of the id; the database keeps signed numbers.
    let key = uuid::Uuid::now_v7().as_u64_pair().1 >> 1;
    let mut store = Sqlite::open(&area_dir.join(RECORDS), LabKey(key))?;
    // What is removed is gone before anything takes its place. What cannot be taken away now is tried again.
    let _left = store.finish_removals();
    Ok(store)
}

/// Opens the records of an area for reading.
///
/// # Errors
/// There are none yet, or they cannot be read.
pub(crate) fn open_for_reading(area_dir: &Path) -> Result<Box<dyn Store>, anyhow::Error> {
    Ok(Box::new(open_sqlite(area_dir)?))
}

/// Opens the records of the area at hand, here or with the server that is meant, and the filter that lists its runs.
///
/// # Errors
/// There are none yet, or they cannot be read.
pub(crate) fn open_at_hand(context: &Context) -> Result<(Box<dyn Store>, RunFilter), anyhow::Error> {
    let all = RunFilter { limit: u32::MAX, ..RunFilter::default() };
    let dir = context.area_dir()?;
    let Some(server) = &context.server else { return Ok((open_for_reading(&dir)?, all)) };
    let store = ServerRecords::new(crate::remote::client(server, context)?);
    Ok((Box::new(store), RunFilter { area: area_at_hand(context), ..all }))
}

/// Those of this machine, as what they are.
///
/// # Errors
/// As above.
pub(crate) fn open_sqlite(area_dir: &Path) -> Result<Sqlite, anyhow::Error> {
    match Sqlite::open_to_read(&area_dir.join(RECORDS)) {
        Ok(store) => Ok(store),
        Err(StoreError::NoStore { .. }) => Err(no_runs()),
        Err(e) => Err(e.into()),
    }
}

/// Where the log of a running attempt grows.
pub(crate) enum RunningLog {
    /// On this machine.
    Here(RunningFiles),
    /// With an agent, which brings it to the server while somebody looks.
    There(RunningThere),
}

impl RunningLog {
    /// Finds out where an attempt's log grows; `None` while it has not been given to a device.
    ///
    /// # Errors
    /// The records cannot be read.
    pub(crate) fn find(
        records: &Records,
        found: &Found,
        attempt: u16,
    ) -> Result<Option<Self>, anyhow::Error> {
        let snapshot = records.with(|s| s.load_run_snapshot(found.run.id))?;
        let (test, item) = (&found.test().name, found.item());
        let Some(item) = place(&snapshot, test, &item.path, item.discovery) else { return Ok(None) };
        let run = found.run.id;
        if records.with_there(|_| ()).is_some() {
            return Ok(Some(Self::There(RunningThere { run, item, attempt })));
        }
        let unit = records.with_here(|s| s.find_unit(run, item, attempt))?;
        let run_dir = records.with(|s| Ok::<_, StoreError>(s.run_dir(found.run.number)))?;
        Ok(unit.zip(run_dir).map(|(unit, run_dir)| Self::Here(RunningFiles { run_dir, unit })))
    }
}

/// The files that the logs of a running attempt's processes are spilled to, one for each in their order.
/// None of them need be there: a log begins in memory.
pub(crate) struct RunningFiles {
    run_dir: PathBuf,
    unit: UnitId,
}

impl RunningFiles {
    /// The file of the attempt's process of this number, from 0: as `muster_agent::tasks` names it.
    pub(crate) fn part(&self, number: u16) -> PathBuf {
        let unit = self.unit.0;
        self.run_dir.join(format!("out/{}/{unit}-{number}.frames", unit / 1000))
    }
}

/// An attempt that runs elsewhere.
pub(crate) struct RunningThere {
    run: RunId,
    item: ItemIx,
    attempt: u16,
}

impl RunningThere {
    /// What its process of this number has printed from this byte on. Waits for a moment where that is nothing, and for a
    /// server that is away.
    ///
    /// # Errors
    /// The server refuses it.
    pub(crate) fn piece(&self, records: &Records, part: u16, from: u64) -> Result<LivePiece, anyhow::Error> {
        let asked = records.with_there(|s| s.live(self.run, self.item, self.attempt, part, from));
        match asked.expect("it was found there") {
            Err(e) if e.may_pass() => {
                std::thread::sleep(AGAIN);
                Ok(LivePiece { frames: Vec::new(), has_next: false })
            }
            piece => piece.map_err(complain),
        }
    }
}

/// Pause before a server that does not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Where an item's record is in its run: the plan's listed items and questions, then what was found.
pub(crate) fn place(snapshot: &RunSnapshot, test: &str, path: &str, discovery: bool) -> Option<ItemIx> {
    let plan = &snapshot.record.plan;
    let mut first = 0;
    for planned in &plan.tests {
        let here = planned.def.name == test;
        match &planned.items {
            PlannedItems::Listed(items) => {
                if here && let Some(at) = items.iter().position(|i| &*i.path == path) {
                    return u32::try_from(first + at).ok().map(ItemIx);
                }
                first += items.len();
            }
            PlannedItems::Found(_) => {
                if here && discovery {
                    return u32::try_from(first).ok().map(ItemIx);
                }
                first += 1;
            }
        }
    }
    snapshot.expansions.iter().find_map(|e| {
        let here = plan.tests.get(e.test.0 as usize).is_some_and(|t| t.def.name == test);
        let at = e.items.iter().position(|i| here && &*i.path == path)?;
        Some(ItemIx(e.first.0 + u32::try_from(at).ok()?))
    })
}
