//! Feeds the readers of what comes from outside with input that tries to break them, by libFuzzer.
//!
//! What breaks one lands in `fuzz/corpus/READER/`, which the tests read again, so that it stays mended. What
//! only leads somewhere new is kept in `target/fuzz`; `--keep` adds to the corpus what leads furthest.

use anyhow::{Context as _, bail};
use clap::Args;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Arguments of `cargo xtask fuzz`.
#[derive(Args)]
pub(crate) struct FuzzArgs {
    /// Readers to feed, by their folders in `fuzz/corpus`; by default all of them
    readers: Vec<String>,
    /// How long each is fed
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
    /// Add to the corpus the few inputs that lead furthest
    #[arg(long)]
    keep: bool,
}

/// What a fuzzer must be told by the program of where an input leads.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Longest input.
// Limit: what breaks a reader does so in little, and more is slow.
const BYTES_MAX: u32 = 1 << 16;

pub(crate) fn run(args: &FuzzArgs, root: &Path) -> anyhow::Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let target = target.join("fuzz");
    let said = Command::new("rustc").arg("-vV").output().context("rustc cannot be asked what it is")?;
    let said = String::from_utf8(said.stdout)?;
    let host = said.lines().find_map(|l| l.strip_prefix("host: ")).context("rustc does not say its host")?;
    let mut build = Command::new("cargo");
    build.args([
        "build",
        "--release",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target",
        host,
        "--target-dir",
    ]);
    super::run(build.arg(&target).env("RUSTFLAGS", FLAGS))?;
    let program = target.join(host).join("release/fuzz");
    let corpus = root.join("fuzz/corpus");
    let mut readers = args.readers.clone();
    if readers.is_empty() {
        for entry in fs::read_dir(&corpus)? {
            readers.push(entry?.file_name().to_string_lossy().into_owned());
        }
        readers.sort();
    }
    let mut broken = Vec::new();
    for reader in readers {
        let (kept, found) = (corpus.join(&reader), target.join("found").join(&reader));
        if !kept.is_dir() {
            bail!("`{reader}` is no reader: there is no `{}`", kept.display());
        }
        fs::create_dir_all(&found)?;
        super::say(&format!("== {reader}, for {} s", args.seconds));
        let mut fuzz = Command::new(&program);
        fuzz.env("MUSTER_FUZZ", &reader).env("RUST_BACKTRACE", "0");
        fuzz.arg(format!("-max_total_time={}", args.seconds)).arg(format!("-max_len={BYTES_MAX}"));
        fuzz.args(["-timeout=20", "-rss_limit_mb=3072", "-print_final_stats=1", "-verbosity=0"]);
        fuzz.arg(format!("-artifact_prefix={}/", kept.display())).arg(&found).arg(&kept);
        if !fuzz.status().context("the fuzzer cannot be started")?.success() {
            broken.push(reader.clone());
        }
        if args.keep {
            let mut merge = Command::new(&program);
            merge.env("MUSTER_FUZZ", &reader).args(["-merge=1", "-max_len=1024", "-verbosity=0"]);
            super::run(merge.arg(&kept).arg(&found))?;
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!(
        "broken: {}; the inputs are in their folders of `fuzz/corpus`, and the tests fail on them",
        broken.join(", ")
    )
}
