//! The far side: a web server, an rsync daemon and an `sshd` of one directory, on loopback.

use crate::bench::compare::which;
use anyhow::Context as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// They end with this.
pub(super) struct Servers {
    pub(super) web: u16,
    pub(super) rsync: u16,
    running: Vec<Child>,
}

impl Servers {
    pub(super) fn start(dir: &Path) -> anyhow::Result<Self> {
        let mut servers = Self { web: free_port()?, rsync: free_port()?, running: Vec::new() };
        let (root, web) = (dir.display(), servers.web);
        let nginx = format!(
            "daemon off; pid {root}/nginx.pid; error_log {root}/nginx.log; user root; worker_processes 1;\n\
             events {{ }}\nhttp {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{web}; root {root}; }} }}\n"
        );
        fs::write(dir.join("nginx.conf"), nginx)?;
        let mut rsync = String::from("use chroot = no\n");
        for module in ["v1", "v2", "set"] {
            rsync.push_str(&format!("[{module}]\npath = {root}/{module}\nread only = yes\n"));
        }
        fs::write(dir.join("rsyncd.conf"), rsync)?;
        let sshd = sshd(dir, free_port()?)?;
        let conf = |name: &str| dir.join(name).display().to_string();
        let port = servers.rsync.to_string();
        let commands: [(&str, Vec<String>); 3] = [
            ("nginx", ["-c", &conf("nginx.conf")].map(str::to_owned).to_vec()),
            (
                "rsync",
                [
                    "--daemon",
                    "--no-detach",
                    "--address=127.0.0.1",
                    "--port",
                    &port,
                    "--config",
                    &conf("rsyncd.conf"),
                ]
                .map(str::to_owned)
                .to_vec(),
            ),
            ("/usr/sbin/sshd", ["-D", "-f", &sshd].map(str::to_owned).to_vec()),
        ];
        for (program, args) in commands {
            let sbin = PathBuf::from("/usr/sbin").join(program);
            let program = if which(program) { PathBuf::from(program) } else { sbin };
            if which(&program.display().to_string()) || program.exists() {
                let mut command = Command::new(&program);
                command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
                servers.running.push(child);
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        Ok(servers)
    }

    /// Processor time that all of them have used, with those that they have started and that have ended.
    pub(super) fn processor_time(&self) -> Duration {
        self.running.iter().map(|child| tree_time(child.id())).sum()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.running {
            // They are told to end in the way they end their own children.
            let pid = child.id().to_string();
            let _gone = Command::new("kill").arg(pid).status();
            let _ended = child.wait();
        }
    }
}

/// Processor time of the children of this process that have ended, with theirs.
pub(super) fn children_time() -> Duration {
    stat_time("self", 13..15)
}

fn tree_time(pid: u32) -> Duration {
    let own = stat_time(&pid.to_string(), 11..15);
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    own + children.split_whitespace().filter_map(|c| c.parse().ok()).map(tree_time).sum::<Duration>()
}

/// The sum of some of the fields behind the program's name: its own time is at 11 and 12, that of its children
/// at 13 and 14.
fn stat_time(process: &str, fields: std::ops::Range<usize>) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let behind = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = behind.split(' ').skip(fields.start).take(fields.len());
    // A tick is 10 ms wherever this runs.
    Duration::from_millis(10 * ticks.filter_map(|t| t.parse::<u64>().ok()).sum::<u64>())
}

/// Keys and configurations: that of the server is given back, that of the client is `ssh_config`.
fn sshd(dir: &Path, port: u16) -> anyhow::Result<String> {
    let root = dir.display();
    for key in ["host_key", "user_key"] {
        let _absent = fs::remove_file(dir.join(key));
        let mut keygen = Command::new("ssh-keygen");
        crate::run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(key)))?;
    }
    fs::copy(dir.join("user_key.pub"), dir.join("authorized_keys"))?;
    fs::create_dir_all("/run/sshd").ok();
    let server = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {root}/host_key\nAuthorizedKeysFile {root}/authorized_keys\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\nPrintMotd no\n"
    );
    fs::write(dir.join("sshd_config"), server)?;
    let host_key = fs::read_to_string(dir.join("host_key.pub"))?;
    fs::write(dir.join("known_hosts"), format!("[127.0.0.1]:{port} {host_key}"))?;
    let client = format!(
        "Host far\n HostName 127.0.0.1\n Port {port}\n IdentityFile {root}/user_key\n IdentitiesOnly yes\n \
         UserKnownHostsFile {root}/known_hosts\n GlobalKnownHostsFile /dev/null\n Compression no\n"
    );
    fs::write(dir.join("ssh_config"), client)?;
    Ok(dir.join("sshd_config").display().to_string())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
