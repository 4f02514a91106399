//! A server: the lab's thread, the hub, the blobs and the connections, started and ended together.

use crate::access::{Access, AccessError};
use crate::blobs::{BlobError, Blobs};
use crate::checks::{Checks, ChecksError};
use crate::desk::{self, Ask, Desk, Keeping};
use crate::http::{self, State};
use crate::hub::Hub;
use crate::listen;
use crate::live::Live;
use crate::packages::Packages;
use crate::retention::{self, Retention};
use crate::shell::ShellError;
use crate::tiers::{self, Hot};
use muster_core::lab::{Policy, Pool, Pools};
use muster_package::own::PackageError;
use muster_store::{Sqlite, StoreError};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
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
    /// Who may use it, where it is initialised.
    pub access: AccessConfig,
    /// How many tokens the lab has, by name, whatever areas say.
    pub tokens: BTreeMap<String, u32>,
}

/// How the access to an initialised server is set up.
#[derive(Clone, Debug)]
pub struct AccessConfig {
    /// The names and addresses by which it is asked.
    pub hosts: Vec<String>,
    /// How long an agent's certificate lasts.
    pub agent_certificate: Duration,
    /// Its pools, in the order they are asked, and who may use each.
    pub pools: Vec<(Pool, PoolUsers)>,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { hosts: Vec::new(), agent_certificate: Duration::from_secs(30 * 86_400), pools: Vec::new() }
    }
}

/// Who may use a pool, of those whose grants are for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolUsers {
    /// All of them.
    All,
    /// Those whose name matches one of these; `*` stands for any text.
    Named(Vec<String>),
}

/// Why a server cannot be started.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Anybody on the network could run anything on the lab's hosts.
    #[error("`{0}` is not a loopback address, and this server is open to all who reach it")]
    NotLoopback(SocketAddr),
    /// Somebody else has the port, or the address is not this host's.
    #[error("the server cannot listen at {listen}: {source}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Two labs on the same records would each give out the same work.
    #[error("another server uses `{}`", dir.display())]
    InUse {
        /// Its directory.
        dir: PathBuf,
    },
    /// The directory.
    #[error("`{}` cannot be used: {source}", dir.display())]
    Dir {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The records.
    #[error(transparent)]
    Lab(#[from] ShellError),
    /// The records, for reading.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Users, identities, TLS.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The blobs.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The packages.
    #[error(transparent)]
    Packages(#[from] PackageError),
    /// How devices are checked.
    #[error(transparent)]
    Checks(#[from] ChecksError),
    /// The lab takes nothing in just now.
    #[error("the lab takes nothing in just now: {0}")]
    NotNow(String),
    /// The system has no threads left.
    #[error("the server cannot start its threads: {0}")]
    Start(std::io::Error),
}

/// A server that runs. Dropping it ends it, as [`Server::end`] does.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    data_dir: PathBuf,
    has_access: bool,
    desk: Desk,
    ending: watch::Sender<bool>,
    lab: Option<JoinHandle<()>>,
    runtime: Option<tokio::runtime::Runtime>,
    /// Held as long as the server lives; the system lets go of it even if the server is killed.
    _lock: File,
}

impl Server {
    /// Starts a server. When this returns it answers.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let ServerConfig {
            listen,
            data_dir,
            lease,
            access: AccessConfig { hosts, agent_certificate, pools },
            tokens,
        } = config;
        let users = pools.iter().map(|(pool, users)| (pool.name.clone(), users.clone())).collect();
        let lab_pools = Pools::new(pools.into_iter().map(|(pool, _)| pool).collect());
        let access = Access::open(&data_dir, agent_certificate, users)?;
        let tls = access.as_ref().map(|a| a.tls(&hosts)).transpose()?;
        if access.is_none() && !listen.ip().is_loopback() {
            return Err(ServerError::NotLoopback(listen));
        }
        let refused = |source| ServerError::Listen { listen, source };
        let listener = TcpListener::bind(listen).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        // Before anything in it is touched: it may be another server's.
        let lock = lock(&data_dir)?;
        let records = data_dir.join("records");
        let blobs = Blobs::open(data_dir.join("blobs"))?;
        let packages = Packages::open(&data_dir)?;
        let hub = Arc::new(Hub::new(crate::clock::now().0));
        let policy = Policy { lease, chronicle: true, ..Policy::default() };
        let checks = Checks::load(&data_dir, &blobs)?;
        let live = Live::open(Live::dir_of(&data_dir))
            .map_err(|source| ServerError::Dir { dir: Live::dir_of(&data_dir), source })?;
        let keeping = Keeping { root: records.clone(), policy, checks, pools: lab_pools, tokens };
        let (desk, lab) = desk::start(keeping, Arc::clone(&hub))?;
        let reader = Arc::new(Mutex::new(Sqlite::open_to_read(&records)?));
        let (ending, ended) = watch::channel(false);
        let (has_access, access) = (access.is_some(), access.map(Arc::new));
        let live = Arc::new(live);
        let (desk_of_all, ended_of_all) = (desk.clone(), ended.clone());
        let root = records.clone();
        let state = State {
            desk: desk_of_all,
            hub,
            live,
            blobs,
            packages,
            peers: Arc::default(),
            reader,
            records,
            access,
            ended: ended_of_all,
        };
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
        // Files of removed runs that the last server had no time for; what is left is tried with the next removal.
        runtime.spawn(retention::finish_removals(root));
        runtime.spawn(listen::serve(listener, http::router(state), tls, ended));
        Ok(Self {
            address,
            data_dir,
            has_access,
            desk,
            ending,
            lab: Some(lab),
            runtime: Some(runtime),
            _lock: lock,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it was initialised: it speaks TLS, and answers only those it knows.
    pub fn has_access(&self) -> bool {
        self.has_access
    }

    /// Reads the kinds of devices again, and the files of their checks. What is wrong with them changes nothing: those that
    /// were known stay. Says how many kinds there are.
    ///
    /// # Errors
    /// [`ServerError::Checks`], or the server is ending.
    pub fn read_kinds_again(&self) -> Result<usize, ServerError> {
        let checks = Checks::load(&self.data_dir, &Blobs::open_beside(self.data_dir.join("blobs")))?;
        let kinds = checks.kinds.len();
        let runtime = self.runtime.as_ref().expect("it runs until it is dropped");
        let taken = runtime.block_on(self.desk.ask(|answer| Ask::Checks(Box::new(checks), answer)));
        match taken {
            Some(Ok(())) => Ok(kinds),
            Some(Err(problem)) => Err(ServerError::NotNow(problem.detail)),
            None => Err(ServerError::NotNow("the lab is being restored from its record".to_owned())),
        }
    }

    /// From now on runs that need not be kept are removed.
    pub fn keep_only(&self, retention: Retention) {
        let runtime = self.runtime.as_ref().expect("it runs until it is dropped");
        let (desk, records) = (self.desk.clone(), self.data_dir.join("records"));
        runtime.spawn(retention::carry_out(desk, records, retention, self.ending.subscribe()));
    }

    /// From now on runs that are over and beyond this are put into the cold tier.
    pub fn keep_hot(&self, hot: Hot) {
        let runtime = self.runtime.as_ref().expect("it runs until it is dropped");
        runtime.spawn(tiers::carry_out(self.data_dir.join("records"), hot, self.ending.subscribe()));
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

/// Makes the directory this process's alone.
fn lock(dir: &Path) -> Result<File, ServerError> {
    let unusable = |source| ServerError::Dir { dir: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let file = File::options().append(true).create(true).open(dir.join("lock")).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ServerError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_server_s_and_free_again_when_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: dir.path().join("data"),
            lease: Duration::from_secs(60),
            access: AccessConfig::default(),
            tokens: BTreeMap::new(),
        };
        let server = Server::start(config.clone()).unwrap();
        let arriving = dir.path().join("data/blobs/incoming/blob");
        std::fs::write(&arriving, "half").unwrap();
        assert!(matches!(Server::start(config.clone()), Err(ServerError::InUse { .. })));
        assert!(arriving.exists(), "what the first one is being sent is left alone");
        server.end();
        Server::start(config).unwrap().end();
    }
}
