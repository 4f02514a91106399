//! What is left when the engine's own process is killed. This file's program is also that process: started
//! again with [`HOST`] set, it runs an engine until it is killed.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "exec/harness.rs"]
#[expect(dead_code, reason = "shared with the other tests of the executor")]
mod harness;

use harness::{Bench, is_alive, sh, wait_until};
use muster_agent::exec::{Cgroups, EngineConfig, become_subreaper, kill_abandoned, kill_descendants};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

const HOST: &str = "MUSTER_TEST_ENGINE_HOST";

/// `kill_descendants` takes the children of every test of this process.
static ALONE: Mutex<()> = Mutex::new(());

/// Not a test of its own: the process that hosts the engine.
#[test]
fn host() {
    let Ok(dir) = std::env::var(HOST) else { return };
    let bench = Bench::new(EngineConfig { cgroups: Cgroups::Auto, ..EngineConfig::new(2) });
    let line = "setsid sh -c 'echo $$ > daemon.new; mv daemon.new daemon; exec sleep 1000' >/dev/null 2>&1 & \
                sleep 1000 & echo $! > child.new; mv child.new child; \
                echo $$ > leader.new; mv leader.new leader; wait";
    let mut spec = sh(line);
    spec.dir = dir.into();
    bench.give(1, [spec]);
    bench.done();
}

fn start_host(dir: &Path) -> (Child, [String; 3]) {
    let host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host"])
        .env(HOST, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let names = ["leader", "child", "daemon"];
    wait_until(|| names.iter().all(|name| dir.join(name).exists()));
    (host, names.map(|name| std::fs::read_to_string(dir.join(name)).unwrap()))
}

#[test]
fn its_parent_can_kill_all_that_a_killed_engine_has_left() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    become_subreaper().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut host, pids) = start_host(dir.path());
    assert!(pids.iter().all(|pid| is_alive(pid)));
    host.kill().unwrap();
    host.wait().unwrap();
    // The leader dies with the engine, by itself.
    wait_until(|| !is_alive(&pids[0]));
    let reaped = kill_descendants();
    assert!(reaped >= 2, "{reaped}");
    for pid in &pids {
        assert!(!is_alive(pid), "{pid} lives");
    }
}

#[test]
fn what_nobody_was_left_to_kill_is_found_by_its_mark() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let dir = tempfile::tempdir().unwrap();
    let (mut host, pids) = start_host(dir.path());
    // While its engine lives, it is nobody's business.
    kill_abandoned();
    assert!(pids.iter().all(|pid| is_alive(pid)));
    host.kill().unwrap();
    host.wait().unwrap();
    wait_until(|| !is_alive(&pids[0]));
    assert!(kill_abandoned() >= 2);
    wait_until(|| pids.iter().all(|pid| !is_alive(pid)));
}

#[test]
fn the_control_groups_of_a_killed_engine_are_removed_by_the_next() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let config = EngineConfig { cgroups: Cgroups::Auto, ..EngineConfig::new(1) };
    let root = |bench: &Bench| {
        let (_, rest) = bench.engine.describe().split_once("per slot in ")?;
        Some(Path::new(rest.split(';').next()?).to_path_buf())
    };
    let Some(parent) = root(&Bench::new(config)).map(|dir| dir.parent().unwrap().to_path_buf()) else {
        // No control group is writable here.
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (mut host, pids) = start_host(dir.path());
    let left = parent.join(format!("muster-{}-0", host.id()));
    assert!(left.join("slot-1").exists());
    host.kill().unwrap();
    host.wait().unwrap();
    kill_abandoned();
    wait_until(|| pids.iter().all(|pid| !is_alive(pid)));
    wait_until(|| {
        drop(Bench::new(config));
        !left.exists()
    });
}
