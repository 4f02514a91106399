//! Our agent, driven by the client it is for: Mozilla's devicemanager. `cargo xtask setup` installs it.

use muster_device::sut::{Agent, AgentConfig};
use std::process::{Command, Stdio};
use std::time::Duration;

const REBOOTS: usize = 2;

#[test]
fn mozillas_own_client_drives_our_agent() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let wanted = "import fissix, setuptools, mozlog, moznetwork, importlib.metadata as m; \
                  assert m.version('mozdevice') == '0.48'";
    let there = Command::new(&python).args(["-c", wanted]).output().unwrap();
    assert!(
        there.status.success(),
        "`{python}` lacks mozdevice 0.48 or what it needs; `cargo xtask setup` installs it:\n{}",
        String::from_utf8_lossy(&there.stderr)
    );
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("root");
    let flag = dir.path().join("rebooting");
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut config = AgentConfig::new(&root, dir.path().join("state"));
    config.command_port = 0;
    config.data_port = 0;
    config.settle = Duration::ZERO;
    config.root_is_anyone = true;
    config.reboot = vec!["touch".to_owned(), flag.display().to_string()];
    config.install = words("test -s {file}");
    config.uninstall = words("test {name} = known");
    let mut agent = Agent::start(config.clone()).unwrap();
    let port = agent.command_addr().port();
    config.command_port = port;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/devicemanager.py");
    let mut client = Command::new(&python)
        .args([script, &port.to_string(), root.to_str().unwrap(), &REBOOTS.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The device: it goes down when it is told to, and comes up again.
    while client.try_wait().unwrap().is_none() {
        if flag.exists() {
            drop(agent);
            std::fs::remove_file(&flag).unwrap();
            // Somebody else's connection may have the port for a moment.
            agent = loop {
                if let Ok(agent) = Agent::start(config.clone()) {
                    break agent;
                }
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let said = client.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.ends_with("driven\n"), "{out}\n{err}");
}
