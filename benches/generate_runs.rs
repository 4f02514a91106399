//! Makes an area with many runs of the one it has: each with ids, number, times and durations of its own, taken in by
//! the store's own verbs, as those of `muster run` are.
//!
//! `cargo run --release -p muster-store --example generate_runs DIR RUNS [OPEN [COLD [MINUTES]]]`
//!
//! DIR is an area in which `muster run` was called once. Of each run made one test in a thousand fails. The last
//! OPEN runs were killed before their last item had ended, for `muster resume`; of the others each COLDth is in the cold tier.
//! A run is one commit, so that a call that was cut off is gone on with by calling it again. After MINUTES no more are
//! made but the open ones; and none where the disk would be full before the end.

#![expect(clippy::print_stdout, reason = "a report is what it is for")]

use muster_core::attempt::AttemptResult;
use muster_core::change::{Change, Expansion, ItemRecord, RunPhase, RunRecord};
use muster_core::id::{AttemptRef, ItemIx, RunId, UnitId};
use muster_core::outcome::{Outcome, Verdict};
use muster_core::time::Time;
use muster_store::{ItemFilter, LabKey, RunFilter, RunName, Sqlite, Store as _, StoreError};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// Runs after which it is known what one takes.
const SAMPLE: u32 = 12;
/// Runs between two words on how far it is.
const WORD: u32 = 100;
/// What is left free on the disk.
const SPARE_BYTES: u64 = 2 << 30;
/// Runs that wait for the cold tier.
const WAITING: usize = 4;

struct Wanted {
    runs: u32,
    open: u32,
    /// Each of so many; 0: none.
    cold: u32,
    until: Option<Duration>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, numbers @ ..] = args.as_slice() else {
        return Err("generate_runs DIR RUNS [OPEN [COLD [MINUTES]]]".into());
    };
    let number = |at: usize| numbers.get(at).map_or(Ok(0), |text| text.parse::<u32>());
    let until = Some(number(3)?).filter(|m| *m > 0).map(|m| Duration::from_secs(u64::from(m) * 60));
    let wanted = Wanted { runs: number(0)?, open: number(1)?, cold: number(2)?, until };
    let root = Path::new(dir).join(".muster");
    let store = Sqlite::open(&root, LabKey(1))?;
    let (put, waiting) = sync_channel::<RunId>(WAITING);
    // Beside each other, as a server's thread and `muster run` are.
    std::thread::scope(|scope| {
        let tier = scope.spawn(|| -> Result<(), StoreError> {
            let mut store = Sqlite::open(&root, LabKey(2))?;
            waiting.into_iter().try_for_each(|run| store.reduce_run(run).map(drop))
        });
        let made = Maker::new(store)?.make_all(&wanted, &root, |run| put.send(run).is_ok());
        drop(put);
        tier.join().expect("it does not panic")?;
        made
    })
}

/// The run that all others are like.
struct Maker {
    store: Sqlite,
    area: String,
    record: Arc<RunRecord>,
    expansions: Vec<Expansion>,
    items: Vec<ItemIx>,
    result: Arc<AttemptResult>,
}

impl Maker {
    fn new(mut store: Sqlite) -> Result<Self, Box<dyn Error>> {
        let area = store.list_runs(&RunFilter::default())?.pop().ok_or("there is no run yet")?.area;
        let first = store.find_run(&area, RunName::Number(1))?.ok_or("there is no run 1")?;
        let snapshot = store.load_run_snapshot(first.id)?;
        let view = store.load_run(first.id, ItemFilter::Item("noop", "0"))?;
        let any = view.all_items().find_map(|(_, item)| item.attempts.first());
        let result = Arc::clone(&any.ok_or("run 1 has no attempt of noop/0")?.result);
        let items = snapshot.items.iter().map(|(item, _)| *item).collect();
        Ok(Self { store, area, record: snapshot.record, expansions: snapshot.expansions, items, result })
    }

    /// `put`: takes a run for the cold tier, or says that there is nobody to do so.
    fn make_all(
        &mut self,
        wanted: &Wanted,
        root: &Path,
        put: impl Fn(RunId) -> bool,
    ) -> Result<(), Box<dyn Error>> {
        let Wanted { runs, open, cold, until } = wanted;
        let begin = Instant::now();
        let have = self.store.find_last_number(&self.area)?.unwrap_or(0);
        let before = bytes(root)?;
        let (closed, mut nth) = (runs.saturating_sub(*open), have);
        while nth < closed {
            let run = self.make(nth, false)?;
            nth += 1;
            if *cold > 0 && nth.is_multiple_of(*cold) && !put(run) {
                break;
            }
            let made = nth - have;
            if made == SAMPLE {
                let needed = (bytes(root)? - before) / u64::from(SAMPLE) * u64::from(closed - nth);
                let stat = rustix::fs::statvfs(root)?;
                let free = stat.f_bavail.saturating_mul(stat.f_frsize).saturating_sub(SPARE_BYTES);
                println!("{} MB are needed, {} MB are free", needed >> 20, free >> 20);
                if needed > free {
                    return Err("so many do not fit on the disk".into());
                }
            }
            if made.is_multiple_of(WORD) {
                println!("{nth} of {runs} runs after {} s", begin.elapsed().as_secs());
            }
            if until.is_some_and(|until| begin.elapsed() > until) {
                println!("that was the time: {nth} of {runs} runs");
                break;
            }
        }
        for _ in 0..*open {
            self.make(nth, true)?;
            nth += 1;
        }
        let (made, seconds) = (nth.saturating_sub(have), begin.elapsed().as_secs_f64());
        println!("{made} runs of {} tests made in {seconds:.1} s", self.items.len());
        Ok(())
    }

    fn make(&mut self, nth: u32, is_open: bool) -> Result<RunId, Box<dyn Error>> {
        // A UUID of version 7 begins with its milliseconds.
        let run = RunId(self.record.id.0 + (u128::from(nth) << 80));
        let mut record = (*self.record).clone();
        record.id = run;
        record.number = self.store.reserve_number(&self.area)?;
        record.created = Time(self.record.created.0 + u64::from(nth) * 1_000);
        let at = record.created;
        let mut changes = vec![Change::RunCreated(Arc::new(record))];
        changes.extend(self.expansions.iter().map(|e| Change::Expanded(Expansion { run, ..e.clone() })));
        let ended = if is_open { self.items.len().saturating_sub(1) } else { self.items.len() };
        changes.extend(self.items[..ended].iter().map(|item| self.end(run, *item, nth, at)));
        if !is_open {
            let phase = RunPhase::Ended { at: Time(at.0 + 500) };
            changes.push(Change::RunState { run, phase });
        }
        self.store.commit(&changes)?;
        Ok(run)
    }

    fn end(&self, run: RunId, item: ItemIx, nth: u32, at: Time) -> Change {
        let fails = (item.0 + nth) % 1_000 == 7;
        // Times that are nobody else's, so that they can be packed no better than real ones.
        let noise = (u64::from(item.0) << 32 | u64::from(nth)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
        let mut result = (*self.result).clone();
        result.started = Time(at.0 + u64::from(item.0) * 70 + (noise & 0x3f));
        result.duration = Duration::from_nanos(400_000 + noise);
        result.usage.user_micros = 300 + (noise & 0xff);
        if fails {
            result.outcome = Outcome::Fail;
        }
        let record = ItemRecord {
            attempts: 1,
            tries: 1,
            verdict: Some(Verdict::from(result.outcome)),
            failed: fails,
            ..ItemRecord::default()
        };
        let attempt = AttemptRef { run, item, attempt: 1 };
        let (unit, result) = (UnitId(u64::from(item.0)), Arc::new(result));
        Change::AttemptEnded { attempt, unit, device: "slot-1".into(), result, record }
    }
}

/// What the records take: the database and the cold tier.
fn bytes(root: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for dir in [root.to_owned(), root.join("cold")] {
        let Ok(list) = std::fs::read_dir(dir) else { continue };
        for entry in list {
            // One of the cold tier may be renamed just now.
            bytes += entry?.metadata().map_or(0, |meta| if meta.is_file() { meta.len() } else { 0 });
        }
    }
    Ok(bytes)
}
