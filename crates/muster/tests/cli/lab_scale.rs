//! A server with many runs that are over: they cost it nothing.

use crate::env::TestEnv;
use crate::lab::Lab;
use muster_core::change::{Change, RunPhase};
use muster_core::id::RunId;
use muster_core::time::Time;
use muster_store::{ItemFilter, LabKey, RunFilter, Sqlite, Store as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Items of a run. What the lab keeps of one under way is about a KiB each.
const ITEMS: usize = 1_500;
/// Runs: enough that the server looks at no more of them for what devices did lately.
const FEW: u32 = 14;
/// Memory beside so many times more runs may be this much more, in tenths: less than a tenth of those runs takes.
const TENTHS_MAX: u64 = 13;

fn area(env: &TestEnv, items: usize) {
    let items: Vec<String> = (0..items).map(|n| format!("\"{n}\"")).collect();
    let area =
        format!("[area]\nname = \"demo\"\n[test.a]\ncmd = [\"true\"]\nitems = [{}]\n", items.join(","));
    env.write("muster.toml", &area);
}

/// Adds runs like the first one of these records until there are so many.
fn fill(records: &Path, runs: u32) {
    let mut store = Sqlite::open(records, LabKey(9)).unwrap();
    let known = store.list_runs(&RunFilter { limit: u32::MAX, ..RunFilter::default() }).unwrap();
    let first = known.last().unwrap().id;
    let of = store.load_run_snapshot(first).unwrap();
    let view = store.load_run(first, ItemFilter::All).unwrap();
    let attempt = &view.all_items().next().unwrap().1.attempts[0];
    for n in known.len() as u32..runs {
        let run = RunId(first.0 + (u128::from(n) << 80));
        let mut record = (*of.record).clone();
        (record.id, record.number) = (run, store.reserve_number("demo").unwrap());
        let mut changes = vec![Change::RunCreated(Arc::new(record))];
        changes.extend(of.items.iter().map(|(item, record)| Change::AttemptEnded {
            attempt: muster_core::id::AttemptRef { run, item: *item, attempt: 1 },
            unit: muster_core::id::UnitId(u64::from(item.0)),
            device: attempt.device.as_str().into(),
            result: Arc::clone(&attempt.result),
            record: record.clone(),
        }));
        changes.push(Change::RunState { run, phase: RunPhase::Ended { at: Time(of.record.created.0 + 9) } });
        store.commit(&changes).unwrap();
    }
}

/// Starts the server, asks what people ask, and says how much memory it took at most, in KiB.
fn peak_of_server(lab: &mut Lab<'_>, env: &TestEnv) -> u64 {
    lab.start_server();
    let url = lab.url();
    for question in [&["runs", "-n", "10"][..], &["results", "2", "--failed"], &["history", "a/7", "-n", "3"]]
    {
        let asked = env.command(&[&["--server", &url], question].concat()).output().unwrap();
        assert!(
            asked.status.code().is_some_and(|code| code < 2),
            "{}",
            String::from_utf8_lossy(&asked.stderr)
        );
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", lab.server_id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    lab.kill_server();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn the_memory_of_a_server_does_not_grow_with_runs_that_are_over() {
    let env = TestEnv::new();
    area(&env, ITEMS);
    let mut lab = Lab::start(&env);
    lab.start_agent("rack1", &[]);
    let ran = env.command(&["--server", &lab.url(), "run", "--progress", "quiet"]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    lab.kill_server();
    let records = env.home().join("server/records");
    fill(&records, FEW);
    let few = peak_of_server(&mut lab, &env);
    fill(&records, 5 * FEW);
    let many = peak_of_server(&mut lab, &env);
    assert!(
        many * 10 <= few * TENTHS_MAX,
        "{few} KiB beside {FEW} runs, {many} KiB beside five times as many"
    );
}

#[test]
fn a_server_puts_runs_that_are_due_into_the_cold_tier_by_itself() {
    let env = TestEnv::new();
    area(&env, 3);
    std::fs::create_dir_all(env.home().join("server")).unwrap();
    std::fs::write(env.home().join("server/server.toml"), "[records]\nhot-runs = 1\n").unwrap();
    let mut lab = Lab::start(&env);
    lab.start_agent("rack1", &[]);
    let url = lab.url();
    let asks = |args: &[&str]| env.command(&[&["--server", &url], args].concat()).output().unwrap();
    for _ in 0..3 {
        assert!(asks(&["run", "--progress", "quiet"]).status.success());
    }
    let cold = || std::fs::read_dir(env.home().join("server/records/cold")).map_or(0, Iterator::count);
    while cold() != 2 {
        std::thread::sleep(Duration::from_millis(100));
    }
    // They answer as before, and one that goes on comes back.
    let results = asks(&["results", "1"]);
    assert!(results.status.success(), "{}", String::from_utf8_lossy(&results.stderr));
    assert!(asks(&["rerun", "1", "a/2", "--progress", "quiet"]).status.success());
    let results = String::from_utf8(asks(&["results", "1", "--json"]).stdout).unwrap();
    assert!(results.contains("\"number\":2"), "a second attempt: {results}");
}
