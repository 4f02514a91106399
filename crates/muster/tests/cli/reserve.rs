//! Devices of a lab that people and programs reserve: one has a device at a time, and nobody after their time.

use crate::env::TestEnv;
use crate::lab::{Lab, lines, lives, says};
use std::process::Stdio;
use std::time::Duration;

#[test]
fn a_device_is_reserved_for_a_person_and_given_back() {
    let env = TestEnv::new();
    let mut lab = Lab::start(&env);
    lab.start_agent(
        "one",
        &["--device", "b1:kind=board,address=sut://10.0.0.7", "--device", "p1:kind=phone"],
    );
    let url = lab.url();
    let ask = |user: &str, args: &[&str]| {
        env.tell(&env.command(args).env("MUSTER_SERVER", &url).env("USER", user).output().unwrap())
    };
    while !ask("ana", &["device", "list"]).contains("idle") {
        std::thread::sleep(Duration::from_millis(20));
    }
    let board = "labels.kind == 'board'";
    let said = ask(
        "ana",
        &[
            "reserve",
            board,
            "--for",
            "1h",
            "--",
            "sh",
            "-c",
            "echo $MUSTER_DEVICE $MUSTER_DEVICE_ADDRESS; exit 7",
        ],
    );
    assert_eq!(said, "b1 sut://10.0.0.7\n--- exit 7\n");
    let said = ask("ana", &["reserve", board, "--for", "1h", "--reason", "bring-up"]);
    assert!(said.contains("is yours sut://10.0.0.7") && said.contains("--- exit 0"), "{said}");
    let said = ask("ben", &["reserve", board, "--for", "1h", "--no-wait"]);
    assert!(
        said.contains("is held by ana@") && said.contains("bring-up") && said.contains("--- exit 3"),
        "{said}"
    );
    let said = ask("ben", &["device", "hold", "b1", "--reason", "mine"]);
    assert!(said.contains("is held by ana@") && said.contains("--- exit 2"), "{said}");
    // Who does not mind waits for it.
    let mut waits = env.command(&["reserve", board, "--for", "1h", "--", "true"]);
    let mut waits =
        waits.env("MUSTER_SERVER", &url).env("USER", "ben").stderr(Stdio::piped()).spawn().unwrap();
    says(&mut waits, "this waits until one is free", None);
    assert!(ask("ana", &["device", "release", "b1"]).contains("is back"));
    assert!(waits.wait().unwrap().success());
    let said = ask("ben", &["reserve", board, "--for", "1s", "--no-wait"]);
    assert!(said.contains("is yours"), "{said}");
    while ask("ben", &["device", "list"]).contains("ben@") {
        std::thread::sleep(Duration::from_millis(50));
    }
    let said = ask("ben", &["reserve", "labels.kind == 'oven'", "--for", "1h"]);
    assert!(said.contains("none of the 2 devices") && said.contains("--- exit 8"), "{said}");
}

#[test]
fn a_reservation_is_renewed_by_use_and_what_still_uses_the_device_when_it_is_over_is_ended() {
    let env = TestEnv::new();
    let mut lab = Lab::start(&env);
    let device = format!("f1:address=fake:f1?dir={}", env.home().join("f1").display());
    lab.start_agent("one", &["--device", &device]);
    let reserve = |long: &str, script: &str| {
        let said = env.command(&[
            "--server",
            &lab.url(),
            "reserve",
            "true",
            "--for",
            long,
            "--",
            "sh",
            "-c",
            script,
        ]);
        env.tell(&{ said }.stdin(Stdio::null()).output().unwrap())
    };
    while !env.tell(&lab.command(&["device", "list"]).output().unwrap()).contains("idle") {
        std::thread::sleep(Duration::from_millis(20));
    }
    // It takes far longer than the time, and uses the device all along.
    let uses = "for n in 1 2 3 4 5; do muster device exec -- true || exit 9; sleep 2; done; echo done";
    assert_eq!(reserve("8s", uses), "done\n--- exit 0\n");
    // A single use that takes longer than the time keeps it, too.
    assert_eq!(reserve("8s", "muster device exec -- sleep 12 && echo done"), "done\n--- exit 0\n");
    let marker = env.home().join("late");
    let hangs = format!("(sleep 600; touch {0}) & echo $! > {0}.pid; wait", marker.display());
    let said = reserve("1s", &hangs);
    assert!(said.contains("the reservation of f1 is over: its time has passed"), "{said}");
    assert!(said.ends_with("--- exit 124\n"), "{said}");
    let pid = std::fs::read_to_string(env.home().join("late.pid")).unwrap();
    assert!(!lives(pid.trim().parse().unwrap()), "what it has started is ended too");
    // One that is over is used by nobody.
    let released = "muster device release f1 && muster device exec -- true";
    let said = reserve("1h", released);
    assert!(said.contains("the reservation of f1 is over"), "{said}");
}

/// A lab with two devices that run what they are given on this host.
fn with_boards(env: &TestEnv) -> Lab<'_> {
    let mut lab = Lab::start(env);
    let boards = ["--device", "b1:kind=board,address=local:", "--device", "b2:kind=board,address=local:"];
    lab.start_agent("one", &boards);
    while !env.tell(&lab.command(&["device", "list"]).output().unwrap()).contains("idle") {
        std::thread::sleep(Duration::from_millis(20));
    }
    lab
}

#[test]
fn many_of_one_user_who_reserve_at_once_never_have_the_same_device() {
    let env = TestEnv::new();
    let lab = with_boards(&env);
    let seen = env.home().join("seen");
    let script = format!(
        "mkdir {0}-$MUSTER_DEVICE || echo twice >> {0}; sleep 0.3; echo ended >> {0}; rmdir {0}-$MUSTER_DEVICE",
        seen.display()
    );
    let start = || {
        let mut command =
            lab.command(&["reserve", "labels.kind == 'board'", "--for", "1m", "--", "sh", "-c", &script]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<_> = (0..6).map(|_| start()).collect();
    for one in all {
        let said = one.wait_with_output().unwrap();
        assert!(said.status.success(), "{}", env.tell(&said));
    }
    assert_eq!(lines(&seen), ["ended"; 6]);
    let devices = env.tell(&lab.command(&["device", "list"]).output().unwrap());
    assert!(!devices.contains("somebody@"), "all were given back: {devices}");
}

#[test]
fn a_single_command_reserves_its_device_and_is_cut_off_when_that_is_taken_away() {
    let env = TestEnv::new();
    let lab = with_boards(&env);
    let exec = |args: &[&str]| {
        let mut command = lab.command(&[&["device", "exec", "--on", "name == 'b1'"], args].concat());
        command.stdin(Stdio::null());
        command
    };
    let tell = |args: &[&str]| env.tell(&lab.command(args).output().unwrap());
    let said = env.tell(&exec(&["--", "sh", "-c", "echo hello; exit 7"]).output().unwrap());
    assert_eq!(said, "hello\n--- exit 7\n", "the exit code is the program's");
    let file = env.home().join("pushed");
    let to = file.display().to_string();
    env.write("a", "text");
    assert_eq!(tell(&["device", "push", "--on", "labels.kind == 'board'", "a", &to]), "--- exit 0\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
    assert!(!tell(&["device", "list"]).contains("somebody@"), "it was given back");

    let pid = env.home().join("pid");
    let script = format!("echo $$ > {}; exec sleep 600", pid.display());
    let long =
        exec(&["--", "sh", "-c", &script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while lines(&pid).is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Another does not get it meanwhile, and does not wait for longer than it was told to.
    let said = tell(&["device", "info", "--on", "name == 'b1'", "--timeout", "1s"]);
    assert!(said.contains("held by") && said.contains("was free in time"), "{said}");
    assert!(said.ends_with("--- exit 3\n"), "{said}");
    assert!(tell(&["device", "release", "b1"]).contains("is back"));
    let said = env.tell(&long.wait_with_output().unwrap());
    assert!(said.contains("the reservation of b1 is over: it was given back"), "{said}");
    assert!(said.ends_with("--- exit 3\n"), "{said}");
    assert!(!lives(lines(&pid)[0].parse().unwrap()), "what it ran on the device has ended");

    let said = tell(&["device", "exec", "--on", "labels.kind == 'oven'", "--", "true"]);
    assert!(said.contains("none of the 2 devices") && said.ends_with("--- exit 8\n"), "{said}");
    let said = tell(&["device", "info", "--on", "b1"]);
    assert!(said.contains("name == \"b1\"") && said.ends_with("--- exit 2\n"), "{said}");
    let said = env.tell(&env.command(&["device", "info", "--on", "name == 'b1'"]).output().unwrap());
    assert!(said.contains("--server") && said.ends_with("--- exit 2\n"), "{said}");
}

#[test]
fn in_a_terminal_too_all_that_a_program_has_started_ends_with_the_reservation() {
    let env = TestEnv::new();
    let lab = with_boards(&env);
    let pid = env.home().join("pid");
    // An interactive shell does not mind being asked to end, and its jobs have groups of their own.
    let script = format!("trap '' TERM; setsid sleep 600 & echo $! > {}; test -t 0 && wait", pid.display());
    let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let muster = env!("CARGO_BIN_EXE_muster");
    let reserve = lab.command(&["reserve", "name == 'b1'", "--for", "1s", "--", "sh", "-c", &script]);
    let mut terminal = std::process::Command::new("python3");
    terminal.args(["-c", spawn, muster]).args(reserve.get_args());
    terminal.envs(reserve.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let said = terminal.stdin(Stdio::null()).current_dir(env.area()).output().unwrap();
    let text = env.tell(&said);
    assert!(text.contains("the reservation of b1 is over"), "{text}");
    assert_eq!(said.status.code(), Some(124), "{text}");
    assert!(!lives(lines(&pid)[0].parse().unwrap()), "it had a session of its own");
}
