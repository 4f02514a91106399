//! Every value that holds, and where it comes from: `muster config show --origin`.

use super::Loaded;
use super::resolve::Places;
use super::scalar::{format_duration, format_size};
use super::source::{Pos, Sources};
use muster_core::definition::{
    AfterMode, Batch, Command, DeviceFiles, ExpectedOutput, Framework, Items, Keeping, Kind, Line,
    NeededDevices, Place, Retries, Role, TestDef, UnexpectedPass,
};
use std::sync::Arc;
use std::time::Duration;

/// One value that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its path: `test.boot.timeout`.
    pub path: String,
    /// The value, written as `muster.toml` would.
    pub value: String,
    /// `muster.toml:12`, `MUSTER_JOBS`, a flag, `target`, or `default`.
    pub origin: String,
}

/// Where everything that holds was written.
#[derive(Clone, Debug)]
pub(crate) struct Origins(Arc<(Sources, Places)>);

impl Origins {
    pub(crate) fn new(sources: Sources, places: Places) -> Self {
        Self(Arc::new((sources, places)))
    }
}

/// The origin of what is built in.
const DEFAULT: &str = "default";

impl Loaded {
    /// Every value that holds, in the order of the area: area, target, vars, env, limits, tests.
    pub fn show(&self) -> Vec<Shown> {
        let (sources, places) = &*self.origins.0;
        let mut list = Lister { sources, shown: Vec::new() };
        let area = &self.area;
        list.add("area.name", quoted(&area.name), places.name);
        let unexpected = match area.unexpected_pass {
            UnexpectedPass::Fail => "fail",
            UnexpectedPass::Report => "report",
        };
        list.add("area.unexpected-pass", quoted(unexpected), places.unexpected_pass);
        for (path, list_of, pos) in [
            ("area.packages", &area.packages, places.packages),
            ("area.repositories", &area.repositories, places.repositories),
            ("area.profilers", &area.profilers, places.profilers),
        ] {
            if !list_of.is_empty() {
                let all: Vec<String> = list_of.iter().map(|text| quoted(text)).collect();
                list.add(path, format!("[{}]", all.join(", ")), pos);
            }
        }
        for (key, value) in &area.target {
            let path = format!("target.{key}");
            list.shown.push(Shown { path, value: quoted(value), origin: "target".into() });
        }
        for (key, value, pos) in &places.vars {
            list.add(&format!("vars.{key}"), quoted(value), *pos);
        }
        for ((key, value), pos) in area.env.iter().zip(&places.env) {
            list.add(&format!("env.{key}"), quoted(value), *pos);
        }
        let limits = &area.limits;
        let limit = |key: &str| places.limits.iter().find(|(k, _)| k == key).map(|(_, pos)| *pos);
        let jobs = limits.jobs.map_or_else(|| "\"as many as cores\"".into(), |j| j.to_string());
        list.add("limits.jobs", jobs, limit("jobs"));
        for (group, count) in &limits.groups {
            list.add(&format!("limits.groups.{group}"), count.to_string(), limit(&format!("groups.{group}")));
        }
        for (token, count) in &limits.tokens {
            list.add(&format!("limits.tokens.{token}"), count.to_string(), limit(&format!("tokens.{token}")));
        }
        if let Some(zone) = &limits.timezone {
            list.add("limits.timezone", quoted(zone), limit("timezone"));
        }
        list.add("limits.load", limits.load_max.map_or_else(none, |l| l.to_string()), limit("load"));
        list.add("limits.disk-free", quoted(&format_size(limits.disk_free_bytes_min)), limit("disk-free"));
        list.add("limits.run-timeout", span(limits.run_timeout), limit("run-timeout"));
        let Keeping { allow_runs, hot_runs, hot_for, move_to } = &area.records;
        let kept = |key: &str| places.records.iter().find(|(k, _)| k == key).map(|(_, pos)| *pos);
        list.add("records.allow-runs", allow_runs.to_string(), kept("allow-runs"));
        list.add("records.hot-runs", hot_runs.to_string(), kept("hot-runs"));
        list.add("records.hot-for", span(*hot_for), kept("hot-for"));
        list.add("records.move-to", move_to.as_deref().map_or_else(none, quoted), kept("move-to"));
        for (test, places) in area.tests.iter().zip(&places.tests) {
            list.test(test, &|key| places.iter().find(|(k, _)| *k == key).map(|(_, pos)| *pos));
        }
        list.shown
    }
}

struct Lister<'a> {
    sources: &'a Sources,
    shown: Vec<Shown>,
}

impl Lister<'_> {
    fn add(&mut self, path: &str, value: String, pos: Option<Pos>) {
        let origin = pos.map_or_else(|| DEFAULT.into(), |pos| self.sources.origin(pos));
        self.shown.push(Shown { path: path.to_owned(), value, origin });
    }

    fn test(&mut self, test: &TestDef, place: &dyn Fn(&str) -> Option<Pos>) {
        let head = match test.kind {
            Kind::Steps { .. } => format!("test.{}", test.name),
            Kind::Suite(_) => format!("suite.{}", test.name),
        };
        let written = |shown: &mut Self, key: &str, value: String| {
            let (path, origin) = (format!("{head}.{key}"), test.origin.clone());
            shown.shown.push(Shown { path, value, origin });
        };
        match &test.kind {
            Kind::Steps { steps, items } => {
                match steps.as_slice() {
                    [only] if only.name == "run" => written(self, "run", line(&only.command.line)),
                    steps => steps.iter().for_each(|s| {
                        written(self, &format!("steps.{}", s.name), line(&s.command.line));
                        if let Place::Other(seat) = s.place {
                            let role = test.needs.devices.roles.get(usize::from(seat));
                            let name = role.map_or("", |role| role.name.as_str());
                            written(self, &format!("steps.{}.runs-on", s.name), quoted(name));
                        }
                    }),
                }
                match items {
                    Items::None => {}
                    Items::Listed(items) => {
                        let all: Vec<_> = items.iter().take(8).map(|i| quoted(&i.path)).collect();
                        let more = items.len().saturating_sub(8);
                        let more = if more > 0 { format!(", … {more} more") } else { String::new() };
                        written(self, "items", format!("[{}{more}]", all.join(", ")));
                    }
                    Items::Command(Command { line: l, .. }) => written(self, "items-from", line(l)),
                }
            }
            Kind::Suite(suite) => {
                let origin = place("framework");
                framework(&suite.framework, &mut |key, value| {
                    self.add(&format!("{head}.{key}"), value, origin);
                });
                let batch = match suite.batch {
                    Batch::Auto => quoted("auto"),
                    Batch::Single => quoted("single"),
                    Batch::Most(n) => n.to_string(),
                };
                self.add(&format!("{head}.batch"), batch, place("batch"));
            }
        }
        let mut add = |key: &str, value: String| self.add(&format!("{head}.{key}"), value, place(key));
        let limits = &test.limits;
        add("timeout", span(limits.timeout));
        add("silence", span(limits.silence));
        add("grace", quoted(&format_duration(limits.grace)));
        add("output-limit", quoted(&format_size(limits.output_bytes_max)));
        add("retries", retries(&test.retries));
        add("priority", test.priority.to_string());
        if place("needs").is_some() {
            let needs = &test.needs;
            let mut parts = Vec::new();
            if needs.disk_free_bytes_min > 0 {
                parts.push(format!("disk-free = {}", quoted(&format_size(needs.disk_free_bytes_min))));
            }
            parts.extend(needs.load_max.map(|l| format!("load = {l}")));
            if !needs.groups.is_empty() {
                parts.push(format!("group = {}", strings(&needs.groups)));
            }
            if !needs.tokens.is_empty() {
                let each: Vec<_> = needs.tokens.iter().map(|(t, n)| format!("{} = {n}", quoted(t))).collect();
                parts.push(format!("tokens = {{ {} }}", each.join(", ")));
            }
            parts.extend(needs.hours.iter().map(|hours| format!("window = {}", quoted(&hours.to_string()))));
            if !needs.disks.is_empty() {
                let size =
                    |(dir, n): (&String, &u64)| format!("{} = {}", quoted(dir), quoted(&format_size(*n)));
                let each: Vec<_> = needs.disks.iter().map(size).collect();
                parts.push(format!("disk = {{ {} }}", each.join(", ")));
            }
            if let Some(limiter) = &needs.limiter {
                let (command, every) = (quoted(&limiter.command), quoted(&format_duration(limiter.every)));
                let timeout = quoted(&format_duration(limiter.timeout));
                parts.push(format!(
                    "launch-limiter = {{ command = {command}, every = {every}, timeout = {timeout} }}"
                ));
            }
            let NeededDevices { roles, same_host } = &needs.devices;
            if !roles.is_empty() {
                let role = |r: &Role| format!("{} = {}", r.name, quoted(&r.selector));
                let roles: Vec<_> = roles.iter().map(role).collect();
                parts.push(format!("devices = {{ {} }}", roles.join(", ")));
            }
            if *same_host {
                parts.push("same-host = true".to_owned());
            }
            add("needs", format!("{{ {} }}", parts.join(", ")));
        }
        if test.uses_device() || place("runs-on").is_some() {
            add("runs-on", quoted(if test.uses_device() { "device" } else { "host" }));
        }
        let DeviceFiles { push, pull } = &test.device_files;
        if !push.is_empty() {
            let push = push.iter().map(|p| match p.from == p.to {
                true => quoted(&p.from),
                false => format!("{{ from = {}, to = {} }}", quoted(&p.from), quoted(&p.to)),
            });
            add("push", format!("[{}]", push.collect::<Vec<_>>().join(", ")));
        }
        if !pull.is_empty() {
            add("pull", strings(pull));
        }
        for (key, list) in [("packages", &test.packages), ("profilers", &test.profilers)] {
            if !list.is_empty() {
                add(key, strings(list));
            }
        }
        if !test.after.is_empty() {
            let after = test.after.iter().map(|a| match &a.mode {
                AfterMode::Passed => quoted(&a.test),
                AfterMode::Ended => format!("{{ test = {}, mode = \"ended\" }}", quoted(&a.test)),
                AfterMode::Exclusive => format!("{{ test = {}, mode = \"exclusive\" }}", quoted(&a.test)),
                AfterMode::MatchingItem { map } => {
                    let map =
                        map.iter().map(|m| format!("[{}, {}]", quoted(&m.pattern), quoted(&m.replacement)));
                    let map = map.collect::<Vec<_>>().join(", ");
                    format!("{{ test = {}, mode = \"matching-item\", map = [{map}] }}", quoted(&a.test))
                }
            });
            add("after", format!("[{}]", after.collect::<Vec<_>>().join(", ")));
        }
        if let Some(skip) = &test.skip_when {
            add("skip-when", quoted(skip));
        }
        for (key, list) in [("tags", strings(&test.tags))].into_iter().filter(|_| !test.tags.is_empty()) {
            add(key, list);
        }
        for (key, text) in [("owner", &test.owner), ("description", &test.description), ("dir", &test.dir)] {
            if !text.is_empty() {
                add(key, quoted(text));
            }
        }
        for (name, value) in &test.env {
            self.add(&format!("{head}.env.{name}"), quoted(value), place("env"));
        }
        self.pass(test, &head, place);
    }

    fn pass(&mut self, test: &TestDef, head: &str, place: &dyn Fn(&str) -> Option<Pos>) {
        let pass = &test.pass;
        for (code, outcome) in &pass.exit {
            self.add(&format!("{head}.exit.{code}"), quoted(outcome.word()), place("exit"));
        }
        match &pass.stdout {
            None => {}
            Some(ExpectedOutput::Text(t)) => self.add(&format!("{head}.stdout"), quoted(t), place("stdout")),
            Some(ExpectedOutput::File(f)) => {
                self.add(&format!("{head}.stdout-file"), quoted(f), place("stdout"));
            }
            Some(ExpectedOutput::Pattern(f)) => {
                self.add(&format!("{head}.stdout-pattern"), quoted(f), place("stdout"));
            }
        }
        for (i, rule) in pass.log.iter().enumerate() {
            self.add(&format!("{head}.log.{i}"), quoted(&rule.pattern), place("log"));
        }
        if let Some(logpro) = &pass.logpro {
            let paths: Vec<&str> = logpro.files.iter().map(|f| f.path.as_str()).collect();
            self.add(&format!("{head}.logpro"), quoted(&paths.join(" ")), place("logpro"));
        }
        for rule in &pass.measures {
            let value = rule.expected.map_or_else(|| "\"any\"".into(), |e| e.to_string());
            self.add(&format!("{head}.measure.{}", rule.name), value, place("measure"));
        }
        for expectation in &test.expectations {
            let words = expectation.allowed.iter().map(|o| o.word());
            let words =
                words.chain(expectation.skip.then_some("skip")).chain(expectation.slow.then_some("slow"));
            let value = words.collect::<Vec<_>>().join(" ");
            let path = match &expectation.items {
                muster_core::definition::ItemMatch::Exact(i)
                | muster_core::definition::ItemMatch::Glob(i) => i.clone(),
                muster_core::definition::ItemMatch::Prefix(i) => format!("{i}*"),
            };
            let path = format!("{head}.expect.{path}");
            self.shown.push(Shown { path, value: quoted(&value), origin: expectation.origin.clone() });
        }
    }
}

fn framework(framework: &Framework, add: &mut dyn FnMut(&str, String)) {
    let mut name = |n: &str| add("framework", quoted(n));
    match framework {
        Framework::Cargo { args, binary_args, ignored } => {
            name("cargo");
            add("args", strings(args));
            add("binary-args", strings(binary_args));
            add("ignored", quoted(&format!("{ignored:?}").to_lowercase()));
        }
        Framework::Pytest { command, args } => {
            name("pytest");
            add("command", strings(command));
            add("args", strings(args));
        }
        Framework::Gtest { programs } => {
            name("gtest");
            let programs: Vec<_> = programs.iter().map(|p| strings(p)).collect();
            add("programs", format!("[{}]", programs.join(", ")));
        }
        Framework::Ctest { build_dir, args } => {
            name("ctest");
            add("build-dir", quoted(build_dir));
            add("args", strings(args));
        }
        Framework::Tap { programs, interpreter } => {
            name("tap");
            add("programs", strings(programs));
            add("interpreter", strings(interpreter));
        }
        Framework::Autotest { controls, command } => {
            name("autotest");
            add("files", strings(controls));
            add("command", strings(command));
        }
        Framework::Files { files, command, expected, pattern } => {
            name("files");
            add("files", strings(files));
            add("run", line(command));
            if let Some(expected) = expected {
                add("expected", quoted(expected));
                add("pattern", pattern.to_string());
            }
        }
        Framework::List { list, run } => {
            name("list");
            add("list", line(list));
            add("run", line(run));
        }
    }
}

fn none() -> String {
    quoted("none")
}

fn span(limit: Option<Duration>) -> String {
    limit.map_or_else(none, |d| quoted(&format_duration(d)))
}

fn line(line: &Line) -> String {
    match line {
        Line::Shell(line) => quoted(line),
        Line::Argv(argv) => strings(argv),
    }
}

fn retries(retries: &Retries) -> String {
    if *retries == (Retries { count: retries.count, ..Retries::default() }) {
        return retries.count.to_string();
    }
    let flaky = format!("{:?}", retries.flaky).to_lowercase();
    let delay = format_duration(retries.delay);
    let on: Vec<String> = retries.on.iter().map(|outcome| format!("\"{outcome}\"")).collect();
    let on = if on.is_empty() { String::new() } else { format!(", on = [{}]", on.join(", ")) };
    format!("{{ count = {}, delay = \"{delay}\", flaky = \"{flaky}\"{on} }}", retries.count)
}

fn strings(list: &[String]) -> String {
    let list: Vec<_> = list.iter().map(|s| quoted(s)).collect();
    format!("[{}]", list.join(", "))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.extend(format!("\\u{:04X}", u32::from(c)).chars()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
