//! An agent on free ports, and a client that speaks raw bytes.

use muster_device::sut::{Agent, AgentConfig, Client};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const PROMPT: &[u8] = b"$>\0";

/// An agent with directories of its own.
pub(crate) struct Place {
    agent: Option<Agent>,
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut AgentConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        Self { agent: Some(Agent::start(config).unwrap()), dir }
    }

    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    /// Where tests write, as the agent tells it.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("root")
    }

    pub(crate) fn client(&self) -> Client {
        let address = self.agent().command_addr();
        Client::new(&address.ip().to_string(), address.port())
    }

    pub(crate) fn raw(&self) -> Raw {
        let mut raw = Raw::open(self.agent().command_addr().port());
        assert_eq!(raw.read(PROMPT.len()), PROMPT);
        raw
    }
}

/// An agent on free ports that works below this directory.
pub(crate) fn config(dir: &std::path::Path) -> AgentConfig {
    let mut config = AgentConfig::new(dir.join("root"), dir.join("state"));
    config.command_port = 0;
    config.data_port = 0;
    config.settle = Duration::ZERO;
    // What needs to be root is another test's business.
    config.root_is_anyone = true;
    config.id = Some("aa:bb:cc:dd:ee:ff".to_owned());
    config
}

/// Starts an agent at ports that were another's, which somebody else's connection may have for a moment.
pub(crate) fn start_again(config: &AgentConfig) -> Agent {
    loop {
        if let Ok(agent) = Agent::start(config.clone()) {
            return agent;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A connection on which tests speak for themselves.
pub(crate) struct Raw {
    pub(crate) tcp: TcpStream,
}

impl Raw {
    pub(crate) fn open(port: u16) -> Self {
        Self { tcp: TcpStream::connect(("127.0.0.1", port)).unwrap() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).unwrap();
    }

    /// Exactly so many bytes.
    pub(crate) fn read(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.tcp.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// At most so many bytes, less where the connection ends before.
    pub(crate) fn first(&mut self, n: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        drop((&mut self.tcp).take(n).read_to_end(&mut bytes));
        bytes
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A connection that is reset has ended too.
        drop(self.tcp.read_to_end(&mut bytes));
        bytes
    }

    /// Everything up to a prompt that is the last to come.
    pub(crate) fn answer(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 1024];
        while !all.ends_with(PROMPT) {
            let n = self.tcp.read(&mut buffer).unwrap();
            assert!(n > 0, "it ended after {:?}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&buffer[..n]);
        }
        all.truncate(all.len() - PROMPT.len());
        all
    }

    /// A line, or a line with what follows it, and its answer as text.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        let end = if line.contains("\r\n") { "" } else { "\r\n" };
        self.send(format!("{line}{end}").as_bytes());
        String::from_utf8(self.answer()).unwrap()
    }
}
