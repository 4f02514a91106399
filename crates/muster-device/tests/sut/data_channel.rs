//! The data channel and the registration.

use crate::harness::{Place, Raw};
use muster_device::Until;
use muster_device::sut::announce::Announcements;
use std::time::Duration;

fn line(raw: &mut Raw) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(raw.read(1));
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// `YYYYMMDD-HH:MM:SS text`, as old clients read it; the text.
fn stamped(line: &str) -> &str {
    let (stamp, text) = line.split_once(' ').unwrap();
    let form: String = stamp.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(form, "99999999-99:99:99", "{line}");
    let month: u32 = stamp[4..6].parse().unwrap();
    assert!((1..=12).contains(&month), "{line}");
    text
}

#[test]
fn the_heart_beats_and_commands_are_traced() {
    let place = Place::with(|config| config.heartbeat = Duration::from_millis(20));
    let mut data = Raw::open(place.agent().data_addr().port());
    assert_eq!(stamped(&line(&mut data)), "trace output");
    for _ in 0..3 {
        assert_eq!(stamped(&line(&mut data)), "Thump thump - aa:bb:cc:dd:ee:ff");
    }
    let mut raw = place.raw();
    raw.ask("cwd");
    raw.ask("trace on");
    raw.ask("info os");
    let mut next = || loop {
        let line = line(&mut data);
        if !line.contains("Thump") {
            break stamped(&line).to_owned();
        }
    };
    assert_eq!(next(), "info os");
}

#[test]
fn the_data_channel_takes_commands_too_and_has_no_prompt() {
    let place = Place::with(|config| config.heartbeat = Duration::from_secs(86_400));
    let mut data = Raw::open(place.agent().data_addr().port());
    line(&mut data);
    data.send(b"ver\r\nrotation\r\nexec echo x\r\ncwd\r\n");
    let expected = "MusterSUTAgent Version 1.20\n\
                    ##AGENT-WARNING## [rotation] command with arg(s) = is currently not implemented.\n\
                    ##AGENT-WARNING## this command is taken on the command port only\n/\n";
    assert_eq!(String::from_utf8(data.read(expected.len())).unwrap(), expected);
}

#[test]
fn a_listener_that_goes_away_is_forgotten() {
    let place = Place::with(|config| config.heartbeat = Duration::from_millis(5));
    for _ in 0..200 {
        drop(Raw::open(place.agent().data_addr().port()));
    }
    let mut last = String::new();
    while !last.contains("Thump") {
        let mut data = Raw::open(place.agent().data_addr().port());
        // It is turned away while too many are being forgotten.
        if data.first(1).is_empty() {
            continue;
        }
        line(&mut data);
        last = line(&mut data);
    }
}

#[test]
fn a_device_registers_until_it_is_heard() {
    let until = Until::within(Duration::from_secs(120));
    let server = Announcements::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = server.address().unwrap().port();
    let place = Place::with(|config| {
        config.register = Some(("127.0.0.1".to_owned(), port));
        config.hardware = "board 7".to_owned();
        config.pool = "nightly & more".to_owned();
    });
    let (found, from) = server.next(&until).unwrap().unwrap();
    assert!(from.ip().is_loopback());
    assert_eq!(found.name, "aa:bb:cc:dd:ee:ff");
    assert_eq!((&*found.hardware, &*found.pool), ("board 7", "nightly & more"));
    assert_eq!(found.command_port, place.agent().command_addr().port());
    assert_eq!(found.data_port, place.agent().data_addr().port());
    assert_eq!(found.ip, "127.0.0.1");
    assert!(found.memory.unwrap() > 1 << 20);
    assert!(found.more.iter().any(|(name, _)| name == "ABI"));
}

#[test]
fn a_server_that_is_not_there_yet_is_tried_again() {
    // A port that is free now, and has a server only after the device has tried.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let _place = Place::with(|config| config.register = Some(("127.0.0.1".to_owned(), address.port())));
    let server = Announcements::listen(address).unwrap();
    // What is no announcement is passed over.
    let mut noise = Raw::open(address.port());
    noise.send(b"GET / HTTP/1.0\r\n\r\n");
    let until = Until::within(Duration::from_secs(120));
    assert_eq!(server.next(&until).unwrap().unwrap().0.name, "aa:bb:cc:dd:ee:ff");
}

#[test]
fn nobody_announces_himself_for_ever() {
    let server = Announcements::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    assert!(server.next(&Until::within(Duration::from_millis(20))).unwrap().is_none());
}
