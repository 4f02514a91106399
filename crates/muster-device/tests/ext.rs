//! Drivers of the lab's own: the example keeps every promise, and one that fails is the lab's fault.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use muster_device::{Captured, Command, Device, DeviceAddress, Fault, Until, contract};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

fn soon() -> Until {
    Until::within(Duration::from_secs(120))
}

fn open(program: &Path, options: &str) -> Box<dyn Device> {
    let address: DeviceAddress = format!("ext:{}{options}", program.display()).parse().unwrap();
    address.open().unwrap()
}

/// A driver that is a line of shell.
fn scripted(dir: &Path, line: &str) -> Box<dyn Device> {
    let program = dir.join("driver");
    std::fs::write(&program, format!("#!/bin/sh\nread -r hello\n{line}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    open(&program, "?device=x%20y")
}

const HELLO: &str = r#"echo '{"hello":{"protocol":1,"capabilities":["exec"]}}'; read -r request"#;

/// What is said of a probe, with the code of the error.
fn said(line: &str, until: &Until) -> (&'static str, String) {
    let dir = tempfile::tempdir().unwrap();
    let error = scripted(dir.path(), line).probe(until).unwrap_err();
    assert_eq!(error.fault(), Fault::Lab, "{error}");
    let source = std::error::Error::source(&error).map_or(String::new(), |e| format!(": {e}"));
    (error.code(), format!("{error}{source}"))
}

#[test]
fn the_example_keeps_the_promises_of_every_driver() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/driver/driver.py");
    contract::check_all(&*open(&example.canonicalize().unwrap(), ""));
}

#[test]
fn a_driver_that_dies_talks_nonsense_or_hangs_is_the_labs_fault() {
    let (code, text) = said(&format!("{HELLO}; echo 'no such board' >&2; exit 7"), &soon());
    assert!(code == "lost" && text.contains("exit status: 7") && text.contains("no such board"), "{text}");
    let (code, text) = said("exit 1", &soon());
    assert!(code == "lost" && text.contains("said nothing"), "{text}");
    let (code, text) = said(&format!("{HELLO}; echo hello world; read -r x"), &soon());
    assert!(code == "protocol" && text.contains("hello world"), "{text}");
    let (code, text) = said(&format!("{HELLO}; echo '{{\"id\":99,\"ok\":{{}}}}'; read -r x"), &soon());
    assert!(code == "protocol" && text.contains("99"), "{text}");
    let (code, text) = said(r#"echo '{"hello":{"protocol":2,"capabilities":[]}}'; read -r x"#, &soon());
    assert!(code == "protocol" && text.contains("version 2"), "{text}");
    // It does not even give up when it is asked to, and is killed.
    let (code, text) =
        said(&format!("{HELLO}; while :; do sleep 1; done"), &Until::within(Duration::from_millis(300)));
    assert_eq!(code, "timeout", "{text}");
}

#[test]
fn a_driver_that_is_not_there_cannot_be_reached() {
    let error = open(Path::new("/no/such/driver"), "").probe(&soon()).unwrap_err();
    assert_eq!(error.code(), "unreachable");
}

#[test]
fn what_a_driver_does_not_say_it_can_is_lacking_and_options_reach_it() {
    let dir = tempfile::tempdir().unwrap();
    let answer =
        r#"echo '{"id":1,"output":"stdout","data":"aGk="}'; echo '{"id":1,"ok":{"exit":{"code":255}}}'"#;
    let device = scripted(
        dir.path(),
        &format!("echo \"$hello\" >{}/hello; {HELLO}; {answer}; read -r x", dir.path().display()),
    );
    assert_eq!(device.files().err().unwrap().code(), "unsupported");
    let mut out = Captured::default();
    let exit = device.exec().unwrap().run(&Command::new(["x"]), &mut out, &soon()).unwrap();
    assert_eq!((exit, &*out.stdout), (muster_device::Exit::Code(255), &b"hi"[..]));
    let hello = std::fs::read_to_string(dir.path().join("hello")).unwrap();
    assert!(hello.contains(r#""device":"x y""#), "{hello}");
}
