//! Delivering a tree of 200 MB in 20,000 files: cold, with 1 % of the files changed, and with nothing changed;
//! beside rsync and the ways by HTTP. All over loopback, from servers started for it; what arrived is compared
//! with what was sent.

use super::Bench;
use super::compare::{line, median, millis, say};
use anyhow::{Context as _, bail, ensure};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

const DIRS: usize = 200;
const FILES_PER_DIR: usize = 100;
/// One in so many files is edited for the second version.
const CHANGED: usize = 100;

/// A way to deliver: lines of shell that bring version `$V` to the directory `$TO`.
struct Way {
    name: &'static str,
    /// The program it needs, and how to get it.
    needs: &'static [(&'static str, &'static str)],
    deliver: String,
    /// Prints the bytes that the last delivery moved.
    moved: String,
    /// The same, where every byte there is read again, if that is another thing.
    verify: Option<String>,
    /// Where below `$TO` the tree is.
    tree: &'static str,
}

impl Bench {
    pub(super) fn deliver(&self) -> anyhow::Result<()> {
        let dir = self.dir.join("deliver");
        let _absent = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        for version in [1, 2] {
            write_tree(&dir.join(format!("v{version}")), version)?;
        }
        let muster = self.muster.display();
        say("\npacking the tree");
        let pack = |name: &str, text: &str| -> anyhow::Result<()> {
            let begin = Instant::now();
            line(text, &dir).run().with_context(|| name.to_owned())?;
            say(&format!("  {name:<52} {:>16}", millis(begin.elapsed())));
            Ok(())
        };
        let build = |version: u8| {
            format!(
                "{muster} package build v{version} --kind dep --name tree --version {version} --repo repo"
            )
        };
        pack("muster package build, all new", &build(1))?;
        pack("muster package build, 1 % changed", &build(2))?;
        for version in [1, 2] {
            pack(
                "GNU tar and zstd -3",
                &format!("tar c -C v{version} . | zstd -q -3 -o tree{version}.tar.zst"),
            )?;
            line(&format!("sha256sum tree{version}.tar.zst | cut -c-64 > tree{version}.sum"), &dir).run()?;
            line(&format!("tar cjf tree{version}.tar.bz2 -C v{version} ."), &dir).run()?;
            line(&format!("md5sum tree{version}.tar.bz2 | cut -c-32 > tree{version}.md5"), &dir).run()?;
        }
        let servers = Servers::start(&dir)?;
        for way in self.ways(&servers) {
            let missing = way.needs.iter().find(|(program, _)| !super::compare::which(program));
            if let Some((program, install)) = missing {
                say(&format!("  {}: `{program}` is not installed (`{install}`)", way.name));
                continue;
            }
            self.deliver_by(&way, &dir)?;
        }
        Ok(())
    }

    fn ways(&self, servers: &Servers) -> Vec<Way> {
        let (muster, web, rsync) = (self.muster.display(), servers.web, servers.rsync);
        let install = format!(
            "{muster} package install dep:tree@$V --repo http://127.0.0.1:{web}/repo --into $TO --json > $TO.json"
        );
        const NGINX: (&str, &str) = ("nginx", "apt-get install nginx-light");
        let tarball = |end: &str, sum: &str, unpack: &str| {
            format!(
                "mkdir -p $TO; curl -sf http://127.0.0.1:{web}/tree$V.{sum} > $TO.new; \
                 if cmp -s $TO.new $TO.sum; then echo 0 > $TO.moved; else rm -rf $TO; mkdir $TO; \
                 curl -sf http://127.0.0.1:{web}/tree$V.{end} | tee $TO.tarball | {unpack} -C $TO && \
                 stat -c %s $TO.tarball > $TO.moved; cp $TO.new $TO.sum; fi"
            )
        };
        let rsync_line = format!("rsync -a --delete --stats rsync://127.0.0.1:{rsync}/v$V/ $TO/ > $TO.stats");
        vec![
            Way {
                name: "muster package install, over HTTP",
                needs: &[NGINX],
                verify: Some(install.replace("--json", "--verify --json")),
                deliver: install,
                moved: r#"grep -o '"traffic":{"bytes":[0-9]*' $TO.json | grep -o '[0-9]*$'"#.to_owned(),
                tree: "dep/tree/",
            },
            Way {
                name: "rsync daemon",
                needs: &[("rsync", "apt-get install rsync")],
                deliver: rsync_line.clone(),
                moved: "sed -n 's/,//g; s/Total bytes received: //p' $TO.stats".to_owned(),
                verify: Some(rsync_line.replace("-a", "-a --checksum")),
                tree: "",
            },
            Way {
                name: "HTTP tar.zst, whole",
                needs: &[NGINX, ("curl", "apt-get install curl")],
                deliver: tarball("tar.zst", "sum", "zstd -dc | tar x"),
                moved: "cat $TO.moved".to_owned(),
                verify: None,
                tree: "",
            },
            Way {
                name: "HTTP tar.bz2 and MD5 (Autotest)",
                needs: &[NGINX, ("curl", "apt-get install curl")],
                deliver: tarball("tar.bz2", "md5", "tar xj"),
                moved: "cat $TO.moved".to_owned(),
                verify: None,
                tree: "",
            },
        ]
    }

    fn deliver_by(&self, way: &Way, dir: &Path) -> anyhow::Result<()> {
        let to = dir.join("to");
        let run = |text: &str, version: u8| -> anyhow::Result<Duration> {
            let begin = Instant::now();
            let ended = Command::new("sh")
                .args(["-c", text])
                .current_dir(dir)
                .env("TO", &to)
                .env("V", version.to_string())
                .output()?;
            ensure!(ended.status.success(), "{}: {}", way.name, String::from_utf8_lossy(&ended.stderr));
            Ok(begin.elapsed())
        };
        let moved = || -> anyhow::Result<String> {
            let said = Command::new("sh").args(["-c", &way.moved]).env("TO", &to).output()?;
            let bytes: f64 = String::from_utf8(said.stdout)?.trim().parse().unwrap_or(0.0);
            Ok(format!("{:.2} MB", bytes / 1e6))
        };
        let works = [("cold", 1), ("1 % changed", 2), ("unchanged", 2)];
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); 4];
        let mut wire = Vec::new();
        for _ in 0..self.rounds {
            line("chmod -R u+w to; rm -rf to to.*", dir).run()?;
            wire.clear();
            for (at, (_, version)) in works.iter().enumerate() {
                times[at].push(run(&way.deliver, *version)?);
                wire.push(moved()?);
                same(&dir.join(format!("v{version}")), &to.join(way.tree))?;
            }
            if let Some(verify) = &way.verify {
                times[3].push(run(verify, 2)?);
            }
        }
        say(&format!("\n{} (median of {} rounds)", way.name, self.rounds));
        for ((name, _), (times, wire)) in works.iter().zip(times.iter().zip(&wire)) {
            say(&format!("  {name:<52} {:>16} {wire:>12}", millis(median(times.clone()))));
        }
        if let Some(times) = times.last().filter(|t| !t.is_empty()) {
            say(&format!(
                "  {:<52} {:>16}",
                "unchanged, every byte read again",
                millis(median(times.clone()))
            ));
        }
        Ok(())
    }
}

/// What arrived is what was sent.
fn same(sent: &Path, arrived: &Path) -> anyhow::Result<()> {
    let differ = Command::new("diff").args(["-rq", "--no-dereference"]).arg(sent).arg(arrived).output()?;
    if differ.status.success() { Ok(()) } else { bail!("{}", String::from_utf8_lossy(&differ.stdout)) }
}

/// Files of words, numbers and some noise, the same on every machine; they compress to about a seventh.
fn write_tree(dir: &Path, version: u8) -> anyhow::Result<()> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let words: Vec<String> = (0..3_000).map(|_| format!("{:x}", next() >> (24 + next() % 32))).collect();
    for d in 0..DIRS {
        let sub = dir.join(format!("lib{:02}/mod{d:03}", d % 20));
        fs::create_dir_all(&sub)?;
        for f in 0..FILES_PER_DIR {
            // From 1 to 20 kB, so 200 MB in all.
            let len = 1_000 + usize::try_from(next() % 18_000)?;
            let mut text = String::with_capacity(len + 200);
            while text.len() < len {
                let line = usize::try_from(next() % 3_000)?;
                for n in 0..8 {
                    text.push_str(&words[(line * 7 + n) % 3_000]);
                    text.push(' ');
                }
                text.push_str(&words[usize::try_from(next() % 3_000)?]);
                text.push('\n');
            }
            let is_edited = version > 1 && (d * FILES_PER_DIR + f).is_multiple_of(CHANGED);
            if is_edited {
                text.insert_str(text.len() / 2, "this line is new in the second version\n");
            }
            let path = sub.join(format!("file{f:03}.txt"));
            fs::write(&path, text)?;
            // What was not edited has its old time: rsync goes by that.
            let time =
                SystemTime::UNIX_EPOCH + Duration::from_secs(if is_edited { 2_000_000 } else { 1_000_000 });
            fs::File::options().write(true).open(&path)?.set_modified(time)?;
        }
    }
    Ok(())
}

/// A web server and an rsync daemon of this directory.
struct Servers {
    web: u16,
    rsync: u16,
    running: Vec<Child>,
}

impl Servers {
    fn start(dir: &Path) -> anyhow::Result<Self> {
        let mut servers = Self { web: free_port()?, rsync: free_port()?, running: Vec::new() };
        let (root, web) = (dir.display(), servers.web);
        let nginx = format!(
            "daemon off; pid {root}/nginx.pid; error_log {root}/nginx.log; user root; worker_processes 1;\n\
             events {{ }}\nhttp {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{web}; root {root}; }} }}\n"
        );
        fs::write(dir.join("nginx.conf"), nginx)?;
        let mut rsync = String::from("use chroot = no\n");
        for version in [1, 2] {
            rsync.push_str(&format!("[v{version}]\npath = {root}/v{version}\nread only = yes\n"));
        }
        fs::write(dir.join("rsyncd.conf"), rsync)?;
        let port = servers.rsync.to_string();
        let conf = |name: &str| dir.join(name).display().to_string();
        let commands: [(&str, Vec<String>); 2] = [
            ("nginx", vec!["-c".into(), conf("nginx.conf")]),
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
        ];
        for (program, args) in commands {
            if super::compare::which(program) || PathBuf::from("/usr/sbin").join(program).exists() {
                let mut command = Command::new(program);
                command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                servers.running.push(command.spawn().with_context(|| format!("cannot start {program}"))?);
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        Ok(servers)
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

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
