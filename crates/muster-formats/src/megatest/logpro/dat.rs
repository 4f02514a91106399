//! The `.dat` file that logpro writes beside its page: sections of keys and values, one section a rule, and `[final]`.
//! Megatest takes them over as test data.

use super::evaluate::Report;
use super::page::wanted;
use super::program::Program;
use super::rules::{Check, Rule};
use muster_core::text::one_line;
use std::fmt::Write as _;

/// Longest text of a value, in characters.
// Limit: a value is one line of a file that people and programs read.
const TEXT_CHARS_MAX: usize = 400;

impl Report {
    /// The text of the `.dat` file. Rules are numbered from 1, in their order.
    pub fn dat(&self, program: &Program) -> String {
        let mut dat = String::new();
        for (number, (rule, finding)) in (1..).zip(program.rules().rules.iter().zip(&self.findings)) {
            let Rule { check, section, description, .. } = rule;
            let (kind, operator, expected, measured, tolerance) = match check {
                Check::Lines { kind, op, number } => (
                    kind.word(),
                    op.word().to_owned(),
                    number.to_string(),
                    finding.count.to_string(),
                    String::new(),
                ),
                Check::Value { expected, tolerance, .. } => {
                    let last = finding.values.last().map_or_else(|| "n/a".to_owned(), |v| v.text.clone());
                    ("value", wanted(rule), expected.to_string(), last, tolerance.written())
                }
            };
            let (pass, fail) = match check {
                Check::Value { .. } => (finding.passed, finding.failed),
                Check::Lines { .. } => (u64::from(finding.held), u64::from(!finding.held)),
            };
            let status = if finding.expired {
                "n/a"
            } else if finding.held {
                "PASS"
            } else {
                "FAIL"
            };
            let number: u32 = number;
            let (pass, fail) = (pass.to_string(), fail.to_string());
            put(
                &mut dat,
                &format!("rule-{number}"),
                &[
                    ("operator", &operator),
                    ("section", section),
                    ("desc", description),
                    ("status", status),
                    ("expected", &expected),
                    ("measured", &measured),
                    ("type", kind),
                    ("tolerance", &tolerance),
                    ("pass", &pass),
                    ("fail", &fail),
                ],
            );
        }
        let exit = self.exit_code().to_string();
        put(
            &mut dat,
            "final",
            &[("exit-code", &exit), ("exit-status", self.status.word()), ("message", &self.message)],
        );
        dat
    }
}

fn put(dat: &mut String, section: &str, keys: &[(&str, &str)]) {
    writeln!(dat, "[{section}]").ok();
    for (key, value) in keys {
        let value = one_line(value, TEXT_CHARS_MAX);
        let blank = if value.is_empty() { "" } else { " " };
        writeln!(dat, "{key}{blank}{value}").ok();
    }
    dat.push('\n');
}
