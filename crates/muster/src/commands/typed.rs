//! Arguments that several commands share, and how what is typed becomes what is meant.

use crate::terminal::Progress;
use clap::Args;
use muster_core::address::RunRef;
use muster_core::outcome::Verdict;
use muster_core::select::Shard;
use muster_formats::report::{BadSpec, Spec, parse_spec};
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::time::Duration;

/// Which tests and items are meant.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which tests")]
pub(crate) struct SelectArgs {
    /// Tests and items: `test`, `test/item`, `*` for any text, `!x` to leave out, commas join
    ///
    /// Without any pattern, all tests are meant. What the chosen tests come after is run too.
    #[arg(value_name = "PATTERN", help_heading = "Arguments", value_parser = pattern)]
    pub(crate) patterns: Vec<String>,
    /// Only tests whose tags fit this CEL expression, e.g. `smoke && !slow`
    #[arg(long, value_name = "EXPR")]
    pub(crate) tags: Option<String>,
    /// Only tests whose files changed since this git revision
    #[arg(long, value_name = "REV")]
    pub(crate) changed_since: Option<String>,
    /// Only items that failed in this run
    #[arg(long, value_name = "RUN", value_parser = run_ref, allow_negative_numbers = true)]
    pub(crate) failed_in: Option<RunRef>,
    /// Only items whose result in the latest run for this target was made of something else than there is now
    #[arg(long)]
    pub(crate) stale: bool,
    /// Only one part of several: `2/5` is the second of five
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub(crate) shard: Option<Shard>,
    /// Tests and items as Megatest has them: `test`, `test/item`, `%` for any text, `~` for the opposite, commas join
    ///
    /// In a Megatest area, where neither this nor a pattern is given, the variable TESTPATT of the target says it.
    #[arg(long, value_name = "PATT", help_heading = "Which tests, as in Megatest")]
    pub(crate) testpatt: Option<String>,
    /// Only tests of which a tag matches one of these, with commas between, `%` for any text
    #[arg(long, value_name = "PATT", help_heading = "Which tests, as in Megatest")]
    pub(crate) tagexpr: Option<String>,
    /// The variable of the target that says which tests, in place of TESTPATT
    #[arg(long, value_name = "VAR", help_heading = "Which tests, as in Megatest")]
    pub(crate) modepatt: Option<String>,
}

impl SelectArgs {
    /// ` by …`, with all that was typed; empty if nothing was.
    pub(crate) fn by(&self) -> String {
        let flag = |name, value: Option<String>| value.map(|v| format!("`--{name} {v}`"));
        let flags = [
            flag("tags", self.tags.clone()),
            flag("changed-since", self.changed_since.clone()),
            flag("failed-in", self.failed_in.as_ref().map(ToString::to_string)),
            self.stale.then(|| "`--stale`".to_owned()),
            flag("shard", self.shard.map(|s| s.to_string())),
            flag("testpatt", self.testpatt.clone()),
            flag("tagexpr", self.tagexpr.clone()),
            flag("modepatt", self.modepatt.clone()),
        ];
        let typed = self.patterns.iter().map(|p| format!("`{p}`")).chain(flags.into_iter().flatten());
        let typed: Vec<String> = typed.collect();
        if typed.is_empty() { String::new() } else { format!(" by {}", typed.join(" and ")) }
    }
}

/// What the tests are run for.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TargetArgs {
    /// The target: a value for each of the area's keys, in order, e.g. `linux/x86_64/release`
    #[arg(short, long, value_name = "A/B/C")]
    pub(crate) target: Option<String>,
}

/// How tests are run and what is told about it.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "How to run")]
pub(crate) struct ExecArgs {
    /// Attempts at once [env: MUSTER_JOBS] [default: the area's `limits.jobs`, else one a core]
    #[arg(short, long, value_name = "N", value_parser = at_least_one)]
    pub(crate) jobs: Option<NonZeroU32>,
    /// Further attempts after a failure, in place of what the tests say; 0 for none
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u16>,
    /// End the whole run after this long, e.g. `90s`, `10m`, `1h30m` (exit code 124)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Set a value of the configuration for this run, e.g. `--set limits.groups.db=2`, `--set env.LEVEL=3`
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    pub(crate) settings: Vec<String>,
    /// Start nothing more after this many failed items
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = at_least_one)]
    pub(crate) fail_fast: Option<NonZeroU32>,
    /// What to show of the run while it is under way
    #[arg(long, value_name = "MODE", env = "MUSTER_PROGRESS", hide_env_values = true)]
    pub(crate) progress: Option<Progress>,
    /// Write a report as well: `junit:FILE`, `html:FILE`, `json:FILE`, `tap`, `teamcity`, `github`, `jsonl`
    ///
    /// May be given several times. Without `:FILE`, or with `:-`, it goes to standard output.
    #[arg(long = "report", value_name = "FORMAT[:FILE]", value_parser = report)]
    pub(crate) reports: Vec<Spec>,
}

/// A duration, also in days.
pub(crate) fn long_duration(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()) {
        Some(days) if days > 0 => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        Some(_) => Err("a duration is not empty".to_owned()),
        None => duration(text).map_err(|_| "a duration is `90d`, `12h` or `10m`".to_owned()),
    }
}

/// Reads a verdict.
pub(crate) fn verdict(text: &str) -> Result<Verdict, String> {
    Verdict::from_word(text).ok_or_else(|| {
        let all: Vec<&str> = Verdict::ALL.into_iter().map(Verdict::word).collect();
        format!("verdicts are {}", all.join(", "))
    })
}

/// Reads a size.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "" | "B" => Some(1),
        "kB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "TB" => Some(1_000_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        _ => None,
    };
    let all = number.parse::<u64>().ok().zip(unit).and_then(|(n, unit)| n.checked_mul(unit));
    all.ok_or_else(|| "a size is `20GB` or `512MiB`".to_owned())
}

/// Reads how a person names a run.
pub(crate) fn run_ref(text: &str) -> Result<RunRef, String> {
    RunRef::parse(text).map_err(|e| e.to_string())
}

/// Stands for the dash of an address like `-2/boot` while the command line is being read, so that it is
/// not taken for a flag, nor a misspelt flag for an address. No command line has it.
const DASH: char = '\u{f8ff}';

/// Marks what must not be taken for a flag: `-2/boot`, `-2#1`.
pub(crate) fn mark_address(argument: OsString) -> OsString {
    let marked = argument.to_str().and_then(|text| {
        let rest = text.strip_prefix('-')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let more = rest.as_bytes().get(digits)?;
        (digits > 0 && matches!(more, b'/' | b'#')).then(|| OsString::from(format!("{DASH}{rest}")))
    });
    marked.unwrap_or(argument)
}

/// Reads an address as far as it can be read without knowing the area: later, against its records.
pub(crate) fn address_text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("an address is `[RUN/]TEST[/ITEM][#ATTEMPT]`".to_owned());
    }
    Ok(text.strip_prefix(DASH).map_or_else(|| text.to_owned(), |rest| format!("-{rest}")))
}

/// Refuses a pattern that is empty, as `"$UNSET"` is: read as no pattern, it would mean all tests.
pub(crate) fn pattern(text: &str) -> Result<String, String> {
    if text.split(',').all(|part| part.trim().is_empty()) {
        return Err("an empty pattern names no test; without any pattern, all tests are meant".to_owned());
    }
    Ok(text.to_owned())
}

fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((index, count)) if 1 <= index && index <= count => Ok(Shard { index, count }),
        Some(_) | None => Err("a shard is `I/N` with I from 1 to N, e.g. `2/5`".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("expected a whole number from 1 to {}", u32::MAX))
}

/// Reads `90`, `90s`, `1h30m`, `1.5h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let say = "a duration is `90s`, `10m` or `1h30m`";
    let read = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok().map(Duration::from_secs)
    } else {
        text.parse::<jiff::SignedDuration>().ok().and_then(|d| d.try_into().ok())
    };
    read.filter(|d| !d.is_zero()).ok_or_else(|| say.to_owned())
}

/// Makes a line of TOML of `KEY=VALUE`: what is no number, boolean, list or table is a text.
fn setting(text: &str) -> Result<String, String> {
    let (key, value) = text.split_once('=').ok_or("a setting is `KEY=VALUE`, e.g. `limits.jobs=4`")?;
    let (key, value) = (key.trim(), value.trim());
    let as_is = format!("{key} = {value}");
    if as_is.parse::<toml::Table>().is_ok() {
        return Ok(as_is);
    }
    let quoted = format!("{key} = {}", toml::Value::String(value.to_owned()));
    quoted.parse::<toml::Table>().map(|_| quoted).map_err(|_| format!("`{key}` is not a key"))
}

fn report(text: &str) -> Result<Spec, BadSpec> {
    parse_spec(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let secs = |text| duration(text).map(|d| d.as_secs_f64());
        assert_eq!(secs("90"), Ok(90.0));
        assert_eq!(secs("90s"), Ok(90.0));
        assert_eq!(secs("1h30m"), Ok(5400.0));
        assert_eq!(secs("2 minutes"), Ok(120.0));
        for bad in ["", "0", "-5s", "soon", "5x", "99999999999999999999"] {
            assert!(secs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_empty_pattern_does_not_mean_everything() {
        assert_eq!(pattern("a, b/*").as_deref(), Ok("a, b/*"));
        for empty in ["", " ", ",", " , ,"] {
            assert!(pattern(empty).is_err(), "{empty:?}");
        }
    }

    #[test]
    fn shards_count_from_one() {
        assert_eq!(shard("2/5"), Ok(Shard { index: 2, count: 5 }));
        for bad in ["0/5", "6/5", "1/0", "2", "a/b", "-1/2", ""] {
            assert!(shard(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_counted_back_comes_through_and_a_flag_stays_one() {
        for address in ["-1/boot", "-12/a/b#3", "-1#2"] {
            let marked = mark_address(address.into());
            assert_ne!(marked, address);
            assert_eq!(address_text(marked.to_str().unwrap()), Ok(address.to_owned()));
        }
        for other in ["--folow", "-x", "-", "-1", "-1x", "-j4", "", "boot"] {
            assert_eq!(mark_address(other.into()), other);
        }
    }
}
