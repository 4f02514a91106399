//! One test: how long until it starts, and until all is over.

use super::Bench;
use super::compare::{Contest, call, line, median, millis, say};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

/// Runs an old store has.
const OLD_RUNS: usize = 1_000;

impl Bench {
    pub(super) fn start(&self) -> anyhow::Result<()> {
        let (new, old) = (self.area("start-new")?, self.area("start-old")?);
        while self.newest_run(&old)? < OLD_RUNS {
            self.run_once(&old)?;
        }
        let mut contest = Contest::default();
        let run = format!("{} run --progress quiet", self.muster.display());
        contest.add("muster run, no store yet", line(&format!("rm -rf .muster; exec {run}"), &new));
        contest.add("muster run, a store of 1,000 old runs", line(&format!("exec {run}"), &old));
        contest.add("/bin/true alone, by a shell as those", line("exec /bin/true", &new));
        contest.hold("one test, start to exit", self.rounds * 5, millis)?;
        for (dir, name) in [(new, "no store yet"), (old, "a store of 1,000 old runs")] {
            let waits = (0..self.rounds * 5).map(|_| self.until_started(&dir)).collect::<Result<_, _>>()?;
            say(&format!("  start to first test started, {name:<28} {:>16}", millis(median(waits))));
        }
        Ok(())
    }

    pub(super) fn area(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let area = "[area]\nname = \"start\"\n[test.one]\ncmd = [\"/bin/true\"]\n";
        std::fs::write(dir.join("muster.toml"), area)?;
        Ok(dir)
    }

    fn run_once(&self, dir: &Path) -> anyhow::Result<()> {
        call(&self.muster, &["run", "--progress", "quiet"], dir).run()
    }

    /// How many runs the area has had.
    fn newest_run(&self, dir: &Path) -> anyhow::Result<usize> {
        let runs = dir.join(".muster/runs");
        Ok(if runs.is_dir() { std::fs::read_dir(runs)?.count() } else { 0 })
    }

    /// From before Muster was started until its record says that the test was.
    fn until_started(&self, dir: &Path) -> anyhow::Result<Duration> {
        let begin = SystemTime::now();
        self.run_once(dir)?;
        let results =
            call(&self.muster, &["results", "--json"], dir).command().stdout(Stdio::piped()).output()?;
        let results: serde_json::Value = serde_json::from_slice(&results.stdout)?;
        let started = results.pointer("/tests/0/items/0/attempts/0/started").and_then(|s| s.as_str());
        let started: jiff::Timestamp = started.context("the record says when the test started")?.parse()?;
        Ok(SystemTime::from(started).duration_since(begin).unwrap_or_default())
    }
}
