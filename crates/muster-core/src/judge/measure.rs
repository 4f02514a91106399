//! Measured values: what a test wrote to its `$MUSTER_MEASURES` file, and whether it is within tolerance.
//!
//! Each line is a JSON object (`{"name": "latency", "value": 12.5, "expected": 10, "tolerance": 3,
//! "units": "ms"}`; `tolerance` may be `"<"`, `"<="`, `">"` or `">="`) or a record of Megatest's test data:
//! category, variable, value, expected, tolerance, units, comment, status, type, with commas between,
//! trailing columns optional, quotes allowed. Blank lines and lines that begin with `#` do not count.
//! A later record of the same name replaces an earlier one.

use super::message::shown;
use crate::attempt::Measured;
use crate::definition::{MeasureRule, Tolerance};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// A line of a file of measured values that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} of the measured values: {problem}")]
pub struct MeasureError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Why the values fail an attempt.
pub(super) struct Problem {
    pub(super) name: String,
    pub(super) message: String,
}

/// The values of a file and those of its lines that cannot be used.
pub fn parse_measures(text: &str) -> (Vec<Measured>, Vec<MeasureError>) {
    let (mut values, mut errors): (Vec<Measured>, Vec<MeasureError>) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = if line.starts_with('{') { from_json(line) } else { from_csv(line) };
        match parsed {
            Ok(Some(value)) => match values.iter_mut().find(|v| v.name == value.name) {
                Some(earlier) => *earlier = value,
                None => values.push(value),
            },
            Ok(None) => {}
            Err(problem) => errors.push(MeasureError { line: number, problem }),
        }
    }
    (values, errors)
}

/// The values, judged by their own expectations and the rule's, and the first thing wrong with them.
pub(super) fn judge(text: &str, rules: &[MeasureRule], skipped: bool) -> (Vec<Measured>, Option<Problem>) {
    let (mut values, errors) = parse_measures(text);
    let mut missing = None;
    for rule in rules {
        match values.iter_mut().find(|v| v.name == rule.name) {
            Some(value) => {
                if let Some(expected) = rule.expected {
                    value.expected = Some(expected);
                    value.tolerance = rule.tolerance.written();
                    value.good = Some(rule.tolerance.holds(value.value, expected));
                }
                if !rule.units.is_empty() {
                    value.units.clone_from(&rule.units);
                }
            }
            None if skipped => {}
            None => {
                let message = format!("the value `{}` was not measured", rule.name);
                missing.get_or_insert(Problem { name: rule.name.clone(), message });
            }
        }
    }
    let bad = values.iter().find(|v| v.good == Some(false));
    let bad = bad.map(|v| Problem { name: v.name.clone(), message: off(v) });
    // A line that makes no sense is a likely reason for a value that is missing.
    let unread = errors.first().map(|e| Problem { name: format!("line {}", e.line), message: e.to_string() });
    (values, bad.or(unread).or(missing))
}

/// Why a value is not good, in words.
fn off(value: &Measured) -> String {
    let units = if value.units.is_empty() { String::new() } else { format!(" {}", value.units) };
    let expected = value.expected.map_or_else(String::new, |e| {
        let expects = Tolerance::parse(&value.tolerance).map_or_else(|| e.to_string(), |t| t.expects(e));
        format!(", expected {expects}{units}")
    });
    format!("{} is {}{units}{expected}", value.name, value.value)
}

/// A record as it was written.
#[derive(Deserialize)]
struct Record {
    name: String,
    value: Value,
    #[serde(default)]
    expected: Value,
    #[serde(default)]
    tolerance: Value,
    #[serde(default)]
    units: String,
}

fn from_json(line: &str) -> Result<Option<Measured>, String> {
    let record: Record = serde_json::from_str(line).map_err(|e| {
        // The position is of this one line of JSON, so its line number is always 1 and misleading.
        let text = e.to_string();
        text.split(" at line ").next().unwrap_or(&text).to_owned()
    })?;
    let expected = match &record.expected {
        Value::Null => None,
        other => Some(number("expected", other)?),
    };
    let tolerance = match &record.tolerance {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        Value::Number(n) => n.to_string(),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => record.tolerance.to_string(),
    };
    measured(record.name, number("value", &record.value)?, expected, tolerance, record.units).map(Some)
}

fn number(what: &str, value: &Value) -> Result<f64, String> {
    match value {
        Value::Number(n) => {
            n.as_f64().filter(|n| n.is_finite()).ok_or_else(|| format!("`{what}` is {n}, too large"))
        }
        Value::String(text) => finite(what, text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(format!("`{what}` is {}, not a number", shown(value.to_string().as_bytes())))
        }
    }
}

fn finite(what: &str, text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .ok()
        .filter(|n: &f64| n.is_finite())
        .ok_or_else(|| format!("`{what}` is `{}`, not a number", shown(text.as_bytes())))
}

fn measured(
    name: String,
    value: f64,
    expected: Option<f64>,
    tolerance: String,
    units: String,
) -> Result<Measured, String> {
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    let good = match expected {
        None => None,
        Some(expected) => {
            let rule = Tolerance::parse(&tolerance).ok_or_else(|| {
                format!("the tolerance of `{name}` is `{tolerance}`: a number from 0, `<`, `<=`, `>` or `>=`")
            })?;
            Some(rule.holds(value, expected))
        }
    };
    Ok(Measured { name, value, expected, tolerance, units, good })
}

fn from_csv(line: &str) -> Result<Option<Measured>, String> {
    let columns = split_csv(line)?;
    let column = |i: usize| columns.get(i).map_or("", String::as_str);
    let (category, variable) = (column(0), column(1));
    if columns.len() < 3 {
        return Err(format!(
            "`{}` is neither a JSON object nor `category,variable,value,…`",
            shown(line.as_bytes())
        ));
    }
    if (category, variable, column(2)) == ("category", "variable", "value") {
        return Ok(None);
    }
    let name = if category.is_empty() { variable.to_owned() } else { format!("{category}/{variable}") };
    let value = finite("value", column(2))?;
    // An expectation in words has no verdict, as in Megatest.
    let expected = column(3).parse().ok().filter(|n: &f64| n.is_finite());
    let status = column(7).to_ascii_lowercase();
    let given = !matches!(status.as_str(), "" | "n/a");
    // A given status wins, so its tolerance need not make sense.
    let tolerance = column(4).to_owned();
    let mut value = if given && Tolerance::parse(&tolerance).is_none() {
        Measured { name, value, expected, tolerance, units: column(5).to_owned(), good: None }
    } else {
        measured(name, value, expected, tolerance, column(5).to_owned())?
    };
    if given {
        value.good = match status.as_str() {
            "pass" | "ok" | "good" => Some(true),
            "fail" | "bad" | "abort" => Some(false),
            _ => None,
        };
    }
    Ok(Some(value))
}

/// The fields of one record of CSV, without the blanks around those that are not quoted. `""` within quotes is a
/// quote.
///
/// # Errors
/// A quote is not closed, or text follows one that is.
pub fn split_csv(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.trim_start();
        let (field, after) = match start.strip_prefix('"') {
            None => {
                let end = start.find(',').unwrap_or(start.len());
                (start[..end].trim_end().to_owned(), &start[end..])
            }
            Some(quoted) => {
                let (mut field, mut from) = (String::new(), quoted);
                loop {
                    let end = from.find('"').ok_or("a quote is not closed")?;
                    field.push_str(&from[..end]);
                    from = &from[end + 1..];
                    match from.strip_prefix('"') {
                        Some(more) => {
                            field.push('"');
                            from = more;
                        }
                        None => break,
                    }
                }
                let after = from.trim_start();
                if !after.is_empty() && !after.starts_with(',') {
                    return Err(format!("text after a closing quote: `{}`", shown(after.as_bytes())));
                }
                (field, after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}
