//! What nobody should send to an agent, and an agent should survive.

use crate::harness::{PROMPT, Place, Raw};
use muster_device::{Device as _, Until};
use proptest::prelude::*;
use std::io::Write as _;
use std::net::Shutdown;
use std::time::Duration;

fn is_well(place: &Place) {
    place.client().probe(&Until::within(Duration::from_secs(120))).unwrap();
}

#[test]
fn a_conversation_may_be_cut_anywhere() {
    let place = Place::new();
    let root = place.root();
    let root = root.display();
    let whole = format!(
        "ver\r\ncd {root}\r\npush {root}/f 10\r\n0123456789pull {root}/f\r\nexec cat {root}/f\r\n\
         muster1 29\r\n{{\"do\":\"stat\",\"path\":\"/tmp/\"}}  mkdr {root}/d\r\nrmdr {root}/d\r\nquit\r\n"
    );
    for end in 0..whole.len() {
        let mut raw = place.raw();
        raw.send(&whole.as_bytes()[..end]);
        raw.tcp.shutdown(Shutdown::Write).unwrap();
        let said = raw.rest();
        assert!(said.is_empty() || said.ends_with(PROMPT) || !said.ends_with(b"\0"), "{end}");
    }
    is_well(&place);
    // A file that was cut is not there in part.
    let left: Vec<_> = std::fs::read_dir(place.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|n| n == "f" || n == "d"), "{left:?}");
    assert_eq!(std::fs::read(place.root().join("f")).unwrap(), b"0123456789");
}

#[test]
fn a_line_that_is_cut_off_is_no_command() {
    let place = Place::new();
    let victim = place.root().join("victim");
    std::fs::create_dir(&victim).unwrap();
    let mut raw = place.raw();
    raw.send(format!("rmdr {}", victim.display()).as_bytes());
    raw.tcp.shutdown(Shutdown::Write).unwrap();
    assert_eq!(raw.rest(), b"");
    assert!(victim.is_dir());
}

#[test]
fn a_refused_file_is_never_taken_for_commands() {
    let place = Place::new();
    let victim = place.root().join("victim");
    std::fs::create_dir(&victim).unwrap();
    let victim_line = format!("\r\nrmdr {}\r\n", victim.display());
    let mut raw = place.raw();
    for to in ["/no/such/dir/f", "/proc/version", "/", "", "''", "/dev/full/x"] {
        raw.send(format!("push {to} {}\r\n{victim_line}", victim_line.len()).as_bytes());
        if to.is_empty() {
            // Without a path the size is not known either: the connection is over.
            let said = raw.rest();
            assert!(said.starts_with(b"##AGENT-WARNING## "), "{said:?}");
            raw = place.raw();
            continue;
        }
        let said = raw.answer();
        assert!(said.starts_with(b"##AGENT-WARNING## "), "{to}: {}", String::from_utf8_lossy(&said));
        assert_eq!(raw.ask("ver"), "MusterSUTAgent Version 1.20\n", "{to}");
    }
    for size in ["x", "-1", "1e3", "99999999999999999999999", "0x10", "+5"] {
        let mut raw = place.raw();
        raw.send(format!("push /tmp/x {size}\r\n{victim_line}").as_bytes());
        let said = raw.rest();
        assert!(said.starts_with(b"##AGENT-WARNING## "), "{size}: {said:?}");
    }
    assert!(victim.is_dir());
}

#[test]
fn a_size_is_believed_only_as_far_as_bytes_come() {
    let place = Place::new();
    let mut raw = place.raw();
    raw.send(format!("push {}/f 18446744073709551615\r\nabc", place.root().display()).as_bytes());
    raw.tcp.shutdown(Shutdown::Write).unwrap();
    assert_eq!(raw.rest(), b"");
    let mut raw = place.raw();
    raw.send(b"muster1 18446744073709551615\r\n");
    assert!(raw.rest().starts_with(b"##AGENT-WARNING## "));
    for json in ["", "{", "[]", "{\"do\":\"fly\"}", "{\"do\":\"stat\"}", "\u{0}"] {
        let mut raw = place.raw();
        raw.send(format!("muster1 {}\r\n{json}", json.len()).as_bytes());
        assert!(raw.rest().starts_with(b"##AGENT-WARNING## muster1: "), "{json}");
    }
    let request = r#"{"do":"exec","args":["cat"],"env":[],"dir":null,"user":null,"limit_millis":null,"stdin_bytes":99999999999}"#;
    let mut raw = place.raw();
    raw.send(format!("muster1 {}\r\n{request}", request.len()).as_bytes());
    assert!(raw.rest().starts_with(b"##AGENT-WARNING## "));
    is_well(&place);
}

#[test]
fn a_line_without_an_end_is_given_up() {
    let place = Place::new();
    let mut raw = place.raw();
    let much = vec![b'x'; 1 << 20];
    // The agent closes while we still send.
    let sent = (0..16).try_for_each(|_| raw.tcp.write_all(&much));
    let said = raw.rest();
    assert!(sent.is_err() || said.is_empty());
    is_well(&place);
}

#[test]
fn too_many_connections_are_turned_away_and_come_back_later() {
    let place = Place::new();
    let port = place.agent().command_addr().port();
    let mut all: Vec<Raw> = (0..200).map(|_| Raw::open(port)).collect();
    // The last ones are closed without a word.
    assert_eq!(all.last_mut().unwrap().rest(), b"");
    all.truncate(1);
    assert_eq!(all[0].read(3), PROMPT);
    // As soon as the agent has noticed that the others are gone, there is room again.
    while Raw::open(port).first(3) != PROMPT {
        std::thread::yield_now();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn noise_does_no_harm(lines in proptest::collection::vec(line(), 1..12)) {
        // Shared by all cases: one agent must survive all of them.
        static PLACE: std::sync::OnceLock<Place> = std::sync::OnceLock::new();
        let place = PLACE.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap().keep();
            Place::with(|config| {
                config.root = Some(dir.clone());
                config.test_root = dir;
                config.reboot = vec!["true".to_owned()];
                config.install = vec!["true".to_owned()];
                config.uninstall = vec!["true".to_owned()];
            })
        });
        let mut raw = place.raw();
        raw.send(&lines.concat());
        drop(raw.tcp.shutdown(Shutdown::Write));
        raw.rest();
        is_well(place);
    }
}

/// A line that may be a command, with arguments that may be hostile. Nothing that runs programs, kills,
/// sets the clock or ends the agent: that would do what it says.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "push", "pull", "ls", "cd", "isdir", "mkdr", "rm", "rmdr", "mv", "cp", "dd", "hash", "cat", "info",
        "chmod", "time", "dirw", "disk", "muster1", "trace", "stat", "dead", "rebt", "inst", "uninst",
        "tzset", "", "\0", "é",
    ];
    let argument = prop_oneof![
        Just(b"..".to_vec()),
        Just(b"../../../../etc/passwd".to_vec()),
        Just(b"/".to_vec()),
        Just(b"-1".to_vec()),
        Just(b"'".to_vec()),
        Just(b"\"a b\"".to_vec()),
        Just(b"4294967296".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let end = proptest::sample::select(vec![&b"\r\n"[..], b"\n", b"\r", b""]);
    let arguments = proptest::collection::vec(argument, 0..4);
    (proptest::sample::select(words.to_vec()), arguments, end).prop_map(|(word, arguments, end)| {
        let mut line = word.as_bytes().to_vec();
        for argument in arguments {
            line.push(b' ');
            line.extend(argument);
        }
        line.extend_from_slice(end);
        line
    })
}
