//! Many tasks over slots: order within a task, waking, and that nothing waits for a wake-up.

use crate::harness::{Bench, sh};
use muster_agent::exec::{EngineConfig, Status};
use std::time::Duration;

#[test]
fn the_processes_of_a_task_run_one_after_the_other() {
    let bench = Bench::new(EngineConfig::new(4));
    for id in 0..4 {
        bench.give(id, (0..5).map(|step| sh(&format!("exit {step}"))));
    }
    let mut next = [0; 4];
    for _ in 0..20 {
        let done = bench.done();
        let step = &mut next[done.task as usize];
        assert_eq!(done.end.status, Status::Exit(*step));
        *step += 1;
    }
}

#[test]
fn as_many_run_at_once_as_there_are_slots() {
    for threads in [1, 2, 5] {
        let bench = Bench::new(EngineConfig { threads: Some(threads), ..EngineConfig::new(5) });
        let dir = tempfile::tempdir().unwrap();
        // Each waits until all five are there.
        for id in 0..5 {
            let mut spec =
                sh(&format!("touch here{id}; while [ $(ls | grep -c here) -lt 5 ]; do sleep 0.01; done"));
            spec.dir = dir.path().to_path_buf();
            bench.give(id, [spec]);
        }
        for _ in 0..5 {
            assert_eq!(bench.done().end.status, Status::Exit(0));
        }
    }
}

#[test]
fn an_idle_slot_takes_what_it_is_woken_for() {
    let bench = Bench::new(EngineConfig::new(2));
    for id in 0..50 {
        if id % 7 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        bench.give(id, [sh("exit 0")]);
        assert_eq!(bench.done().task, id);
    }
}

#[test]
fn an_engine_without_work_ends_at_once() {
    for slots in [0, 1, 64] {
        let bench = Bench::new(EngineConfig::new(slots));
        assert_eq!(bench.engine.slots(), slots);
        bench.engine.wake(slots + 1);
        bench.engine.shutdown();
    }
}
