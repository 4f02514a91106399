//! Nothing a process has started outlives it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::harness::{Bench, Done, is_alive, run, sh};
use muster_agent::exec::{Cgroups, EngineConfig, Status};

/// The process ids it printed, one a line, are all gone.
fn check_gone(done: &Done, count: usize) {
    let out = done.stdout();
    let pids: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(pids.len(), count, "{out:?}");
    for pid in pids {
        assert!(!is_alive(pid), "{pid} lives");
    }
}

#[test]
fn a_background_process_is_killed_and_counted() {
    let done = run(sh("sleep 1000 & echo $!; exit 5"));
    assert_eq!(done.end.status, Status::Exit(5));
    check_gone(&done, 1);
    assert_eq!(done.end.leaked, 1);
}

#[test]
fn a_process_that_leaves_nothing_is_not_said_to() {
    assert_eq!(run(sh("sleep 0.01 & wait; true & sleep 0.2; exit")).end.leaked, 0);
}

#[test]
fn a_process_in_a_session_of_its_own_is_killed() {
    let done = run(sh("setsid sh -c 'echo $$ >&2; exec sleep 1000' 2>pid & while [ ! -s pid ]; do sleep 0.01; done; cat pid")
        .in_scratch());
    check_gone(&done, 1);
    assert_eq!(done.end.leaked, 1);
}

#[test]
fn a_daemon_that_forked_twice_and_closed_everything_is_killed() {
    let daemon = "setsid sh -c 'setsid sh -c \"echo \\$\\$ > pid.new; mv pid.new pid; exec sleep 1000\" \
                  >/dev/null 2>&1 </dev/null & exit' & while [ ! -s pid ]; do sleep 0.01; done; cat pid";
    let done = run(sh(daemon).in_scratch());
    check_gone(&done, 1);
    assert_eq!(done.end.leaked, 1);
}

#[test]
fn a_daemon_without_the_environment_is_killed() {
    let daemon = "setsid env -i sh -c 'echo $$ > pid.new; mv pid.new pid; exec sleep 1000' >/dev/null 2>&1 & \
                  while [ ! -s pid ]; do sleep 0.01; done; cat pid";
    let done = run(sh(daemon).in_scratch());
    // Other tests of this process run beside this one; the last of those that ran with it takes it along.
    let pid = done.stdout();
    crate::harness::wait_until(|| !is_alive(&pid));
}

#[test]
fn a_tree_of_daemons_is_killed_to_its_leaves() {
    let tree = "f() { if [ $1 -gt 0 ]; then setsid sh -c \"$def f $(($1 - 1))\" & \
                setsid sh -c \"$def f $(($1 - 1))\" & fi; echo $$ >> pids; exec sleep 1000; }";
    let line = format!(
        "def='{tree};'; export def; setsid sh -c \"$def f 3\" & \
         while [ \"$(cat pids 2>/dev/null | wc -l)\" -lt 15 ]; do sleep 0.01; done; cat pids"
    );
    let done = run(sh(&line).in_scratch());
    check_gone(&done, 15);
    assert_eq!(done.end.leaked, 15);
}

#[test]
fn something_that_keeps_forking_is_killed() {
    // Each hands over to a new one in a new session and ends.
    let line = "echo 'setsid sh ./hop >/dev/null 2>&1 & exit' > hop; sh ./hop; sleep 0.1";
    for _ in 0..5 {
        let done = run(sh(line).in_scratch());
        assert_eq!(done.end.status, Status::Exit(0));
        assert_eq!(done.remarks(), "");
        crate::harness::wait_until(|| !running_with("./hop"));
    }
}

#[test]
fn a_leftover_that_holds_the_pipe_and_writes_for_ever_does_not_hold_up_the_end() {
    let done = run(sh("yes & sleep 0.05; exit 0"));
    assert_eq!(done.end.status, Status::Exit(0));
    assert_eq!(done.end.leaked, 1);
    let done = run(sh("setsid yes & sleep 0.05; exit 0"));
    assert_eq!(done.end.status, Status::Exit(0));
    assert_eq!(done.end.leaked, 1);
}

#[test]
fn what_another_slot_runs_is_left_alone() {
    let bench = Bench::new(EngineConfig { threads: Some(1), ..EngineConfig::new(2) });
    // A test with a daemon of its own that it relies on, while others end beside it.
    let server = "setsid sh -c 'echo $$ > pid.new; mv pid.new pid; exec sleep 1000' >/dev/null 2>&1 & \
                  while [ ! -s pid ]; do sleep 0.01; done; echo ready; while [ ! -e go ]; do sleep 0.01; done; \
                  kill -0 $(cat pid) && echo served; cat pid";
    let scratch = tempfile::tempdir().unwrap();
    let mut spec = sh(server);
    spec.dir = scratch.path().to_path_buf();
    bench.give(1, [spec]);
    assert_eq!(bench.printed(), "ready\n");
    for id in 2..60 {
        bench.give(id, [sh("setsid sleep 1000 & sleep 1000 & exit 0")]);
        assert_eq!(bench.done().task, id);
    }
    std::fs::write(scratch.path().join("go"), "").unwrap();
    let done = bench.done();
    assert_eq!(done.task, 1);
    let out = done.stdout();
    let pid = out.strip_prefix("ready\nserved\n").unwrap_or_else(|| panic!("{out}"));
    assert!(!is_alive(pid));
    assert_eq!(done.end.leaked, 1);
}

#[test]
fn with_control_groups_a_daemon_without_the_environment_is_killed_at_once() {
    let config = EngineConfig { cgroups: Cgroups::Auto, ..EngineConfig::new(1) };
    let bench = Bench::new(config);
    if bench.engine.describe().contains("no control groups") {
        return;
    }
    let daemon = "setsid env -i sh -c 'echo $$ > pid.new; mv pid.new pid; exec sleep 1000' >/dev/null 2>&1 & \
                  while [ ! -s pid ]; do sleep 0.01; done; cat pid";
    for id in 0..3 {
        bench.give(id, [sh(daemon).in_scratch()]);
        let done = bench.done();
        check_gone(&done, 1);
        assert_eq!(done.end.leaked, 1);
    }
    let dir = bench.engine.describe().split("per slot in ").nth(1).unwrap();
    let dir = dir.split(';').next().unwrap().to_owned();
    assert!(std::path::Path::new(&dir).exists());
    drop(bench);
    assert!(!std::path::Path::new(&dir).exists());
}

#[test]
fn killing_everything_leaves_nothing_and_tells_the_tasks() {
    let bench = Bench::new(EngineConfig::new(3));
    for id in 0..3 {
        let spec =
            sh("trap '' TERM; setsid sleep 1000 >/dev/null 2>&1 & echo $$ $!; while :; do sleep 1; done");
        // The next process of a stopped task is not started any more.
        bench.give(id, [spec, sh("echo never")]);
    }
    let pids: Vec<String> = (0..3).map(|_| bench.printed()).collect();
    bench.give(9, [sh("echo never")]);
    assert!(bench.engine.kill_everything());
    for pid in pids.iter().flat_map(|line| line.split_whitespace()) {
        assert!(!is_alive(pid), "{pid} lives");
    }
    for _ in 0..3 {
        assert_eq!(bench.done().end.status, Status::Stopped);
    }
    assert!(bench.no_more());
    bench.engine.shutdown();
    assert!(bench.engine.kill_everything());
}

fn running_with(arg: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|p| std::fs::read(p.path().join("cmdline")).ok())
        .any(|line| line.split(|b| *b == 0).any(|a| a == arg.as_bytes()))
}

trait Scratch {
    fn in_scratch(self) -> Self;
}

impl Scratch for muster_agent::exec::ProcessSpec {
    /// In a new directory, which is left among what was built.
    fn in_scratch(mut self) -> Self {
        self.dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
        self
    }
}
