//! Hard limit, silence, grace, and stopping on request.

use crate::harness::{Bench, run, sh};
use muster_agent::exec::{EngineConfig, Status, Stop};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(60);
/// Longer than any test machine takes to do what is asked.
const FOREVER: Duration = Duration::from_secs(3600);

#[test]
fn the_hard_limit_ends_a_process_that_takes_term() {
    let mut spec = sh("echo before; sleep 1000");
    spec.limits.timeout = Some(SHORT);
    spec.limits.grace = FOREVER;
    let done = run(spec);
    assert_eq!(done.end.status, Status::HardLimit(SHORT));
    assert!(done.end.duration >= SHORT);
    assert_eq!(done.remarks(), "hard limit of 60ms reached: TERM, and KILL in 3600s\n");
}

#[test]
fn a_process_that_ignores_term_is_killed_after_its_grace_and_its_last_output_is_kept() {
    let mut spec = sh("trap 'echo got TERM' TERM; echo ready; while :; do sleep 0.01; done");
    // Long enough for the shell to have set its trap.
    spec.limits.silence = Some(Duration::from_millis(400));
    spec.limits.grace = Duration::from_millis(300);
    let done = run(spec);
    assert_eq!(done.end.status, Status::SilenceLimit(Duration::from_millis(400)));
    assert_eq!(done.stdout(), "ready\ngot TERM\n");
    assert_eq!(done.remarks(), "no output for 400ms: TERM, and KILL in 300ms\nits grace is over: KILL\n");
}

#[test]
fn limits_that_are_never_reached_change_nothing() {
    for never in [Duration::MAX, FOREVER] {
        let mut spec = sh("echo out; sleep 0.05; exit 3");
        spec.limits.timeout = Some(never);
        spec.limits.silence = Some(never);
        spec.limits.grace = never;
        let bench = Bench::new(EngineConfig::new(1));
        bench.give(1, [spec.clone()]);
        let done = bench.done();
        assert_eq!((done.end.status, done.stdout), (Status::Exit(3), b"out\n".to_vec()));
        spec.argv[2] = "echo ready; sleep 1000".to_owned();
        bench.give(2, [spec]);
        while !bench.printed().contains("ready") {}
        bench.engine.stop(0, 2, Stop::Grace);
        assert_eq!(bench.done().end.status, Status::Stopped);
    }
}

#[test]
fn without_grace_it_is_killed_at_once() {
    let mut spec = sh("trap '' TERM; sleep 1000");
    spec.limits.timeout = Some(SHORT);
    let done = run(spec);
    assert_eq!(done.end.status, Status::HardLimit(SHORT));
    assert_eq!(done.remarks(), "hard limit of 60ms reached: KILL\n");
}

#[test]
fn output_on_any_pipe_holds_off_the_silence_limit() {
    for way in ["", ">&2", ">&3"] {
        let mut spec =
            sh(&format!("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo {way} x; sleep 0.1; done; sleep 1000"));
        spec.report = true;
        spec.limits.silence = Some(Duration::from_secs(1));
        let done = run(spec);
        assert_eq!(done.end.status, Status::SilenceLimit(Duration::from_secs(1)));
        assert!(done.end.duration >= Duration::from_millis(2_000), "{:?}", done.end.duration);
    }
}

#[test]
fn what_the_leader_leaves_behind_has_the_rest_of_the_grace() {
    // The shell dies of TERM at once; the one it started wants to say goodbye.
    let mut spec =
        sh("(trap 'sleep 0.2; echo goodbye; exit' TERM; echo ready; while :; do sleep 0.01; done) & \
         while :; do sleep 0.01; done");
    spec.limits.silence = Some(Duration::from_millis(400));
    spec.limits.grace = FOREVER;
    let done = run(spec);
    assert_eq!(done.end.status, Status::SilenceLimit(Duration::from_millis(400)));
    assert_eq!(done.stdout(), "ready\ngoodbye\n");
}

#[test]
fn a_suspended_process_can_be_ended_with_grace() {
    let mut spec = sh("kill -STOP $$");
    spec.limits.timeout = Some(SHORT);
    spec.limits.grace = FOREVER;
    assert_eq!(run(spec).end.status, Status::HardLimit(SHORT));
}

#[test]
fn stop_ends_the_task_it_names_and_no_other() {
    let bench = Bench::new(EngineConfig::new(1));
    bench.give(1, [sh("echo one; sleep 1000")]);
    assert_eq!(bench.printed(), "one\n");
    bench.engine.stop(0, 2, Stop::Kill);
    bench.engine.stop(7, 1, Stop::Kill);
    bench.engine.stop(0, 1, Stop::Grace);
    // Late ones, while the next task runs.
    bench.give(2, [sh("echo two; sleep 0.3")]);
    for _ in 0..50 {
        bench.engine.stop(0, 1, Stop::Kill);
    }
    let first = bench.done();
    assert_eq!((first.task, first.end.status), (1, Status::Stopped));
    bench.engine.stop(0, 1, Stop::Kill);
    let second = bench.done();
    assert_eq!((second.task, second.end.status), (2, Status::Exit(0)));
}

#[test]
fn a_second_stop_turns_grace_into_kill() {
    let bench = Bench::new(EngineConfig::new(1));
    let mut spec = sh("trap 'echo no' TERM; echo ready; while :; do sleep 0.01; done");
    spec.limits.grace = FOREVER;
    bench.give(1, [spec]);
    assert_eq!(bench.printed(), "ready\n");
    bench.engine.stop(0, 1, Stop::Grace);
    // The shell may have words of its own about what TERM did to its `sleep`.
    while !bench.printed().contains("no\n") {}
    bench.engine.stop(0, 1, Stop::Kill);
    let done = bench.done();
    assert_eq!(done.end.status, Status::Stopped);
    assert!(done.remarks().ends_with("stopped without waiting for its grace: KILL\n"));
}

#[test]
fn a_stop_among_thousands_of_short_tasks_never_ends_a_wrong_one() {
    let bench = Bench::new(EngineConfig::new(2));
    let count = 400;
    for id in 0..count {
        bench.give(id, [sh("exit 3")]);
        // Most come too early or too late; those that meet it may end it.
        bench.engine.stop(0, id / 2, Stop::Kill);
        bench.engine.stop(1, 1_000_000 + id, Stop::Kill);
    }
    for _ in 0..count {
        let done = bench.done();
        match done.end.status {
            Status::Exit(3) => {}
            Status::Stopped => assert!(done.task <= count / 2, "{}", done.task),
            other => panic!("{other:?}"),
        }
    }
}
