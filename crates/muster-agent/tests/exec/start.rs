//! How processes are started, and what is said of those that cannot be.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use crate::harness::{argv, run, sh};
use muster_agent::exec::{MARK, ProcessSpec, Status};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn why(spec: ProcessSpec) -> String {
    match run(spec).end.status {
        Status::NotStarted(why) => why,
        other => panic!("started: {other:?}"),
    }
}

fn script(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_exit_code_is_told() {
    for code in [0, 1, 77, 99, 255] {
        assert_eq!(run(sh(&format!("exit {code}"))).end.status, Status::Exit(code));
    }
}

#[test]
fn a_signal_that_ended_it_is_told() {
    for signal in [libc::SIGKILL, libc::SIGSEGV, libc::SIGTERM, libc::SIGPIPE] {
        assert_eq!(run(sh(&format!("kill -{signal} $$"))).end.status, Status::Signal(signal));
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    assert_eq!(
        why(argv(&["no-such-tool", "x"])),
        "program `no-such-tool` was not found in PATH `/usr/local/bin:/usr/bin:/bin`"
    );
    assert_eq!(why(argv(&["/no/such/tool"])), "no such program: `/no/such/tool`");
    assert_eq!(why(argv(&[])), "no program was given");
}

#[test]
fn a_file_that_is_not_executable_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = script(dir.path(), "tool", "#!/bin/sh\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(why(argv(&[&path])), format!("`{path}` is not executable"));
    let mut spec = argv(&["tool"]);
    spec.env = vec![("PATH".to_owned(), dir.path().to_str().unwrap().to_owned())];
    assert_eq!(why(spec), format!("`{path}` is not executable"));
}

#[test]
fn a_missing_interpreter_is_not_a_missing_program() {
    let dir = tempfile::tempdir().unwrap();
    let path = script(dir.path(), "tool", "#!/no/such/interpreter\n");
    assert_eq!(
        why(argv(&[&path])),
        format!("`{path}` exists, but what its first line or header names as its interpreter does not")
    );
}

#[test]
fn a_missing_directory_is_named_or_made() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("a/b");
    let mut spec = sh("pwd");
    spec.dir = place.clone();
    assert_eq!(why(spec.clone()), format!("no such directory: `{}`", place.display()));
    spec.make_dir = true;
    let done = run(spec);
    assert_eq!(done.end.status, Status::Exit(0));
    assert_eq!(done.stdout().trim(), place.canonicalize().unwrap().to_str().unwrap());
}

#[test]
fn text_no_program_can_be_given_is_refused() {
    assert_eq!(why(argv(&["/bin/echo", "a\0b"])), "a null byte in an argument, variable or path: `a\\u{0}b`");
    let long = "x".repeat(8 << 20);
    assert_eq!(
        why(argv(&["/bin/echo", &long])),
        "arguments and environment of `/bin/echo` are too long for the system"
    );
}

#[test]
fn nothing_stays_of_a_process_that_could_not_be_started() {
    let bench = crate::harness::Bench::new(muster_agent::exec::EngineConfig::new(1));
    let bad = (0..50).map(|_| argv(&["/no/such/tool"]));
    bench.give(1, bad.chain([sh("cat /proc/$PPID/task/*/children | wc -w")]));
    for _ in 0..50 {
        assert!(matches!(bench.done().end.status, Status::NotStarted(_)));
    }
    // Other tests of this process run beside this one, so a few children may be theirs.
    let children: u32 = bench.done().stdout().trim().parse().unwrap();
    assert!(children < 40, "{children}");
}

#[test]
fn a_script_without_a_first_line_is_run_by_the_shell() {
    let dir = tempfile::tempdir().unwrap();
    let path = script(dir.path(), "tool", "echo \"$0 $*\"\n");
    assert_eq!(run(argv(&[&path, "a b", "c"])).stdout(), format!("{path} a b c\n"));
}

#[test]
fn a_program_is_looked_up_in_the_path_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    for (place, says) in [("one", "first"), ("two", "second")] {
        std::fs::create_dir(dir.path().join(place)).unwrap();
        script(&dir.path().join(place), "my-tool", &format!("#!/bin/sh\necho {says}\n"));
    }
    // Neither a directory of that name nor a file that may not be executed is it.
    std::fs::create_dir_all(dir.path().join("zero/my-tool")).unwrap();
    let mut spec = argv(&["my-tool"]);
    // The empty and the relative entry are relative to the directory it starts in.
    for (path, says) in [
        (format!("{0}/zero:{0}/two:{0}/one", dir.path().display()), "second"),
        ("one:two".to_owned(), "first"),
    ] {
        spec.env = vec![("PATH".to_owned(), path)];
        spec.dir = dir.path().to_path_buf();
        assert_eq!(run(spec.clone()).stdout().trim(), says);
    }
    spec.env = vec![("PATH".to_owned(), "/nowhere:".to_owned())];
    spec.dir = dir.path().join("two");
    assert_eq!(run(spec).stdout().trim(), "second");
}

#[test]
fn a_program_in_the_path_that_has_just_been_replaced_is_the_one_that_runs() {
    let dir = tempfile::tempdir().unwrap();
    let bench = crate::harness::Bench::new(muster_agent::exec::EngineConfig::new(1));
    for round in 0..5 {
        script(dir.path(), "my-tool", &format!("#!/bin/sh\necho {round}\n"));
        let mut spec = argv(&["my-tool"]);
        spec.env = vec![("PATH".to_owned(), dir.path().to_str().unwrap().to_owned())];
        bench.give(round, [spec]);
        assert_eq!(bench.done().stdout().trim(), round.to_string());
    }
}

#[test]
fn the_environment_is_the_one_given_and_the_mark() {
    let mut spec = argv(&["/usr/bin/env"]);
    spec.env = [("B", "2"), ("A", "x=y z"), ("EMPTY", ""), (MARK, "of an outer engine")]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .to_vec();
    let out = run(spec).stdout();
    let (given, mark) = out.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(given, "B=2\nA=x=y z\nEMPTY=");
    assert!(mark.starts_with(&format!("{MARK}={}.", std::process::id())), "{mark}");
}

#[test]
fn it_leads_a_session_and_has_no_descriptor_of_ours() {
    // A descriptor that was not opened with care, and must not reach a test.
    let careless = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&careless, rustix::io::FdFlags::empty()).unwrap();
    let done = run(sh("ls -l /proc/self/fd; cut -d' ' -f1,5,6 /proc/$$/stat; echo $$"));
    let out = done.stdout();
    let fds: Vec<&str> = out.lines().filter(|l| l.contains(" -> ")).collect();
    // 0, 1, 2 and the directory that `ls` reads.
    assert_eq!(fds.len(), 4, "{out}");
    assert!(fds[0].ends_with(" 0 -> /dev/null"), "{out}");
    let ids: Vec<&str> = out.lines().rev().take(2).collect();
    assert_eq!(ids[1], format!("{0} {0} {0}", ids[0]));
}

#[test]
fn signals_are_neither_blocked_nor_ignored() {
    let out = run(sh("grep -E '^Sig(Blk|Ign)' /proc/self/status")).stdout();
    assert_eq!(out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

#[test]
fn the_report_pipe_is_descriptor_three_and_not_in_the_log() {
    let mut spec = sh("echo out; echo report >&3; echo err >&2");
    spec.report = true;
    let done = run(spec);
    assert_eq!(done.report, b"report\n");
    assert_eq!((done.stdout.as_slice(), done.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert!(!String::from_utf8_lossy(&done.log()).contains("report"));
}

#[test]
fn what_it_used_is_told() {
    let done = run(sh(
        "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; x=$(head -c 30000000 /dev/zero | tr '\\0' x); \
         sleep 0.05; echo ${#x}",
    ));
    assert_eq!(done.stdout().trim(), "30000000");
    let usage = done.end.usage;
    assert!(usage.user_micros > 10_000, "{usage:?}");
    assert!(usage.memory_peak_bytes > 30_000_000, "{usage:?}");
    assert!(usage.memory_peak_bytes < 4_000_000_000, "{usage:?}");
    assert!(done.end.duration.as_millis() >= 50);
    let busy = usage.user_micros + usage.system_micros;
    // A shell, `head` and `tr` are three processes at most.
    assert!(u128::from(busy) <= done.end.duration.as_micros() * 4, "{usage:?} in {:?}", done.end.duration);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let age = now.as_micros() as u64 - done.end.started.0;
    assert!(age >= done.end.duration.as_micros() as u64 && age < 3_600_000_000, "{age}");
}

#[test]
fn a_program_that_is_still_open_for_writing_for_a_moment_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tool");
    std::fs::copy("/bin/true", &path).unwrap();
    let writer = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    let bench = crate::harness::Bench::new(muster_agent::exec::EngineConfig::new(1));
    // As long as it is open it cannot run.
    bench.give(1, [argv(&[path.to_str().unwrap()])]);
    assert!(matches!(bench.done().end.status, Status::NotStarted(why) if why.contains("busy")));
    let closing = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(3));
        drop(writer);
    });
    // Whether this comes before or after the writer is gone, it must come to run in the end.
    loop {
        bench.give(2, [argv(&[path.to_str().unwrap()])]);
        match bench.done().end.status {
            Status::Exit(0) => break,
            Status::NotStarted(why) => assert!(why.contains("busy"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    closing.join().unwrap();
}
