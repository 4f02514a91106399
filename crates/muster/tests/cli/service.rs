//! What a service manager hears of servers and agents.

use crate::env::TestEnv;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

#[test]
fn a_server_and_an_agent_say_that_they_are_ready_and_well() {
    let env = TestEnv::new();
    let path = env.home().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(120))).unwrap();
    let hear = || {
        let mut text = [0; 256];
        let n = manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..n]).trim().to_owned()
    };
    let start = |args: &[&str], watchdog: &str| {
        let mut command = env.command(args);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", watchdog);
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    let data = env.home().join("server").display().to_string();
    let mut server = start(&["server", "--listen", "127.0.0.1:0", "--data", &data], "300000");
    assert_eq!(hear(), "READY=1");
    assert_eq!((hear(), hear()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()), "it answers itself");
    rustix::process::kill_process(rustix::process::Pid::from_child(&server), rustix::process::Signal::TERM)
        .unwrap();
    while hear() != "STOPPING=1" {}
    assert!(server.wait().unwrap().success());
    let state = env.home().join("agent").display().to_string();
    let mut agent = start(&["agent", "--server", "http://127.0.0.1:1", "--state", &state], "300000");
    assert_eq!(hear(), "READY=1", "also where the server is away");
    assert_eq!((hear(), hear()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()), "its loop goes round");
    agent.kill().unwrap();
    agent.wait().unwrap();
    let ended = env.command(&["agent", "--stop", "--state", &state]).output().unwrap();
    assert!(ended.status.success(), "{}", env.tell(&ended));
}
