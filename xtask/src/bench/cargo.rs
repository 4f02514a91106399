//! Two crates' own tests, as their authors wrote them.

use super::Bench;
use super::compare::{Contest, call, line, millis};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Command;

impl Bench {
    pub(super) fn cargo(&self) -> anyhow::Result<()> {
        let example = self.root.join("examples/cargo");
        // Fetches the crates and builds their tests, if that has not been done.
        call(&self.muster, &["run", "--progress", "quiet"], &example).run()?;
        let crates = std::fs::read_dir(example.join("fetched"))?
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| p.join("Cargo.toml").is_file());
        for source in crates {
            self.crate_contest(&source)?;
        }
        Ok(())
    }

    fn crate_contest(&self, source: &Path) -> anyhow::Result<()> {
        let name = source.file_name().context("crates have names")?.to_string_lossy().into_owned();
        let area = self.dir.join(format!("cargo-{name}"));
        std::fs::create_dir_all(&area)?;
        let suite = format!("[area]\nname = \"crate\"\n[limits]\njobs = {}\n", self.jobs)
            + &format!("[suite.{name}]\nframework = \"cargo\"\ndir = \"{}\"\n", source.display());
        std::fs::write(area.join("muster.toml"), suite)?;
        let list = test_binaries(source)?;
        std::fs::write(
            area.join("binaries"),
            list.iter().map(|p| format!("{}\n", p.display())).collect::<String>(),
        )?;
        let mut contest = Contest::default();
        contest.add("muster run", call(&self.muster, &["run", "--progress", "quiet"], &area));
        let nextest = call("cargo", &["nextest", "run", "--tests", "-j", &self.jobs.to_string()], source);
        let install = "cargo install --locked cargo-nextest";
        contest.add_peer("cargo nextest run -j", "cargo-nextest", install, nextest);
        contest.add("cargo test --tests", call("cargo", &["test", "--tests", "--quiet"], source));
        let xargs = format!("xargs -P{} -n1 env < {}", self.jobs, area.join("binaries").display());
        contest.add("xargs -P over the test binaries", line(&xargs, source));
        contest.hold(&format!("the tests of {name}, built before"), self.rounds, millis)
    }
}

/// The test binaries cargo has built for a package.
fn test_binaries(source: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut build = Command::new("cargo");
    build.args(["test", "--tests", "--no-run", "--quiet", "--message-format", "json"]).current_dir(source);
    let built = build.output()?;
    anyhow::ensure!(built.status.success(), "{build:?} ended with {}", built.status);
    let text = String::from_utf8(built.stdout)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let binaries = messages.filter(|m| m.pointer("/profile/test").is_some_and(|t| t == true));
    Ok(binaries.filter_map(|m| Some(PathBuf::from(m.get("executable")?.as_str()?))).collect())
}
