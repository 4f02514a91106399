//! Muster beside the peers that are installed here, in one go, as ratios.
//!
//! Each work is done by every runner in turn, several rounds interleaved, so that a noisy machine is
//! noisy for all; the medians are compared. Absolute figures are this machine's, today's.

use anyhow::{Context as _, bail};
use clap::Args;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Numbers of no-op tests
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    sizes: Vec<usize>,
    /// Rounds; the medians are compared
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Jobs at once
    #[arg(short, long, default_value_t = 2)]
    jobs: usize,
    /// Only these works: noop, start, plan, cargo
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

type Runner = (&'static str, Box<dyn Fn() -> anyhow::Result<()>>);

pub(crate) fn run(args: &BenchArgs, root: &Path) -> anyhow::Result<()> {
    super::cargo(&["build", "--release", "--package", "muster"])?;
    super::cargo(&["build", "--release", "--package", "muster-agent", "--example", "exec_floor"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let bench = Bench {
        muster: target.join("release/muster"),
        floor: target.join("release/examples/exec_floor"),
        dir: target.join("bench"),
        jobs: args.jobs,
    };
    std::fs::create_dir_all(&bench.dir)?;
    let wanted = |work: &str| args.only.is_empty() || args.only.iter().any(|w| w == work);
    if wanted("noop") {
        let noop = bench.noop_program()?;
        for &size in &args.sizes {
            let runners = bench.noop_runners(&noop, size)?;
            let per_test = |d: Duration| format!("{:.1} µs/test", d.as_secs_f64() * 1e6 / size as f64);
            compare(&format!("{size} no-op tests, -j{}", args.jobs), args.rounds, runners, &per_test)?;
            say("\nthe executor alone, beside the floors (it keeps what is printed, and records nothing)");
            let (size, rounds, jobs) = (size.to_string(), args.rounds.to_string(), args.jobs.to_string());
            super::run(Command::new(&bench.floor).args([&size, &rounds, &jobs]))?;
        }
    }
    let millis = |d: Duration| format!("{:.1} ms", d.as_secs_f64() * 1e3);
    if wanted("start") {
        compare("one test, start to exit", args.rounds * 5, bench.start_runners()?, &millis)?;
    }
    if wanted("plan") {
        compare("100,000 items", args.rounds, bench.plan_runners()?, &millis)?;
    }
    if wanted("cargo") {
        compare("a crate's own tests, built before", args.rounds, bench.cargo_runners(root)?, &millis)?;
    }
    Ok(())
}

struct Bench {
    muster: PathBuf,
    floor: PathBuf,
    dir: PathBuf,
    jobs: usize,
}

impl Bench {
    /// A static program that prints one line: the cheapest test there is.
    fn noop_program(&self) -> anyhow::Result<PathBuf> {
        let (source, program) = (self.dir.join("noop.c"), self.dir.join("noop"));
        std::fs::write(
            &source,
            "#include <unistd.h>\nint main(void) { return write(1, \"ok\\n\", 3) != 3; }\n",
        )?;
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-static", "-o"]).arg(&program).arg(&source);
        super::run(&mut cc).context("a C compiler is needed for the no-op test")?;
        Ok(program)
    }

    fn noop_runners(&self, noop: &Path, size: usize) -> anyhow::Result<Vec<Runner>> {
        let dir = self.dir.join(format!("noop-{size}"));
        std::fs::create_dir_all(&dir)?;
        let noop = noop.display().to_string();
        let jobs = self.jobs.to_string();
        let mut area = String::from("[area]\nname = \"noop\"\n");
        write!(area, "[limits]\njobs = {jobs}\n[test.noop]\ncmd = [\"{noop}\"]\nitems = [")?;
        for n in 0..size {
            write!(area, "\"{n}\",")?;
        }
        area.push_str("]\n");
        std::fs::write(dir.join("muster.toml"), area)?;
        let mut make = String::from("all:");
        let mut ninja = format!("rule t\n  command = {noop} > $out\n");
        let mut list = String::new();
        for n in 0..size {
            write!(make, " t{n}")?;
            writeln!(ninja, "build out/t{n}: t")?;
            writeln!(list, "{n}")?;
        }
        write!(make, "\n.PHONY: all")?;
        for n in 0..size {
            write!(make, " t{n}")?;
        }
        make.push('\n');
        for n in 0..size {
            write!(make, "t{n}:\n\t@{noop}\n")?;
        }
        std::fs::write(dir.join("Makefile"), make)?;
        std::fs::write(dir.join("build.ninja"), ninja)?;
        std::fs::write(dir.join("list"), list)?;
        std::fs::create_dir_all(dir.join("prove"))?;
        let script = format!("#!/bin/sh\necho 1..1\n{noop} >/dev/null && echo ok 1\n");
        std::fs::write(dir.join("one.t"), script)?;
        let mut runners: Vec<Runner> = Vec::new();
        let quiet = |program: &Path, args: &[&str], dir: &Path| -> Command {
            let mut c = Command::new(program);
            c.args(args).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
            c
        };
        let muster = self.muster.clone();
        let here = dir.clone();
        runners.push((
            "muster run",
            Box::new(move || ended(&mut quiet(&muster, &["run", "--progress", "quiet"], &here))),
        ));
        self.peer(
            &mut runners,
            "make -j (records nothing)",
            "make",
            &["-s", &format!("-j{jobs}")],
            &dir,
            "make",
        );
        let script = format!("xargs -P{jobs} -n1 {noop} < list");
        self.peer(&mut runners, "xargs -P (captures nothing)", "sh", &["-c", &script], &dir, "findutils");
        self.peer(&mut runners, "ninja -j", "ninja", &["-t", "clean"], &dir, "ninja-build");
        if let Some(last) = runners.last_mut().filter(|r| r.0 == "ninja -j") {
            let (here, j) = (dir.clone(), format!("-j{jobs}"));
            last.1 = Box::new(move || {
                std::fs::remove_dir_all(here.join("out")).ok();
                ended(&mut quiet(Path::new("ninja"), &[&j], &here))
            });
        }
        if size <= 1_000 {
            let script = format!("parallel -j{jobs} {noop} < list");
            self.peer(&mut runners, "GNU parallel -j", "parallel", &["--version"], &dir, "parallel");
            if let Some(last) = runners.last_mut().filter(|r| r.0 == "GNU parallel -j") {
                let here = dir.clone();
                last.1 = Box::new(move || ended(&mut quiet(Path::new("sh"), &["-c", &script], &here)));
            }
            let tests = vec!["one.t"; size].join(" ");
            let script = format!("prove -j{jobs} --exec sh -Q {tests}");
            self.peer(&mut runners, "prove -j", "sh", &["-c", &script], &dir, "perl");
        }
        Ok(runners)
    }

    /// Adds a peer if it is installed; says how to get it if not.
    fn peer(
        &self,
        runners: &mut Vec<Runner>,
        name: &'static str,
        program: &str,
        args: &[&str],
        dir: &Path,
        package: &str,
    ) {
        if which(program).is_none() {
            say(&format!("  {name}: not installed (`apt-get install {package}`)"));
            return;
        }
        let (program, dir) = (program.to_owned(), dir.to_owned());
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        runners.push((
            name,
            Box::new(move || {
                let mut c = Command::new(&program);
                c.args(&args).current_dir(&dir).stdout(Stdio::null()).stderr(Stdio::null());
                ended(&mut c)
            }),
        ));
    }

    fn start_runners(&self) -> anyhow::Result<Vec<Runner>> {
        let dir = self.dir.join("start");
        std::fs::create_dir_all(&dir)?;
        std::fs::write(
            dir.join("muster.toml"),
            "[area]\nname = \"start\"\n[test.one]\ncmd = [\"/bin/true\"]\n",
        )?;
        let muster = self.muster.clone();
        let mut runners: Vec<Runner> = vec![(
            "muster run",
            Box::new(move || {
                let mut c = Command::new(&muster);
                ended(c.args(["run", "--progress", "quiet"]).current_dir(&dir).stderr(Stdio::null()))
            }),
        )];
        runners.push(("/bin/true alone", Box::new(|| ended(&mut Command::new("/bin/true")))));
        Ok(runners)
    }

    fn plan_runners(&self) -> anyhow::Result<Vec<Runner>> {
        let dir = self.dir.join("plan");
        std::fs::create_dir_all(&dir)?;
        let mut area = String::from("[area]\nname = \"plan\"\n[test.a]\ncmd = [\"/bin/true\"]\n");
        let numbers = |n: usize| (0..n).map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(",");
        writeln!(area, "matrix = {{ X = [{}], Y = [{}] }}", numbers(250), numbers(200))?;
        writeln!(
            area,
            "[test.b]\ncmd = [\"/bin/true\"]\nafter = [{{ test = \"a\", mode = \"matching-item\" }}]"
        )?;
        writeln!(area, "matrix = {{ X = [{}], Y = [{}] }}", numbers(250), numbers(200))?;
        std::fs::write(dir.join("muster.toml"), area)?;
        let muster = self.muster.clone();
        Ok(vec![(
            "muster plan (100,000 items, half after the other half)",
            Box::new(move || {
                let mut c = Command::new(&muster);
                ended(c.args(["plan", "--output", "quiet"]).current_dir(&dir).stdout(Stdio::null()))
            }),
        )])
    }

    fn cargo_runners(&self, root: &Path) -> anyhow::Result<Vec<Runner>> {
        let example = root.join("examples/cargo");
        let fetched = example.join("fetched");
        if !fetched.is_dir() {
            bail!("run the example first: `muster -C examples/cargo run`");
        }
        let sources: Vec<PathBuf> = std::fs::read_dir(&fetched)?
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| p.join("Cargo.toml").is_file())
            .collect();
        let source = sources.first().context("the example has fetched no crate")?.clone();
        super::run(Command::new("cargo").args(["test", "--no-run", "--quiet"]).current_dir(&source))?;
        let muster = self.muster.clone();
        let mut runners: Vec<Runner> = vec![(
            "muster run",
            Box::new(move || {
                let mut c = Command::new(&muster);
                ended(c.args(["run", "--progress", "quiet"]).current_dir(&example).stdout(Stdio::null()))
            }),
        )];
        if which("cargo-nextest").is_some() {
            let (here, j) = (source.clone(), self.jobs.to_string());
            runners.push((
                "cargo nextest run -j",
                Box::new(move || {
                    let mut c = Command::new("cargo");
                    c.args(["nextest", "run", "-j", &j]).current_dir(&here);
                    ended(c.stdout(Stdio::null()).stderr(Stdio::null()))
                }),
            ));
        } else {
            say("  cargo nextest: not installed (`cargo install cargo-nextest`)");
        }
        runners.push((
            "cargo test --tests",
            Box::new(move || {
                let mut c = Command::new("cargo");
                c.args(["test", "--tests", "--quiet"]).current_dir(&source);
                ended(c.stdout(Stdio::null()).stderr(Stdio::null()))
            }),
        ));
        Ok(runners)
    }
}

fn compare(
    title: &str,
    rounds: usize,
    runners: Vec<Runner>,
    unit: &dyn Fn(Duration) -> String,
) -> anyhow::Result<()> {
    say(&format!("\n{title} (median of {rounds} interleaved rounds)"));
    let mut times: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    for _ in 0..rounds {
        for (at, (name, run)) in runners.iter().enumerate() {
            let begin = Instant::now();
            run().with_context(|| format!("{name} failed"))?;
            times.entry(at).or_default().push(begin.elapsed());
        }
    }
    let median = |at: usize| {
        let mut t = times[&at].clone();
        t.sort();
        t[t.len() / 2]
    };
    let ours = median(0);
    for (at, (name, _)) in runners.iter().enumerate() {
        let time = median(at);
        let ratio = time.as_secs_f64() / ours.as_secs_f64();
        say(&format!("  {name:<45} {:>16}   {ratio:>6.2} × muster's time", unit(time)));
    }
    Ok(())
}

fn ended(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if status.success() { Ok(()) } else { bail!("{command:?} ended with {status}") }
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|d| d.join(program)).find(|p| p.is_file())
}

#[expect(clippy::print_stdout, reason = "figures are what this is for")]
fn say(text: &str) {
    println!("{text}");
}
