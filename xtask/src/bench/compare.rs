//! Runs the runners of one work in turn and prints how they compare.

use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The runners of one work; the first is Muster.
#[derive(Default)]
pub(super) struct Contest {
    runners: Vec<(String, Call)>,
}

/// A command that can be given again and again, silenced.
pub(super) struct Call {
    program: PathBuf,
    args: Vec<String>,
    dir: PathBuf,
}

/// `program` with `args` in `dir`.
pub(super) fn call(program: impl AsRef<Path>, args: &[&str], dir: &Path) -> Call {
    Call {
        program: program.as_ref().to_owned(),
        args: args.iter().map(|a| (*a).to_owned()).collect(),
        dir: dir.to_owned(),
    }
}

/// A line of shell in `dir`.
pub(super) fn line(line: &str, dir: &Path) -> Call {
    call("sh", &["-c", line], dir)
}

impl Call {
    /// Runs it; an end other than success is an error.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mut command = self.command();
        let status = command.status().with_context(|| format!("cannot start {}", self.program.display()))?;
        if status.success() { Ok(()) } else { bail!("{command:?} ended with {status}") }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.dir).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Contest {
    /// Adds a runner; what it costs is the time until it ends well.
    pub(super) fn add(&mut self, name: &str, call: Call) {
        self.runners.push((name.to_owned(), call));
    }

    /// Adds a peer if its program is installed; says how to get it if not.
    pub(super) fn add_peer(&mut self, name: &str, program: &str, install: &str, call: Call) {
        if which(program) {
            self.add(name, call);
        } else {
            say(&format!("  {name}: not installed (`{install}`)"));
        }
    }

    /// Runs all of them in turn, this many rounds, prints the medians as `unit` writes them, and whether Muster's is
    /// what is wanted.
    pub(super) fn hold_to(
        self,
        goal: Duration,
        title: &str,
        rounds: usize,
        unit: impl Fn(Duration) -> String,
    ) -> anyhow::Result<()> {
        let ours = self.measure(title, rounds, &unit)?;
        let is = if ours <= goal { "met" } else { "MISSED" };
        say(&format!("  goal: at most {}: {is}", unit(goal)));
        Ok(())
    }

    /// Runs all of them in turn, this many rounds, and prints the medians as `unit` writes them.
    pub(super) fn hold(
        self,
        title: &str,
        rounds: usize,
        unit: impl Fn(Duration) -> String,
    ) -> anyhow::Result<()> {
        self.measure(title, rounds, &unit).map(drop)
    }

    /// The median of the first is returned.
    fn measure(
        self,
        title: &str,
        rounds: usize,
        unit: &dyn Fn(Duration) -> String,
    ) -> anyhow::Result<Duration> {
        say(&format!("\n{title} (median of {rounds} interleaved rounds)"));
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); self.runners.len()];
        for _ in 0..rounds {
            for ((name, call), times) in self.runners.iter().zip(&mut times) {
                let begin = Instant::now();
                call.run().with_context(|| format!("{name} failed"))?;
                times.push(begin.elapsed());
            }
        }
        let medians: Vec<Duration> = times.into_iter().map(median).collect();
        let ours = *medians.first().context("a contest has runners")?;
        for ((name, _), time) in self.runners.iter().zip(medians) {
            let ratio = time.as_secs_f64() / ours.as_secs_f64();
            say(&format!("  {name:<52} {:>16}   {ratio:>6.2} × muster's time", unit(time)));
        }
        Ok(ours)
    }
}

/// The middle one.
pub(super) fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort();
    values[values.len() / 2]
}

pub(super) fn millis(d: Duration) -> String {
    format!("{:.1} ms", d.as_secs_f64() * 1e3)
}

pub(super) fn which(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|d| d.join(program).is_file())
}

#[expect(clippy::print_stdout, reason = "figures are what this is for")]
pub(super) fn say(text: &str) {
    println!("{text}");
}
