//! The trait: verbs the size of a transaction, in the words of the core.

use crate::error::StoreError;
use crate::types::{
    Durations, FailedItem, Fault, Happened, HistoryEntry, HotLimits, ItemFilter, LabKey, LateEvidence,
    ListedItem, MovedRun, Removal, Removed, RunFilter, RunName,
};
use muster_core::attempt::Output;
use muster_core::change::{Change, RunSnapshot, Snapshot};
use muster_core::id::{ItemIx, RunId};
use muster_core::view::{AttemptView, RunView};
use std::path::PathBuf;

/// Durable records, seen by one lab (the [`LabKey`](crate::LabKey) it was opened under).
///
/// Every verb is a transaction of its own: it happens whole or, when it returns an error, not at all.
/// Verbs block; a shell that must not wait gives the store a thread of its own. Any number of handles,
/// in any number of processes, may be open on the same records; readers never wait for a writer.
pub trait Store: Send {
    /// Records what the lab decided, in this order. When it returns, the changes survive a power cut.
    /// An empty list does nothing.
    ///
    /// [`Output::Inline`] outputs of any length may be given; long ones are moved to the run's segment
    /// file, and later come back as [`Output::Segment`]. The bytes of an [`Output::File`] must be durable
    /// already.
    ///
    /// # Errors
    /// [`StoreError::Contradiction`] and [`StoreError::NumberTaken`] for changes that cannot be;
    /// [`StoreError::Full`], [`StoreError::Busy`] and the like from below. Nothing is half done: the same
    /// list may be committed again.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// What this lab needs to go on: its agents, leases, counters, and its active runs. It is equal to
    /// what the lab itself knew after the last commit.
    fn load_snapshot(&mut self) -> Result<Snapshot, StoreError>;

    /// One run as it stands, whichever lab it belongs to and however it ended. Changes nothing.
    fn load_run_snapshot(&mut self, run: RunId) -> Result<RunSnapshot, StoreError>;

    /// Makes a run this lab's own, to resume it or run parts of it again, and voids what its former lab
    /// had sent out for it. A former lab that is left without an active run is forgotten. Only a run's
    /// own lab may commit changes of it. A locked run is refused. Hold its [`RunLock`](crate::RunLock) before doing so.
    fn adopt_run(&mut self, run: RunId) -> Result<RunSnapshot, StoreError>;

    /// Takes the next free run number of an area: no other caller, in any process, gets the same one.
    /// A number that is not used in the end is a gap and does no harm.
    fn reserve_number(&mut self, area: &str) -> Result<u32, StoreError>;

    /// The highest number of a recorded run of the area.
    fn find_last_number(&mut self, area: &str) -> Result<Option<u32>, StoreError>;

    /// Forgets this lab: its agents, leases, sent units and counters. For an embedded lab that ends in
    /// good order. Its runs stay.
    fn delete_lab(&mut self) -> Result<(), StoreError>;

    /// Runs without their tests, newest first.
    fn list_runs(&mut self, filter: &RunFilter) -> Result<Vec<RunView>, StoreError>;

    /// A run without its tests, by what a person calls it.
    fn find_run(&mut self, area: &str, name: RunName<'_>) -> Result<Option<RunView>, StoreError>;

    /// A run with tests, items and attempts. Outputs are as they are kept: short ones inline, longer ones
    /// by reference, to be read with [`read_output`](Self::read_output).
    fn load_run(&mut self, run: RunId, filter: ItemFilter<'_>) -> Result<RunView, StoreError>;

    /// Items whose verdict is not [`ok`](muster_core::outcome::Verdict::is_ok), by item. Its cost grows
    /// with the number of failures, and only faintly with the run's size.
    fn list_failures(&mut self, run: RunId) -> Result<Vec<FailedItem>, StoreError>;

    /// At most `limit` items of a run that the filter wants, by record, from the record `from` on. Only what
    /// is answered is read whole, so that a page of a large run costs little.
    fn list_items(
        &mut self,
        run: RunId,
        filter: ItemFilter<'_>,
        from: ItemIx,
        limit: u32,
    ) -> Result<Vec<ListedItem>, StoreError>;

    /// All attempts of one item, from the first.
    fn list_attempts(&mut self, run: RunId, item: ItemIx) -> Result<Vec<AttemptView>, StoreError>;

    /// The attempts of a test (or of one item of it) in the newest runs of the area that recorded any, or in
    /// the newest of those accepted before `before`: at most `limit` runs, newest first; within a run by item, then attempt. Questions for items are
    /// not listed.
    fn list_history(
        &mut self,
        area: &str,
        test: &str,
        item: Option<&str>,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<HistoryEntry>, StoreError>;

    /// How long items are expected to take for a target: the median of up to five good attempts in recent
    /// runs for it, or, where there is no run for that target, for any.
    fn list_durations(&mut self, area: &str, target: &[(String, String)]) -> Result<Durations, StoreError>;

    /// What happened in a lab behind this number, with numbers that grow: at most `limit`. The oldest go when
    /// there are very many; the first that is given then has a number higher than `after` + 1.
    fn list_happened(&mut self, lab: LabKey, after: u64, limit: u32) -> Result<Vec<Happened>, StoreError>;

    /// The number of the last thing that happened in a lab; 0: nothing has.
    fn find_last_happened(&mut self, lab: LabKey) -> Result<u64, StoreError>;

    /// Results that came too late to count, in the order they came.
    fn list_late_evidence(&mut self, run: RunId) -> Result<Vec<LateEvidence>, StoreError>;

    /// All frames of an output as it was given by a query of this run.
    fn read_output(&mut self, run: RunId, output: &Output) -> Result<Vec<u8>, StoreError>;

    /// At most `len` bytes of the frames, from byte `from`; fewer at the end. Checksums are not verified:
    /// they are over the whole.
    fn read_output_range(
        &mut self,
        run: RunId,
        output: &Output,
        from: u64,
        len: u64,
    ) -> Result<Vec<u8>, StoreError>;

    /// Where a run's files are: outputs, working directories, its lock. The directory need not exist.
    /// `None` where the store has no directory.
    fn run_dir(&self, number: u32) -> Option<PathBuf>;

    /// What the results of a run were made of, as it was noted when items of it were given to be run: a line each time,
    /// behind when that was in microseconds since 1970.
    /// Empty: nothing is known of it.
    fn made_of(&mut self, run: RunId, number: u32) -> Result<String, StoreError> {
        let _by_number = run;
        let Some(dir) = self.run_dir(number) else { return Ok(String::new()) };
        crate::made_of::read_made_of(&dir).map_err(|source| StoreError::Io {
            doing: "read",
            path: dir,
            source,
        })
    }

    /// Takes away a run, or files of one: a run is there whole or not at all. When this returns it is gone
    /// for all who look, and which files are to go is recorded; [`finish_removals`](Self::finish_removals)
    /// takes them away. The number of a run that was removed is not used again.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::RunAlive`], and others; nothing was done then.
    fn remove_run(&mut self, run: RunId, removal: &Removal) -> Result<(), StoreError>;

    /// Takes away the files of removed runs. May be called by anybody at any time, by several at once too,
    /// and goes on where one that was killed has ended. May take long.
    fn finish_removals(&mut self) -> Result<(), StoreError>;

    /// Who removed the run that had this number, when and why.
    fn find_removed(&mut self, area: &str, number: u32) -> Result<Option<Removed>, StoreError>;

    /// Puts what is recorded of a run that is over into the cold tier: a compact file of its own, out of the
    /// way of the runs under way. Every query answers as before, only later; a change of the run brings it
    /// back. Says how many bytes it takes there. A run that is there stays.
    ///
    /// # Errors
    /// [`StoreError::NotOver`], [`StoreError::RunAlive`]; the run is then as it was.
    fn reduce_run(&mut self, run: RunId) -> Result<u64, StoreError>;

    /// Brings a run back from the cold tier. One that is not there stays.
    fn restore_run(&mut self, run: RunId) -> Result<(), StoreError>;

    /// Runs of an area that are over and beyond what is to be kept out of the cold tier, oldest first. What
    /// is in the tier already costs nothing here.
    fn list_due(&mut self, area: &str, limits: &HotLimits, limit: u32) -> Result<Vec<RunId>, StoreError>;

    /// The runs in the cold tier with the bytes they take there, oldest first.
    fn list_cold(&mut self) -> Result<Vec<(RunId, u64)>, StoreError>;

    /// Where a run is that was moved from this area to another; the latest of those that were.
    fn find_moved(&mut self, area: &str, name: RunName<'_>) -> Result<Option<MovedRun>, StoreError>;

    /// Gives freed space back to the system, and removes what labs and runs that are gone left behind.
    /// May take long.
    fn compact(&mut self) -> Result<(), StoreError>;

    /// Reads everything and compares it: the database's own check, every checksum, counts against items.
    /// Empty where all is well. May take long.
    fn check(&mut self) -> Result<Vec<Fault>, StoreError>;
}
