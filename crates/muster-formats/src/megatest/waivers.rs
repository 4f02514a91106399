//! Waivers that carry over: a test that fails as it did when somebody waived it is waived again.
//!
//! ```text
//! [waivers]                         [waiver_rules]
//! bug_7 diff results/*.txt          numbers cmp_numbers.sh %file1% %file2%
//! bug_9 numbers out.csv
//! ```
//!
//! The result is waived, with the old comment, if the test fails now, was COMPLETED/WAIVED in the run before it for the
//! same target, and every rule finds the files of both runs alike enough. Here is what is decided and what is to be
//! run; finding the run before, the files, and running commands is the caller's.

use super::logpro::{Pattern, Program};
use super::status::{State, Status};
use globset::{GlobBuilder, GlobMatcher};
use std::collections::BTreeSet;

/// A line of `[waivers]`.
#[derive(Clone, Debug)]
pub struct Waiver {
    /// Its name, and that of its rule file: `NAME.logpro`.
    pub name: String,
    /// How its files are compared.
    pub rule: Rule,
    files: GlobMatcher,
}

/// How the files of both runs are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// They must not differ; where there is a rule file of the waiver's name, what `diff` says of them must pass it.
    Diff,
    /// This command must succeed, with `%file1%` (before), `%file2%` (now) and `%waivername%` in it.
    Command(String),
}

impl Waiver {
    /// Reads the lines of `[waivers]`, names and what follows them, with the rules of `[waiver_rules]`.
    ///
    /// # Errors
    /// Every line that cannot be used, with the reason.
    pub fn read(waivers: &[(&str, &str)], rules: &[(&str, &str)]) -> Result<Vec<Self>, Vec<String>> {
        let (mut read, mut problems) = (Vec::new(), Vec::new());
        for (name, line) in waivers {
            match Self::of_line(name, line, rules) {
                Ok(waiver) => read.push(waiver),
                Err(why) => problems.push(format!("waiver `{name}`: {why}")),
            }
        }
        if problems.is_empty() { Ok(read) } else { Err(problems) }
    }

    fn of_line(name: &str, line: &str, rules: &[(&str, &str)]) -> Result<Self, String> {
        let (rule, glob) =
            line.trim().split_once(char::is_whitespace).ok_or("it wants a rule and a glob of files")?;
        let of_section = rules.iter().rev().find(|(known, _)| *known == rule).map(|(_, command)| *command);
        let rule = match (of_section, rule) {
            (Some(command), _) => Rule::Command(command.to_owned()),
            (None, "diff" | "logpro") => Rule::Diff,
            (None, _) => {
                return Err(format!(
                    "`[waiver_rules]` has no `{rule}`, which is not built in as `diff` and `logpro` are"
                ));
            }
        };
        let glob =
            GlobBuilder::new(glob.trim()).literal_separator(true).build().map_err(|e| e.to_string())?;
        Ok(Self { name: name.to_string(), rule, files: glob.compile_matcher() })
    }

    /// The files to be compared, of those that either run has, relative to its directory.
    ///
    /// # Errors
    /// There is none, or one that the other run does not have: then nothing is carried over.
    pub fn pairs<'f>(&self, before: &[&'f str], now: &[&'f str]) -> Result<Vec<&'f str>, String> {
        let matching = |files: &[&'f str]| {
            files.iter().copied().filter(|file| self.files.is_match(file)).collect::<BTreeSet<&str>>()
        };
        let (before, now) = (matching(before), matching(now));
        if let Some(file) = before.symmetric_difference(&now).next() {
            let which = if now.contains(file) { "now" } else { "before" };
            return Err(format!("waiver `{}`: `{file}` is there only {which}", self.name));
        }
        if now.is_empty() {
            return Err(format!("waiver `{}`: no file matches `{}`", self.name, self.files.glob()));
        }
        Ok(now.into_iter().collect())
    }

    /// The line for a shell that compares two files, by their paths; paths are quoted. Where the waiver has a rule file,
    /// what [`Rule::Diff`] prints is then for [`passes`]. `None`: the rule is `diff`, so whoever can compare them
    /// otherwise may do so.
    pub fn command(&self, before: &str, now: &str) -> Option<String> {
        let Rule::Command(command) = &self.rule else { return None };
        // One after the other, so that a file whose name holds `%waivername%` is still that file.
        let mut line = String::with_capacity(command.len() + before.len() + now.len());
        let mut rest = command.as_str();
        let values = [("%file1%", before), ("%file2%", now), ("%waivername%", self.name.as_str())];
        while let Some((at, (key, value))) =
            values.iter().filter_map(|pair| rest.find(pair.0).map(|at| (at, *pair))).min_by_key(|(at, _)| *at)
        {
            line.extend([&rest[..at], &quoted(value)]);
            rest = &rest[at + key.len()..];
        }
        line.push_str(rest);
        Some(line)
    }
}

/// A word for a shell, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Whether what `diff` says of two files is waived: it says nothing, or the waiver's rules pass what it says.
pub fn passes(diff: &[u8], rules: Option<&Program>) -> bool {
    match rules {
        None => diff.is_empty(),
        Some(rules) => rules.evaluate(diff).exit_code() == 0,
    }
}

/// What a test was in the run before, for the same target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// Its state.
    pub state: State,
    /// Its status.
    pub status: Status,
    /// Why it was waived.
    pub comment: String,
}

/// Why a failure is not waived again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotCarried {
    /// It is no failure.
    NotFailed,
    /// It was not waived in the run before, or there is none.
    NotWaivedBefore,
    /// The test has no waivers.
    NoWaivers,
    /// This waiver does not hold.
    Differs(String),
}

/// Whether a test that came to this is waived again, and with which comment. `holds` says whether the files of a waiver
/// are alike enough; the first that are not end it.
///
/// # Errors
/// Why it is not.
pub fn carry_over(
    status: &Status,
    before: Option<&Before>,
    waivers: &[Waiver],
    mut holds: impl FnMut(&Waiver) -> bool,
) -> Result<String, NotCarried> {
    if *status != Status::Fail {
        return Err(NotCarried::NotFailed);
    }
    let waived = before.filter(|b| b.state == State::Completed && b.status == Status::Waived);
    let waived = waived.ok_or(NotCarried::NotWaivedBefore)?;
    if waivers.is_empty() {
        return Err(NotCarried::NoWaivers);
    }
    match waivers.iter().find(|waiver| !holds(waiver)) {
        Some(waiver) => Err(NotCarried::Differs(waiver.name.clone())),
        None => Ok(waived.comment.clone()),
    }
}

/// Whether a comment says enough for a waiver by hand: `[setup] waivercommentpatt`.
///
/// # Errors
/// The pattern cannot be used.
pub fn comment_fits(pattern: &str, comment: &str) -> Result<bool, String> {
    Ok(Pattern::new(pattern, "")?.is_match(comment.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::megatest::logpro::Rules;
    use jiff::civil::date;

    fn waivers() -> Vec<Waiver> {
        let rules = [("numbers", "cmp.sh %file1% %file2% > %waivername%.out")];
        Waiver::read(&[("bug_7", "diff results/*.txt"), ("bug_9", "numbers  out.csv")], &rules).unwrap()
    }

    #[test]
    fn a_failure_is_waived_again_where_everything_is_as_it_was() {
        let before = |state: &str, status: &str| {
            Some(Before { state: state.into(), status: status.into(), comment: "bug 7".into() })
        };
        let carried = |status: &str, before: Option<Before>, waivers: &[Waiver], failing: &str| {
            carry_over(&status.into(), before.as_ref(), waivers, |w| w.name != failing)
        };
        let waived = before("COMPLETED", "WAIVED");
        assert_eq!(carried("FAIL", waived.clone(), &waivers(), ""), Ok("bug 7".into()));
        assert_eq!(
            carried("FAIL", waived.clone(), &waivers(), "bug_9"),
            Err(NotCarried::Differs("bug_9".into()))
        );
        assert_eq!(carried("FAIL", waived.clone(), &[], ""), Err(NotCarried::NoWaivers));
        for status in ["PASS", "WARN", "ABORT", "CHECK"] {
            assert_eq!(
                carried(status, waived.clone(), &waivers(), ""),
                Err(NotCarried::NotFailed),
                "{status}"
            );
        }
        for other in
            [None, before("COMPLETED", "FAIL"), before("RUNNING", "WAIVED"), before("ARCHIVED", "WAIVED")]
        {
            assert_eq!(carried("FAIL", other, &waivers(), ""), Err(NotCarried::NotWaivedBefore));
        }
    }

    #[test]
    fn files_of_both_runs_are_paired_by_their_names() {
        let waiver = &waivers()[0];
        let files = ["results/a.txt", "results/b.txt", "results/sub/c.txt", "other.txt"];
        assert_eq!(waiver.pairs(&files, &files[..2]), Ok(vec!["results/a.txt", "results/b.txt"]));
        let only = waiver.pairs(&files, &files[..1]).unwrap_err();
        assert_eq!(only, "waiver `bug_7`: `results/b.txt` is there only before");
        assert_eq!(waiver.pairs(&[], &[]).unwrap_err(), "waiver `bug_7`: no file matches `results/*.txt`");
    }

    #[test]
    fn a_hostile_file_name_stays_a_word_of_the_command() {
        let waivers = waivers();
        assert_eq!(waivers[0].command("a", "b"), None);
        assert_eq!(
            waivers[1].command("/old/it's; rm -rf %file2%", "/new/$(x)").unwrap(),
            r"cmp.sh '/old/it'\''s; rm -rf %file2%' '/new/$(x)' > 'bug_9'.out"
        );
    }

    #[test]
    fn what_diff_says_is_judged_by_the_waivers_rules() {
        assert!(passes(b"", None) && !passes(b"1c1\n", None));
        let rules = r#"(expect:ignore in "LogFileBody" >= 0 "times" #/time:/)
                       (expect:error in "LogFileBody" = 0 "anything else" #/^[<>]/)"#;
        let rules = Program::new(Rules::read(&[("bug_7.logpro", rules)]).unwrap(), date(2026, 1, 1)).unwrap();
        assert!(passes(b"1c1\n< time: 1\n---\n> time: 2\n", Some(&rules)));
        assert!(!passes(b"1c1\n< volt: 1\n---\n> volt: 2\n", Some(&rules)));
    }

    #[test]
    fn lines_that_cannot_be_used_are_told() {
        let problems = Waiver::read(&[("a", "diff"), ("b", "none x"), ("c", "diff {a")], &[]).unwrap_err();
        assert_eq!(problems[0], "waiver `a`: it wants a rule and a glob of files");
        assert!(problems[1].starts_with("waiver `b`: `[waiver_rules]` has no `none`"), "{problems:?}");
        assert_eq!(problems.len(), 3);
    }

    #[test]
    fn a_comment_must_fit_the_pattern() {
        assert_eq!(comment_fits(r"^(HSD|bug) \d+", "bug 17: known"), Ok(true));
        assert_eq!(comment_fits(r"^(HSD|bug) \d+", "whatever"), Ok(false));
        assert!(comment_fits("(", "x").is_err());
    }
}
