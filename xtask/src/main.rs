//! Everything a developer or CI runs: `ci`, `setup`, `test`, `tidy`, `sim`, `fuzz`, `bench`, `generate`.
//!
//! CI calls nothing else, so what passes there passes here.

mod bench;
mod dist;
mod fuzz;
mod setup;
mod tidy;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

#[derive(Parser)]
#[command(name = "xtask", about = "Everything a developer or CI runs.")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// All that must hold before a change lands: format, lints, tidy rules, tests, examples
    Ci,
    /// Install what the tests need from the package registries
    Setup,
    /// Run all tests
    Test {
        /// Install what they need first
        #[arg(long)]
        install: bool,
    },
    /// Check the rules that no compiler checks
    Tidy,
    /// Run the whole-lab simulator: `cargo xtask sim --seeds 10000`, `cargo xtask sim --seed 0x1f`
    Sim {
        /// Passed on to the simulator
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Feed the readers of what comes from outside with input that tries to break them
    Fuzz(fuzz::FuzzArgs),
    /// Measure Muster beside the peers that are installed here, and print ratios
    Bench(bench::BenchArgs),
    /// Make the Debian packages, in `target/dist`
    Dist(dist::DistArgs),
    /// Write the generated references anew (schemas, the CLI reference)
    Generate,
}

fn main() -> anyhow::Result<()> {
    let root = root();
    std::env::set_current_dir(&root).with_context(|| format!("cannot work in {}", root.display()))?;
    match Cli::parse().task {
        Task::Ci => ci(&root),
        Task::Setup => setup::install(),
        Task::Test { install } => {
            if install {
                setup::install()?;
            }
            test()
        }
        Task::Tidy => tidy::check(&root),
        Task::Sim { args } => {
            let mut all = vec!["run", "--quiet", "--release", "--package", "muster-sim", "--"];
            all.extend(args.iter().map(String::as_str));
            cargo(&all)
        }
        Task::Fuzz(args) => fuzz::run(&args, &root),
        Task::Bench(args) => bench::run(&args, &root),
        Task::Dist(args) => dist::run(&args, &root),
        Task::Generate => {
            run(Command::new("cargo").args(["test", "--quiet", "--workspace"]).env("UPDATE_GENERATED", "1"))
        }
    }
}

fn ci(root: &Path) -> anyhow::Result<()> {
    let begin = Instant::now();
    step("format", || cargo(&["fmt", "--all", "--check"]))?;
    step("tidy", || tidy::check(root))?;
    step("setup", setup::install)?;
    step("lints", || cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step("tests", test)?;
    step("examples", || examples(root))?;
    step("packages", || dist::rehearse(program(root), root))?;
    say(&format!("all passed in {:.0} s", begin.elapsed().as_secs_f64()));
    Ok(())
}

fn test() -> anyhow::Result<()> {
    // One fault is no reason to hide the others.
    cargo(&["test", "--workspace", "--no-fail-fast"])
}

/// Runs every example area as its README says, with the program that the tests have built: what is built for the
/// program alone has other features, and is half of everything anew.
fn examples(root: &Path) -> anyhow::Result<()> {
    let muster = program(root);
    if !muster.is_file() {
        bail!("`{}` is not there: `cargo xtask test` builds it", muster.display());
    }
    let mut areas: Vec<PathBuf> = std::fs::read_dir(root.join("examples"))?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.join("muster.toml").is_file())
        .collect();
    areas.sort();
    if areas.is_empty() {
        bail!("there are no examples to run");
    }
    // Some call it themselves.
    let own = muster.parent().map(|dir| dir.display().to_string()).unwrap_or_default();
    let path = format!("{own}:{}", std::env::var("PATH").unwrap_or_default());
    for area in areas {
        say(&format!("example {}", area.file_name().unwrap_or_default().to_string_lossy()));
        // An example that shows failures says so: its expected exit code is in a file beside it.
        let expected = std::fs::read_to_string(area.join("expected-exit"))
            .map_or(Ok(0), |t| t.trim().parse::<i32>())
            .context("`expected-exit` holds one number")?;
        let status = Command::new(&muster).arg("-C").arg(&area).arg("run").env("PATH", &path).status()?;
        if status.code() != Some(expected) {
            bail!("example {} ended with {status}, expected {expected}", area.display());
        }
    }
    Ok(())
}

/// The program as the tests have built it.
fn program(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("debug").join("muster")
}

fn step(name: &str, what: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    say(&format!("== {name}"));
    let begin = Instant::now();
    what().with_context(|| format!("{name} failed"))?;
    say(&format!("== {name}: {:.0} s", begin.elapsed().as_secs_f64()));
    Ok(())
}

fn cargo(args: &[&str]) -> anyhow::Result<()> {
    run(Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(args))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace").to_owned()
}

#[expect(clippy::print_stderr, reason = "a developer watches")]
fn say(text: &str) {
    eprintln!("{text}");
}
