//! Our client and our agent with each other.

use crate::harness::Place;
use muster_device::sut::Variant;
use muster_device::{Command, Device as _, Exec as _, Exit, Files as _, Packages as _, Until, contract};
use std::time::Duration;

fn soon() -> Until {
    Until::within(Duration::from_secs(120))
}

#[test]
fn the_driver_keeps_the_promises_of_every_driver() {
    let place = Place::new();
    let client = place.client();
    assert_eq!(client.variant(&soon()).unwrap(), Variant::Muster);
    contract::check_all(&client);
    let left: Vec<_> = std::fs::read_dir(place.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_agent_held_in_a_directory_keeps_them_too() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let place = Place::with(|config| {
        config.root = Some(root.clone());
        config.test_root = root.join("tests");
    });
    contract::check_all(&place.client());
}

#[test]
fn an_agent_that_is_not_there_cannot_be_reached() {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    // Taken, so that nobody else gets it, and not listening.
    let taken = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&taken, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = std::net::SocketAddr::try_from(getsockname(&taken).unwrap()).unwrap();
    let nobody = muster_device::sut::Client::new("127.0.0.1", address.port());
    assert_eq!(nobody.probe(&soon()).unwrap_err().code(), "unreachable");
    let nowhere = muster_device::sut::Client::new("no-such-host.invalid", 1);
    assert_eq!(nowhere.probe(&soon()).unwrap_err().code(), "unreachable");
}

#[test]
fn an_agent_that_has_gone_is_missed_and_another_in_its_place_is_found() {
    let place = Place::new();
    let (client, port) = (place.client(), place.agent().command_addr().port());
    client.probe(&soon()).unwrap();
    drop(place);
    // Whoever has the port meanwhile, it is not this agent on that connection.
    let dir = tempfile::tempdir().unwrap();
    let mut config = crate::harness::config(dir.path());
    config.command_port = port;
    let _again = crate::harness::start_again(&config);
    client.probe(&soon()).unwrap();
}

#[test]
fn a_program_ends_with_its_agent() {
    let place = Place::new();
    let client = place.client();
    let stop = place.agent().stop_handle();
    let mut pid = String::new();
    let mut sink = |_: muster_core::output::Stream, bytes: &[u8]| {
        pid.push_str(std::str::from_utf8(bytes).unwrap());
        stop.cancel();
        Ok(())
    };
    let error = client.run(&Command::shell("echo $$; exec sleep 86400"), &mut sink, &soon()).unwrap_err();
    assert_eq!(error.code(), "lost", "{error}");
    drop(place);
    assert!(!std::path::Path::new(&format!("/proc/{}", pid.trim())).exists());
}

#[test]
fn packages_are_installed_by_the_programs_of_the_device() {
    let place = Place::with(|config| {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        config.install = words("test -s {file}");
        config.uninstall = words("test {name} = known");
    });
    let client = place.client();
    let file = place.root().join("with blank.deb");
    let file = file.to_str().unwrap();
    assert_eq!(client.install(file, &soon()).unwrap_err().code(), "not-found");
    client.push(&mut &b""[..], 0, file, &soon()).unwrap();
    assert_eq!(client.install(file, &soon()).unwrap_err().code(), "refused");
    client.push(&mut &b"x"[..], 1, file, &soon()).unwrap();
    client.install(file, &soon()).unwrap();
    client.uninstall("known", &soon()).unwrap();
    let error = client.uninstall("other", &soon()).unwrap_err().to_string();
    assert!(error.contains("uninst complete [1]"), "{error}");
    assert!(client.uninstall("--all", &soon()).is_err());
}

#[test]
fn a_program_may_run_as_another_user_only_for_root() {
    let place = Place::with(|config| config.root_is_anyone = false);
    let client = place.client();
    let command = Command { user: Some("nobody".to_owned()), ..Command::new(["id", "-un"]) };
    let mut said = muster_device::Captured::default();
    let ran = client.run(&command, &mut said, &soon());
    if rustix::process::geteuid().is_root() {
        assert_eq!((ran.unwrap(), &*said.stdout), (Exit::Code(0), &b"nobody\n"[..]));
    } else {
        assert_eq!(ran.unwrap_err().code(), "refused");
    }
    let command = Command { user: Some("no such user".to_owned()), ..Command::new(["id"]) };
    assert_eq!(client.run(&command, &mut said, &soon()).unwrap_err().code(), "refused");
}
