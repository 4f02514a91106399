//! A reboot: the device goes away, comes back, and calls whoever asked. What reboots here is the agent.

use crate::harness::{PROMPT, Raw, config, start_again};
use muster_device::sut::{Agent, AgentConfig, Client};
use muster_device::{Device as _, Power as _, Until};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

fn soon() -> Until {
    Until::within(Duration::from_secs(120))
}

/// An agent whose "reboot" makes a file, by which the test knows that it is to be started anew.
fn rebootable(dir: &Path) -> AgentConfig {
    let mut config = config(dir);
    config.reboot = vec!["touch".to_owned(), dir.join("rebooting").display().to_string()];
    config
}

/// Does what a device does: goes down when it is told to, and comes up at the same ports.
fn reboot_when_told(agent: Agent, mut config: AgentConfig, dir: &Path) -> Agent {
    config.command_port = agent.command_addr().port();
    config.data_port = agent.data_addr().port();
    while !dir.join("rebooting").exists() {
        std::thread::yield_now();
    }
    drop(agent);
    std::fs::remove_file(dir.join("rebooting")).unwrap();
    start_again(&config)
}

#[test]
fn our_client_waits_until_the_device_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = rebootable(dir.path());
    let agent = Agent::start(config.clone()).unwrap();
    let address = agent.command_addr();
    let client = Client::new("127.0.0.1", address.port());
    client.probe(&soon()).unwrap();
    let path = dir.path().to_owned();
    let device = std::thread::spawn(move || reboot_when_told(agent, config, &path));
    client.reboot(&soon()).unwrap();
    client.probe(&soon()).unwrap();
    let agent = device.join().unwrap();
    drop(agent);
    assert!(!dir.path().join("state/update.info").exists());
}

#[test]
fn clients_of_old_are_called_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = rebootable(dir.path());
    let agent = Agent::start(config.clone()).unwrap();
    let mut data = Raw::open(agent.data_addr().port());
    // Whoever has been greeted is told.
    data.read("20261120-18:00:00 trace output\r\n".len());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut raw = Raw::open(agent.command_addr().port());
    raw.read(PROMPT.len());
    let text = format!("127.0.0.1,{port}\rrebooting\r");
    let line =
        format!("push /data/data/com.mozilla.SUTAgentAndroid/files/update.info {}\r\n{text}", text.len());
    raw.send(line.as_bytes());
    assert_eq!(raw.answer().len(), 33);
    raw.send(format!("rebt 127.0.0.1 {port}\r\n").as_bytes());
    assert_eq!(raw.rest(), b"");
    let agent = reboot_when_told(agent, config, dir.path());
    let heard = String::from_utf8(data.rest()).unwrap();
    assert!(heard.contains(" Rebooting ...\r\n"), "{heard:?}");
    let (mut tcp, _) = listener.accept().unwrap();
    let mut said = vec![0; "System rebooted\r\n".len()];
    tcp.read_exact(&mut said).unwrap();
    assert_eq!(said, b"System rebooted\r\n");
    tcp.write_all(b"OK\r\n").unwrap();
    // The agent closes once it is heard, and calls nobody a second time.
    assert_eq!(tcp.read(&mut [0]).unwrap(), 0);
    while dir.path().join("state/update.info").exists() {
        std::thread::yield_now();
    }
    drop(agent);
}

#[test]
fn whoever_does_not_answer_is_called_again() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::fs::create_dir(dir.path().join("state")).unwrap();
    std::fs::write(dir.path().join("state/update.info"), format!("127.0.0.1,{port}\rhello\r")).unwrap();
    let _agent = Agent::start(config(dir.path())).unwrap();
    drop(listener.accept().unwrap());
    let (mut tcp, _) = listener.accept().unwrap();
    tcp.write_all(b"ok").unwrap();
    let mut said = String::new();
    tcp.read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello\r\n");
}

#[test]
fn a_reboot_that_fails_is_told_to_those_who_listen() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.reboot = vec!["sh".to_owned(), "-c".to_owned(), "echo not today >&2; exit 4".to_owned()];
    let agent = Agent::start(config).unwrap();
    let mut data = Raw::open(agent.data_addr().port());
    data.read("20261120-18:00:00 trace output\r\n".len());
    let mut raw = Raw::open(agent.command_addr().port());
    raw.read(PROMPT.len());
    raw.send(b"rebt\r\n");
    let mut heard = String::new();
    while !heard.contains("not today") {
        heard.push(char::from(data.read(1)[0]));
    }
    assert!(heard.contains("Not rebooting: "), "{heard:?}");
}

#[test]
fn a_file_that_names_nobody_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let file = dir.path().join("state/update.info");
    std::fs::write(&file, "nobody").unwrap();
    let _agent = Agent::start(config(dir.path())).unwrap();
    while file.exists() {
        std::thread::yield_now();
    }
}
