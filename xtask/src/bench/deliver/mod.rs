//! Delivering a tree of 200 MB in 20,000 files: cold, with 1 % of the files changed, and with nothing changed;
//! beside rsync, casync, tar over ssh and the ways by HTTP. All over loopback, from servers started for it, in
//! interleaved rounds; what arrived is compared with what was sent.

mod servers;
mod tree;

use super::Bench;
use super::compare::{Contest, line, median, millis, say, which};
use anyhow::{Context as _, bail, ensure};
use servers::{Servers, children_time};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tree::write_tree;

/// Packages of the set that is installed again, and files in each.
const SET: usize = 50;
const SET_FILES: usize = 100;

/// A way to deliver: lines of shell that bring version `$V` to the directory `$TO`.
struct Way {
    name: &'static str,
    /// The programs it needs, and how to get them.
    needs: &'static [(&'static str, &'static str)],
    deliver: String,
    /// Prints the bytes that the last delivery moved; nothing where nobody counts them.
    moved: String,
    /// The same, where every byte there is read again, if that is another thing.
    verify: Option<String>,
    /// Where below `$TO` the tree is.
    tree: &'static str,
    /// Whether it can do no more than begin anew.
    is_cold_only: bool,
}

/// What a work took.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Took {
    wall: Duration,
    /// Of both sides.
    processor: Duration,
}

const WORKS: [(&str, u8); 3] = [("cold", 1), ("1 % changed", 2), ("unchanged", 2)];
const VERIFIED: &str = "unchanged, every byte read again";

impl Bench {
    pub(super) fn deliver(&self) -> anyhow::Result<()> {
        let dir = self.dir.join("deliver");
        let _absent = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        for version in [1, 2] {
            write_tree(&dir.join(format!("v{version}")), version)?;
        }
        self.prepare(&dir)?;
        self.throughput(&dir)?;
        let servers = Servers::start(&dir)?;
        self.set(&dir, &servers)?;
        let mut ways = self.ways(&servers);
        ways.retain(|way| {
            let missing =
                way.needs.iter().find(|(program, _)| !which(program) && !Path::new(program).exists());
            if let Some((program, install)) = missing {
                say(&format!("  {}: `{program}` is not installed (`{install}`)", way.name));
            }
            missing.is_none()
        });
        self.contest(&ways, &servers, &dir)
    }

    /// Everything that is delivered, by whichever way.
    fn prepare(&self, dir: &Path) -> anyhow::Result<()> {
        let muster = self.muster.display();
        for version in [1, 2] {
            for text in [
                format!(
                    "{muster} package build v{version} --kind dep --name tree --version {version} --repo repo"
                ),
                format!("tar c -C v{version} . | zstd -q -3 -o tree{version}.tar.zst"),
                format!("sha256sum tree{version}.tar.zst | cut -c-64 > tree{version}.sum"),
                format!("tar cjf tree{version}.tar.bz2 -C v{version} ."),
                format!("md5sum tree{version}.tar.bz2 | cut -c-32 > tree{version}.md5"),
            ] {
                line(&text, dir).run().with_context(|| text.clone())?;
            }
            if which("casync") {
                line(&format!("casync make --store=store tree{version}.caidx v{version}"), dir).run()?;
            }
        }
        Ok(())
    }

    /// Packing and unpacking, without a way between.
    fn throughput(&self, dir: &Path) -> anyhow::Result<()> {
        let muster = self.muster.display();
        let mut pack = Contest::default();
        let build = format!("rm -rf packed; {muster} package build v1 --kind dep --name tree --repo packed");
        pack.add("muster package build, all new", line(&build, dir));
        for (name, threads) in [("GNU tar and zstd -3", 1), ("GNU tar and zstd -3 on all cores", 0)] {
            pack.add(
                name,
                line(&format!("tar c -C v1 . | zstd -q -3 -T{threads} -f -o packed.tar.zst"), dir),
            );
        }
        pack.hold("packing the tree", self.rounds, millis)?;
        let mut unpack = Contest::default();
        let install = format!(
            "chmod -R u+w unpacked; rm -rf unpacked; sync; {muster} package install dep:tree@1 --repo repo --into unpacked"
        );
        unpack.add("muster package install, from a directory", line(&install, dir));
        let tar = "chmod -R u+w unpacked; rm -rf unpacked; sync; mkdir unpacked; zstd -dc tree1.tar.zst | tar x -C unpacked";
        unpack.add("zstd and GNU tar", line(tar, dir));
        unpack.hold("unpacking the tree, with removing what was there", self.rounds, millis)
    }

    /// Finding that many packages have not changed.
    fn set(&self, dir: &Path, servers: &Servers) -> anyhow::Result<()> {
        let muster = self.muster.display();
        let mut names = String::new();
        for n in 0..SET {
            let sub = dir.join(format!("set/p{n}"));
            fs::create_dir_all(&sub)?;
            for file in 0..SET_FILES {
                fs::write(sub.join(format!("file{file}")), format!("file {file} of {n}\n").repeat(100))?;
            }
            let build = format!("{muster} package build set/p{n} --kind dep --name p{n} --repo set-repo");
            line(&build, dir).run()?;
            names.push_str(&format!(" dep:p{n}"));
        }
        let (web, rsync) = (servers.web, servers.rsync);
        let install =
            format!("{muster} package install{names} --repo http://127.0.0.1:{web}/set-repo --into set-to");
        line(&install, dir).run()?;
        let mut contest = Contest::default();
        contest.add("muster package install", line(&install, dir));
        let copy = format!("rsync -a --delete rsync://127.0.0.1:{rsync}/set/ set-copy/");
        contest.add_peer("rsync daemon", "rsync", "apt-get install rsync", line(&copy, dir));
        line(&copy, dir).run().ok();
        contest.hold(&format!("{SET} packages of {SET_FILES} files, unchanged"), self.rounds, millis)
    }

    fn ways(&self, servers: &Servers) -> Vec<Way> {
        let (muster, web, rsync) = (self.muster.display(), servers.web, servers.rsync);
        let install = |repository: &str| {
            format!("{muster} package install dep:tree@$V --repo {repository} --into $TO --json > $TO.json")
        };
        let moved = r#"grep -o '"traffic":{"bytes":[0-9]*' $TO.json | grep -o '[0-9]*$'"#;
        const NGINX: (&str, &str) = ("/usr/sbin/nginx", "apt-get install nginx-light");
        const SSHD: (&str, &str) = ("/usr/sbin/sshd", "apt-get install openssh-server");
        const RSYNC: (&str, &str) = ("rsync", "apt-get install rsync");
        let tarball = |end: &str, sum: &str, unpack: &str| {
            format!(
                "mkdir -p $TO; curl -sf http://127.0.0.1:{web}/tree$V.{sum} > $TO.new; \
                 if cmp -s $TO.new $TO.sum; then echo 0 > $TO.moved; else rm -rf $TO; mkdir $TO; \
                 curl -sf http://127.0.0.1:{web}/tree$V.{end} | tee $TO.tarball | {unpack} -C $TO && \
                 stat -c %s $TO.tarball > $TO.moved; cp $TO.new $TO.sum; fi"
            )
        };
        let rsync_of = |from: &str| format!("rsync -a --delete --stats {from}/ $TO/ > $TO.stats");
        let daemon = rsync_of(&format!("rsync://127.0.0.1:{rsync}/v$V"));
        let over_ssh = rsync_of("-e 'ssh -F ssh_config' far:$PWD/v$V");
        let stats = "sed -n 's/,//g; s/Total bytes received: //p' $TO.stats";
        let here = self.dir.join("deliver");
        let way = |name, deliver: String, moved: &str| Way {
            name,
            needs: &[NGINX],
            deliver,
            moved: moved.to_owned(),
            verify: None,
            tree: "",
            is_cold_only: false,
        };
        let http = install(&format!("http://127.0.0.1:{web}/repo"));
        let ssh =
            install(&format!("'ssh://far{}/repo?config={}/ssh_config'", here.display(), here.display()));
        let checked = |deliver: &str| {
            Some(
                deliver.replace("--json", "--verify --json").replace("-a --delete", "-a --checksum --delete"),
            )
        };
        vec![
            Way { verify: checked(&http), tree: "dep/tree/", ..way("muster package install, over HTTP", http, moved) },
            Way { needs: &[SSHD], tree: "dep/tree/", ..way("muster package install, over ssh", ssh, moved) },
            Way { needs: &[RSYNC], verify: checked(&daemon), ..way("rsync daemon", daemon, stats) },
            Way { needs: &[RSYNC, SSHD], ..way("rsync over ssh", over_ssh, stats) },
            Way {
                needs: &[SSHD],
                is_cold_only: true,
                ..way(
                    "tar and zstd over ssh",
                    "mkdir -p $TO; ssh -F ssh_config far \"tar c -C $PWD/v$V . | zstd -q -3\" | tee $TO.tarball | zstd -dc | tar x -C $TO".to_owned(),
                    "stat -c %s $TO.tarball",
                )
            },
            way("HTTP tar.zst, whole", tarball("tar.zst", "sum", "zstd -dc | tar x"), "cat $TO.moved"),
            way("HTTP tar.bz2 and MD5 (Autotest)", tarball("tar.bz2", "md5", "tar xj"), "cat $TO.moved"),
            Way {
                needs: &[NGINX, ("casync", "apt-get install casync")],
                ..way(
                    "casync over HTTP",
                    format!(
                        "mkdir -p $TO; casync extract --store=http://127.0.0.1:{web}/store \
                         http://127.0.0.1:{web}/tree$V.caidx $TO"
                    ),
                    "",
                )
            },
        ]
    }

    fn contest(&self, ways: &[Way], servers: &Servers, dir: &Path) -> anyhow::Result<()> {
        let to = dir.join("to");
        let mut took: Vec<[Vec<Took>; 4]> = ways.iter().map(|_| Default::default()).collect();
        let mut wires: Vec<Vec<String>> = vec![Vec::new(); ways.len()];
        for round in 0..self.rounds {
            for ((way, took), wire) in ways.iter().zip(&mut took).zip(&mut wires) {
                line("chmod -R u+w to; rm -rf to to.*", dir).run()?;
                let run = |text: &str, version: u8| -> anyhow::Result<Took> {
                    // What others wrote is not written at our cost.
                    line("sync", dir).run()?;
                    let (begin, before) = (Instant::now(), servers.processor_time() + children_time());
                    let mut shell = Command::new("sh");
                    shell.args(["-c", text]).current_dir(dir).env("TO", &to).env("V", version.to_string());
                    let ended = shell.output()?;
                    let said = String::from_utf8_lossy(&ended.stderr);
                    ensure!(ended.status.success(), "{}: {said}", way.name);
                    let processor = (servers.processor_time() + children_time()).saturating_sub(before);
                    Ok(Took { wall: begin.elapsed(), processor })
                };
                let works = if way.is_cold_only { &WORKS[..1] } else { &WORKS };
                for (at, (_, version)) in works.iter().enumerate() {
                    took[at].push(run(&way.deliver, *version)?);
                    same(&dir.join(format!("v{version}")), &to.join(way.tree))?;
                    if round == 0 && !way.moved.is_empty() {
                        wire.push(moved(&way.moved, &to)?);
                    }
                }
                if let Some(verify) = &way.verify {
                    took[3].push(run(verify, 2)?);
                }
            }
        }
        say(&format!("\ndelivering the tree (median of {} interleaved rounds)", self.rounds));
        for (at, work) in WORKS.iter().map(|(work, _)| *work).chain([VERIFIED]).enumerate() {
            say(&format!("\n  {work:<36} {:>12} {:>16} {:>12}", "wall", "processor time", "moved"));
            for ((way, took), wire) in ways.iter().zip(&took).zip(&wires) {
                if took[at].is_empty() {
                    continue;
                }
                let wall = median(took[at].iter().map(|t| t.wall).collect());
                let processor = median(took[at].iter().map(|t| t.processor).collect());
                let moved = wire.get(at).map_or("", String::as_str);
                say(&format!(
                    "  {:<36} {:>12} {:>16} {moved:>12}",
                    way.name,
                    millis(wall),
                    millis(processor)
                ));
            }
        }
        Ok(())
    }
}

/// The bytes that were moved.
fn moved(text: &str, to: &Path) -> anyhow::Result<String> {
    let said = Command::new("sh").args(["-c", text]).env("TO", to).output()?;
    let bytes: f64 = String::from_utf8(said.stdout)?.trim().parse().unwrap_or(0.0);
    Ok(format!("{:.2} MB", bytes / 1e6))
}

/// What arrived is what was sent.
fn same(sent: &Path, arrived: &Path) -> anyhow::Result<()> {
    let differ = Command::new("diff").args(["-rq", "--no-dereference"]).arg(sent).arg(arrived).output()?;
    if differ.status.success() { Ok(()) } else { bail!("{}", String::from_utf8_lossy(&differ.stdout)) }
}
