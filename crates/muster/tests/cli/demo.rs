//! `muster demo`, as people run it.

use crate::env::TestEnv;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Processes whose command line names this directory.
fn left_in(dir: &Path) -> usize {
    let dir = dir.to_str().unwrap();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter(|e| {
        std::fs::read(e.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(dir))
    })
    .count()
}

fn temporary(env: &TestEnv) -> std::path::PathBuf {
    let dir = env.home().join("tmp");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn the_demo_shows_a_failure_and_a_flake_and_leaves_nothing() {
    let env = TestEnv::new();
    let dir = temporary(&env);
    let done = env.command(&["demo"]).env("TMPDIR", &dir).output().unwrap();
    let said = env.tell(&done);
    assert_eq!(done.status.code(), Some(0), "{said}");
    let has = |word: &str, test: &str| said.lines().any(|l| l.contains(word) && l.contains(test));
    assert!(has("FAIL", "sensor") && has("FLAKY", "radio"), "{said}");
    assert!(has("1 failed", "1 flaky") && said.contains("muster demo --keep"), "{said}");
    assert_eq!(left_in(&dir), 0);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn a_demo_that_is_kept_can_be_looked_around_in() {
    let env = TestEnv::new();
    let dir = temporary(&env);
    let mut demo = env.command(&["demo", "--keep"]);
    let mut demo = demo.env("TMPDIR", &dir).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut commands = Vec::new();
    for line in BufReader::new(demo.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let words = line.trim_start();
        if words.starts_with("stop ") {
            break;
        }
        if let Some((_, command)) = words.split_once(" muster ") {
            commands.push(command.to_owned());
        }
    }
    let run = |command: &str| {
        let program = env!("CARGO_BIN_EXE_muster");
        Command::new("sh").args(["-c", &format!("{program} {command}")]).env("TMPDIR", &dir).output().unwrap()
    };
    let find = |word: &str| {
        let found = commands.iter().rev().find(|c| c.contains(word));
        run(found.unwrap_or_else(|| panic!("{word}: {commands:#?}")))
    };
    let devices = find(" device list");
    let list = String::from_utf8(devices.stdout).unwrap();
    for device in ["phone-1", "phone-2", "board-1", "board-2", "board-3"] {
        assert!(list.contains(device), "{list}");
    }
    for word in [" why sensor", " log radio"] {
        let said = find(word);
        assert!(said.status.success(), "{}", env.tell(&said));
    }
    let broken = find("device exec --on ");
    assert_eq!(broken.status.code(), Some(3), "{}", env.tell(&broken));
    let again = find(" run --on ");
    assert_eq!(again.status.code(), Some(1), "{}", env.tell(&again));
    Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert_eq!(left_in(&dir), 0);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}
