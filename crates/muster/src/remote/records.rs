//! The records of a server, as a store that can be read.

use crate::context::{Context, FILE, OTHER_FILE};
use crate::local::megatest;
use muster_api::Why;
use muster_api::records::{Gone, Items, Late, Name, PastAttempt, Question};
use muster_api::{Client, ClientError, LivePiece};
use muster_core::attempt::Output;
use muster_core::change::{Change, RunSnapshot, Snapshot};
use muster_core::id::{ItemIx, RunId};
use muster_core::view::{AttemptView, RunView};
use muster_store::{
    Durations, FailedItem, Fault, Happened, HistoryEntry, HotLimits, ItemFilter, LabKey, LateEvidence,
    ListedItem, MovedRun, Removal, Removed, RunFilter, RunName, Store, StoreError,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

/// Runs that are asked for at once.
const PAGE: u32 = 500;

/// A server's records.
pub(crate) struct ServerRecords {
    client: Client,
}

impl ServerRecords {
    /// Of the server that this client asks.
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Why an item is not running, as the lab sees it now; `None` where it does not say.
    pub(crate) fn why(&self, run: RunId, item: ItemIx) -> Option<Why> {
        self.client.why(run, item).ok()
    }

    /// What a running attempt has printed, from a byte of the output of one of its processes on.
    pub(crate) fn live(
        &self,
        run: RunId,
        item: ItemIx,
        attempt: u16,
        part: u16,
        from: u64,
    ) -> Result<LivePiece, ClientError> {
        self.client.live(run, item, attempt, part, from)
    }

    /// Reads a file that an attempt has left.
    pub(crate) fn artifact(
        &self,
        run: RunId,
        item: ItemIx,
        attempt: u16,
        path: &str,
    ) -> Result<Box<dyn Read>, ClientError> {
        Ok(Box::new(self.client.get_artifact(run, item, attempt, path)?))
    }

    fn ask<T: DeserializeOwned>(&self, question: &Question) -> Result<T, StoreError> {
        self.client.ask(question).map_err(|e| elsewhere(question, e))
    }

    fn bytes(&self, question: &Question) -> Result<Vec<u8>, StoreError> {
        self.client.ask_bytes(question).map_err(|e| elsewhere(question, e))
    }

    /// Only the server writes its records.
    fn refuse<T>(&self) -> Result<T, StoreError> {
        Err(StoreError::ReadOnly { path: PathBuf::from(self.client.server()) })
    }
}

fn elsewhere(question: &Question, error: ClientError) -> StoreError {
    match (question, error.code()) {
        (Question::Run { run, .. } | Question::Snapshot(run), Some("no-such-run")) => {
            StoreError::UnknownRun { run: *run }
        }
        _ => StoreError::Elsewhere { source: error.into() },
    }
}

/// The area whose runs are meant: that of the directory at hand, if it is one.
pub(crate) fn area_at_hand(context: &Context) -> Option<String> {
    let dir = context.area_dir().ok()?;
    if megatest::is_area(&dir) {
        return megatest::name(&dir);
    }
    let text = [FILE, OTHER_FILE].iter().find_map(|f| std::fs::read_to_string(dir.join(f)).ok())?;
    // The rest of it may be broken; looking at records does not need it.
    let table: toml::Table = text.parse().ok()?;
    Some(table.get("area")?.get("name")?.as_str()?.to_owned())
}

impl Store for ServerRecords {
    fn made_of(&mut self, run: RunId, _number: u32) -> Result<String, StoreError> {
        Ok(String::from_utf8_lossy(&self.bytes(&Question::MadeOf(run))?).into_owned())
    }

    fn commit(&mut self, _changes: &[Change]) -> Result<(), StoreError> {
        self.refuse()
    }

    fn load_snapshot(&mut self) -> Result<Snapshot, StoreError> {
        self.refuse()
    }

    fn load_run_snapshot(&mut self, run: RunId) -> Result<RunSnapshot, StoreError> {
        self.ask(&Question::Snapshot(run))
    }

    fn adopt_run(&mut self, _run: RunId) -> Result<RunSnapshot, StoreError> {
        self.refuse()
    }

    fn reserve_number(&mut self, _area: &str) -> Result<u32, StoreError> {
        self.refuse()
    }

    fn find_last_number(&mut self, area: &str) -> Result<Option<u32>, StoreError> {
        Ok(self.find_run(area, RunName::Latest)?.map(|run| run.number))
    }

    fn delete_lab(&mut self) -> Result<(), StoreError> {
        self.refuse()
    }

    fn list_runs(&mut self, filter: &RunFilter) -> Result<Vec<RunView>, StoreError> {
        let RunFilter { area, called, mut before, limit: most } = filter.clone();
        let mut all: Vec<RunView> = Vec::new();
        loop {
            // Which of them are called so is found out here.
            let limit = if called.is_some() { PAGE } else { (most - all.len() as u32).min(PAGE) };
            if limit == 0 || all.len() >= most as usize {
                all.truncate(most as usize);
                return Ok(all);
            }
            let page: Vec<RunView> = self.ask(&Question::Runs { area: area.clone(), before, limit })?;
            // A server may give less at once than is asked for; it gives nothing only at the end.
            let Some(last) = page.last() else { return Ok(all) };
            before = Some(last.id);
            all.extend(page.into_iter().filter(|run| filter.is_called(&run.name, run.number)));
        }
    }

    fn find_run(&mut self, area: &str, name: RunName<'_>) -> Result<Option<RunView>, StoreError> {
        let name = match name {
            RunName::Latest => Name::Latest,
            RunName::Number(number) => Name::Number(number),
            RunName::Name(name) => Name::Name(name.to_owned()),
        };
        self.ask(&Question::FindRun { area: area.to_owned(), name })
    }

    fn load_run(&mut self, run: RunId, filter: ItemFilter<'_>) -> Result<RunView, StoreError> {
        let items = match filter {
            ItemFilter::All => Items::All,
            ItemFilter::NotOk => Items::NotOk,
            ItemFilter::Failed => Items::Failed,
            ItemFilter::Test(test) => Items::Test(test.to_owned()),
            ItemFilter::Item(test, item) => Items::Item(test.to_owned(), item.to_owned()),
        };
        self.ask(&Question::Run { run, items })
    }

    fn list_failures(&mut self, _run: RunId) -> Result<Vec<FailedItem>, StoreError> {
        self.refuse()
    }

    fn list_items(
        &mut self,
        _run: RunId,
        _filter: ItemFilter<'_>,
        _from: ItemIx,
        _limit: u32,
    ) -> Result<Vec<ListedItem>, StoreError> {
        self.refuse()
    }

    fn list_attempts(&mut self, run: RunId, item: ItemIx) -> Result<Vec<AttemptView>, StoreError> {
        self.ask(&Question::Attempts(run, item))
    }

    fn list_history(
        &mut self,
        area: &str,
        test: &str,
        item: Option<&str>,
        mut before: Option<RunId>,
        mut limit: u32,
    ) -> Result<Vec<HistoryEntry>, StoreError> {
        let mut all: Vec<HistoryEntry> = Vec::new();
        while limit > 0 {
            let (area, test, item) = (area.to_owned(), test.to_owned(), item.map(str::to_owned));
            let question = Question::History { area, test, item, before, limit: limit.min(PAGE) };
            let past: Vec<PastAttempt> = self.ask(&question)?;
            let Some(last) = past.last() else { break };
            before = Some(last.run);
            let runs: BTreeSet<RunId> = past.iter().map(|p| p.run).collect();
            limit = limit.saturating_sub(runs.len() as u32);
            all.extend(past.into_iter().map(entry));
        }
        Ok(all)
    }

    fn list_durations(&mut self, _area: &str, _target: &[(String, String)]) -> Result<Durations, StoreError> {
        // The server knows them and uses them when it is asked for a run.
        Ok(Durations::default())
    }

    fn list_happened(&mut self, _lab: LabKey, _after: u64, _limit: u32) -> Result<Vec<Happened>, StoreError> {
        self.refuse()
    }

    fn find_last_happened(&mut self, _lab: LabKey) -> Result<u64, StoreError> {
        self.refuse()
    }

    fn list_late_evidence(&mut self, run: RunId) -> Result<Vec<LateEvidence>, StoreError> {
        let late: Vec<Late> = self.ask(&Question::LateEvidence(run))?;
        let evidence = |Late { attempt, lease, at, result }| LateEvidence { attempt, lease, at, result };
        Ok(late.into_iter().map(evidence).collect())
    }

    fn read_output(&mut self, run: RunId, output: &Output) -> Result<Vec<u8>, StoreError> {
        self.bytes(&Question::Output { run, output: output.clone(), range: None })
    }

    fn read_output_range(
        &mut self,
        run: RunId,
        output: &Output,
        from: u64,
        len: u64,
    ) -> Result<Vec<u8>, StoreError> {
        self.bytes(&Question::Output { run, output: output.clone(), range: Some((from, len)) })
    }

    fn run_dir(&self, _number: u32) -> Option<PathBuf> {
        None
    }

    fn remove_run(&mut self, _run: RunId, _removal: &Removal) -> Result<(), StoreError> {
        self.refuse()
    }

    fn finish_removals(&mut self) -> Result<(), StoreError> {
        self.refuse()
    }

    fn find_removed(&mut self, area: &str, number: u32) -> Result<Option<Removed>, StoreError> {
        let found: Option<Gone> = self.ask(&Question::FindRemoved { area: area.to_owned(), number })?;
        let removed = |Gone { name, by, at, reason }| Removed { name, by, at, reason };
        Ok(found.map(removed))
    }

    fn reduce_run(&mut self, _run: RunId) -> Result<u64, StoreError> {
        self.refuse()
    }

    fn restore_run(&mut self, _run: RunId) -> Result<(), StoreError> {
        self.refuse()
    }

    fn list_due(&mut self, _area: &str, _limits: &HotLimits, _limit: u32) -> Result<Vec<RunId>, StoreError> {
        self.refuse()
    }

    fn list_cold(&mut self) -> Result<Vec<(RunId, u64)>, StoreError> {
        self.refuse()
    }

    fn find_moved(&mut self, _area: &str, _name: RunName<'_>) -> Result<Option<MovedRun>, StoreError> {
        // A server's runs stay with it.
        Ok(None)
    }

    fn compact(&mut self) -> Result<(), StoreError> {
        self.refuse()
    }

    fn check(&mut self) -> Result<Vec<Fault>, StoreError> {
        self.refuse()
    }
}

fn entry(past: PastAttempt) -> HistoryEntry {
    let PastAttempt { run, number, target, path, attempt, outcome, verdict, started, duration } = past;
    HistoryEntry { run, number, target, path, attempt, outcome, verdict, started, duration }
}
