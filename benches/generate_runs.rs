//! Makes an area with many runs of the one it has: each with ids, number and times of its own, written into the
//! area's records by the store's own verbs, as `muster run` writes them.
//!
//! `cargo run --release -p muster-store --example generate_runs DIR RUNS [OPEN]`
//!
//! DIR is an area in which `muster run` was called once. Of each run made one test in a thousand fails. The last
//! OPEN runs were killed before their last item had ended, for `muster resume`.

#![expect(clippy::print_stdout, reason = "a report is what it is for")]

use muster_core::attempt::AttemptResult;
use muster_core::change::{Change, Expansion, ItemRecord, RunPhase, RunRecord};
use muster_core::id::{AttemptRef, ItemIx, RunId, UnitId};
use muster_core::outcome::{Outcome, Verdict};
use muster_core::time::Time;
use muster_store::{ItemFilter, LabKey, RunName, Sqlite, Store as _};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Results committed at once, about as many as a busy lab gathers.
const BATCH: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (dir, runs, open) = match args.as_slice() {
        [dir, runs] => (dir, runs.parse::<u32>()?, 0),
        [dir, runs, open] => (dir, runs.parse()?, open.parse::<u32>()?),
        _ => return Err("generate_runs DIR RUNS [OPEN]".into()),
    };
    let mut store = Sqlite::open(&Path::new(dir).join(".muster"), LabKey(1))?;
    let area = store.list_runs(&muster_store::RunFilter::default())?.pop().ok_or("there is no run yet")?.area;
    let first = store.find_run(&area, RunName::Number(1))?.ok_or("there is no run 1")?;
    let snapshot = store.load_run_snapshot(first.id)?;
    let mut results: Vec<(ItemIx, Arc<AttemptResult>)> = Vec::with_capacity(snapshot.items.len());
    let view = store.load_run(first.id, ItemFilter::All)?;
    let any = view.all_items().find_map(|(_, item)| item.attempts.first()).ok_or("run 1 has no attempt")?;
    results.extend(snapshot.items.iter().map(|(item, _)| (*item, Arc::clone(&any.result))));
    let begin = Instant::now();
    let have = store.find_last_number(&area)?.unwrap_or(0);
    for nth in have..runs {
        let is_open = nth + open >= runs;
        make(&mut store, &area, &snapshot.record, &snapshot.expansions, &results, nth, is_open)?;
    }
    let (made, seconds) = (runs.saturating_sub(have), begin.elapsed().as_secs_f64());
    println!("{made} runs of {} tests made in {seconds:.1} s", results.len());
    Ok(())
}

fn make(
    store: &mut Sqlite,
    area: &str,
    of: &RunRecord,
    expansions: &[Expansion],
    results: &[(ItemIx, Arc<AttemptResult>)],
    nth: u32,
    is_open: bool,
) -> Result<(), Box<dyn Error>> {
    // A UUID of version 7 begins with its milliseconds.
    let id = RunId(of.id.0 + (u128::from(nth) << 80));
    let mut record = of.clone();
    record.id = id;
    record.number = store.reserve_number(area)?;
    record.created = Time(of.created.0 + u64::from(nth) * 1_000);
    let mut changes = vec![Change::RunCreated(Arc::new(record))];
    changes.extend(expansions.iter().map(|e| Change::Expanded(Expansion { run: id, ..e.clone() })));
    let ended = if is_open { results.len().saturating_sub(1) } else { results.len() };
    for (item, result) in &results[..ended] {
        changes.push(end(id, *item, result, nth));
        if changes.len() >= BATCH {
            store.commit(&changes)?;
            changes.clear();
        }
    }
    if !is_open {
        let at = Time(of.created.0 + u64::from(nth) * 1_000 + 500);
        changes.push(Change::RunState { run: id, phase: RunPhase::Ended { at } });
    }
    Ok(store.commit(&changes)?)
}

fn end(run: RunId, item: ItemIx, result: &Arc<AttemptResult>, nth: u32) -> Change {
    let fails = (item.0 + nth) % 1_000 == 7;
    let mut result = Arc::clone(result);
    if fails {
        Arc::make_mut(&mut result).outcome = Outcome::Fail;
    }
    let record = ItemRecord {
        attempts: 1,
        tries: 1,
        verdict: Some(Verdict::from(result.outcome)),
        failed: fails,
        ..ItemRecord::default()
    };
    let attempt = AttemptRef { run, item, attempt: 1 };
    Change::AttemptEnded { attempt, unit: UnitId(u64::from(item.0)), device: "slot-1".into(), result, record }
}
