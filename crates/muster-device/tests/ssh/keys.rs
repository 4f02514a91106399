//! Whom the driver talks to, and who is let in.

use crate::harness::{Host, key, soon};
use muster_device::ssh::{Ssh, Target};
use muster_device::{Device as _, DeviceAddress, Fault};
use std::error::Error as _;

/// What people are told when there is no connection.
fn refused(target: Target) -> String {
    let error = Ssh::new(target).unwrap().probe(&soon()).unwrap_err();
    assert_eq!((error.code(), error.fault()), ("unreachable", Fault::Lab), "{error}");
    error.source().unwrap().to_string()
}

#[test]
fn a_host_whose_key_is_not_known_is_not_talked_to() {
    let host = Host::new();
    std::fs::write(host.path("known_hosts"), "").unwrap();
    let why = refused(host.target());
    assert!(why.starts_with("its host key is not known"), "{why}");
    assert!(why.contains("by hand and compare the fingerprint: ssh -p "), "{why}");
}

#[test]
fn a_host_whose_key_has_changed_is_not_talked_to() {
    let host = Host::new();
    host.device().probe(&soon()).unwrap();
    key(&host.path("other_key"));
    host.know_key_of("other_key");
    let why = refused(host.target());
    assert!(why.starts_with("its host key is not the one that is known"), "{why}");
    assert!(why.contains("ssh-keygen -R '[127.0.0.1]:"), "{why}");
}

#[test]
fn a_key_that_is_not_let_in_is_told_with_what_to_type() {
    let host = Host::new();
    key(&host.path("stranger"));
    let why = refused(Target { identity: Some(host.path("stranger")), ..host.target() });
    assert!(why.starts_with("it does not let us in"), "{why}");
    assert!(why.contains("?identity=FILE"), "{why}");
}

#[test]
fn a_host_that_is_not_there_cannot_be_reached() {
    let port = {
        let host = Host::new();
        host.target().port
    };
    let why = refused(Target { host: "127.0.0.1".to_owned(), port, ..Target::default() });
    assert!(why.contains("Connection refused"), "{why}");
}

#[test]
fn an_alias_of_the_configuration_is_a_host() {
    let host = Host::new();
    let target = host.target();
    let config = format!(
        "Host board\n  HostName 127.0.0.1\n  Port {}\n  IdentityFile {}\n  UserKnownHostsFile {}\n",
        target.port.unwrap(),
        host.path("user_key").display(),
        host.path("known_hosts").display()
    );
    std::fs::write(host.path("lab.conf"), config).unwrap();
    let address = format!("ssh://board?config={}", host.path("lab.conf").display());
    let address: DeviceAddress = address.parse().unwrap();
    address.open().unwrap().probe(&soon()).unwrap();
}
