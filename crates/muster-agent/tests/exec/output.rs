//! What is captured, kept and cut.

use crate::harness::{Bench, argv, run, sh, wait_until};
use muster_agent::exec::{EngineConfig, Status};
use muster_core::attempt::Output;
use muster_core::output::{Stream, frames, text};

#[test]
fn both_streams_are_kept_apart_and_in_the_order_they_were_read() {
    let done = run(sh("for i in 1 2 3; do echo o$i; sleep 0.02; echo e$i >&2; sleep 0.02; done"));
    assert_eq!(done.stdout, b"o1\no2\no3\n");
    assert_eq!(done.stderr, b"e1\ne2\ne3\n");
    let log = done.log();
    assert_eq!(text(&log, |s| s == Stream::Stdout), done.stdout);
    assert_eq!(text(&log, |s| s == Stream::Stderr), done.stderr);
    let times: Vec<u64> = frames(&log).map(|f| f.at_millis).collect();
    assert!(times.is_sorted());
    assert!(matches!(done.end.log, Output::Inline(_)));
}

#[test]
fn a_process_that_prints_nothing_has_no_log() {
    assert_eq!(run(argv(&["true"])).end.log, Output::None);
}

#[test]
fn bytes_that_are_not_text_come_through() {
    let done = run(sh(r"printf '\000\377\376\n\200'"));
    assert_eq!(text(&done.log(), |s| s == Stream::Stdout), b"\x00\xff\xfe\n\x80");
}

#[test]
fn output_written_right_before_the_end_is_never_lost() {
    let bench = Bench::quiet(EngineConfig::new(2));
    let count = 200;
    for id in 0..count {
        bench.give(id, [sh("head -c 60000 /dev/zero; head -c 50000 /dev/zero >&2; kill -9 $$")]);
    }
    for _ in 0..count {
        let done = bench.done();
        assert_eq!((done.stdout.len(), done.stderr.len()), (60_000, 50_000));
    }
}

#[test]
fn a_large_log_without_a_file_stays_in_memory_within_its_quota() {
    let mut spec = sh("yes | head -c 3000000");
    spec.limits.output_bytes_max = 100_000;
    let done = run(spec);
    assert_eq!(text(&done.log(), |s| s == Stream::Stdout).len(), 100_000);
    assert_eq!(done.remarks(), "2900000 bytes of output cut here\n");
}

#[test]
fn the_log_of_a_long_process_can_be_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let go = dir.path().join("go");
    let wait = |n: u32| format!("while [ ! -e {}{n} ]; do sleep 0.02; done", go.display());
    let mut spec = sh(&format!("echo one; {}; echo two; {}", wait(1), wait(2)));
    spec.spill = Some(path.clone());
    let bench = Bench::new(EngineConfig::new(1));
    bench.give(1, [spec]);
    let seen = || text(&std::fs::read(&path).unwrap_or_default(), |s| s == Stream::Stdout);
    wait_until(|| seen() == b"one\n");
    std::fs::write(dir.path().join("go1"), "").unwrap();
    wait_until(|| seen() == b"one\ntwo\n");
    assert!(bench.no_more());
    std::fs::write(dir.path().join("go2"), "").unwrap();
    let done = bench.done();
    assert_eq!(done.end.status, Status::Exit(0));
    assert_eq!(text(&done.log(), |s| s == Stream::Stdout), b"one\ntwo\n");
}

#[test]
fn a_full_disk_does_not_end_the_process() {
    // A link to the device on which every write fails as on a full disk.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let mut spec = sh("echo first; yes | head -c 1000000; echo last");
    spec.spill = Some(path.clone());
    let done = run(spec);
    assert_eq!(done.end.status, Status::Exit(0));
    let out = text(&done.log(), |s| s == Stream::Stdout);
    assert!(out.starts_with(b"first\ny\n") && out.ends_with(b"y\nlast\n"));
    let lost = 1_000_011 - out.len();
    assert_eq!(
        done.remarks(),
        format!(
            "{lost} bytes of output lost here: the log could not be written to {}: \
             No space left on device (os error 28)\n",
            path.display()
        )
    );
}

#[test]
fn a_disk_that_fills_up_in_the_middle_keeps_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
        .arg(dir.path())
        .output()
        .unwrap();
    if !mount.status.success() {
        // Only root may; the test before this one goes the same way without.
        return;
    }
    let mut spec = sh("echo first; yes | head -c 900000; echo last");
    spec.limits.output_bytes_max = 4 << 20;
    spec.spill = Some(dir.path().join("log"));
    let done = run(spec);
    let out = text(&done.log(), |s| s == Stream::Stdout);
    assert!(std::process::Command::new("umount").arg(dir.path()).status().unwrap().success());
    assert_eq!(done.end.status, Status::Exit(0));
    assert!(out.starts_with(b"first\ny\n") && out.ends_with(b"y\nlast\n"));
    assert!(out.len() > 400_000, "{}", out.len());
    assert!(done.remarks().contains(&format!("{} bytes of output lost here", 900_011 - out.len())));
}
