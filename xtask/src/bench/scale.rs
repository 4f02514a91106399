//! An area of many large runs beside one of few: what is asked of a run must not cost more for the others; and a
//! chain of tests that wait for each other item by item, beside as many that wait for nothing.

use super::Bench;
use super::compare::{Contest, call, line, millis, say};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The area it is compared with has so many times fewer runs.
const FEWER: usize = 50;

/// Each second run is in the cold tier, as if half of them were old.
const COLD: usize = 2;

/// An area of many runs, and how many they are.
struct Area {
    dir: PathBuf,
    runs: usize,
}

impl Area {
    fn name(&self) -> String {
        format!("{} runs", self.runs)
    }
}

impl Bench {
    /// `shape`: `RUNSxTESTS`. Half of the runs are in the cold tier, and the newest are open, as if they had been killed
    /// before their last test.
    pub(super) fn scale(&self, shape: &str) -> anyhow::Result<()> {
        let (runs, tests) = shape.split_once('x').context("a shape is RUNSxTESTS: `200x5000`")?;
        let (runs, tests): (usize, usize) = (runs.parse()?, tests.parse()?);
        let rounds = self.rounds;
        let many = self.area_of(runs, tests)?;
        let few = self.area_of((runs / FEWER).max(4 * rounds + 4), tests)?;
        say(&format!("\n{} of {tests} tests take {} in .muster", many.name(), size(&many.dir)?));
        let muster = self.muster.display();
        // Tests that failed, now or before, are part of the answer, and make no question a failure.
        let both = |script: &str| {
            let mut contest = Contest::default();
            for area in [&many, &few] {
                contest.add(&area.name(), line(&format!("{script}; test $? -le 5"), &area.dir));
            }
            contest
        };
        let ask = |args: &str| both(&format!("{muster} {args}"));
        let goal = Duration::from_millis;
        ask("runs").hold_to(goal(50), "list the newest 20", rounds, millis)?;
        ask("runs -n 100000").hold_to(goal(50), "list all", rounds, millis)?;
        for (run, which) in [(3, "a run"), (2, "a run in the cold tier")] {
            let failures = ask(&format!("results {run} --failed --output quiet"));
            failures.hold_to(goal(100), &format!("failures of {which}"), rounds, millis)?;
            let whole = ask(&format!("results {run} --output quiet"));
            whole.hold(&format!("{which}, rolled up from its items"), rounds, millis)?;
        }
        ask("rerun 3 noop/7 --progress quiet").hold("run one test of a run again", rounds, millis)?;
        // Each of them can be resumed once.
        let next = format!(
            "n=$(cat next); [ $n -gt $(cat last) ] || exit 9; echo $((n - 1)) > next; {muster} resume $n --progress quiet"
        );
        both(&next).hold("resume a run that lacks one test", rounds, millis)?;
        ask("history noop/7 -n 10").hold("history of a test in 10 runs", rounds, millis)?;
        ask("plan --output quiet").hold("plan a new run", rounds, millis)?;
        let mut new = ask("run noop/7 --progress quiet");
        let empty = self.noop_area(&format!("scale-empty-{tests}"), tests, self.jobs)?;
        let anew = format!("rm -rf .muster; {muster} run noop/7 --progress quiet");
        new.add("no run at all", line(&anew, &empty));
        new.hold("a new run of one test, start to exit", rounds, millis)?;
        let and_back = format!("{muster} runs reduce 3 && {muster} runs restore 3");
        both(&and_back).hold("a run into the cold tier and back", rounds, millis)?;
        let save = format!("rm -rf .muster/archive; {muster} archive save 1");
        both(&save).hold("the files of a run into the archive", rounds, millis)?;
        let get = format!("rm -rf got; {muster} archive get 1 file --to got");
        both(&get).hold("one of them out of it", rounds, millis)
    }

    /// An area with one real run and so many more like it. One that is there is used again.
    fn area_of(&self, runs: usize, tests: usize) -> anyhow::Result<Area> {
        let dir = self.noop_area(&format!("scale-{runs}x{tests}"), tests, self.jobs)?;
        // What is asked is asked of records that nothing else moves.
        let file = dir.join("muster.toml");
        let area = std::fs::read_to_string(&file)? + "[records]\nhot-runs = 1000000\n";
        std::fs::write(file, area)?;
        let newest = || -> anyhow::Result<usize> {
            let mut asked = call(&self.muster, &["runs", "-n", "1", "--output", "quiet"], &dir).command();
            let said = asked.stdout(Stdio::piped()).output()?;
            String::from_utf8_lossy(&said.stdout).trim().parse().context("there are no runs")
        };
        // Written when all of it is there.
        let next = dir.join("next");
        if !next.exists() {
            if !dir.join(".muster/muster.db").exists() {
                call(&self.muster, &["run", "--progress", "quiet"], &dir).run()?;
                // What people have beside the records.
                std::fs::write(dir.join(".muster/runs/1/file"), [7; 100_000])?;
            }
            let open = 2 * self.rounds;
            let numbers = [runs, open, COLD, self.minutes].map(|n| n.to_string());
            let made = Command::new(&self.generate).arg(&dir).args(numbers).status()?;
            anyhow::ensure!(made.success(), "no runs could be made: {made}");
            std::fs::write(dir.join("last"), newest()?.saturating_sub(open).to_string())?;
            std::fs::write(next, newest()?.to_string())?;
        }
        Ok(Area { runs: newest()?, dir })
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
