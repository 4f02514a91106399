//! What happens when one side of the connection dies, and other things that are not a test's doing.

use crate::lab::{Lab, command, eventually, is_alive, program, setup};
use muster_agent::process::{AgentProcess, ChildError};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

/// A test that writes the ids of its processes, one of them in a session of its own, and stays.
fn staying(lab: &Lab) -> String {
    let file = lab.dir.path().join("pids");
    let file = file.display();
    format!(
        "sleep 1000 & echo $! >> {file}; setsid sleep 1000 & echo $! >> {file}; echo $$ >> {file}; echo end >> {file}; wait"
    )
}

fn pids(lab: &Lab) -> Vec<i32> {
    let text = || fs::read_to_string(lab.dir.path().join("pids")).unwrap_or_default();
    eventually(|| text().contains("end"));
    text().lines().filter_map(|l| l.parse().ok()).collect()
}

#[test]
fn the_end_of_the_connection_kills_every_process() {
    let mut lab = Lab::new(2);
    let unit = lab.add(command(&staying(&lab)), vec![], &[("", "", 0)]);
    lab.until_running(unit);
    let pids = pids(&lab);
    assert!(pids.iter().all(|pid| is_alive(*pid)), "{pids:?}");
    assert!(lab.agent.end().unwrap().success());
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "{pids:?}");
}

#[test]
fn an_agent_that_is_killed_is_noticed_and_its_tests_die_with_it() {
    let mut lab = Lab::new(1);
    let file = lab.dir.path().join("pids");
    let line = format!("echo $$ >> {0}; echo end >> {0}; exec sleep 1000", file.display());
    let unit = lab.add(command(&line), vec![], &[("", "", 0)]);
    lab.until_running(unit);
    let pids = pids(&lab);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(lab.agent.id() as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    while !lab.agent.link.has_ended() {
        drop(lab.agent.link.receive().unwrap());
    }
    eventually(|| !pids.iter().any(|pid| is_alive(*pid)));
    assert_eq!(lab.agent.end().unwrap().signal(), Some(9));
}

#[test]
fn the_agent_ignores_the_signals_that_are_meant_for_its_shell() {
    let mut lab = Lab::new(1);
    lab.until(|lab| lab.last.is_some());
    let pid = rustix::process::Pid::from_raw(lab.agent.id() as i32).unwrap();
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM, rustix::process::Signal::HUP]
    {
        rustix::process::kill_process(pid, signal).unwrap();
    }
    lab.add(command("/bin/true"), vec![], &[("", "", 0)]);
    lab.until_done();
    assert_eq!(rustix::process::getpgid(Some(pid)).unwrap(), pid, "it leads its own group");
}

#[test]
fn ignored_signals_are_not_ignored_by_the_tests() {
    let mut lab = Lab::new(1);
    lab.add(command("kill -TERM $$; echo survived"), vec![], &[("", "", 0)]);
    lab.until_done();
    assert_eq!(lab.results()[0].message, "ended by SIGTERM");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error =
        AgentProcess::spawn::<&str>("/no/such/agent".as_ref(), &[], setup("/".as_ref(), 1)).unwrap_err();
    assert!(
        error.to_string().starts_with("the agent process `/no/such/agent` cannot be started: "),
        "{error}"
    );
}

#[test]
fn a_program_that_is_no_agent_is_told_from_one() {
    // `cat` says back what it is told, on the same socket.
    let args = ["-c", "exec cat <&0 >&0"];
    let mut agent = AgentProcess::spawn("/bin/sh".as_ref(), &args, setup("/".as_ref(), 1)).unwrap();
    let error = loop {
        match agent.link.receive() {
            Ok(said) => assert!(said.is_empty() && !agent.link.has_ended()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ChildError::Wire(_) | ChildError::Failed(_)), "{error}");
}

#[test]
fn nonsense_on_the_connection_ends_the_agent() {
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\x03\0\0\0\x63\x63\x63", b"GET / HTTP/1.1\r\n\r\n"] {
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut child =
            Command::new(program()).stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs))).spawn().unwrap();
        ours.write_all(bytes).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{bytes:?}");
    }
}

/// Runs one of the tests below in a process of its own, and gives its first line that begins with `pids`.
fn in_own_process(test: &str) -> (Child, Vec<i32>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", &format!("life::{test}"), "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("pids ") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended without a word");
    }
    // The harness there goes on to print.
    child.stdout = Some(stdout.into_inner());
    (child, line.trim_end().split(' ').skip(1).map(|p| p.parse().unwrap()).collect())
}

fn print_pids(agent: u32, tests: &[i32]) {
    let tests: Vec<String> = tests.iter().map(i32::to_string).collect();
    let line = format!("\npids {agent} {}\n", tests.join(" "));
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

#[test]
#[ignore = "run by the next test, in a process of its own that is killed"]
fn shell_to_be_killed() {
    let mut lab = Lab::new(1);
    let unit = lab.add(command(&staying(&lab)), vec![], &[("", "", 0)]);
    lab.until_running(unit);
    print_pids(lab.agent.id(), &pids(&lab));
    loop {
        std::thread::park();
    }
}

#[test]
fn a_shell_that_is_killed_takes_everything_with_it() {
    let (mut shell, pids) = in_own_process("shell_to_be_killed");
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|pid| is_alive(*pid)), "{pids:?}");
    shell.kill().unwrap();
    shell.wait().unwrap();
    eventually(|| !pids.iter().any(|pid| is_alive(*pid)));
}

#[test]
#[ignore = "run by the next test, in a process of its own whose every child is killed"]
fn shell_that_loses_its_agent() {
    let mut lab = Lab::new(1);
    let unit = lab.add(command(&staying(&lab)), vec![], &[("", "", 0)]);
    lab.until_running(unit);
    let tests = pids(&lab);
    let agent = lab.agent.id();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(agent as i32).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert!(lab.agent.kill_rest().unwrap() > 0);
    print_pids(agent, &tests);
}

#[test]
fn what_a_killed_agent_leaves_is_killed_by_its_shell() {
    let (mut shell, pids) = in_own_process("shell_that_loses_its_agent");
    assert_eq!(pids.len(), 4);
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "{pids:?}");
    assert!(shell.wait().unwrap().success());
}
