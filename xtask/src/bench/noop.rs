//! Tests that do nothing, each a process: what is left is what a runner costs.

use super::Bench;
use super::compare::{Contest, call, line, say};
use anyhow::Context as _;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Runners that need milliseconds a test are asked for no more than this.
const SLOW_MAX: usize = 1_000;

impl Bench {
    pub(super) fn noop(&self, size: usize) -> anyhow::Result<()> {
        let noop = self.noop_program()?.display().to_string();
        let dir = self.dir.join(format!("noop-{size}"));
        write_area(&dir, &noop, size, self.jobs)?;
        let j = format!("-j{}", self.jobs);
        let mut contest = Contest::default();
        contest.add("muster run", call(&self.muster, &["run", "--progress", "quiet"], &dir));
        let make = call("make", &["-s", &j], &dir);
        contest.add_peer("make -j (records nothing)", "make", "apt-get install make", make);
        let xargs = line(&format!("xargs -P{} -n1 {noop} < list", self.jobs), &dir);
        contest.add_peer("xargs -P (captures nothing)", "xargs", "apt-get install findutils", xargs);
        let ninja = line(&format!("rm -rf out && exec ninja {j}"), &dir);
        contest.add_peer("ninja -j", "ninja", "apt-get install ninja-build", ninja);
        if size <= SLOW_MAX {
            let parallel = line(&format!("parallel {j} {noop} < list"), &dir);
            contest.add_peer("GNU parallel -j", "parallel", "apt-get install parallel", parallel);
            let prove = call("prove", &[&j, "--exec", "sh", "-Q", "t"], &dir);
            contest.add_peer("prove -j (a shell each)", "prove", "apt-get install perl", prove);
            self.libtest(&dir, size)?;
            let nextest = line(&format!("cd libtest && exec cargo nextest run {j}"), &dir);
            let install = "cargo install --locked cargo-nextest";
            contest.add_peer("cargo nextest run -j (a #[test] each)", "cargo-nextest", install, nextest);
        } else {
            say(&format!("  GNU parallel, prove, nextest: not asked for more than {SLOW_MAX} tests"));
        }
        let per_test = |d: Duration| format!("{:.1} µs/test", d.as_secs_f64() * 1e6 / size as f64);
        contest.hold(&format!("{size} no-op tests, {j}"), self.rounds, per_test)
    }

    /// A crate with this many tests that do nothing, built.
    fn libtest(&self, dir: &Path, size: usize) -> anyhow::Result<()> {
        let package = dir.join("libtest");
        std::fs::create_dir_all(package.join("src"))?;
        let manifest = "[package]\nname = \"libtest\"\nedition = \"2021\"\n[workspace]\n";
        std::fs::write(package.join("Cargo.toml"), manifest)?;
        let mut source = String::new();
        for n in 0..size {
            writeln!(source, "#[test]\nfn t{n}() {{}}")?;
        }
        std::fs::write(package.join("src/lib.rs"), source)?;
        let mut build = Command::new("cargo");
        build.args(["test", "--no-run", "--quiet"]).current_dir(&package).env_remove("CARGO_TARGET_DIR");
        crate::run(&mut build).context("the crate of no-op tests could not be built")
    }
}

/// The same tests for every runner.
fn write_area(dir: &Path, noop: &str, size: usize, jobs: usize) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir.join("t"))?;
    let mut area = format!("[area]\nname = \"noop\"\n[limits]\njobs = {jobs}\n");
    write!(area, "[test.noop]\ncmd = [\"{noop}\"]\nitems = [")?;
    let mut make = String::from("all:");
    let mut ninja = format!("rule t\n  command = {noop} > $out\n");
    let mut list = String::new();
    for n in 0..size {
        write!(area, "\"{n}\",")?;
        write!(make, " t{n}")?;
        writeln!(ninja, "build out/t{n}: t")?;
        writeln!(list, "{n}")?;
    }
    area.push_str("]\n");
    writeln!(make, "\n.PHONY: all")?;
    for n in 0..size {
        write!(make, ".PHONY: t{n}\nt{n}:\n\t@{noop}\n")?;
        if size <= SLOW_MAX {
            let script = format!("echo 1..1\n{noop} >/dev/null && echo ok 1\n");
            std::fs::write(dir.join(format!("t/{n}.t")), script)?;
        }
    }
    std::fs::write(dir.join("muster.toml"), area)?;
    std::fs::write(dir.join("Makefile"), make)?;
    std::fs::write(dir.join("build.ninja"), ninja)?;
    Ok(std::fs::write(dir.join("list"), list)?)
}
