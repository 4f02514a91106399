//! Repositories behind `ssh`, with a real `sshd` on loopback for each test.

use crate::world::{built, files, limits, published};
use muster_package::autotest::{
    Autodir, Cache, Checksums, How, Location, Options, Put, Sources, remove, upload, verify,
};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SSHD: &str = "/usr/sbin/sshd";
const FILE: &str = "test-x.tar.bz2";

/// A host with a key; each connection gets an `sshd -i`, as from inetd.
struct Host {
    dir: tempfile::TempDir,
    at: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Host {
    fn new() -> Self {
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
            crate::world::said(&mut keygen);
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
        let (its, config) = (Arc::clone(&ends), path("sshd_config"));
        let thread = std::thread::spawn(move || accept(&listener, &config, &its));
        Self { dir, at, ends, thread: Some(thread) }
    }

    /// A directory of that host, which is this one.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn location(&self, name: &str) -> Location {
        let config = self.path("ssh_config");
        format!("ssh://board{}?config={}", self.path(name).display(), config.display()).parse().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.at));
        self.thread.take().unwrap().join().unwrap();
    }
}

fn accept(listener: &TcpListener, config: &Path, ends: &AtomicBool) {
    let mut children = Vec::new();
    loop {
        let (tcp, _) = listener.accept().unwrap();
        if ends.load(Ordering::SeqCst) {
            break;
        }
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

fn sums(repository: &Path) -> Checksums {
    Checksums::read(&fs::read(repository.join("packages.checksum")).unwrap()).unwrap().0
}

#[test]
fn a_repository_behind_ssh_is_written_read_and_emptied() {
    let host = Host::new();
    // What a shell could take for something else.
    let name = "it's a $(repository)";
    let (repository, at) = (host.path(name), host.location(name));
    files(&host.path("from"), &[("x.py", "1")]);
    let package = built("test:x", &host.path("from"), &host.path("out"));
    let file = [host.path("out").join(FILE)];
    let put = || upload(&at, &file, 0, &limits()).unwrap();
    assert_eq!(put(), [(FILE.to_owned(), Put::Moved)]);
    assert_eq!(put(), [(FILE.to_owned(), Put::Unchanged)]);
    let mut names: Vec<_> = fs::read_dir(&repository).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["packages.checksum", FILE]);
    assert_eq!(sums(&repository).get(FILE), Some(package.md5));
    assert_eq!(verify(&at, &sums(&repository), &limits()).unwrap(), []);

    let autodir = Autodir::open(&host.path("autotest")).unwrap();
    let install = || {
        let mut from = Sources::new([at.clone()], limits());
        autodir.install(&"test:x".parse().unwrap(), &mut from, &Options::default()).unwrap()
    };
    assert_eq!((install().how, install().how), (How::New, How::Unchanged));

    remove(&at, FILE, false, &limits()).unwrap();
    assert!(
        !repository.join(FILE).exists() && sums(&repository).is_empty(),
        "the file too, not the entry alone"
    );
    assert!(remove(&at, FILE, false, &limits()).is_err());
}

/// Row 12 on a host that is not this one: entries come from two sides at once.
#[test]
fn row_12_packagers_on_two_hosts_lose_nothing() {
    let host = Host::new();
    let (repository, at) = (host.path("r"), host.location("r"));
    published(&repository, "test:first", "1");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..10 {
                published(&repository, &format!("test:here{n}"), "1");
            }
        });
        for n in 0..3 {
            let name = format!("there{n}");
            files(&host.path(&name), &[("x.py", "1")]);
            built(&format!("test:{name}"), &host.path(&name), &host.path("out"));
            upload(&at, &[host.path("out").join(format!("test-{name}.tar.bz2"))], 0, &limits()).unwrap();
        }
    });
    assert_eq!(sums(&repository).len(), 14);
    assert_eq!(verify(&at, &sums(&repository), &limits()).unwrap(), []);
}

#[test]
fn without_a_list_only_what_changed_moves() {
    let host = Host::new();
    published(&host.path("r"), "test:x", "1");
    fs::remove_file(host.path("r/packages.checksum")).unwrap();
    let cache = Cache::open(&host.path("cache")).unwrap();
    let fetch = || Sources::new([host.location("r")], limits()).fetch(FILE, &cache).unwrap().moved;
    assert_eq!((fetch(), fetch()), (true, false));
}

#[test]
fn a_host_that_is_not_known_is_not_spoken_to() {
    let host = Host::new();
    fs::write(host.path("known_hosts"), "").unwrap();
    files(&host.path("from"), &[("x.py", "1")]);
    built("test:x", &host.path("from"), &host.path("out"));
    let file = [host.path("out").join(FILE)];
    let why = upload(&host.location("r"), &file, 0, &limits()).unwrap_err().to_string();
    assert!(why.contains("Host key verification failed"), "{why}");
    let cache = Cache::open(&host.path("cache")).unwrap();
    let why = Sources::new([host.location("r")], limits()).fetch(FILE, &cache).unwrap_err().to_string();
    assert!(why.contains("Host key verification failed"), "{why}");
}
