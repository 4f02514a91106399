//! `ctest`: the tests of a CMake build tree, each run directly: `ctest` itself is only asked for them.

use super::bytes::parse_env;
use super::single::SingleReader;
use super::template::shown;
use super::{Answer, Ask, Discovery, DiscoveryError, End, Judge, Launch, LaunchItem, SuiteCommand, paths};
use muster_core::attempt::Cause;
use muster_core::definition::Line;
use muster_core::exchange::{Found, FoundItem, Group};
use muster_core::outcome::Outcome;
use regex::RegexBuilder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

pub(super) struct CtestDiscovery {
    build_dir: String,
    args: Vec<String>,
    /// The environment that `ENVIRONMENT_MODIFICATION` modifies.
    base_env: Option<Vec<(String, String)>>,
}

/// What judges a test's process, from its properties; the item's selector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Rules {
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pass: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fail: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skip: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_code: Option<i32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    will_fail: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unset: Vec<String>,
}

#[derive(Deserialize)]
struct Listing {
    #[serde(default)]
    tests: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    /// Missing where the program has not been built.
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    properties: Vec<Property>,
}

#[derive(Deserialize)]
struct Property {
    name: String,
    value: Value,
}

impl CtestDiscovery {
    pub(super) fn new(build_dir: &str, args: &[String]) -> Self {
        Self { build_dir: build_dir.to_owned(), args: args.to_vec(), base_env: None }
    }

    fn command(&self) -> Line {
        let own = ["ctest", "--show-only=json-v1"].map(str::to_owned);
        Line::Argv(own.into_iter().chain(self.args.iter().cloned()).collect())
    }

    fn found(&self, stdout: &[u8]) -> Result<Found, DiscoveryError> {
        let unreadable = |detail| DiscoveryError::Unreadable { command: shown(&self.command()), detail };
        // A line of CTestCustom output may stand before the object.
        let from = stdout.iter().position(|b| *b == b'{').unwrap_or(0);
        let listing: Listing =
            serde_json::from_slice(&stdout[from..]).map_err(|e| unreadable(e.to_string()))?;
        let mut found = Found::default();
        for test in listing.tests {
            let group = u32::try_from(found.groups.len()).unwrap_or(u32::MAX);
            let (group_def, item) = self.item(test, group);
            found.groups.push(group_def);
            found.items.push(item);
        }
        paths::make_unique(&mut found.items);
        Ok(found)
    }

    fn item(&self, test: Listed, group: u32) -> (Group, FoundItem) {
        let mut rules = Rules { name: test.name.clone(), ..Rules::default() };
        let mut program =
            Group { name: test.name.clone(), argv: test.command, batch_max: 1, ..Group::default() };
        program.dir.clone_from(&self.build_dir);
        let mut item = FoundItem { path: paths::clean(&test.name), group, ..FoundItem::default() };
        let mut modify = Vec::new();
        for Property { name, value } in test.properties {
            match name.as_str() {
                "WORKING_DIRECTORY" => program.dir = text(&value),
                "ENVIRONMENT" => program.env.extend(list(&value).iter().filter_map(|v| pair(v))),
                "ENVIRONMENT_MODIFICATION" => modify = list(&value),
                "TIMEOUT" => {
                    let secs = value.as_f64().or_else(|| text(&value).parse().ok()).filter(|s| *s > 0.0);
                    item.timeout = secs.and_then(|s| Duration::try_from_secs_f64(s).ok());
                }
                "WILL_FAIL" => rules.will_fail = truth(&value),
                "PASS_REGULAR_EXPRESSION" => rules.pass = list(&value),
                "FAIL_REGULAR_EXPRESSION" => rules.fail = list(&value),
                "SKIP_REGULAR_EXPRESSION" => rules.skip = list(&value),
                "SKIP_RETURN_CODE" => {
                    rules.skip_code = value
                        .as_i64()
                        .or_else(|| text(&value).parse().ok())
                        .and_then(|n| i32::try_from(n).ok());
                }
                "DISABLED" if truth(&value) => item.skip = Some("DISABLED".to_owned()),
                _ => {}
            }
        }
        for op in &modify {
            self.modify(op, &mut program.env, &mut rules.unset);
        }
        item.selector = serde_json::to_string(&rules).unwrap_or_default();
        (program, item)
    }

    /// One `VAR=OP:VALUE`.
    fn modify(&self, change: &str, env: &mut Vec<(String, String)>, unset: &mut Vec<String>) {
        let Some((var, op)) = change.split_once('=') else { return };
        let (op, value) = op.split_once(':').unwrap_or((op, ""));
        let of = |env: &[(String, String)]| env.iter().rfind(|(k, _)| k == var).map(|(_, v)| v.clone());
        let base = || of(self.base_env.as_deref().unwrap_or_default());
        let old = if unset.iter().any(|u| u == var) { None } else { of(env).or_else(base) };
        let joined = |separator: &str, append: bool| match old.as_deref().filter(|o| !o.is_empty()) {
            None => value.to_owned(),
            Some(old) if append => format!("{old}{separator}{value}"),
            Some(old) => format!("{value}{separator}{old}"),
        };
        let new = match op {
            "set" => Some(value.to_owned()),
            "string_append" => Some(joined("", true)),
            "string_prepend" => Some(joined("", false)),
            "path_list_append" => Some(joined(":", true)),
            "path_list_prepend" => Some(joined(":", false)),
            "cmake_list_append" => Some(joined(";", true)),
            "cmake_list_prepend" => Some(joined(";", false)),
            "reset" => base(),
            "unset" => None,
            _ => return,
        };
        env.retain(|(k, _)| k != var);
        unset.retain(|u| u != var);
        match new {
            Some(new) => env.push((var.to_owned(), new)),
            None => unset.push(var.to_owned()),
        }
    }
}

impl Discovery for CtestDiscovery {
    fn next(&mut self, answer: Option<Answer>) -> Ask {
        let Some(Answer::Ran { end, stdout, stderr, .. }) = answer else {
            return Ask::Run(SuiteCommand::plain(Line::Argv(vec!["env".to_owned(), "-0".to_owned()])));
        };
        if self.base_env.is_none() {
            self.base_env = Some(parse_env(&stdout));
            return Ask::Run(SuiteCommand {
                dir: self.build_dir.clone(),
                ..SuiteCommand::plain(self.command())
            });
        }
        Ask::Done(if end == End::Exit(0) {
            self.found(&stdout)
        } else {
            let command = shown(&self.command());
            Err(DiscoveryError::Failed { command, end, detail: super::tail(&stderr) })
        })
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A CMake list: an array, or one string.
fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(all) => all.iter().map(text).collect(),
        one => vec![text(one)],
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Bool(b) => *b,
        other => matches!(text(other).to_ascii_uppercase().as_str(), "1" | "ON" | "TRUE" | "YES" | "Y"),
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    text.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))
}

pub(super) fn launch(group: &Group, items: &[LaunchItem<'_>], log_max: usize) -> Launch {
    let selector = items.first().map_or("", |i| i.selector);
    let rules: Rules = serde_json::from_str(selector).unwrap_or_default();
    let argv = if group.argv.is_empty() {
        let why = "echo 'ctest knows no program for this test: has it been built?' >&2; exit 127";
        ["/bin/sh", "-c", why].map(str::to_owned).to_vec()
    } else {
        group.argv.clone()
    };
    let unset = rules.unset.clone();
    Launch {
        line: Line::Argv(argv),
        dir: group.dir.clone(),
        env: group.env.clone(),
        unset,
        report: false,
        judge: Judge::Reader(Box::new(SingleReader::new(
            log_max,
            Box::new(move |end, out| judge(&rules, end, out)),
        ))),
    }
}

/// Outcome, cause and message.
type Judged = (Outcome, Cause, String);

/// CTest's own judgement (`cmCTestRunTest::EndTest`). Patterns are looked for in all of the output, and
/// `.` is any character, also a line's end, as in CMake's own expressions.
fn judge(rules: &Rules, end: &End, output: &str) -> Option<Judged> {
    let End::Exit(code) = end else { return None };
    let found = |patterns: &[String]| -> Result<Option<String>, Judged> {
        for pattern in patterns {
            let regex = RegexBuilder::new(pattern).dot_matches_new_line(true).build().map_err(|e| {
                let why = format!("`{pattern}` is no regular expression here: {e}");
                (
                    Outcome::Error,
                    Cause::Lab(why.clone()),
                    super::shorten(&why.replace('\n', " ")).into_owned(),
                )
            })?;
            if regex.is_match(output) {
                return Ok(Some(pattern.clone()));
            }
        }
        Ok(None)
    };
    let decide = || -> Result<Option<Judged>, Judged> {
        if let Some(pattern) = found(&rules.skip)? {
            return Ok(Some((
                Outcome::Skip,
                Cause::LogRule(pattern.clone()),
                format!("the output has `{pattern}`"),
            )));
        }
        if rules.skip_code == Some(*code) {
            return Ok(Some((Outcome::Skip, Cause::Exit(*code), format!("exit code {code}"))));
        }
        let missing = !rules.pass.is_empty() && found(&rules.pass)?.is_none();
        let wrong = found(&rules.fail)?;
        let success = !missing && wrong.is_none() && (*code == 0 || !rules.pass.is_empty());
        if success != rules.will_fail {
            return Ok(Some((Outcome::Pass, Cause::Exit(*code), String::new())));
        }
        let because = match (wrong, missing) {
            _ if rules.will_fail => {
                ("it succeeded, which `WILL_FAIL` forbids".to_owned(), Cause::Exit(*code))
            }
            (Some(pattern), _) => (format!("the output has `{pattern}`"), Cause::LogRule(pattern)),
            (None, true) => (
                format!("the output has no `{}`", rules.pass.join("` or `")),
                Cause::LogRule(rules.pass.join("|")),
            ),
            (None, false) => return Ok(None),
        };
        Ok(Some((Outcome::Fail, because.1, because.0)))
    };
    decide().unwrap_or_else(Some)
}
