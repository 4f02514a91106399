//! The same tests through a server, HTTP and an agent on this host.

use super::Bench;
use super::compare::{Contest, call, line, median, millis, say};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const JOBS: usize = 10_000;

/// A server and an agent, killed when dropped.
struct Lab {
    server: Child,
    agents: Vec<Child>,
    url: String,
    /// Ends an agent and all it runs; the directories of the agents.
    muster: PathBuf,
    states: Vec<PathBuf>,
}

impl Bench {
    pub(super) fn lab(&self) -> anyhow::Result<()> {
        let dir = self.dir.join("lab");
        let _absent = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir)?;
        let lab = Lab::start(&self.muster, &dir, &[&["--slots", &self.jobs.to_string()]], "60s")?;
        let area = self.noop_area("lab-area", JOBS)?;
        let one = self.area("lab-one")?;
        let run = ["--server", &lab.url, "run", "--progress", "quiet"];
        call(&self.muster, &run, &one).run()?;
        let before = lab.cpu();
        let begin = Instant::now();
        call(&self.muster, &run, &area).run()?;
        let (took, after) = (begin.elapsed(), lab.cpu());
        let each = |seconds: f64| seconds * 1e6 / JOBS as f64;
        say(&format!(
            "\n{JOBS} no-op jobs through a server and an agent with {} slots\n  {:.1} µs a job; processor time of the server {:.0} µs a job, its peak memory {:.1} MiB",
            self.jobs,
            each(took.as_secs_f64()),
            each(after - before),
            peak_kib(lab.server.id()) as f64 / 1024.0,
        ));
        let mut contest = Contest::default();
        contest.add("muster --server run", call(&self.muster, &run, &area));
        contest.add("muster run", call(&self.muster, &["run", "--progress", "quiet"], &area));
        let hq =
            line(&format!("hq submit --wait --array 1-{JOBS} {}", self.noop_program()?.display()), &area);
        contest.add_peer(
            "HyperQueue (needs a server and a worker running)",
            "hq",
            "see https://github.com/It4innovations/hyperqueue",
            hq,
        );
        let per_job = |d: Duration| format!("{:.1} µs/job", d.as_secs_f64() * 1e6 / JOBS as f64);
        contest.hold(&format!("{JOBS} no-op jobs"), self.rounds, per_job)?;
        let mut waits = Vec::new();
        for _ in 0..self.rounds * 10 {
            let begin = Instant::now();
            call(&self.muster, &run, &one).run()?;
            waits.push(begin.elapsed());
        }
        waits.sort();
        let p99 = waits[waits.len() * 99 / 100];
        say(&format!(
            "\none test on an idle lab, start of the command to its exit: median {}, p99 {}",
            millis(median(waits)),
            millis(p99)
        ));
        drop(lab);
        self.lost(&dir)
    }

    /// From `kill -9` to the test running elsewhere.
    fn lost(&self, dir: &Path) -> anyhow::Result<()> {
        const LEASE: Duration = Duration::from_secs(5);
        let lab =
            Lab::start(&self.muster, &dir.join("lost"), &[&["--device", "0"], &["--device", "1"]], "5s")?;
        let area = dir.join("lost-area");
        std::fs::create_dir_all(&area)?;
        let began = dir.join("began");
        let file = began.display();
        // The second to run it passes.
        let run = format!("echo $MUSTER_SLOT >> {file}; test $(wc -l < {file}) = 2 || sleep 1000");
        std::fs::write(
            area.join("muster.toml"),
            format!("[area]\nname = \"lost\"\n[test.lost]\nrun = {run:?}\n"),
        )?;
        let mut took = Vec::new();
        for _ in 0..self.rounds {
            let _absent = std::fs::remove_file(&began);
            let mut run = Command::new(&self.muster);
            run.args(["--server", &lab.url, "run", "--progress", "quiet"]).current_dir(&area);
            let mut run = run.spawn()?;
            let lines = || std::fs::read_to_string(&began).unwrap_or_default();
            while lines().is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let at: usize = lines().trim().parse()?;
            let agent = lab.agents[at].id();
            let keeper = std::fs::read_to_string(format!("/proc/{agent}/task/{agent}/children"))?;
            let begin = Instant::now();
            Command::new("kill").args(["-KILL", keeper.trim()]).status()?;
            while lines().lines().count() < 2 {
                std::thread::sleep(Duration::from_micros(200));
            }
            took.push(begin.elapsed());
            run.wait()?;
            // Its keeper is replaced no more than once a second.
            std::thread::sleep(Duration::from_secs(1));
        }
        took.sort();
        let longest = took.last().copied().unwrap_or_default();
        say(&format!(
            "\nthe process that keeps an agent's tests killed by KILL, until its test runs again: median {}, longest {} (lease {} s)",
            millis(median(took)),
            millis(longest),
            LEASE.as_secs()
        ));
        Ok(())
    }
}

impl Lab {
    /// A server, and an agent for each of these sets of arguments.
    fn start(muster: &Path, dir: &Path, agents: &[&[&str]], lease: &str) -> anyhow::Result<Self> {
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let url = format!("http://{listen}");
        let quiet = |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = Command::new(muster);
        server.args(["server", "--listen", &listen, "--lease", lease, "--data"]).arg(dir.join("server"));
        let server = quiet(&mut server)?;
        let mut lab = Self { server, agents: Vec::new(), url, muster: muster.to_owned(), states: Vec::new() };
        for (number, args) in agents.iter().enumerate() {
            let state = dir.join(format!("agent-{number}"));
            let mut agent = Command::new(muster);
            agent.args(["agent", "--server", &lab.url, "--state"]).arg(&state).args(*args);
            lab.agents.push(quiet(&mut agent)?);
            lab.states.push(state);
        }
        // Both come up within milliseconds; a command that comes too early would wait for them anyway.
        std::thread::sleep(Duration::from_millis(500));
        Ok(lab)
    }

    /// Processor seconds the server has used.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.server.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / 100.0
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for state in &self.states {
            let mut end = Command::new(&self.muster);
            // It may be gone.
            let _ended = end.args(["agent", "--stop", "--state"]).arg(state).stdout(Stdio::null()).status();
        }
        for child in self.agents.iter_mut().chain([&mut self.server]) {
            let _killed = child.kill();
            let _ended = child.wait();
        }
    }
}

fn peak_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let high = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|h| h.split_whitespace().next());
    high.and_then(|n| n.parse().ok()).unwrap_or(0)
}
