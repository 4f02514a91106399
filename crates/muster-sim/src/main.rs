//! `muster-sim [--seeds N] [--from 0xSEED] [--seed 0xSEED] [--mistake NAME]`: lives many worlds, or tells
//! the story of one.

use muster_sim::mistake::Mistake;
use muster_sim::sweep::{history, live, sweep};
use std::io::Write as _;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask sim [--seeds N] [--from SEED] [--mistake NAME]   live many worlds
       cargo xtask sim --seed SEED [--mistake NAME]               tell the story of one
seeds are decimal or 0x...; mistakes:";

#[derive(Default)]
struct Args {
    seeds: Option<u64>,
    from: u64,
    seed: Option<u64>,
    mistake: Mistake,
}

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(problem) => {
            let names = Mistake::ALL.map(|(name, _)| name).join(", ");
            let _closed = writeln!(std::io::stderr(), "error: {problem}\n{USAGE} {names}").is_err();
            return ExitCode::from(2);
        }
    };
    // The story tells what broke; the panic's own words would come once more for each world.
    std::panic::set_hook(Box::new(|_| {}));
    let text = if let Some(seed) = args.seed {
        match live(seed, args.mistake) {
            Ok(_) => format!("{}\n", history(seed, args.mistake).join("\n")),
            Err(broken) => broken.text(usize::MAX),
        }
    } else {
        let count = args.seeds.unwrap_or(1000);
        match sweep(args.from, count, args.mistake) {
            None => format!("{count} worlds kept every promise\n"),
            Some(broken) => broken.text(60),
        }
    };
    let failed = text.contains("\nbroken: ");
    let _closed = out.write_all(text.as_bytes()).is_err();
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args::default();
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
        match word.as_str() {
            "--seeds" => args.seeds = Some(number(&next()?)?),
            "--from" => args.from = number(&next()?)?,
            "--seed" => args.seed = Some(number(&next()?)?),
            "--mistake" => {
                let name = next()?;
                let known = Mistake::ALL.into_iter().find(|(n, _)| *n == name);
                args.mistake = known.ok_or_else(|| format!("no mistake is called `{name}`"))?.1;
            }
            other => return Err(format!("what is `{other}`?")),
        }
    }
    Ok(args)
}

fn number(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|_| format!("`{text}` is no number"))
}
