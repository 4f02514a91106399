//! The `fake` driver: every driver's promises without faults, and each fault as it is scripted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use muster_device::{Captured, Command, Device, DeviceAddress, Exit, Until, contract};
use std::path::Path;
use std::time::Duration;

fn soon() -> Until {
    Until::within(Duration::from_secs(120))
}

fn device(dir: &Path, options: &str) -> Box<dyn Device> {
    let address: DeviceAddress = format!("fake:phone?dir={}{options}", dir.display()).parse().unwrap();
    address.open().unwrap()
}

/// How a word is said by a program there, or what went wrong.
fn said(device: &dyn Device, until: &Until) -> Result<String, &'static str> {
    let mut said = Captured::default();
    let done = device.exec().unwrap().run(&Command::new(["echo", "word"]), &mut said, until);
    done.map(|_| String::from_utf8(said.stdout).unwrap()).map_err(|e| e.code())
}

#[test]
fn without_faults_it_keeps_the_promises_of_every_driver() {
    let dir = tempfile::tempdir().unwrap();
    contract::check_all(&*device(dir.path(), ""));
}

#[test]
fn faults_in_the_address_happen_as_they_are_told() {
    let ran = |options: &str| {
        let dir = tempfile::tempdir().unwrap();
        // A device for each call, as each `muster device` has.
        (0..6).map(|_| said(&*device(dir.path(), options), &soon()).map(|_| ())).collect::<Vec<_>>()
    };
    let (good, lost) = (Ok(()), Err("lost"));
    assert_eq!(ran("&fails-every=3"), [good, good, lost, good, good, lost]);
    let dead = Err("unreachable");
    assert_eq!(ran("&dies-after=2"), [good, good, lost, dead, dead, dead]);
    assert_eq!(ran("&broken=garbage"), [Err("protocol"); 6]);
    assert_eq!(ran("&slow=1ms"), [good; 6]);
    let flaky = ran("&flaky=50&seed=3");
    assert_eq!(ran("&flaky=50&seed=3"), flaky);
    assert!(flaky.contains(&good) && flaky.contains(&lost), "{flaky:?}");
}

#[test]
fn a_dead_device_comes_back_with_a_reboot() {
    let dir = tempfile::tempdir().unwrap();
    let phone = device(dir.path(), "&dies-after=1");
    said(&*phone, &soon()).unwrap();
    assert_eq!(said(&*phone, &soon()), Err("lost"));
    assert_eq!(phone.probe(&soon()).unwrap_err().code(), "unreachable");
    phone.power().unwrap().reboot(&soon()).unwrap();
    phone.probe(&soon()).unwrap();
    assert_eq!(phone.info().unwrap().one("boots", &soon()).unwrap(), "1");
}

#[test]
fn a_script_has_programs_and_faults() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script.toml");
    let text = r#"
        kind = "phone"
        local-programs = false
        boot = "1ms"

        [program.getprop]
        stdout = "15\n"
        stderr = "warned\n"
        exit = 3

        [program.forever]
        takes = "24h"

        [[fault]]
        on = "pull"
        do = "corrupt"
        times = 1

        [[fault]]
        on = "push"
        do = "full"
        after = 1

        [[fault]]
        on = "info"
        do = "hang"
        every = 2
    "#;
    std::fs::write(&script, text).unwrap();
    let phone = device(dir.path(), &format!("&script={}", script.display()));
    let exec = phone.exec().unwrap();
    let mut said = Captured::default();
    let exit = exec.run(&Command::new(["/system/bin/getprop", "x"]), &mut said, &soon()).unwrap();
    assert_eq!((exit, &*said.stdout, &*said.stderr), (Exit::Code(3), &b"15\n"[..], &b"warned\n"[..]));
    assert_eq!(exec.run(&Command::new(["true"]), &mut said, &soon()).unwrap(), Exit::Code(127));
    let limited = Command { time_limit: Some(Duration::from_millis(5)), ..Command::new(["forever"]) };
    assert_eq!(exec.run(&limited, &mut said, &soon()).unwrap(), Exit::TimeLimit);
    let files = phone.files().unwrap();
    let path = format!("{}/f", files.test_root(&soon()).unwrap());
    files.push(&mut &b"bytes"[..], 5, &path, &soon()).unwrap();
    assert_eq!(files.push(&mut &b"bytes"[..], 5, &path, &soon()).unwrap_err().code(), "full");
    let mut got = Vec::new();
    files.pull(&path, 0, &mut got, &soon()).unwrap();
    files.pull(&path, 0, &mut got, &soon()).unwrap();
    assert_eq!(got, b"cytesbytes");
    let info = phone.info().unwrap();
    assert_eq!(info.one("kind", &soon()).unwrap(), "phone");
    let short = Until::within(Duration::from_millis(5));
    assert_eq!(info.one("kind", &short).unwrap_err().code(), "timeout");
}

#[test]
fn a_script_that_makes_no_sense_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script.toml");
    std::fs::write(&script, "[[fault]]\non = \"exec\"\ndo = \"explode\"\n").unwrap();
    let address: DeviceAddress = format!("fake:x?script={}", script.display()).parse().unwrap();
    let error = address.open().err().unwrap().to_string();
    assert!(error.contains("script.toml") && error.contains("line 3"), "{error}");
}
