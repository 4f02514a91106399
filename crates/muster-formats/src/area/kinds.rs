//! `kinds.toml`: kinds of devices, how they are verified and repaired. Read by the server.
//!
//! It is read by the same machinery as `muster.toml`, so its errors are of the same form; it has no layers and
//! no interpolation.

use super::decode::section;
use super::error::{Complaints, ConfigError};
use super::file::{CommandValue, List, Positive};
use super::layers::parse_text;
use super::scalar::{Span, SpanOrNone};
use super::source::{At, Sources};
use super::{conditions, decode};
use muster_core::definition::Line;
use muster_core::kind::{DeviceKind, Repair, Verifier};
use std::collections::BTreeSet;
use std::time::Duration;

/// The kinds a server has that has no file of them.
pub const DEFAULT: &str = include_str!("kinds.toml");

section! {
    /// Kinds of devices.
    KindsFile {
        /// The kinds, by name. A device is of the first that matches it.
        "kind" kind: decode::Table<KindKeys>,
    }
}

section! {
    /// A kind of device.
    KindKeys {
        /// Which devices are of it: CEL over `labels`, `name` and `host`.
        "match" matches: String,
        /// How often a device is checked that nothing is known against, and checked before its first work; "none" (default): only when something asks for it.
        "check-every" check_every: SpanOrNone,
        /// What asks for a check; by default all of "lab-error", "failures" and "restart".
        "check-after" check_after: List<OccasionWord>,
        /// So many attempts in a row that failed where siblings pass count as "failures" (default 3).
        "failures" failures: Positive,
        /// A device that passes its checks and misbehaves in the same way so often, more than its siblings do, is quarantined (default 3).
        "offences" offences: Positive,
        /// The time within which that counts (default 1d).
        "offences-within" offences_within: Span,
        /// A quarantine by the lab lasts no longer; "none" (default): until a check is passed or a person releases the device.
        "quarantine-for" quarantine: SpanOrNone,
        /// Commands that say whether something of the device is as it should be, by name.
        "verify" verify: decode::Table<VerifyKeys>,
        /// Commands that may mend the device, by name.
        "repair" repair: decode::Table<RepairKeys>,
    }
}

section! {
    /// A command that says whether something of a device is as it should be.
    VerifyKeys {
        /// A line for the shell, or program and arguments. Run on the agent's host; exit code 0: it is as it should be.
        "run" run: CommandValue,
        /// Its limit (default 1m).
        "timeout" timeout: Span,
        /// Verifiers that must have passed before it is run.
        "after" after: List<String>,
        /// For people.
        "description" description: String,
    }
}

section! {
    /// A command that may mend a device.
    RepairKeys {
        /// A line for the shell, or program and arguments. Run on the agent's host.
        "run" run: CommandValue,
        /// Its limit (default 10m).
        "timeout" timeout: Span,
        /// The verifiers it may make pass; by default any.
        "fixes" fixes: List<String>,
        /// The cheapest that can fix what failed is tried first (default 1).
        "cost" cost: u32,
        /// It is not tried again within this time (default 0s).
        "cool-down" cool_down: Span,
        /// How often it is tried before the device has been good again (default 1).
        "tries" tries: Positive,
        /// For people.
        "description" description: String,
    }
}

/// What asks for a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::area) enum Occasion {
    LabError,
    Failures,
    Restart,
}

decode::words! { OccasionWord: Occasion {
    "lab-error" => Occasion::LabError,
    "failures" => Occasion::Failures,
    "restart" => Occasion::Restart,
} }

/// Reads kinds.
///
/// # Errors
/// All that could be found wrong, in the order of the text; at least one.
pub fn load(name: &str, text: &str) -> Result<Vec<DeviceKind>, Vec<ConfigError>> {
    let (mut sources, mut complaints) = (Sources::default(), Complaints::default());
    let file = parse_text(&mut sources, name, text, &mut complaints, |node, cx| {
        <KindsFile as decode::Decode>::decode(node, cx)
    });
    let mut reader = Reader { sources: &sources, complaints };
    let mut kinds = Vec::new();
    for (name, keys) in file.and_then(|f| f.kind).into_iter().flat_map(|k| k.value.0) {
        kinds.extend(reader.kind(&name, keys));
    }
    let Reader { complaints, .. } = reader;
    let failed = complaints.has_errors();
    let (errors, _) = complaints.finish(&sources);
    if failed { Err(errors) } else { Ok(kinds) }
}

struct Reader<'a> {
    sources: &'a Sources,
    complaints: Complaints,
}

impl Reader<'_> {
    fn kind(&mut self, name: &At<String>, keys: At<KindKeys>) -> Option<DeviceKind> {
        let pos = keys.pos;
        let KindKeys {
            matches,
            check_every,
            check_after,
            failures,
            offences,
            offences_within,
            quarantine,
            verify,
            repair,
        } = keys.value;
        self.name(name);
        let Some(matches) = matches else {
            self.complaints
                .error(name.pos, format!("kind `{}` does not say which devices are of it", name.value))
                .hint("for instance `match = 'labels.kind == \"board\"'`");
            return None;
        };
        let matches = conditions::selector(&matches, self.sources, &mut self.complaints);
        let after: BTreeSet<Occasion> = match &check_after {
            Some(words) => words.value.iter().map(|w| w.value.0).collect(),
            None => [Occasion::LabError, Occasion::Failures, Occasion::Restart].into(),
        };
        let verify = verify.map(|v| v.value.0).unwrap_or_default();
        let known: Vec<String> = verify.iter().map(|(name, _)| name.value.clone()).collect();
        let verifiers: Vec<_> =
            verify.into_iter().filter_map(|(n, v)| self.verifier(&n, v, &known)).collect();
        let repair = repair.map(|r| r.value.0).unwrap_or_default();
        let repairs: Vec<_> = repair.into_iter().filter_map(|(n, r)| self.repair(&n, r, &known)).collect();
        if verifiers.is_empty() {
            let without = check_every.as_ref().map(|c| c.pos).or(repairs.first().map(|_| pos));
            if let Some(without) = without {
                self.complaints
                    .error(
                        without,
                        format!("kind `{}` has no verifier that a check could be made of", name.value),
                    )
                    .hint(format!("add `[kind.{}.verify.NAME]` with a `run`", name.value));
            }
        }
        let failures = failures.map_or(3, |f| f.value.0);
        let kind = DeviceKind {
            name: name.value.clone(),
            matches: matches?,
            check_every: check_every.and_then(|c| c.value.0),
            after_lab_error: after.contains(&Occasion::LabError),
            failures_max: after.contains(&Occasion::Failures).then_some(failures),
            after_restart: after.contains(&Occasion::Restart),
            offences_max: offences.map_or(3, |o| o.value.0),
            offences_within: offences_within.map_or(Duration::from_secs(86_400), |o| o.value.0),
            quarantine_max: quarantine.and_then(|q| q.value.0),
            verifiers,
            repairs,
        };
        if let Err(e) = kind.plan() {
            self.complaints
                .error(pos, format!("the verifiers of kind `{}` cannot be put in an order", kind.name))
                .cause(e.to_string());
        }
        Some(kind)
    }

    /// Names become names of tests, which are parts of addresses.
    fn name(&mut self, name: &At<String>) {
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '#' | ',');
        if name.value.is_empty() || name.value.contains(bad) {
            self.complaints
                .error(name.pos, format!("`{}` cannot be a name", decode::printable(&name.value)))
                .hint("names have no blanks and no `/`, `#` or `,`");
        }
    }

    fn line(&mut self, what: &str, name: &At<String>, run: Option<At<CommandValue>>) -> Option<Line> {
        let Some(run) = run else {
            self.complaints
                .error(name.pos, format!("{what} `{}` does not say what to run", name.value))
                .hint("for instance `run = \"muster device wait --timeout 30s\"`");
            return None;
        };
        let line = match run.value {
            CommandValue::Shell(line) if !line.trim().is_empty() => Line::Shell(line),
            CommandValue::Argv(argv) if argv.first().is_some_and(|p| !p.value.is_empty()) => {
                Line::Argv(argv.into_iter().map(|a| a.value).collect())
            }
            CommandValue::Shell(_) | CommandValue::Argv(_) => {
                self.complaints.error(run.pos, "there is no command in this");
                return None;
            }
        };
        Some(line)
    }

    /// Names of verifiers, each of which there must be.
    fn names(&mut self, names: Option<At<List<String>>>, known: &[String]) -> Vec<String> {
        let names = names.map(|n| n.value).unwrap_or_default();
        for name in &names {
            if !known.contains(&name.value) {
                let hint = self.complaints.nearest(&name.value, known.iter().map(String::as_str));
                let message =
                    format!("there is no verifier `{}` in this kind", decode::printable(&name.value));
                self.complaints.error(name.pos, message).maybe_hint(hint);
            }
        }
        names.into_iter().map(|n| n.value).filter(|n| known.contains(n)).collect()
    }

    fn verifier(&mut self, name: &At<String>, keys: At<VerifyKeys>, known: &[String]) -> Option<Verifier> {
        let VerifyKeys { run, timeout, after, description } = keys.value;
        self.name(name);
        let after = self.names(after, known);
        let run = self.line("verifier", name, run)?;
        Some(Verifier {
            name: name.value.clone(),
            run,
            timeout: timeout.map_or(Duration::from_secs(60), |t| t.value.0),
            after,
            description: description.map(|d| d.value).unwrap_or_default(),
        })
    }

    fn repair(&mut self, name: &At<String>, keys: At<RepairKeys>, known: &[String]) -> Option<Repair> {
        let RepairKeys { run, timeout, fixes, cost, cool_down, tries, description } = keys.value;
        self.name(name);
        let fixes = self.names(fixes, known);
        let run = self.line("repair", name, run)?;
        Some(Repair {
            name: name.value.clone(),
            run,
            timeout: timeout.map_or(Duration::from_secs(600), |t| t.value.0),
            fixes,
            cost: cost.map_or(1, |c| c.value),
            cool_down: cool_down.map_or(Duration::ZERO, |c| c.value.0),
            tries: tries.map_or(1, |t| u16::try_from(t.value.0).unwrap_or(u16::MAX)),
            description: description.map(|d| d.value).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn errors(text: &str, expected: Expect) {
        let errors = load("kinds.toml", text).expect_err("it is wrong");
        expected.assert_eq(&errors.iter().map(|e| format!("{e}\n")).collect::<String>());
    }

    #[test]
    fn the_default_kinds_are_well_formed_and_say_what_the_defaults_are() {
        let kinds = load("kinds.toml", DEFAULT).unwrap();
        assert_eq!(kinds.len(), 1);
        let kind = &kinds[0];
        assert_eq!((kind.name.as_str(), kind.failures_max, kind.check_every), ("device", Some(3), None));
        assert_eq!(kind.verifiers.len(), 1);
    }

    #[test]
    fn everything_that_can_be_written_is_read() {
        let text = r#"
            [kind.board]
            match = 'labels.kind == "board"'
            check-every = "6h"
            check-after = ["failures"]
            failures = 5
            offences = 2
            offences-within = "2d"
            quarantine-for = "12h"

            [kind.board.verify.link]
            run = "muster device wait --timeout 30s"
            [kind.board.verify.disk]
            run = ["muster", "device", "shell", "df /data"]
            timeout = "2m"
            after = ["link"]

            [kind.board.repair.power-cycle]
            run = "relay off; relay on"
            fixes = ["link"]
            cost = 5
            cool-down = "10m"
            tries = 2
            description = "the relay board in rack 3"
        "#;
        let kind = load("kinds.toml", text).unwrap().pop().unwrap();
        assert_eq!(kind.check_every, Some(Duration::from_secs(6 * 3600)));
        assert_eq!((kind.after_lab_error, kind.failures_max, kind.after_restart), (false, Some(5), false));
        assert_eq!((kind.offences_max, kind.quarantine_max), (2, Some(Duration::from_secs(12 * 3600))));
        assert_eq!(kind.verifiers[1].after, ["link"]);
        assert_eq!((kind.repairs[0].cost, kind.repairs[0].tries), (5, 2));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_what_would_be_right() {
        errors(
            "[kind.board]\nmatch = 'lables.kind == \"b\"'\ncheck-evry = '6h'\n",
            expect![[r#"
                error: unknown name `lables`
                 --> kinds.toml:2:10
                2 | match = 'lables.kind == "b"'
                  |          ^^^^^^
                hint: did you mean `labels`?
                error: unknown key `check-evry` in `[kind.board]`
                 --> kinds.toml:3:1
                3 | check-evry = '6h'
                  | ^^^^^^^^^^
                hint: did you mean `check-every`?
            "#]],
        );
        errors(
            "[kind.board]\nmatch = 'true'\n[kind.board.verify.link]\nrun = 'x'\n[kind.board.repair.cycle]\nrun = 'x'\nfixes = ['lnik']\n",
            expect![[r#"
                error: there is no verifier `lnik` in this kind
                 --> kinds.toml:7:10
                7 | fixes = ['lnik']
                  |          ^^^^^^
                hint: did you mean `link`?
            "#]],
        );
        errors(
            "[kind.board]\nmatch = 'true'\ncheck-every = '1h'\n[kind.other]\n[kind.third]\nmatch = 'name ='\n",
            expect![[r#"
                error: kind `board` has no verifier that a check could be made of
                 --> kinds.toml:3:15
                3 | check-every = '1h'
                  |               ^^^^
                hint: add `[kind.board.verify.NAME]` with a `run`
                error: kind `other` does not say which devices are of it
                 --> kinds.toml:4:7
                4 | [kind.other]
                  |       ^^^^^
                hint: for instance `match = 'labels.kind == "board"'`
                error: not a CEL expression: token recognition error at: '='
                 --> kinds.toml:6:15
                6 | match = 'name ='
                  |               ^
            "#]],
        );
        errors(
            "[kind.board]\nmatch = 'true'\n[kind.board.verify.a]\nrun = 'x'\nafter = ['b']\n[kind.board.verify.b]\nafter = ['a']\nrun = 'y'\n",
            expect![[r#"
                error: the verifiers of kind `board` cannot be put in an order
                 --> kinds.toml:1:1
                1 | [kind.board]
                  | ^^^^^^^^^^^^
                  caused by: these tests wait for each other: verify.a -> verify.b -> verify.a
            "#]],
        );
    }
}
