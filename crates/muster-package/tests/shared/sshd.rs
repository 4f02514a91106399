//! A real `sshd` on loopback.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const SSHD: &str = "/usr/sbin/sshd";

/// A host with a key; each connection gets an `sshd -i`, as from inetd.
pub(crate) struct Host {
    dir: tempfile::TempDir,
    at: SocketAddr,
    ends: Arc<AtomicBool>,
    accepted: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
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
        let path = |name: &str| dir.path().join(name);
        for name in ["host_key", "user_key"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(name));
            assert!(keygen.status().expect("ssh-keygen is there").success());
        }
        fs::copy(path("user_key.pub"), path("authorized_keys")).unwrap();
        let config = format!(
            "HostKey {0}/host_key\nAuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nPidFile none\n\
             PrintMotd no\nSetEnv SHLVL=2\n",
            dir.path().display()
        );
        fs::write(path("sshd_config"), config).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let key = fs::read_to_string(path("host_key.pub")).unwrap();
        fs::write(path("known_hosts"), format!("[127.0.0.1]:{} {key}", at.port())).unwrap();
        let client = format!(
            "Host board\n HostName 127.0.0.1\n Port {}\n IdentityFile {1}/user_key\n IdentitiesOnly yes\n \
             UserKnownHostsFile {1}/known_hosts\n GlobalKnownHostsFile /dev/null\n",
            at.port(),
            dir.path().display()
        );
        fs::write(path("ssh_config"), client).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let accepted = Arc::new(AtomicUsize::new(0));
        let (its, counted, config) = (Arc::clone(&ends), Arc::clone(&accepted), path("sshd_config"));
        let thread = std::thread::spawn(move || accept(&listener, &config, &its, &counted));
        Self { dir, at, ends, accepted, thread: Some(thread) }
    }

    /// A directory of that host, which is this one.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// By which `ssh` finds a directory of it.
    pub(crate) fn address(&self, name: &str) -> String {
        let config = self.path("ssh_config");
        format!("ssh://board{}?config={}", self.path(name).display(), config.display())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.at));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn accept(listener: &TcpListener, config: &Path, ends: &AtomicBool, counted: &AtomicUsize) {
    let mut children = Vec::new();
    loop {
        let (tcp, _) = listener.accept().unwrap();
        if ends.load(Ordering::SeqCst) {
            break;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        let log = File::options().create(true).append(true).open(config.with_file_name("log")).unwrap();
        let (stdin, stdout) = (OwnedFd::from(tcp.try_clone().unwrap()), OwnedFd::from(tcp));
        let mut sshd = Command::new(SSHD);
        sshd.args(["-i", "-e", "-f"])
            .arg(config)
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::from(stdout))
            .stderr(log);
        children.push(sshd.spawn().unwrap());
    }
    for mut child in children {
        // Most have ended.
        drop(child.kill());
        child.wait().unwrap();
    }
}
