//! Megatest's test data: measured values with what they should be, as `megatest -load-test-data` reads them, and what
//! they make of a test whose status is AUTO.
//!
//! ```text
//! category,variable,value,expected,tolerance,units,comment,status,type
//! ```
//!
//! What follows the value may be left out. Its `-help` speaks of four columns; its code reads nine, and so does this.
//! Kept as text, as Megatest keeps it: a value need not be a number. Native tests write to `$MUSTER_MEASURES`, which
//! takes the same lines and is stricter ([`muster_core::judge::parse_measures`]): there, what makes no sense fails.

use super::status::Status;
use muster_core::attempt::Measured;
use muster_core::definition::Tolerance;
use muster_core::judge::{MeasureError, split_csv};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A line of test data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Datum {
    /// What it belongs to; for those of logpro, the step.
    pub category: String,
    /// What it is.
    pub variable: String,
    /// What it was.
    pub value: String,
    /// What it should be.
    pub expected: String,
    /// How far off it may be: a number, or `<`, `<=`, `>`, `>=`.
    pub tolerance: String,
    /// For people.
    pub units: String,
    /// For people.
    pub comment: String,
    /// What whoever wrote it says of it; empty and `n/a`: nothing.
    pub status: String,
    /// Where it comes from: `logpro`, or what users like.
    pub kind: String,
}

/// What a line of test data comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is as it should be.
    Pass,
    /// It is not.
    Fail,
    /// Nothing is expected of it, or something in words, or a status was given that is neither.
    Nothing,
    /// It cannot be told: the text that Megatest keeps as its status.
    Unclear(String),
}

impl Datum {
    /// The first rule of Megatest's that applies.
    pub fn judged(&self) -> Judged {
        match self.status.to_ascii_lowercase().as_str() {
            "pass" => return Judged::Pass,
            "fail" => return Judged::Fail,
            "" | "n/a" => {}
            _ => return Judged::Nothing,
        }
        let (Some(value), Some(expected)) = (number(&self.value), number(&self.expected)) else {
            return Judged::Nothing;
        };
        let tolerance = match self.tolerance.as_str() {
            "=" => Some(Tolerance::Within(0.0)),
            "" => None,
            text => Tolerance::parse(text),
        };
        match tolerance {
            Some(tolerance) if tolerance.holds(value, expected) => Judged::Pass,
            Some(_) => Judged::Fail,
            None => Judged::Unclear(format!("ERROR: bad tol comparator {}", self.tolerance)),
        }
    }

    /// The name it has among measured values: `category/variable`.
    pub fn name(&self) -> String {
        if self.category.is_empty() {
            self.variable.clone()
        } else {
            format!("{}/{}", self.category, self.variable)
        }
    }

    /// As a measured value of ours; `None` where it is no number.
    pub fn measured(&self) -> Option<Measured> {
        let value = number(&self.value)?;
        let good = match self.judged() {
            Judged::Pass => Some(true),
            Judged::Fail => Some(false),
            Judged::Nothing | Judged::Unclear(_) => None,
        };
        let expected = number(&self.expected);
        Some(Measured {
            name: self.name(),
            value,
            expected,
            tolerance: self.tolerance.clone(),
            units: self.units.clone(),
            good,
        })
    }
}

impl From<&Measured> for Datum {
    fn from(measured: &Measured) -> Self {
        let (category, variable) = measured.name.split_once('/').unwrap_or(("", &measured.name));
        let status = match measured.good {
            Some(true) => "pass",
            Some(false) => "fail",
            None => "n/a",
        };
        Self {
            category: category.to_owned(),
            variable: variable.to_owned(),
            value: measured.value.to_string(),
            expected: measured.expected.map_or_else(String::new, |e| e.to_string()),
            tolerance: measured.tolerance.clone(),
            units: measured.units.clone(),
            comment: String::new(),
            status: status.to_owned(),
            kind: String::new(),
        }
    }
}

/// A number as Scheme reads it: digits, a point, an exponent. No `inf` and `nan`.
fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|n: &f64| n.is_finite())
}

/// The lines of a text, and those that make no sense. Blank ones, and a line of headings, do not count; of two of the
/// same category and variable the later does.
pub fn read_csv(text: &str) -> (Vec<Datum>, Vec<MeasureError>) {
    let (mut data, mut errors) = (Vec::<Datum>::new(), Vec::new());
    let mut places = HashMap::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        match split_csv(text.trim()) {
            Ok(columns) if columns.len() < 3 || columns.len() > 9 => {
                let problem = format!("{} columns, of category, variable, value and six more", columns.len());
                errors.push(MeasureError { line, problem });
            }
            Ok(columns) if columns[..3] == ["category", "variable", "value"] => {}
            Ok(columns) => {
                let mut columns = columns.into_iter();
                let mut next = || columns.next().unwrap_or_default();
                let datum = Datum {
                    category: next(),
                    variable: next(),
                    value: next(),
                    expected: next(),
                    tolerance: next(),
                    units: next(),
                    comment: next(),
                    status: next(),
                    kind: next(),
                };
                match places.entry((datum.category.clone(), datum.variable.clone())) {
                    Entry::Occupied(place) => data[*place.get()] = datum,
                    Entry::Vacant(place) => {
                        place.insert(data.len());
                        data.push(datum);
                    }
                }
            }
            Err(problem) => errors.push(MeasureError { line, problem }),
        }
    }
    (data, errors)
}

/// The lines as CSV, as [`read_csv`] reads them; line ends within become blanks.
pub fn write_csv(data: &[Datum]) -> String {
    let mut text = String::new();
    for d in data {
        let columns = [
            &d.category,
            &d.variable,
            &d.value,
            &d.expected,
            &d.tolerance,
            &d.units,
            &d.comment,
            &d.status,
            &d.kind,
        ];
        let columns = columns.map(|column| column.replace(['\r', '\n'], " "));
        text.push_str(&csv_record(columns.iter().map(String::as_str)));
    }
    text
}

/// A record of CSV with its line end.
pub(crate) fn csv_record<'a>(columns: impl IntoIterator<Item = &'a str>) -> String {
    let mut record = String::new();
    for (i, column) in columns.into_iter().enumerate() {
        if i > 0 {
            record.push(',');
        }
        if column.contains([',', '"', '\r', '\n']) || column.trim() != column {
            record.extend(["\"", &column.replace('"', "\"\""), "\""]);
        } else {
            record.push_str(column);
        }
    }
    record.push('\n');
    record
}

/// The test data of a step that logpro looked at: from the text of its `.dat` file.
pub fn of_dat(step: &str, dat: &str) -> Vec<Datum> {
    let mut data: Vec<Datum> = Vec::new();
    for line in dat.lines() {
        if let Some(section) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            let (category, variable) = (step.to_owned(), section.to_owned());
            data.push(Datum { category, variable, kind: "logpro".to_owned(), ..Datum::default() });
            continue;
        }
        let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (Some(datum), value) = (data.last_mut(), value.trim().trim_matches('"').to_owned()) else {
            continue;
        };
        match key {
            "measured" | "exit-code" => datum.value = value,
            "expected" => datum.expected = value,
            "tolerance" => datum.tolerance = value,
            "desc" | "message" => datum.comment = value,
            "status" | "exit-status" => datum.status = value.to_lowercase(),
            _ => {}
        }
    }
    data
}

/// How many lines passed and failed, as the record of a test keeps it.
pub fn counts(data: &[Datum]) -> (u32, u32) {
    data.iter().fold((0, 0), |(pass, fail), datum| match datum.judged() {
        Judged::Pass => (pass + 1, fail),
        Judged::Fail => (pass, fail + 1),
        Judged::Nothing | Judged::Unclear(_) => (pass, fail),
    })
}

/// What test data make of a test's status: only AUTO is decided by them. AUTO-WARN is no better than WARN.
pub fn decide(status: &Status, data: &[Datum]) -> Status {
    let (pass, fail) = counts(data);
    match status {
        Status::Auto | Status::AutoWarn if fail > 0 => Status::Fail,
        Status::Auto if pass > 0 => Status::Pass,
        Status::AutoWarn => Status::Warn,
        unchanged => unchanged.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judged(value: &str, expected: &str, tolerance: &str, status: &str) -> Judged {
        let [value, expected, tolerance, status] = [value, expected, tolerance, status].map(str::to_owned);
        Datum { value, expected, tolerance, status, ..Datum::default() }.judged()
    }

    #[test]
    fn a_line_is_judged_by_the_first_rule_that_applies() {
        for (value, expected, tolerance, status, comes_to) in [
            // A status that is given wins over everything.
            ("1", "2", "0", "pass", Judged::Pass),
            ("1", "1", "0", "FAIL", Judged::Fail),
            ("1", "9", "0", "my own", Judged::Nothing),
            ("1", "1", "0", "n/a", Judged::Pass),
            // Within the tolerance, inclusive.
            ("12", "10", "2", "", Judged::Pass),
            ("8", "10", "2", "", Judged::Pass),
            ("12.01", "10", "2", "", Judged::Fail),
            ("2.0", "1.9", "0.1", "", Judged::Pass),
            ("1.0e9", "1e9", "0", "", Judged::Pass),
            // By comparison: value OP expected.
            ("5", "4", ">", "", Judged::Pass),
            ("4", "4", ">", "", Judged::Fail),
            ("4", "4", ">=", "", Judged::Pass),
            ("3", "4", "<", "", Judged::Pass),
            ("4", "4", "<", "", Judged::Fail),
            ("4", "4", "<=", "", Judged::Pass),
            ("4", "4", "=", "", Judged::Pass),
            // What cannot be told.
            ("4", "4", "~", "", Judged::Unclear("ERROR: bad tol comparator ~".into())),
            ("4", "4", "", "", Judged::Unclear("ERROR: bad tol comparator ".into())),
            ("4", "4", "-1", "", Judged::Unclear("ERROR: bad tol comparator -1".into())),
            ("4", "good", "1", "", Judged::Nothing),
            ("fine", "4", "1", "", Judged::Nothing),
            ("nan", "4", "1", "", Judged::Nothing),
            ("4", "", "", "", Judged::Nothing),
        ] {
            assert_eq!(
                judged(value, expected, tolerance, status),
                comes_to,
                "{value} {expected} {tolerance} {status}"
            );
        }
    }

    #[test]
    fn lines_are_read_with_quotes_and_blanks_and_without_their_last_columns() {
        let text = "category,variable,value\n foo, bar , 1.2, 1.9, >\nfoo,rab,1.0e9,10e9,1e9\n\
            foo,bla,1.2,1.9,<,,\"a, \"\"b\"\"\",pass,mine\nfoo,bar,7\n\nonly,two\nfoo,\"open\n";
        let (data, errors) = read_csv(text);
        let lines = write_csv(&data);
        assert_eq!(
            lines,
            "foo,bar,7,,,,,,\nfoo,rab,1.0e9,10e9,1e9,,,,\nfoo,bla,1.2,1.9,<,,\"a, \"\"b\"\"\",pass,mine\n",
            "of two of the same name the later counts"
        );
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("line 7 ") && errors[1].starts_with("line 8 "), "{errors:?}");
    }

    #[test]
    fn only_auto_is_decided_by_test_data() {
        let data = |lines: &[&str]| {
            let lines: Vec<String> =
                lines.iter().map(|status| format!("c,{status}-v,1,,,,,{status}")).collect();
            read_csv(&lines.join("\n")).0
        };
        for (status, lines, decided) in [
            ("AUTO", vec!["pass"], "PASS"),
            ("AUTO", vec!["pass", "fail"], "FAIL"),
            ("AUTO", vec!["n/a"], "AUTO"),
            ("AUTO", vec![], "AUTO"),
            ("AUTO-WARN", vec!["pass"], "WARN"),
            ("AUTO-WARN", vec!["fail"], "FAIL"),
            ("PASS", vec!["fail"], "PASS"),
            ("FAIL", vec!["pass"], "FAIL"),
        ] {
            assert_eq!(decide(&status.into(), &data(&lines)).word(), decided, "{status} {lines:?}");
        }
    }

    #[test]
    fn a_dat_file_becomes_test_data_of_its_step() {
        let dat = "[rule-1]\noperator =\ndesc \"Any error\"\nstatus FAIL\nexpected 0\nmeasured 2\ntype error\n\n\
            [final]\nexit-code 1\nexit-status FAIL\nmessage Any error: bad\n";
        assert_eq!(
            write_csv(&of_dat("build", dat)),
            "build,rule-1,2,0,,,Any error,fail,logpro\nbuild,final,1,,,,Any error: bad,fail,logpro\n"
        );
    }

    #[test]
    fn values_of_ours_and_test_data_are_the_same() {
        let (data, _) = read_csv("volt,out,1.89,1.9,0.1,V\n,plain,3\n");
        let measured: Vec<Measured> = data.iter().filter_map(Datum::measured).collect();
        assert_eq!(measured[0].name, "volt/out");
        assert_eq!((measured[0].good, measured[1].good), (Some(true), None));
        let back: Vec<Datum> = measured.iter().map(Datum::from).collect();
        assert_eq!(write_csv(&back), "volt,out,1.89,1.9,0.1,V,,pass,\n,plain,3,,,,,n/a,\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(columns in proptest::collection::vec("[a-z ,\"é]{0,6}", 9)) {
            let mut columns = columns;
            columns[1].insert(0, 'v');
            let text = csv_record(columns.iter().map(String::as_str));
            prop_assert_eq!(split_csv(text.trim_end_matches('\n')).unwrap(), columns);
        }

        #[test]
        fn no_text_takes_the_reader_down(text in "[a-z,\" \n\r]{0,80}") {
            let _any = read_csv(&text);
            let _any = of_dat("s", &text);
        }
    }
}
