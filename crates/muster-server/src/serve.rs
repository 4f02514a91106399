//! A server: the lab's thread, the hub, the blobs and the connections, started and ended together.

use crate::blobs::{BlobError, Blobs};
use crate::desk::{self, Desk, Keeping};
use crate::http::{self, State};
use crate::hub::Hub;
use crate::shell::ShellError;
use muster_core::lab::Policy;
use muster_store::{Sqlite, StoreError};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;

/// How long connections may take to end when the server does.
const END_MAX: Duration = Duration::from_secs(5);

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where it listens. Port 0: any free one.
    pub listen: SocketAddr,
    /// Where its records and blobs are.
    pub data_dir: PathBuf,
    /// How long an agent may be silent before its devices are given to others.
    pub lease: Duration,
}

/// Why a server cannot be started.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Anybody on the network could run anything on the lab's hosts.
    #[error("`{0}` is not a loopback address, and the server does not know yet who may ask it what")]
    NotLoopback(SocketAddr),
    /// Somebody else has the port, or the address is not this host's.
    #[error("the server cannot listen at {listen}: {source}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The records.
    #[error(transparent)]
    Lab(#[from] ShellError),
    /// The records, for reading.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blobs.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The system has no threads left.
    #[error("the server cannot start its threads: {0}")]
    Start(std::io::Error),
}

/// A server that runs. Dropping it ends it, as [`Server::end`] does.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    desk: Desk,
    ending: watch::Sender<bool>,
    lab: Option<JoinHandle<()>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    /// Starts a server. When this returns it answers.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let ServerConfig { listen, data_dir, lease } = config;
        if !listen.ip().is_loopback() {
            return Err(ServerError::NotLoopback(listen));
        }
        let refused = |source| ServerError::Listen { listen, source };
        let listener = TcpListener::bind(listen).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let records = data_dir.join("records");
        let blobs = Blobs::open(data_dir.join("blobs"))?;
        let hub = Arc::new(Hub::new(desk::now().0));
        let policy = Policy { lease, ..Policy::default() };
        let (desk, lab) = desk::start(Keeping { root: records.clone(), policy }, Arc::clone(&hub))?;
        let reader = Arc::new(Mutex::new(Sqlite::open_to_read(&records)?));
        let (ending, ended) = watch::channel(false);
        let state = State { desk: desk.clone(), hub, blobs, reader, records, ended: ended.clone() };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(ServerError::Start)?;
        let listener = {
            let _in = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(refused)?
        };
        runtime.spawn(http::serve(listener, http::router(state), ended));
        Ok(Self { address, desk, ending, lab: Some(lab), runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: what was accepted is recorded, agents go on and come back to the next server.
    pub fn end(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.ending.send_replace(true);
        self.desk.end();
        if let Some(lab) = self.lab.take() {
            // A panic in it was told where it happened.
            let _ended = lab.join();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(END_MAX);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
