//! The memory that a process's output takes. Alone in its process, to be able to measure.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "exec/harness.rs"]
#[expect(dead_code, reason = "shared with the other tests of the executor")]
mod harness;

use harness::{Bench, sh};
use muster_agent::exec::{EngineConfig, Status};
use muster_core::attempt::Output;
use muster_core::output::{Stream, text};

/// The most memory this process has had resident.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_hundred_megabytes_are_cut_in_the_middle_and_kept_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/down/log");
    let mut spec = sh("echo first; yes | head -c 100000000; echo last");
    spec.limits.output_bytes_max = 4 << 20;
    spec.spill = Some(path.clone());
    let bench = Bench::quiet(EngineConfig::new(1));
    let before = peak_bytes();
    bench.give(1, [spec]);
    let done = bench.done();
    let grown = peak_bytes() - before;
    assert_eq!(done.end.status, Status::Exit(0));
    assert!(grown < 10 << 20, "{grown} bytes more memory");
    let Output::File { path: told, len } = &done.end.log else { panic!("in memory") };
    assert_eq!(told, path.to_str().unwrap());
    assert!(*len < 5 << 20, "{len}");
    let log = done.log();
    let out = text(&log, |s| s == Stream::Stdout);
    assert_eq!(out.len(), 4 << 20);
    assert!(out.starts_with(b"first\ny\n") && out.ends_with(b"y\nlast\n"));
    let cut = 100_000_000 + 11 - (4 << 20);
    assert_eq!(done.remarks(), format!("{cut} bytes of output cut here\n"));
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}
