//! Muster beside the peers that are installed here, in one go, as ratios.
//!
//! Each work is done by every runner in turn, several rounds interleaved, so that a noisy machine is
//! noisy for all; the medians are compared. Absolute figures are this machine's, today's.

mod cargo;
mod compare;
mod deliver;
mod lab;
mod noop;
mod records;
mod scale;
mod start;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use compare::say;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Numbers of no-op tests
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    sizes: Vec<usize>,
    /// Rounds; the medians are compared
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Jobs at once
    #[arg(short, long, default_value_t = 2)]
    jobs: usize,
    /// Shapes of the areas of `scale`, RUNSxTESTS; 2000x50000 takes some 5 GB
    #[arg(long, value_delimiter = ',', default_values_t = ["2000x500".to_owned(), "40x50000".to_owned()])]
    shapes: Vec<String>,
    /// Minutes after which no more runs are made for an area of `scale`; 0: all of them
    #[arg(long, default_value_t = 0)]
    minutes: usize,
    /// This program in place of one that is built for it; works that need others build those as they are built for tests
    #[arg(long, value_name = "FILE")]
    muster: Option<PathBuf>,
    /// Only these works
    #[arg(long, value_delimiter = ',')]
    only: Vec<Work>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    /// No-op processes, beside make, xargs, ninja, nextest, prove and GNU parallel
    Noop,
    /// One test from start to exit, with an empty store and with a thousand old runs
    Start,
    /// 100,000 items: planned, run, listed; memory
    Records,
    /// 10,000 no-op jobs through a server and an agent
    Lab,
    /// A tree of 20,000 files, delivered cold, changed and unchanged, beside rsync, casync, tar over ssh and tarballs over HTTP
    Deliver,
    /// Areas of many large runs beside such of few, and a chain of tests that wait item by item
    Scale,
    /// Two crates' own tests, beside nextest and xargs over the same binaries
    Cargo,
}

pub(crate) fn run(args: &BenchArgs, root: &Path) -> anyhow::Result<()> {
    let built = if args.muster.is_some() { "debug" } else { "release" };
    if args.muster.is_none() {
        super::cargo(&["build", "--release", "--package", "muster"])?;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let bench = Bench {
        muster: match &args.muster {
            Some(file) => file.canonicalize().with_context(|| format!("no `{}`", file.display()))?,
            None => target.join("release/muster"),
        },
        generate: target.join(built).join("examples/generate_runs"),
        dir: target.join("bench"),
        root: root.to_owned(),
        jobs: args.jobs,
        rounds: args.rounds,
        minutes: args.minutes,
    };
    std::fs::create_dir_all(&bench.dir)?;
    let wanted = |work| args.only.is_empty() || args.only.contains(&work);
    if wanted(Work::Noop) {
        let example = ["--package", "muster-agent", "--example", "exec_floor"];
        super::cargo(&[&["build", "--release"], &example[..]].concat())?;
        for &size in &args.sizes {
            bench.noop(size)?;
            say("\nthe executor alone, beside the floors (it keeps what is printed, and records nothing)");
            let (size, rounds, jobs) = (size.to_string(), args.rounds.to_string(), args.jobs.to_string());
            let floor = target.join("release/examples/exec_floor");
            super::run(Command::new(floor).args([&size, &rounds, &jobs]))?;
        }
    }
    if wanted(Work::Start) {
        bench.start()?;
    }
    if wanted(Work::Records) {
        bench.records()?;
    }
    if wanted(Work::Lab) {
        bench.lab()?;
    }
    if wanted(Work::Deliver) {
        bench.deliver()?;
    }
    if wanted(Work::Scale) {
        let example = ["build", "--package", "muster-store", "--example", "generate_runs"];
        let release = ["--release"].into_iter().filter(|_| args.muster.is_none());
        super::cargo(&example.into_iter().chain(release).collect::<Vec<_>>())?;
        bench.chain()?;
        for shape in &args.shapes {
            bench.scale(shape)?;
        }
    }
    if wanted(Work::Cargo) {
        bench.cargo()?;
    }
    Ok(())
}

/// What all works share.
struct Bench {
    muster: PathBuf,
    /// Makes runs that nobody has run.
    generate: PathBuf,
    /// Where the works are laid out.
    dir: PathBuf,
    root: PathBuf,
    jobs: usize,
    rounds: usize,
    minutes: usize,
}

impl Bench {
    /// A static program that prints one line: the cheapest test there is.
    fn noop_program(&self) -> anyhow::Result<PathBuf> {
        let program = self.dir.join("noop");
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-static", "-nostdlib", "-o"]).arg(&program).arg(self.root.join("benches/noop.c"));
        super::run(&mut cc).context("a C compiler is needed for the no-op test (`apt-get install gcc`)")?;
        Ok(program)
    }
}
