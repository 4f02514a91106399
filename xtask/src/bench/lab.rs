//! The same tests through a server, HTTP and an agent on this host.

use super::Bench;
use super::compare::{Contest, call, line, median, millis, say};
use anyhow::Context as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const JOBS: usize = 10_000;

/// The lab that is only simulated, and what is queued for it.
const AGENTS: usize = 500;
const DEVICES: usize = 4;
const QUEUED: usize = 100_000;

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
        let area = self.noop_area("lab-area", JOBS, self.jobs)?;
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
        self.idle(&lab, &one)?;
        self.sut()?;
        drop(lab);
        self.load(&dir)?;
        self.lost(&dir)
    }

    /// What an idle lab costs, and how soon it starts what it is asked for.
    fn idle(&self, lab: &Lab, one: &Path) -> anyhow::Result<()> {
        let report = one.join("report.json");
        let json = format!("json:{}", report.display());
        let run =
            call(&self.muster, &["--server", &lab.url, "run", "--progress", "quiet", "--report", &json], one);
        let (mut starts, mut inside) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds * 20 {
            let asked = jiff::Timestamp::now();
            run.run()?;
            let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&report)?)?;
            let time = |place: &str| -> anyhow::Result<jiff::Timestamp> {
                Ok(report.pointer(place).and_then(|t| t.as_str()).unwrap_or_default().parse()?)
            };
            let began = time("/tests/0/items/0/attempts/0/started")?;
            starts.push(Duration::try_from(began.duration_since(asked))?);
            inside.push(Duration::try_from(began.duration_since(time("/started")?))?);
        }
        let spread = |times: &mut Vec<Duration>| {
            times.sort();
            let p99 = times[times.len() * 99 / 100];
            format!("p50 {}, p99 {}", millis(median(times.clone())), millis(p99))
        };
        say(&format!(
            "\none test on an idle lab, {} times\n  from the start of the command to the start of the test: {}\n  from the run's record to the start of the test: {}",
            starts.len(),
            spread(&mut starts),
            spread(&mut inside)
        ));
        let agent = lab.agents[0].id();
        let keeper = child_of(agent)?;
        say(&format!(
            "  memory of the agent {:.1} MiB, of its keeper {:.1} MiB, of the server {:.1} MiB",
            resident_mib(agent),
            resident_mib(keeper),
            resident_mib(lab.server.id())
        ));
        Ok(())
    }

    /// Simulated agents by the hundred, and a long queue.
    fn load(&self, dir: &Path) -> anyhow::Result<()> {
        super::super::cargo(&["build", "--release", "--package", "muster-sim", "--example", "load"])?;
        let program = self.muster.with_file_name("examples").join("load");
        let lab = Lab::start(&self.muster, &dir.join("load"), &[], "60s")?;
        let area = self.noop_area("load-area", QUEUED, AGENTS * DEVICES)?;
        let submit = ["--server", &lab.url, "run", "--wait", "--progress", "quiet"];
        let mut run = call(&self.muster, &submit, &area).command().spawn()?;
        let queued = format!("{QUEUED}");
        let list = || -> anyhow::Result<String> {
            let list = Command::new(&self.muster).args(["--server", &lab.url, "queue"]).output()?;
            Ok(String::from_utf8_lossy(&list.stdout).into_owned())
        };
        while !list()?.contains(&queued) {
            anyhow::ensure!(run.try_wait()?.is_none(), "the run was not taken into the queue");
            std::thread::sleep(Duration::from_millis(100));
        }
        let (before, waiting) = (lab.cpu(), resident_mib(lab.server.id()));
        let mut load = Command::new(program);
        load.args([&lab.url, &AGENTS.to_string(), &DEVICES.to_string()]);
        let mut load = load.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ended = loop {
            anyhow::ensure!(load.try_wait()?.is_none(), "the simulated agents are gone");
            if let Some(ended) = run.try_wait()? {
                break ended;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        anyhow::ensure!(ended.success(), "the run of {QUEUED} did not pass");
        let cpu = lab.cpu() - before;
        drop(load.stdin.take());
        let said = std::io::read_to_string(load.stdout.take().expect("it was piped"))?;
        load.wait()?;
        let figures: serde_json::Value =
            serde_json::from_str(said.lines().last().unwrap_or_default()).context("the load's figures")?;
        let figure = |name: &str| figures[name].as_f64().unwrap_or(f64::NAN);
        say(&format!(
            "\n{AGENTS} simulated agents with {DEVICES} devices each, {QUEUED} jobs queued; they share the processors with the server\n  {:.0} dispatches a second; exchanges that carry results: p50 {:.1} ms, p99 {:.1} ms of {:.0}\n  server: {:.0} µs of processor time a job, {waiting:.1} MiB with all queued, at most {:.1} MiB",
            figure("per_second"),
            figure("p50_ms"),
            figure("p99_ms"),
            figure("exchanges"),
            cpu * 1e6 / QUEUED as f64,
            peak_kib(lab.server.id()) as f64 / 1024.0
        ));
        Ok(())
    }

    /// Files and commands over the SUT protocol.
    fn sut(&self) -> anyhow::Result<()> {
        say("\nSUT protocol: push, pull and exec, on loopback");
        let example = ["run", "--release", "--quiet", "--package", "muster-device", "--example", "sut_bench"];
        super::super::cargo(&example)
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
            let keeper = child_of(agent)?;
            let begin = Instant::now();
            Command::new("kill").args(["-KILL", &keeper.to_string()]).status()?;
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

/// An agent's keeper.
fn child_of(pid: u32) -> anyhow::Result<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(children.split_whitespace().next().context("the agent has no keeper")?.parse()?)
}

fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

fn resident_mib(pid: u32) -> f64 {
    status_kib(pid, "VmRSS:") as f64 / 1024.0
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = text.lines().find_map(|l| l.strip_prefix(name)).and_then(|v| v.split_whitespace().next());
    value.and_then(|n| n.parse().ok()).unwrap_or(0)
}
