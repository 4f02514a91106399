//! An agent of the SUT protocol for devices that run Linux. Clients that were made for Mozilla's agents
//! drive it without change.
//!
//! ```text
//!  command port ──► a thread for each connection: Session ──► files, programs, facts, …
//!  data port    ──► a thread for each connection ◄── Hub ◄── heartbeat, traced commands, "Rebooting ..."
//!  at the start ──► tells the server it is there; calls back whoever had it rebooted
//! ```
//!
//! It is bound to this host alone unless told otherwise: the protocol asks nobody who they are.
//!
//! Where the known agents differ or do harm, this is what it does: a refused file is read to its end and
//! never taken for commands; the working directory belongs to the connection; a program whose client has
//! gone is killed; `return code` stands on a line of its own; output that looks like the prompt is changed
//! so that it does not.

mod call_back;
mod data;
mod exec;
mod extended;
mod files;
mod register;
mod replies;
mod session;
mod system;

use crate::host::space::Space;
use crate::until::{Cancel, Until};
use data::Hub;
pub(crate) use files::hex;
use rustix::event::{PollFd, PollFlags};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The product name of this agent, which is how its own client knows it.
pub(crate) const PRODUCT: &str = "MusterSUTAgent";
/// Its version in the eyes of clients, which expect things of versions since 1.13.
const VERSION: &str = "1.20";

// Limit: connections served at once, of each port.
const SESSIONS_MAX: usize = 64;

/// How an agent is to be.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The address to listen at.
    pub bind: IpAddr,
    /// Whether that may be reached from other hosts.
    pub insecure: bool,
    /// The command port; 0 for any that is free.
    pub command_port: u16,
    /// The data port; 0 for any that is free.
    pub data_port: u16,
    /// The only directory whose files may be touched by file commands. Programs are not held by it.
    pub root: Option<PathBuf>,
    /// What `testroot` answers. Made if it is not there.
    pub test_root: PathBuf,
    /// Where is kept whom to call after a reboot. Must outlive one.
    pub state_dir: PathBuf,
    /// The device's unique name; made from the host if there is none.
    pub id: Option<String>,
    /// What kind of device it is, for a server.
    pub hardware: String,
    /// Which pool it belongs to, for a server.
    pub pool: String,
    /// The server to register with at the start.
    pub register: Option<(String, u16)>,
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// Between the start and the call back after a reboot.
    pub settle: Duration,
    /// Whether an agent that is not root runs programs all the same that are to run as root.
    pub root_is_anyone: bool,
    /// Whether commands are written to `DATE-sutcommands.txt` in the test root.
    pub log_commands: bool,
    /// The program that reboots the device.
    pub reboot: Vec<String>,
    /// The program that installs the package in the file `{file}`.
    pub install: Vec<String>,
    /// The program that removes the package `{name}`.
    pub uninstall: Vec<String>,
}

impl AgentConfig {
    /// An agent for this host alone that tests may write to this directory of.
    pub fn new(test_root: impl Into<PathBuf>, state_dir: impl Into<PathBuf>) -> Self {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            insecure: false,
            command_port: super::COMMAND_PORT,
            data_port: super::DATA_PORT,
            root: None,
            test_root: test_root.into(),
            state_dir: state_dir.into(),
            id: None,
            hardware: std::env::consts::ARCH.to_owned(),
            pool: String::new(),
            register: None,
            heartbeat: Duration::from_secs(60),
            settle: Duration::from_secs(5),
            root_is_anyone: false,
            log_commands: false,
            reboot: words("reboot"),
            install: words("dpkg --install {file}"),
            uninstall: words("dpkg --remove {name}"),
        }
    }
}

/// An agent that could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It would be open to everybody.
    #[error("`{bind}` can be reached from other hosts, and whoever reaches a SUT agent owns the device")]
    Exposed {
        /// The address.
        bind: IpAddr,
    },
    /// The port is taken, or may not be had.
    #[error("cannot listen at `{address}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// A directory it needs.
    #[error("cannot use the directory `{}`", .path.display())]
    Dir {
        /// The directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The test root is not beneath the only directory that may be touched.
    #[error("the test root `{}` is not in `{}`", .test_root.display(), .root.display())]
    Outside {
        /// The test root.
        test_root: PathBuf,
        /// The directory.
        root: PathBuf,
    },
    /// No thread or descriptor is left.
    #[error("the system has no room for another agent")]
    System {
        /// Its answer.
        #[from]
        source: io::Error,
    },
}

/// What all connections share.
struct Shared {
    config: AgentConfig,
    space: Space,
    since: Instant,
    /// Everything of this agent ends with it.
    stop: Cancel,
    hub: Hub,
    /// Threads that serve connections.
    sessions: Mutex<Vec<JoinHandle<()>>>,
    command_port: u16,
    data_port: u16,
}

/// An agent that runs. Stopped when it is dropped.
pub struct Agent {
    shared: Arc<Shared>,
    command: SocketAddr,
    data: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Agent {
    /// Starts it. It listens when this returns.
    ///
    /// # Errors
    /// It would be open to everybody, a port is taken, or a directory cannot be used.
    pub fn start(mut config: AgentConfig) -> Result<Self, StartError> {
        if !config.bind.is_loopback() && !config.insecure {
            return Err(StartError::Exposed { bind: config.bind });
        }
        for path in [&config.test_root, &config.state_dir] {
            std::fs::create_dir_all(path).map_err(|source| StartError::Dir { path: path.clone(), source })?;
        }
        let test_root = config.test_root.canonicalize();
        config.test_root =
            test_root.map_err(|source| StartError::Dir { path: config.test_root.clone(), source })?;
        let space = match &config.root {
            None => Space::all().map_err(|source| StartError::Dir { path: "/".into(), source })?,
            Some(root) => {
                let dir = |source| StartError::Dir { path: root.clone(), source };
                let space = Space::beneath(root).map_err(dir)?;
                let root = space.root().unwrap_or(root).to_owned();
                if !config.test_root.starts_with(&root) {
                    return Err(StartError::Outside { test_root: config.test_root, root });
                }
                space
            }
        };
        let listen = |port| {
            let address = SocketAddr::new(config.bind, port);
            let listener = TcpListener::bind(address);
            listener.map_err(|source| StartError::Listen { address, source })
        };
        let (command, data) = (listen(config.command_port)?, listen(config.data_port)?);
        let (command_at, data_at) = (command.local_addr()?, data.local_addr()?);
        let shared = Arc::new(Shared {
            config,
            space,
            since: Instant::now(),
            stop: Cancel::new()?,
            hub: Hub::default(),
            sessions: Mutex::new(Vec::new()),
            command_port: command_at.port(),
            data_port: data_at.port(),
        });
        let mut agent = Self { shared, command: command_at, data: data_at, threads: Vec::new() };
        agent.spawn("sut-command", move |shared| accept(shared, &command, session::serve))?;
        agent.spawn("sut-data", move |shared| accept(shared, &data, data::serve))?;
        agent.spawn("sut-heartbeat", data::beat)?;
        agent.spawn("sut-call-back", call_back::call)?;
        agent.spawn("sut-register", register::register)?;
        Ok(agent)
    }

    /// Where commands are taken.
    pub fn command_addr(&self) -> SocketAddr {
        self.command
    }

    /// Where heartbeats are heard.
    pub fn data_addr(&self) -> SocketAddr {
        self.data
    }

    /// The only directory whose files may be touched by file commands.
    pub fn root(&self) -> Option<&std::path::Path> {
        self.shared.space.root()
    }

    /// Ends it from another thread, as a client's `exit` does.
    pub fn stop_handle(&self) -> Cancel {
        self.shared.stop.clone()
    }

    /// Waits until it has ended. Programs it runs for clients are killed then.
    pub fn wait(mut self) {
        self.join();
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            drop(thread.join());
        }
        let mut sessions = self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = std::mem::take(&mut *sessions);
        for session in sessions {
            drop(session.join());
        }
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&Arc<Shared>) + Send + 'static) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&shared))?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.join();
    }
}

impl Shared {
    /// So long, unless the agent ends.
    fn within(&self, duration: Duration) -> Until {
        Until::within(duration).or(&self.stop)
    }

    /// Until the agent ends.
    fn forever(&self) -> Until {
        self.within(Duration::MAX)
    }
}

/// Serves each connection in a thread of its own, until the agent ends.
fn accept(shared: &Arc<Shared>, listener: &TcpListener, serve: fn(&Arc<Shared>, TcpStream)) {
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    let forever = shared.forever();
    while forever.poll(&mut vec![PollFd::new(listener, PollFlags::IN)]).is_ok() {
        let Ok((tcp, _)) = listener.accept() else {
            // Gone again, or no descriptor is left: those that are served will give some back.
            if forever.sleep(Duration::from_millis(20)).is_err() {
                return;
            }
            continue;
        };
        let mut sessions = shared.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|thread| !thread.is_finished());
        if sessions.len() >= 2 * SESSIONS_MAX {
            // Closing says no; whoever asks tries again.
            continue;
        }
        let own = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("sut-session".to_owned());
        if let Ok(thread) = thread.spawn(move || serve(&own, tcp)) {
            sessions.push(thread);
        }
    }
}
