//! A thousand processes leave neither descriptors nor zombies. Alone in its process, to be able to count.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "exec/harness.rs"]
#[expect(dead_code, reason = "shared with the other tests of the executor")]
mod harness;

use harness::{Bench, argv, sh};
use muster_agent::exec::{Cgroups, EngineConfig, Status};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn children() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok())
        .map(|list| list.split_whitespace().count())
        .sum()
}

#[test]
fn a_thousand_processes_over_eight_slots_leave_nothing() {
    for cgroups in [Cgroups::Off, Cgroups::Auto] {
        let before = (descriptors(), children());
        let bench = Bench::new(EngineConfig { cgroups, ..EngineConfig::new(8) });
        let idle = descriptors();
        for id in 0..1000 {
            bench.give(
                id,
                [match id % 5 {
                    0 => sh("sleep 1000 & echo out; echo err >&2; exit 1"),
                    1 => sh("setsid sleep 1000 & exit 1"),
                    2 => argv(&["no-such-program"]),
                    _ => sh("echo out; exit 1"),
                }],
            );
        }
        let mut leaked = 0;
        for _ in 0..1000 {
            let done = bench.done();
            leaked += done.end.leaked;
            match done.task % 5 {
                2 => assert!(matches!(done.end.status, Status::NotStarted(_))),
                1 => assert_eq!(done.end.status, Status::Exit(1)),
                _ => {
                    assert_eq!(done.end.status, Status::Exit(1));
                    assert_eq!(done.stdout(), "out\n");
                }
            }
        }
        // One that is killed within its first moments may be gone before it is known whose it was.
        assert!((380..=400).contains(&leaked), "{leaked}");
        assert_eq!(descriptors(), idle);
        assert_eq!(children(), before.1);
        drop(bench);
        assert_eq!((descriptors(), children()), before);
    }
}
