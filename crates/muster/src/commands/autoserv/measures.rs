//! What tests have measured, told to the attempt that runs the job: a line of JSON for each value, in the file that
//! `MUSTER_MEASURES` names.

use crate::error::Complaint;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// Values that are told.
// Limit: a test may write them in a loop.
const VALUES_MAX: usize = 10_000;

/// Reads the `keyval` of each test's results. Without an attempt nothing is told to anybody.
pub(super) fn tell(results: &Path) -> Result<(), anyhow::Error> {
    let Some(to) = std::env::var_os("MUSTER_MEASURES") else { return Ok(()) };
    let mut told = String::new();
    let mut dirs: Vec<_> = fs::read_dir(results)?.filter_map(|e| Some(e.ok()?.path())).collect();
    dirs.sort();
    for dir in dirs {
        let Ok(text) = fs::read_to_string(dir.join("results/keyval")) else { continue };
        let test = dir.file_name().unwrap_or_default().to_string_lossy();
        for (name, value) in values(&text).take(VALUES_MAX) {
            let value = serde_json::json!({ "name": format!("{test}.{name}"), "value": value });
            writeln!(told, "{value}")?;
        }
    }
    let add = || fs::File::options().append(true).create(true).open(&to)?.write_all(told.as_bytes());
    add().map_err(|e| Complaint::lab("what the tests measured cannot be told").because(e).into())
}

/// Values by name; of several iterations, with the number of the iteration from the second on. What is not typed is a
/// measured value, as old tests have it; what is no number is none.
fn values(text: &str) -> impl Iterator<Item = (String, f64)> {
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    text.lines().filter_map(move |line| {
        let (key, value) = line.split_once('=')?;
        let name = match key.strip_suffix('}') {
            Some(typed) => typed.strip_suffix("{perf")?,
            None => key,
        };
        let value: f64 = value.trim().parse().ok()?;
        let n = seen.entry(name.to_owned()).or_default();
        *n += 1;
        let name = if *n == 1 { name.to_owned() } else { format!("{name}.{n}") };
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
        assert_eq!(told, [("slept".to_owned(), 1.5), ("slept.2".to_owned(), 2.0), ("old".to_owned(), 7.0)]);
    }
}
