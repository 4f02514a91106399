//! What tests have measured and what was noted of the system they ran on, told to the attempt that runs the job: a line
//! of JSON for each value, in the file that `MUSTER_MEASURES` names.
//!
//! ```text
//! TEST/results/keyval   KEY{perf}=1, KEY=1   ─► TEST.KEY
//!                       KEY{attr}=1          ─► TEST.attr.KEY
//! TEST/keyval           KEY=1                ─► TEST.keyval.KEY, but for the test's own version and arguments
//! ```
//!
//! Deliberately absent: what is no number. It stays in the files, which are kept with the attempt.

use crate::error::Complaint;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

/// Values that are told.
// Limit: a test may write them in a loop.
const VALUES_MAX: usize = 10_000;

/// Longest file of values.
// Limit: more than any test writes by itself.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads the values of each test. Without an attempt nothing is told to anybody.
pub(super) fn tell(results: &Path) -> Result<(), anyhow::Error> {
    let Some(to) = std::env::var_os("MUSTER_MEASURES") else { return Ok(()) };
    let mut told = String::new();
    let mut dirs: Vec<_> = fs::read_dir(results)?.filter_map(|e| Some(e.ok()?.path())).collect();
    dirs.sort();
    for dir in dirs {
        let test = dir.file_name().unwrap_or_default().to_string_lossy();
        let (results, noted) = (read(&dir.join("results/keyval")), read(&dir.join("keyval")));
        for (name, value) in values(&results).chain(facts(&noted)).take(VALUES_MAX) {
            let value = serde_json::json!({ "name": format!("{test}.{name}"), "value": value });
            writeln!(told, "{value}")?;
        }
    }
    let add = || fs::File::options().append(true).create(true).open(&to)?.write_all(told.as_bytes());
    add().map_err(|e| Complaint::lab("what the tests measured cannot be told").because(e).into())
}

/// The text of a file of values; none where there is no such file.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    // What cannot be read is not there for anybody.
    let _read = fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What was noted of a test and its system, as far as it is a number. Of what is noted twice the last counts.
fn facts(text: &str) -> impl Iterator<Item = (String, f64)> {
    let mut all = std::collections::BTreeMap::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let is_own = key == "version" || key.starts_with("param-");
        if let Some(value) = value.trim().parse::<f64>().ok().filter(|v| v.is_finite() && !is_own) {
            all.insert(format!("keyval.{key}"), value);
        }
    }
    all.into_iter()
}

/// Values by name; of several iterations, with the number of the iteration from the second on. What is not typed is a
/// measured value, as old tests have it; what is no number is none.
fn values(text: &str) -> impl Iterator<Item = (String, f64)> {
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    text.lines().filter_map(move |line| {
        let (key, value) = line.split_once('=')?;
        let name = match key.strip_suffix('}') {
            Some(typed) => match typed.strip_suffix("{attr") {
                Some(name) => format!("attr.{name}"),
                None => typed.strip_suffix("{perf")?.to_owned(),
            },
            None => key.to_owned(),
        };
        let value: f64 = value.trim().parse().ok()?;
        let n = seen.entry(name.clone()).or_default();
        *n += 1;
        let name = if *n == 1 { name } else { format!("{name}.{n}") };
        value.is_finite().then_some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_values_are_numbers_and_told_by_iteration() {
        let text = "slept{perf}=1.5\nwhat{attr}=3\n\nslept{perf}=2\nold=7\nname=x\nbad{perf}=nan\n=\n";
        let told: Vec<_> = values(text).collect();
        let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(told, [("slept", 1.5), ("attr.what", 3.0), ("slept.2", 2.0), ("old", 7.0)]);
    }

    #[test]
    fn what_is_noted_of_the_system_is_a_value_where_it_is_a_number() {
        let text =
            "version=1\nparam-n=7\nsysinfo-memtotal-in-kb=2048\nsysinfo-uname=6.1 #1 SMP\n\nx=1\nx=2\n";
        let told: Vec<_> = facts(text).collect();
        let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        assert_eq!(told, [("keyval.sysinfo-memtotal-in-kb", 2048.0), ("keyval.x", 2.0)]);
    }
}
