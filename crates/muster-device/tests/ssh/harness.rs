//! `sshd` for one test: the test listens, and each connection gets an `sshd -i`, as from inetd. So no port is
//! guessed, and a test can cut connections and be unreachable.

use muster_device::ssh::{Ssh, Target};
use muster_device::{Captured, Command, Exec as _, Exit, Until};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const SSHD: &str = "/usr/sbin/sshd";

pub(crate) fn soon() -> Until {
    Until::within(Duration::from_secs(120))
}

/// A host with keys, a server and one user who may log in.
pub(crate) struct Host {
    pub(crate) dir: tempfile::TempDir,
    port: u16,
    shared: Arc<Shared>,
    accepts: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    /// How many connections are to be closed at once.
    refuses: AtomicU32,
    accepted: AtomicU32,
    children: Mutex<Vec<Child>>,
}

impl Host {
    pub(crate) fn new() -> Self {
        assert!(
            Path::new(SSHD).exists(),
            "{SSHD} is missing: apt-get install openssh-server (cargo xtask setup)"
        );
        // Where `sshd` is root it wants this directory of its own.
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        for name in ["host_key", "user_key"] {
            key(&dir.path().join(name));
        }
        fs::copy(dir.path().join("user_key.pub"), dir.path().join("authorized_keys")).unwrap();
        // Nothing of whoever runs the tests takes part.
        fs::write(dir.path().join("ssh_config"), "").unwrap();
        // A shell that takes itself for the second reads no `.bashrc`, which is this machine's business.
        let config = format!(
            "HostKey {0}/host_key\nAuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nPidFile none\n\
             PrintMotd no\nSetEnv SHLVL=2\n",
            dir.path().display()
        );
        fs::write(dir.path().join("sshd_config"), config).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let (its, config) = (Arc::clone(&shared), dir.path().join("sshd_config"));
        let accepts = std::thread::spawn(move || accept(&listener, &config, &its));
        let host = Self { dir, port, shared, accepts: Some(accepts) };
        host.know_key_of("host_key");
        host
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes this the only key that is known of the host.
    pub(crate) fn know_key_of(&self, name: &str) {
        let key = fs::read_to_string(self.path(&format!("{name}.pub"))).unwrap();
        fs::write(self.path("known_hosts"), format!("[127.0.0.1]:{} {key}", self.port)).unwrap();
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            host: "127.0.0.1".to_owned(),
            port: Some(self.port),
            identity: Some(self.path("user_key")),
            known_hosts: Some(self.path("known_hosts")),
            config: Some(self.path("ssh_config")),
            ..Target::default()
        }
    }

    pub(crate) fn device(&self) -> Ssh {
        Ssh::new(self.target()).unwrap()
    }

    /// Ends every connection as a power cut does: nobody says goodbye.
    pub(crate) fn cut(&self) {
        for mut child in self.shared.children.lock().unwrap().drain(..) {
            // One that has ended is cut already.
            drop(child.kill());
            child.wait().unwrap();
        }
    }

    /// The next so many connections are closed at once.
    pub(crate) fn refuse(&self, connections: u32) {
        self.shared.refuses.store(connections, Ordering::SeqCst);
    }

    pub(crate) fn accepted(&self) -> u32 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))));
        if let Some(accepts) = self.accepts.take() {
            accepts.join().unwrap();
        }
        self.cut();
    }
}

fn accept(listener: &TcpListener, config: &Path, shared: &Shared) {
    loop {
        let (tcp, _) = listener.accept().unwrap();
        if shared.ends.load(Ordering::SeqCst) {
            return;
        }
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        if shared.refuses.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            continue;
        }
        let log = File::options().create(true).append(true).open(config.with_file_name("log")).unwrap();
        let (stdin, stdout) = (OwnedFd::from(tcp.try_clone().unwrap()), OwnedFd::from(tcp));
        let mut sshd = std::process::Command::new(SSHD);
        sshd.args(["-i", "-e", "-f"]).arg(config);
        sshd.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(log);
        shared.children.lock().unwrap().push(sshd.spawn().unwrap());
    }
}

/// Makes a pair of keys.
pub(crate) fn key(path: &Path) {
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(path)
        .output()
        .expect("ssh-keygen is missing: apt-get install openssh-client (cargo xtask setup)");
    assert!(made.status.success(), "{made:?}");
}

/// Runs a line and returns what it printed.
pub(crate) fn said(device: &Ssh, line: &str) -> (Exit, String) {
    let mut said = Captured::default();
    let exit = device.run(&Command::shell(line), &mut said, &soon()).unwrap();
    (exit, String::from_utf8(said.stdout).unwrap())
}
