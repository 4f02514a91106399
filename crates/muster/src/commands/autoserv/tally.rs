//! What the lines of a status log come to.

use std::collections::BTreeMap;
use std::fmt;

/// What the tests of a job came to, and where the job stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// By the word of the status log: `GOOD`, `FAIL`, ….
    tests: BTreeMap<String, usize>,
    /// Directories of tests that have ended and were not collected yet.
    pub(super) to_collect: Vec<String>,
    stand: Stand,
}

/// Where a job stands, by its last line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stand {
    /// It goes on.
    #[default]
    Open,
    /// The device is about to reboot.
    Reboots,
    /// The job has ended; whether it said that it was aborted.
    Ended { aborted: bool },
}

impl Tally {
    /// The next line.
    pub(super) fn add(&mut self, line: &str) {
        let columns: Vec<&str> = line.trim_start_matches('\t').split('\t').collect();
        let [code, subdir, operation, ..] = *columns else { return };
        self.stand = Stand::Open;
        match (code.strip_prefix("END "), subdir, operation) {
            (Some(word), "----", "----") => self.stand = Stand::Ended { aborted: word == "ABORT" },
            (Some(_), "----", _) => {}
            (Some(word), subdir, _) => {
                *self.tests.entry(word.to_owned()).or_default() += 1;
                // It names a directory below the job's; others are not looked for.
                let is_inside = !subdir.starts_with('/') && !subdir.split('/').any(|part| part == "..");
                self.to_collect.extend(is_inside.then(|| subdir.to_owned()));
            }
            (None, "----", "reboot.start") if code == "GOOD" => self.stand = Stand::Reboots,
            (None, _, _) => {}
        }
    }

    pub(super) fn stand(&self) -> Stand {
        self.stand
    }

    /// Its log is whole.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stand, Stand::Ended { .. })
    }

    /// Nothing is worse than a warning, and the job was not aborted.
    pub(super) fn is_good(&self) -> bool {
        let good = |word: &String| matches!(word.as_str(), "GOOD" | "WARN" | "TEST_NA");
        self.stand == Stand::Ended { aborted: false } && self.tests.keys().all(good)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tests.is_empty() {
            return write!(f, "no test ran");
        }
        for (place, (word, n)) in self.tests.iter().enumerate() {
            write!(f, "{}{n} {word}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.add(line));
        tally
    }

    #[test]
    fn a_job_is_good_only_when_it_has_ended_and_nothing_failed() {
        let begin = ["START\t----\t----\ttimestamp=1\t", "\tSTART\ta.b\ta\ttimestamp=1\t"];
        let end = "END GOOD\t----\t----\ttimestamp=3\t";
        let with = |word: &str| {
            let test = format!("\tEND {word}\ta.b\ta\ttimestamp=2\t");
            tally(&[begin[0], begin[1], &test, end])
        };
        for (word, good) in [
            ("GOOD", true),
            ("WARN", true),
            ("TEST_NA", true),
            ("FAIL", false),
            ("ERROR", false),
            ("ABORT", false),
        ] {
            assert_eq!(with(word).is_good(), good, "{word}");
        }
        assert_eq!(with("FAIL").to_string(), "1 FAIL");
        assert_eq!(with("FAIL").to_collect, ["a.b"]);
        assert!(!tally(&begin).is_good(), "it has not ended");
        assert!(!tally(&["END ABORT\t----\t----\ttimestamp=3\tx"]).is_good());
        assert_eq!(tally(&["\tGOOD\t----\treboot.start\ttimestamp=3\t"]).stand(), Stand::Reboots);
        assert!(tally(&["\tEND GOOD\t../../etc\tx\ttimestamp=1\t"]).to_collect.is_empty());
        assert!(tally(&["\tEND GOOD\t/etc\tx\ttimestamp=1\t"]).to_collect.is_empty());
    }
}
