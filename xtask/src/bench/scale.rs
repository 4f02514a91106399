//! An area of many large runs beside one of few: what is asked of a run must not cost more for the others; and a
//! chain of tests that wait for each other item by item, beside as many that wait for nothing.

use super::Bench;
use super::compare::{Contest, call, line, millis, say};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The area it is compared with has so many times fewer runs.
const FEWER: usize = 10;

impl Bench {
    /// `shape`: `RUNSxTESTS`.
    pub(super) fn scale(&self, shape: &str) -> anyhow::Result<()> {
        let (runs, tests) = shape.split_once('x').context("a shape is RUNSxTESTS: `200x5000`")?;
        let (runs, tests): (usize, usize) = (runs.parse()?, tests.parse()?);
        let rounds = self.rounds;
        let many = self.area_of(&format!("scale-{runs}x{tests}"), runs, tests, 2 * rounds)?;
        let few = (runs / FEWER).max(2 * rounds + 2);
        let few_dir = self.area_of(&format!("scale-{few}x{tests}"), few, tests, 2 * rounds)?;
        say(&format!("\n{runs} runs of {tests} tests take {} in .muster", size(&many)?));
        let names = [format!("{runs} runs"), format!("{few} runs")];
        let muster = self.muster.display();
        // Tests that failed, now or before, are part of the answer, and make no question a failure.
        let both = |title: &str, args: &str| {
            let mut contest = Contest::default();
            contest.add(&names[0], line(&format!("{muster} {args}; test $? -le 5"), &many));
            contest.add(&names[1], line(&format!("{muster} {args}; test $? -le 5"), &few_dir));
            contest.hold(title, rounds, millis)
        };
        both("list the newest 20", "runs")?;
        both("list all", "runs -n 100000")?;
        both("failures of run 2", "results 2 --failed --output quiet")?;
        both("run 2 rolled up from its items", "results 2 --output quiet")?;
        both("run one test of run 3 again", "rerun 3 noop/7 --progress quiet")?;
        both("history of a test in 10 runs", "history noop/7 -n 10")?;
        both("plan a new run", "plan --output quiet")?;
        // Each of them can be resumed once; the newest are open.
        let mut contest = Contest::default();
        for (name, dir, runs) in [(&names[0], &many, runs), (&names[1], &few_dir, few)] {
            let next = format!(
                "n=$(cat next 2>/dev/null || echo {runs}); echo $((n - 1)) > next; {muster} resume $n --progress quiet"
            );
            contest.add(name, line(&format!("{next}; test $? -le 5"), dir));
        }
        contest.hold("resume a run that lacks one test", rounds, millis)?;
        both("run 2 into the cold tier", "runs reduce 2")?;
        both("failures of a run in the cold tier", "results 2 --failed --output quiet")?;
        let mut contest = Contest::default();
        let and_back = format!("{muster} runs restore 2 && {muster} runs reduce 2");
        contest.add(&names[0], line(&and_back, &many));
        contest.add(&names[1], line(&and_back, &few_dir));
        contest.hold("back from the cold tier and there again", rounds, millis)
    }

    /// An area with one real run and so many more like it, of which the last are open. One that is there is used
    /// again.
    fn area_of(&self, name: &str, runs: usize, tests: usize, open: usize) -> anyhow::Result<PathBuf> {
        let dir = self.noop_area(name, tests, self.jobs)?;
        if !dir.join(".muster/muster.db").exists() {
            call(&self.muster, &["run", "--progress", "quiet"], &dir).run()?;
            let made =
                Command::new(&self.generate).arg(&dir).args([runs.to_string(), open.to_string()]).status()?;
            anyhow::ensure!(made.success(), "no runs could be made: {made}");
        }
        Ok(dir)
    }

    /// Ten thousand items over four tests, each after the same item of the test before.
    pub(super) fn chain(&self) -> anyhow::Result<()> {
        const ITEMS: usize = 2_500;
        let noop = self.noop_program()?;
        let write = |name: &str, chained: bool| -> anyhow::Result<PathBuf> {
            let dir = self.dir.join(name);
            std::fs::create_dir_all(&dir)?;
            let names: Vec<String> = (0..ITEMS).map(|n| format!("\"{n}\"")).collect();
            let mut area = format!("[area]\nname = \"{name}\"\n[limits]\njobs = {}\n", self.jobs);
            for test in 0..4 {
                let after = match test {
                    _ if !chained => String::new(),
                    0 => String::new(),
                    _ => format!("after = [{{ test = \"t{}\", mode = \"matching-item\" }}]\n", test - 1),
                };
                area += &format!(
                    "[test.t{test}]\ncmd = [\"{}\"]\n{after}items = [{}]\n",
                    noop.display(),
                    names.join(",")
                );
            }
            std::fs::write(dir.join("muster.toml"), area)?;
            Ok(dir)
        };
        let (chain, loose) = (write("chain", true)?, write("chain-loose", false)?);
        let mut contest = Contest::default();
        let run = ["run", "--progress", "quiet"];
        contest.add("each after the same item of the test before", call(&self.muster, &run, &chain));
        contest.add("as many that wait for nothing", call(&self.muster, &run, &loose));
        contest.hold("10,000 items over four tests", self.rounds, millis)
    }
}

/// What is in the area's records, for people.
fn size(dir: &Path) -> anyhow::Result<String> {
    let told = Command::new("du").args(["-sh", ".muster"]).current_dir(dir).output()?;
    Ok(String::from_utf8_lossy(&told.stdout).split_whitespace().next().unwrap_or("?").to_owned())
}
