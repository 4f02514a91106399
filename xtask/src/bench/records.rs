//! A hundred thousand items: planned, run, listed, and what they need of memory.

use super::Bench;
use super::compare::{Contest, call, millis, say};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

const ITEMS: usize = 100_000;

impl Bench {
    pub(super) fn records(&self) -> anyhow::Result<()> {
        let plan = self.dir.join("plan");
        std::fs::create_dir_all(&plan)?;
        let numbers = |n: usize| (0..n).map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(",");
        let matrix = format!("matrix = {{ X = [{}], Y = [{}] }}", numbers(250), numbers(200));
        let mut area = String::from("[area]\nname = \"plan\"\n");
        writeln!(area, "[test.a]\ncmd = [\"/bin/true\"]\n{matrix}")?;
        let after = "after = [{ test = \"a\", mode = \"matching-item\" }]";
        writeln!(area, "[test.b]\ncmd = [\"/bin/true\"]\n{after}\n{matrix}")?;
        std::fs::write(plan.join("muster.toml"), area)?;
        let mut contest = Contest::default();
        let planning = call(&self.muster, &["plan", "--output", "quiet"], &plan);
        contest.add("muster plan (half after the other half)", planning);
        contest.hold("100,000 items planned", self.rounds, millis)?;

        let (one, all) =
            (self.noop_area("records-1", 1, self.jobs)?, self.noop_area("records", ITEMS, self.jobs)?);
        let (_, small) = self.run_measured(&one)?;
        let (time, peak) = self.run_measured(&all)?;
        say(&format!(
            "\n100,000 no-op tests, planned, run and recorded\n  {:.1} µs/test, peak {:.1} MiB; {:.0} bytes an item beyond a run of one",
            time * 1e6 / ITEMS as f64,
            peak as f64 / 1024.0,
            (peak.saturating_sub(small)) as f64 * 1024.0 / ITEMS as f64,
        ));
        let mut contest = Contest::default();
        contest.add("muster results --failed", call(&self.muster, &["results", "--failed"], &all));
        contest.add("muster runs", call(&self.muster, &["runs"], &all));
        contest.hold("asking such a record", self.rounds, millis)
    }

    /// An area of this many no-op tests, this many of them at once.
    pub(super) fn noop_area(&self, name: &str, items: usize, jobs: usize) -> anyhow::Result<PathBuf> {
        let noop = self.noop_program()?;
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let names: Vec<String> = (0..items).map(|n| format!("\"{n}\"")).collect();
        let area = format!(
            "[area]\nname = \"records\"\n[limits]\njobs = {jobs}\n[test.noop]\ncmd = [\"{}\"]\nitems = [{}]\n",
            noop.display(),
            names.join(",")
        );
        std::fs::write(dir.join("muster.toml"), area)?;
        Ok(dir)
    }

    /// Seconds, and the peak memory of the shell (not of its agent) in KiB, sampled.
    fn run_measured(&self, dir: &Path) -> anyhow::Result<(f64, u64)> {
        let begin = Instant::now();
        let mut child = call(&self.muster, &["run", "--progress", "quiet"], dir).command().spawn()?;
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait()?.is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let high = text.lines().find_map(|l| l.strip_prefix("VmHWM:"));
            let kib = high.and_then(|h| h.split_whitespace().next()).and_then(|n| n.parse().ok());
            peak = peak.max(kib.unwrap_or(0));
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let ended = child.wait()?;
        anyhow::ensure!(ended.success(), "`muster run` ended with {ended}");
        Ok((begin.elapsed().as_secs_f64(), peak))
    }
}
