//! Tests: what they share with suites, their commands and steps.

use super::decode::{Table, printable};
use super::file::{
    CommandValue, CommonKeys, List, LogKeys, MeasureKeys, PushKeys, PushValue, RetriesValue, Settings,
    StepKeys, StepValue, TestKeys, ToleranceValue,
};
use super::limits::check_variable;
use super::names::{Space, Use};
use super::packages::{check_package, check_profiler};
use super::resolve::{Resolver, TestPlaces};
use super::scalar::{OneOrMore, Scalar};
use super::source::{At, Pos};
use super::words::{Compare, ExitOutcome};
use super::{conditions, items, logpro};
use muster_core::definition::{
    Command, Count, DeviceFiles, ExpectedOutput, FROM_DEVICE, Items, Kind, Limits, Line, LogRule,
    MeasureRule, Needs, PassRule, Place, Push, Retries, Step, TO_DEVICE, TestDef, Tolerance,
};
use muster_core::outcome::Outcome;
use std::collections::HashSet;

impl<'a> Resolver<'a, '_> {
    /// Makes a test; of no use after a complaint.
    pub(super) fn test(&mut self, name: &At<String>, keys: &'a TestKeys) -> (TestDef, TestPlaces) {
        self.names.begin_test(items::variables(keys));
        self.local_env(&keys.common);
        let place = self.place(&keys.common);
        let steps = self.steps(name, keys, place);
        let listed = items::listed(keys, &mut self.names, self.complaints);
        let items = match (&keys.items_from, listed) {
            (Some(command), None) => {
                Items::Command(Command { line: self.command(command), dir: None, env: Vec::new() })
            }
            (Some(command), Some(_)) => {
                let complaint = self.complaints.error(command.pos, "items are both listed and asked for");
                complaint.hint("`items-from` goes alone");
                Items::None
            }
            (None, Some(items)) => items,
            (None, None) => Items::None,
        };
        let logpro = keys.logpro.as_ref().and_then(|l| logpro::rules(l, self));
        let (mut test, mut places) = self.common(name, &keys.common, Kind::Steps { steps, items });
        test.pass.logpro = logpro;
        places.extend(keys.logpro.as_ref().map(|l| ("logpro", l.pos)));
        (test, places)
    }

    /// Defines a test's own environment for interpolation.
    pub(super) fn local_env(&mut self, keys: &CommonKeys) {
        for (key, value) in keys.env.iter().flat_map(|e| &e.value.0) {
            if check_variable(key, self.complaints) {
                self.names.define(Space::Local, key, At { value: value.value.0.clone(), pos: value.pos });
            }
        }
    }

    /// What tests and suites share.
    pub(super) fn common(
        &mut self,
        name: &At<String>,
        keys: &'a CommonKeys,
        kind: Kind,
    ) -> (TestDef, TestPlaces) {
        let own = &keys.settings;
        let layers: Vec<&'a Settings> =
            self.overrides.iter().copied().chain([own]).chain(self.defaults.iter().copied()).collect();
        let mut places = TestPlaces::new();
        macro_rules! pick {
            ($key:literal, $field:ident) => {{
                let picked = layers.iter().find_map(|l| l.$field.as_ref());
                places.extend(picked.map(|p| ($key, p.pos)));
                picked
            }};
        }
        let usual = Limits::default();
        let limits = Limits {
            timeout: pick!("timeout", timeout).map_or(usual.timeout, |t| t.value.0),
            silence: pick!("silence", silence).map_or(usual.silence, |s| s.value.0),
            grace: pick!("grace", grace).map_or(usual.grace, |g| g.value.0),
            output_bytes_max: pick!("output-limit", output_limit)
                .map_or(usual.output_bytes_max, |o| o.value.0),
        };
        let retries = pick!("retries", retries).map_or_else(Retries::default, retries);
        let needs = pick!("needs", needs);
        let said = needs.is_some();
        let mut needs = needs.map_or_else(Needs::default, |needs| self.needs(&needs.value));
        self.area_gates.hold_for(&mut needs);
        places.extend(self.area_gates.pos.filter(|_| !said).map(|pos| ("needs", pos)));
        let priority = pick!("priority", priority).map_or(0, |p| p.value);
        let tags = pick!("tags", tags);
        let tags = tags.map_or_else(Vec::new, |tags| self.tags(&tags.value));
        let owner = pick!("owner", owner).map_or_else(String::new, |o| o.value.clone());
        let dir = pick!("dir", dir).map_or_else(String::new, |dir| self.path(dir));
        let exit = pick!("exit", exit);
        let exit = exit.map_or_else(Vec::new, |exit| self.exit(&exit.value));
        let log = pick!("log", log);
        let log =
            log.map_or_else(Vec::new, |log| log.value.iter().filter_map(|l| self.log_rule(l)).collect());
        let push = pick!("push", push);
        let pull = pick!("pull", pull);
        let device_files = DeviceFiles {
            push: push.map_or_else(Vec::new, |push| self.push(&push.value)),
            pull: pull.map_or_else(Vec::new, |pull| self.pull(&pull.value)),
        };
        pick!("runs-on", runs_on);
        let packages = pick!("packages", packages);
        packages.into_iter().flat_map(|p| &p.value).for_each(|p| check_package(p, self.complaints));
        let profilers = pick!("profilers", profilers);
        profilers.into_iter().flat_map(|p| &p.value).for_each(|p| check_profiler(p, self.complaints));
        let written = |list: Option<&At<List<String>>>| {
            list.into_iter().flat_map(|l| &l.value).map(|text| text.value.clone()).collect()
        };
        self.check_device(&kind, own);
        let pass =
            PassRule { exit, stdout: self.stdout(keys), log, measures: self.measures(keys), logpro: None };
        for (key, pos) in [
            ("description", keys.description.as_ref().map(|a| a.pos)),
            ("after", keys.after.as_ref().map(|a| a.pos)),
            ("skip-when", keys.skip_when.as_ref().map(|a| a.pos)),
            ("env", keys.env.as_ref().map(|a| a.pos)),
            ("measure", keys.measure.as_ref().map(|a| a.pos)),
        ] {
            places.extend(pos.map(|pos| (key, pos)));
        }
        let stdout = keys.stdout.as_ref().or(keys.stdout_file.as_ref()).or(keys.stdout_pattern.as_ref());
        places.extend(stdout.map(|s| ("stdout", s.pos)));
        if let Some(condition) = &keys.skip_when {
            self.checked.condition(condition, self.facts, self.sources, self.complaints);
        }
        let test = TestDef {
            name: name.value.clone(),
            kind,
            after: Vec::new(),
            along: Vec::new(),
            limits,
            retries,
            skip_when: keys.skip_when.as_ref().map(|s| s.value.clone()),
            needs,
            priority,
            tags,
            owner,
            description: self.text(keys.description.as_ref()),
            pass,
            env: self.names.resolve_all(Space::Local, self.complaints),
            dir,
            expectations: Vec::new(),
            device_files,
            packages: written(packages),
            profilers: written(profilers),
            origin: self.sources.origin(name.pos),
        };
        (test, places)
    }

    fn text(&mut self, text: Option<&At<String>>) -> String {
        text.map_or_else(String::new, |t| self.names.expand(t, Use::Value, self.complaints))
    }

    /// A path, interpolated.
    pub(super) fn path(&mut self, path: &At<String>) -> String {
        let text = self.names.expand(path, Use::Value, self.complaints);
        if text.is_empty() || text.chars().any(char::is_control) {
            self.complaints.error(path.pos, "this cannot be a path");
        }
        text
    }

    /// A command, interpolated.
    pub(super) fn command(&mut self, command: &At<CommandValue>) -> Line {
        match &command.value {
            CommandValue::Shell(line) => self.shell(&At { value: line.clone(), pos: command.pos }),
            CommandValue::Argv(argv) => self.argv(argv, command.pos),
        }
    }

    /// A line for the shell, interpolated.
    pub(super) fn shell(&mut self, line: &At<String>) -> Line {
        let text = self.names.expand(line, Use::Shell, self.complaints);
        if text.trim().is_empty() {
            self.complaints.error(line.pos, "there is no command in this");
        }
        Line::Shell(text)
    }

    /// Program and arguments, interpolated.
    pub(super) fn argv(&mut self, argv: &List<String>, pos: Pos) -> Line {
        let argv = self.texts(argv);
        if argv.first().is_none_or(|program| program.is_empty()) {
            self.complaints.error(pos, "there is no program in this");
        }
        Line::Argv(argv)
    }

    /// Texts, interpolated.
    pub(super) fn texts(&mut self, list: &List<String>) -> Vec<String> {
        list.iter().map(|a| self.names.expand(a, Use::Value, self.complaints)).collect()
    }

    /// `run` or `cmd`, of which there must be one.
    pub(super) fn run_or_cmd(
        &mut self,
        run: Option<&At<String>>,
        cmd: Option<&At<List<String>>>,
        what: &str,
        pos: Pos,
    ) -> Option<Line> {
        match (run, cmd) {
            (Some(run), None) => Some(self.shell(run)),
            (None, Some(cmd)) => Some(self.argv(&cmd.value, cmd.pos)),
            (None, None) => {
                let complaint = self.complaints.error(pos, format!("{what} has no command"));
                complaint.hint("`run = \"a line for the shell\"`, or `cmd = [\"program\", \"argument\"]`");
                None
            }
            (Some(_), Some(cmd)) => {
                self.complaints.error(cmd.pos, format!("{what} has both `run` and `cmd`"));
                None
            }
        }
    }

    /// Where a test's steps run that do not say so themselves.
    fn place(&mut self, keys: &CommonKeys) -> Place {
        self.placed(keys).map_or(Place::Host, |said| self.place_of(&said, keys))
    }

    /// What is said of where a test or suite runs, by the layer that wins.
    pub(super) fn placed(&self, keys: &CommonKeys) -> Option<At<String>> {
        self.first_said(keys, |l| l.runs_on.clone())
    }

    /// What the layer says that wins of those that say anything.
    fn first_said<T>(&self, keys: &CommonKeys, said: impl Fn(&Settings) -> Option<T>) -> Option<T> {
        let layers =
            self.overrides.iter().copied().chain([&keys.settings]).chain(self.defaults.iter().copied());
        layers.into_iter().find_map(said)
    }

    /// The place that is meant by a word: `host`, `device`, or what one of the needed devices is for.
    pub(super) fn place_of(&mut self, said: &At<String>, keys: &CommonKeys) -> Place {
        match said.as_str() {
            "host" => return Place::Host,
            "device" => return Place::Device,
            _ => {}
        }
        let names = self.first_said(keys, |l| Some(super::devices::all_names(&l.needs.as_ref()?.value)));
        let names = names.unwrap_or_default();
        match names.iter().position(|name| *name == said.value) {
            Some(0) => Place::Device,
            // Of more than there may be is complained elsewhere.
            Some(place) => Place::Other(u8::try_from(place).unwrap_or(u8::MAX)),
            None => {
                let known = || ["host", "device"].into_iter().chain(names.iter().map(String::as_str));
                let list: Vec<String> = known().map(|word| format!("`{word}`")).collect();
                let message = format!("`{}` is none of {}", printable(said), list.join(", "));
                self.unknown(said.pos, message, said, known());
                if names.is_empty() {
                    self.complaints.last_hint("`needs.devices` gives names to the devices that a test has");
                }
                Place::Host
            }
        }
    }

    /// What is brought to the device.
    fn push(&mut self, list: &OneOrMore<PushValue>) -> Vec<Push> {
        let mut all = Vec::with_capacity(list.0.len());
        for value in &list.0 {
            let same = |from: String| Push { to: from.clone(), from };
            let push = match &value.value {
                PushValue::Same(path) => same(self.path(&At { value: path.clone(), pos: value.pos })),
                PushValue::Table(PushKeys { from: Some(from), to }) => {
                    let mut push = same(self.path(from));
                    if let Some(to) = to {
                        push.to = self.path(to);
                    }
                    push
                }
                PushValue::Table(PushKeys { from: None, .. }) => {
                    self.complaints
                        .error(value.pos, "nothing says what is brought to the device")
                        .hint("`{ from = \"a path in the area\", to = \"a path on the device\" }`");
                    continue;
                }
            };
            self.check_inside(&push.from, value.pos, "the area");
            if !push.to.starts_with('/') {
                self.check_inside(&push.to, value.pos, "the attempt's directory on the device");
            }
            all.push(push);
        }
        all
    }

    /// What is brought back.
    fn pull(&mut self, list: &OneOrMore<String>) -> Vec<String> {
        let mut all = Vec::with_capacity(list.0.len());
        for path in &list.0 {
            let text = self.path(path);
            if !text.starts_with('/') {
                self.check_inside(&text, path.pos, "the attempt's directory on the device");
            }
            all.push(text);
        }
        all
    }

    fn check_inside(&mut self, path: &str, pos: Pos, what: &str) {
        if path.split('/').any(|part| part == "..") {
            self.complaints.error(pos, format!("`{}` leads out of {what}", printable(path)));
        }
    }

    /// Complains about what a test itself says for devices where nothing of it runs on one.
    fn check_device(&mut self, kind: &Kind, own: &Settings) {
        let on_device = match kind {
            Kind::Steps { steps, .. } => steps.iter().any(|s| s.place != Place::Host),
            Kind::Suite(suite) => suite.place != Place::Host,
        };
        if on_device {
            return;
        }
        let said = [("push", own.push.as_ref().map(|p| p.pos)), ("pull", own.pull.as_ref().map(|p| p.pos))];
        for (key, pos) in said.into_iter().filter_map(|(key, pos)| Some((key, pos?))) {
            self.complaints
                .error(pos, format!("`{key}` is for commands that run on the device"))
                .hint("`runs-on = \"device\"` runs a test, one of its steps, or a suite there");
        }
    }

    fn steps(&mut self, name: &At<String>, keys: &TestKeys, place: Place) -> Vec<Step> {
        let Some(list) = &keys.steps else {
            let what = format!("the test `{}`", name.value);
            let line = self.run_or_cmd(keys.run.as_ref(), keys.cmd.as_ref(), &what, name.pos);
            return line.into_iter().map(|line| Step { place, ..Step::new("run", line) }).collect();
        };
        if let Some(pos) = keys.run.as_ref().map(|r| r.pos).or(keys.cmd.as_ref().map(|c| c.pos)) {
            self.complaints.error(pos, "a test has either steps or one command");
        }
        if list.value.is_empty() {
            self.complaints.error(list.pos, "there are no steps");
        }
        let mut seen = HashSet::new();
        let mut steps = Vec::with_capacity(list.value.len());
        for (i, written) in list.value.iter().enumerate() {
            let plain;
            let step = match &written.value {
                StepValue::Table(step) => step,
                StepValue::Run(run) => {
                    let run = At { value: run.clone(), pos: written.pos };
                    plain = StepKeys { run: Some(run), ..StepKeys::default() };
                    &plain
                }
            };
            let name = match &step.name {
                Some(name) => {
                    super::limits::check_name("a step", name, self.complaints);
                    name.value.clone()
                }
                None => format!("step-{}", i + 1),
            };
            if [TO_DEVICE, FROM_DEVICE].iter().any(|own| is_of(&name, own)) {
                let pos = step.name.as_ref().map_or(written.pos, |n| n.pos);
                self.complaints.error(pos, format!("`{name}` is what Muster calls a step of its own"));
            }
            if !seen.insert(name.clone()) {
                let pos = step.name.as_ref().map_or(written.pos, |n| n.pos);
                self.complaints.error(pos, format!("there are two steps named `{}`", printable(&name)));
            }
            let what = format!("the step `{}`", printable(&name));
            let Some(line) = self.run_or_cmd(step.run.as_ref(), step.cmd.as_ref(), &what, written.pos) else {
                continue;
            };
            let env = self.env(step.env.as_ref());
            let dir = step.dir.as_ref().map(|d| self.path(d));
            let timeout = step.timeout.as_ref().and_then(|t| t.value.0);
            let proceed = step.proceed.as_ref().map_or_else(Default::default, |p| p.value.0);
            let place = step.runs_on.as_ref().map_or(place, |said| self.place_of(said, &keys.common));
            let logpro = step.logpro.as_ref().and_then(|l| logpro::rules(l, self));
            let command = Command { line, dir, env };
            steps.push(Step { name, command, timeout, proceed, place, logpro });
        }
        steps
    }

    fn env(&mut self, env: Option<&At<Table<Scalar>>>) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for (key, value) in env.iter().flat_map(|e| &e.value.0) {
            if check_variable(key, self.complaints) {
                let text = At { value: value.value.0.clone(), pos: value.pos };
                pairs.push((key.value.clone(), self.names.expand(&text, Use::Value, self.complaints)));
            }
        }
        pairs
    }

    fn needs(&mut self, keys: &super::file::NeedKeys) -> Needs {
        let mut groups = Vec::new();
        for group in keys.group.iter().flat_map(|g| &g.value.0) {
            if self.groups.contains(&group.value) {
                groups.push(group.value.clone());
                continue;
            }
            let known = self.groups.clone();
            let message = format!("no group is named `{}`", printable(group));
            self.unknown(group.pos, message, group, known.iter().map(String::as_str));
            if known.is_empty() {
                // The nearest of nothing is no hint.
                self.complaints.last_hint("`[limits.groups]` says how many of a group may run at once");
            }
        }
        let mut needs = Needs {
            disk_free_bytes_min: keys.disk_free.as_ref().map_or(0, |d| d.value.0),
            load_max: keys.load.as_ref().map(|l| l.value.0),
            groups,
            devices: super::devices::needed(keys, self.sources, self.complaints),
            ..Needs::default()
        };
        self.gates(keys, &mut needs);
        needs
    }

    fn tags(&mut self, tags: &List<String>) -> Vec<String> {
        let mut words: Vec<String> = Vec::with_capacity(tags.len());
        for tag in tags {
            if tag.is_empty() || tag.chars().any(|c| c.is_control() || c == ',') {
                self.complaints.error(tag.pos, format!("`{}` cannot be a tag", printable(tag)));
            } else if !words.contains(&tag.value) {
                words.push(tag.value.clone());
            }
        }
        words
    }

    fn exit(&mut self, table: &Table<ExitOutcome>) -> Vec<(i32, Outcome)> {
        let mut codes: Vec<(i32, Outcome)> = Vec::new();
        for (key, outcome) in &table.0 {
            let code =
                key.parse::<i32>().ok().filter(|c| (0..=255).contains(c) && c.to_string() == key.value);
            match code {
                Some(code) => codes.push((code, outcome.value.0)),
                None => {
                    let message = format!("`{}` is no exit code", printable(key));
                    self.complaints.error(key.pos, message).hint("exit codes are numbers from 0 to 255");
                }
            }
        }
        codes
    }

    fn log_rule(&mut self, rule: &At<LogKeys>) -> Option<LogRule> {
        let keys = &rule.value;
        let (Some(pattern), Some(means)) = (&keys.pattern, &keys.means) else {
            let missing = if keys.pattern.is_none() { "pattern" } else { "means" };
            let complaint = self.complaints.error(rule.pos, format!("this log rule has no `{missing}`"));
            complaint.hint("`{ pattern = \"a regular expression\", means = \"fail\" }`");
            return None;
        };
        self.checked.pattern(pattern, self.sources, self.complaints);
        let count = match (&keys.count, &keys.min, &keys.max) {
            (Some(count), None, None) => Count { min: count.value, max: count.value },
            (None, min, max) => {
                // Without bounds a rule holds from one line on; with only an upper one, none is fine too.
                let least = u32::from(max.is_none());
                let min_value = min.as_ref().map_or(least, |m| m.value);
                Count { min: min_value, max: max.as_ref().map_or(u32::MAX, |m| m.value) }
            }
            (Some(count), ..) => {
                self.complaints.error(count.pos, "`count` is exact, so `min` and `max` say nothing more");
                return None;
            }
        };
        if count.min > count.max {
            self.complaints
                .error(rule.pos, format!("no number is at least {} and at most {}", count.min, count.max));
        }
        let description = keys.description.as_ref().map_or_else(String::new, |d| d.value.clone());
        Some(LogRule { pattern: pattern.value.clone(), means: means.value.0, count, description })
    }

    fn stdout(&mut self, keys: &CommonKeys) -> Option<ExpectedOutput> {
        let given = [keys.stdout.as_ref(), keys.stdout_file.as_ref(), keys.stdout_pattern.as_ref()];
        if let Some(second) = given.iter().flatten().nth(1) {
            self.complaints.error(second.pos, "standard output is expected to be two things");
        }
        let text = keys.stdout.as_ref().map(|t| ExpectedOutput::Text(self.text(Some(t))));
        let file = keys.stdout_file.as_ref().map(|f| ExpectedOutput::File(self.path(f)));
        let pattern = keys.stdout_pattern.as_ref().map(|f| ExpectedOutput::Pattern(self.path(f)));
        text.or(file).or(pattern)
    }

    fn measures(&mut self, keys: &CommonKeys) -> Vec<MeasureRule> {
        let list = keys.measure.iter().flat_map(|m| &m.value);
        list.filter_map(|rule| self.measure(rule)).collect()
    }

    fn measure(&mut self, rule: &At<MeasureKeys>) -> Option<MeasureRule> {
        let keys = &rule.value;
        let Some(name) = keys.name.as_ref().filter(|n| !n.is_empty()) else {
            self.complaints.error(rule.pos, "this measured value has no `name`");
            return None;
        };
        if let (None, Some(tolerance)) = (&keys.expected, &keys.tolerance) {
            self.complaints.error(tolerance.pos, "a tolerance says nothing without `expected`");
        }
        let tolerance = match keys.tolerance.as_ref().map(|t| &t.value) {
            None => Tolerance::Within(0.0),
            Some(ToleranceValue::Within(t)) if *t < 0.0 => {
                self.complaints.error(rule.pos, "a tolerance cannot be negative");
                return None;
            }
            Some(ToleranceValue::Within(t)) => Tolerance::Within(*t),
            Some(ToleranceValue::Compare(word)) => match word.0 {
                Compare::Less => Tolerance::Less,
                Compare::LessOrEqual => Tolerance::LessOrEqual,
                Compare::Greater => Tolerance::Greater,
                Compare::GreaterOrEqual => Tolerance::GreaterOrEqual,
            },
        };
        Some(MeasureRule {
            name: name.value.clone(),
            expected: keys.expected.as_ref().map(|e| e.value),
            tolerance,
            units: keys.units.as_ref().map_or_else(String::new, |u| u.value.clone()),
        })
    }

    /// Complains about a glob that is none.
    pub(super) fn check_glob(&mut self, glob: &At<String>, text: &str) {
        if let Err(e) = globset::Glob::new(text) {
            let pos = conditions::inside(self.sources, glob, 0, glob.len());
            self.complaints.error(pos, "this is not a glob").cause(e.kind().to_string());
        }
    }
}

pub(super) fn retries(value: &At<RetriesValue>) -> Retries {
    match &value.value {
        RetriesValue::Count(count) => Retries { count: *count, ..Retries::default() },
        RetriesValue::Table(table) => Retries {
            count: table.count.as_ref().map_or(1, |c| c.value),
            delay: table.delay.as_ref().map_or_else(Default::default, |d| d.value.0),
            flaky: table.flaky.as_ref().map_or_else(Default::default, |f| f.value.0),
            on: table.on.as_ref().map_or_else(Vec::new, |on| on.value.0.iter().map(|o| o.value.0).collect()),
        },
    }
}

/// Whether a step has the name of one of Muster's own, or that of one for another device.
fn is_of(name: &str, own: &str) -> bool {
    name.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
