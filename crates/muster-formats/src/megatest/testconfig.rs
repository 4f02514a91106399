//! A `testconfig`, to the definition of a test.

use super::TEST_FILE;
use super::area::{Common, exported, pairs};
use super::config::{self, Entry, Session, Table, What, Written};
use super::echo::is_name;
use super::gates;
use super::items::{Expanded, expand_items};
use super::requirements::{Mode, Requirements, rules, words};
use super::status::rerun_ok;
use super::ticket::{self, Skip, SubRun, TICKET_VARIABLE, Ticket, Values};
use super::waivers::Waiver;
use super::{known, native_left};
use crate::area::limits::wrong_name;
use crate::area::resolve::TestPlaces;
use crate::area::source::Pos;
use muster_core::definition::{
    Command, ItemDef, Items, Kind, Limits, Line, PassRule, Retries, Step, TestDef,
};
use muster_core::outcome::Outcome;
use muster_core::select::testpatt::part_matches;
use std::io::ErrorKind;
use std::time::Duration;

/// What the steps of Megatest's tests end with, where that is not the exit code of what they ran. A command's
/// own exit code that is among them is told as 1.
pub const EXITS: [(i32, Outcome); 5] = [
    (240, Outcome::Warn),
    (241, Outcome::Check),
    (242, Outcome::Skip),
    (243, Outcome::Abort),
    (244, Outcome::Error),
];

/// A test as its file has it, before it is known which tests there are.
pub(super) struct Test {
    pub(super) def: TestDef,
    pub(super) places: TestPlaces,
    pub(super) needs: Requirements,
    /// What a native file cannot say of it.
    pub(super) beyond: Vec<String>,
}

/// Reads the test in this directory. `None` where its file cannot be read, which has been told.
pub(super) fn read(name: &str, dir: &str, common: &Common<'_>, session: &mut Session<'_>) -> Option<Test> {
    let path = format!("{dir}/{TEST_FILE}");
    let table = match config::read(session, &path, What::Test { runconfigs: common.runconfigs }) {
        Ok(table) => table,
        // A directory beside the tests, or a file.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return None,
        Err(e) => {
            let message = format!("the test `{name}` is left out: its `{TEST_FILE}` cannot be read");
            session.complaints.warning(common.pos, message).cause(e.to_string());
            return None;
        }
    };
    known::check(&table, known::TEST, known::TEST_SECTIONS, session);
    let mut reading = Reading { name, dir, common, table: &table, session, places: Vec::new() };
    Some(reading.test())
}

/// Variables with their values.
type Vars = Vec<(String, String)>;

struct Reading<'a, 's, 'w> {
    name: &'a str,
    dir: &'a str,
    common: &'a Common<'a>,
    table: &'a Table,
    session: &'s mut Session<'w>,
    places: TestPlaces,
}

impl Reading<'_, '_, '_> {
    fn test(&mut self) -> Test {
        let pos = self.table.pos;
        let waivers = self.waivers();
        let item_sections = self.item_sections();
        let (items, item_vars, later) = self.items(item_sections);
        let needs = self.requirements(&items);
        let steps = self.steps(pos);
        let (vars, overrides) = self.variables(&item_vars);
        let ticket = Ticket {
            source: self.dir.to_owned(),
            disks: self.disks(),
            min_space: gates::own_space(self.table).unwrap_or(0).max(self.common.ticket.min_space),
            overrides,
            item_vars,
            items: later,
            logpro: self.logpro(),
            skip: self.skip(),
            triggers: self.triggers(),
            copy: of_test(&self.common.copies, self.name).or_else(|| self.common.ticket.copy.clone()),
            rollup: of_test(&self.common.rollups, self.name),
            subrun: self.subrun(),
            waivers,
            waiver_rules: pairs(self.table, "waiver_rules"),
            rerun_ok: self.known("requirements", "rerunok").map_or_else(Vec::new, |e| rerun_ok(&e.value)),
            first_step: steps.first().map_or_else(String::new, |s| s.name.clone()),
            last_step: steps.last().map_or_else(String::new, |s| s.name.clone()),
            ..self.common.ticket.clone()
        };
        let mut env = vec![("MT_TEST_NAME".to_owned(), self.name.to_owned())];
        env.extend(vars);
        let ticket = ticket.to_text();
        // Limit: a process takes no longer variable.
        if ticket.len() > 120_000 {
            self.session
                .complaints
                .error(pos, "this test's rules and variables are too long for its environment");
        }
        env.push((TICKET_VARIABLE.to_owned(), ticket));
        let priority = self.number("requirements", "priority").unwrap_or(0);
        let timeout = self.timeout();
        let group = self.known("test_meta", "jobgroup").map(|e| e.value.trim().to_owned());
        let mut def = TestDef {
            limits: Limits { timeout, ..Limits::default() },
            retries: Retries { count: self.common.retries, ..Retries::default() },
            priority,
            tags: self.tags(),
            owner: self.meta("owner").or_else(|| self.meta("author")).unwrap_or_default(),
            description: self.meta("description").unwrap_or_default(),
            pass: PassRule {
                exit: [(77, Outcome::Fail), (99, Outcome::Fail)].into_iter().chain(EXITS).collect(),
                ..PassRule::default()
            },
            env,
            // Its commands run in a copy; by this it is known which tests a changed file belongs to.
            dir: self.dir.strip_prefix(&format!("{}/", self.session.area)).unwrap_or(self.dir).to_owned(),
            origin: self.session.sources.origin(pos),
            ..TestDef::new(self.name, Kind::Steps { steps, items })
        };
        // A group without a limit limits nothing.
        def.needs.groups = group.into_iter().filter(|g| self.common.groups.contains(g)).collect();
        if !def.needs.groups.is_empty() {
            self.place("needs", "test_meta", "jobgroup");
        }
        gates::of_test(self.table, self.common, self.session, &mut def.needs);
        for key in ["launchlimiter", "launch-window", "tokens", "diskspace"] {
            if !self.places.iter().any(|(shown, _)| *shown == "needs") {
                self.place("needs", "requirements", key);
            }
        }
        if !def.owner.is_empty() {
            self.place("owner", "test_meta", "owner");
        }
        let beyond = native_left::of_test(self.table);
        Test { def, places: std::mem::take(&mut self.places), needs, beyond }
    }

    /// An entry whose value is known.
    fn known(&self, section: &str, key: &str) -> Option<&Entry> {
        self.table.get(section, key).filter(|e| e.is_known() && !e.value.trim().is_empty())
    }

    fn place(&mut self, shown: &'static str, section: &str, key: &str) {
        self.places.extend(self.table.get(section, key).map(|e| (shown, e.pos)));
    }

    fn meta(&mut self, key: &str) -> Option<String> {
        let text = self.known("test_meta", key)?.value.split_whitespace().collect::<Vec<_>>().join(" ");
        Some(text)
    }

    fn tags(&mut self) -> Vec<String> {
        let Some(entry) = self.known("test_meta", "tags") else { return Vec::new() };
        let tags = entry.value.split([',', '\n']).map(str::trim).filter(|t| !t.is_empty());
        let tags = tags.map(str::to_owned).collect();
        self.place("tags", "test_meta", "tags");
        tags
    }

    fn number(&mut self, section: &'static str, key: &'static str) -> Option<i32> {
        let entry = self.known(section, key)?;
        let (number, pos) = (entry.value.trim().parse(), entry.pos);
        if number.is_err() {
            let message = format!("`{}` is no number", entry.value.trim());
            self.session.complaints.warning(pos, message);
            return None;
        }
        self.place("priority", section, key);
        number.ok()
    }

    fn timeout(&mut self) -> Option<Duration> {
        let Some(entry) = self.known("requirements", "runtimelim") else { return self.common.timeout };
        let (limit, pos) = (parse_span(&entry.value), entry.pos);
        if limit.is_none() {
            self.session
                .complaints
                .warning(pos, format!("`{}` is no duration", entry.value.trim()))
                .hint("sums such as `1h 2m 3s`; units are s, m, h, d, w, M (month) and y");
            return self.common.timeout;
        }
        self.place("timeout", "requirements", "runtimelim");
        limit
    }

    fn steps(&mut self, pos: Pos) -> Vec<Step> {
        let program = self.common.program;
        let step = |name: &str, command: &str| {
            let argv = [program, "-ezstep", name, command].map(str::to_owned);
            Step::new(name, Line::Argv(argv.to_vec()))
        };
        let has_subrun = self.has_subrun();
        let mut steps = Vec::new();
        if let Some(entry) = self.known("setup", "runscript") {
            let script = entry.value.trim();
            // As Megatest finds it: in the test's own directory, or where PATH says.
            steps.push(step("runscript", script));
        }
        for entry in self.table.entries("ezsteps") {
            if let Some(why) = wrong_name(&entry.key) {
                let message = format!("`{}` cannot be the name of a step: {why}", entry.key);
                self.session.complaints.error(entry.pos, message);
                continue;
            }
            let taken = match entry.key.as_str() {
                "runscript" => !steps.is_empty(),
                SUBRUN => has_subrun,
                _ => false,
            };
            if taken {
                let message = format!("`{}` is what the step of that name is called already", entry.key);
                self.session
                    .complaints
                    .error(entry.pos, message)
                    .hint("`runscript` of `[setup]` and `[subrun]` are steps of their own names");
                continue;
            }
            let value = entry.value.trim();
            let (params, command) = match value.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                Some((params, command)) => (params, command.trim()),
                None => ("", value),
            };
            let mut made = step(&entry.key, command);
            if params.contains("subrun=true")
                && let Line::Argv(argv) = &mut made.command.line
            {
                argv.insert(1, "-subrun".to_owned());
            }
            steps.push(made);
        }
        if has_subrun {
            // What it does is in the ticket.
            steps.push(step(SUBRUN, "[subrun]"));
        }
        if steps.is_empty() {
            self.session
                .complaints
                .warning(pos, format!("the test `{}` does nothing, so it passes", self.name))
                .hint("steps stand in `[ezsteps]`, a script in `runscript` of `[setup]`");
            steps.push(step("nothing", "true"));
        }
        steps
    }

    fn item_sections(&mut self) -> ticket::Items {
        let values = |entry: &Entry| match &entry.written {
            Written::Lazy(command) => Values::Command(command.clone()),
            Written::Known | Written::Unknown => Values::Text(entry.value.clone()),
        };
        let mut lists = |name: &str| -> Vec<(String, Values)> {
            let Some(section) = self.table.section(name) else { return Vec::new() };
            let mut list = Vec::new();
            for entry in section.entries() {
                match is_name(&entry.key) && !entry.key.starts_with("MUSTER_") {
                    true => list.push((entry.key.clone(), values(entry))),
                    false => {
                        let message = format!("`{}` cannot be the name of a variable", entry.key);
                        self.session.complaints.error(entry.pos, message);
                    }
                }
            }
            if list.is_empty() {
                self.session
                    .complaints
                    .warning(section.pos, format!("`[{name}]` is empty, so the test has no items of it"));
            }
            list
        };
        ticket::Items { product: lists("items"), table: lists("itemstable") }
    }

    /// The items, the variables they are of, and the sections, where they can be expanded only later.
    fn items(&mut self, sections: ticket::Items) -> (Items, Vec<String>, Option<ticket::Items>) {
        let all = || sections.product.iter().chain(&sections.table);
        let mut vars: Vec<String> = Vec::new();
        for (name, _) in all() {
            if !vars.contains(name) {
                vars.push(name.clone());
            }
        }
        if vars.is_empty() {
            return (Items::None, vars, None);
        }
        let is_unknown = |name: &&str| self.table.entries(name).any(|e| !e.is_known());
        if ["items", "itemstable"].iter().any(is_unknown) {
            let line = Line::Argv([self.common.program, "-expand-items"].map(str::to_owned).to_vec());
            return (Items::Command(Command { line, dir: None, env: Vec::new() }), vars, Some(sections));
        }
        let expanded = expand_items::<std::convert::Infallible>(&sections, &mut |_, values| {
            Ok(match values {
                Values::Text(text) | Values::Command(text) => text.clone(),
            })
        });
        let pos = ["items", "itemstable"]
            .iter()
            .find_map(|n| self.table.section(n))
            .map_or(self.table.pos, |s| s.pos);
        let items: Vec<ItemDef> = match expanded {
            Ok(Expanded::Items { items, left_out }) => {
                // Limit: a few tell what is wrong with all of them.
                for message in left_out.into_iter().take(5) {
                    self.session.complaints.warning(pos, message);
                }
                items
            }
            Ok(Expanded::TooMany) => {
                self.session.complaints.error(pos, "these are more than a million items");
                Vec::new()
            }
            Err(never) => match never {},
        };
        (Items::Listed(items), vars, None)
    }

    fn requirements(&mut self, items: &Items) -> Requirements {
        let (has_items, is_lazy) = (!matches!(items, Items::None), matches!(items, Items::Command(_)));
        let names = |key: &str| -> Vec<(String, Pos)> {
            let entry = self.table.get("requirements", key).filter(|e| e.is_known());
            entry.into_iter().flat_map(|e| words(&e.value).map(|w| (w.to_owned(), e.pos))).collect()
        };
        let (waiton, waitor) = (names("waiton"), names("waitor"));
        let complaints = &mut self.session.complaints;
        let mode = self.table.get("requirements", "mode").filter(|e| e.is_known());
        let mode = mode.map_or_else(Mode::default, |entry| Mode::read(entry, complaints));
        // The one of `[requirements]` stands for all, and before the section.
        let mut maps = Vec::new();
        if let Some(entry) = self.table.get("requirements", "itemmap").filter(|e| e.is_known()) {
            maps.push(("%".to_owned(), rules(&entry.value, entry.pos, complaints)));
        }
        for entry in self.table.entries("itemmap").filter(|e| e.is_known()) {
            maps.push((entry.key.clone(), rules(&entry.value, entry.pos, complaints)));
        }
        if !waiton.is_empty() {
            self.place("after", "requirements", "waiton");
        }
        Requirements { waiton, waitor, mode, maps, has_items, is_lazy }
    }

    /// Variables that are set now, and those that are set at launch: among them what is made of the item's.
    fn variables(&mut self, item_vars: &[String]) -> (Vars, Vars) {
        let of_item = |value: &str| item_vars.iter().any(|name| value.contains(&format!("${{{name}}}")));
        let (mut vars, mut later) = (Vec::new(), Vec::new());
        for entry in self.table.entries("pre-launch-env-vars") {
            if is_name(&entry.key) && of_item(&entry.value) {
                later.push((entry.key.clone(), entry.value.clone()));
                continue;
            }
            if let Some(value) = exported(entry, self.session) {
                self.session.env.insert(entry.key.clone(), value.clone());
                vars.push((entry.key.clone(), value));
            }
        }
        let overrides = self.table.entries("pre-launch-env-overrides");
        let overrides = overrides.filter(|e| is_name(&e.key)).map(|e| (e.key.clone(), e.value.clone()));
        later.extend(overrides);
        (vars, later)
    }

    fn disks(&self) -> Vec<(String, String)> {
        let own = self.table.entries("disks").map(|e| (e.key.clone(), e.value.trim().to_owned()));
        let own: Vec<(String, String)> = own.collect();
        if own.is_empty() { self.common.ticket.disks.clone() } else { own }
    }

    fn logpro(&self) -> Vec<(String, String)> {
        // What the run comes to, whatever its log says.
        let rolls_up = self.known(SUBRUN, "passfail").is_some_and(|e| e.value.trim() == "auto");
        let own = self.table.get(SUBRUN, "logpro").filter(|_| !rolls_up);
        let own = own.map(|e| (SUBRUN.to_owned(), e.value.clone()));
        self.table.entries("logpro").map(|e| (e.key.clone(), e.value.clone())).chain(own).collect()
    }

    /// The area's, then the test's own.
    fn triggers(&self) -> Vec<(String, String)> {
        let own = self.table.entries("triggers").map(|e| (e.key.clone(), e.value.trim().to_owned()));
        self.common.ticket.triggers.iter().cloned().chain(own).collect()
    }

    /// The first rule there is, in Megatest's order, is the only one.
    fn skip(&mut self) -> Option<Skip> {
        if let Some(pos) = self.table.get("skip", "prevrunning").map(|entry| entry.pos) {
            return self.looks_at_records(pos).then_some(Skip::IfRunning);
        }
        if let Some(entry) = self.known("skip", "fileexists") {
            return Some(Skip::IfFile(entry.value.trim().to_owned()));
        }
        let entry = self.known("skip", "rundelay")?;
        let (span, pos) = (parse_span(&entry.value), entry.pos);
        if span.is_none() {
            let complaint =
                self.session.complaints.warning(pos, "this is no duration, so nothing is skipped");
            complaint.hint("sums such as `1h 30m`");
        }
        let span = span.filter(|_| self.looks_at_records(pos));
        span.map(|s| Skip::IfRanWithin(s.as_secs()))
    }

    /// Whether a test can look at the records of its area where it runs; tells it if not.
    fn looks_at_records(&mut self, pos: Pos) -> bool {
        if self.common.on_lab {
            let said = "hosts of a lab do not know other runs of the area, so nothing is skipped for that";
            self.session.complaints.warning(pos, said);
        }
        !self.common.on_lab
    }

    fn has_subrun(&self) -> bool {
        self.table.section(SUBRUN).is_some_and(|s| s.entries().next().is_some())
    }

    fn subrun(&mut self) -> Option<SubRun> {
        let judged = self.known(SUBRUN, "passfail").map(|e| (e.pos, e.value.trim().to_owned()));
        if let Some((pos, by)) = judged {
            let has_rules = self.table.get(SUBRUN, "logpro").is_some()
                || self
                    .session
                    .world
                    .names(self.dir)
                    .is_ok_and(|all| all.iter().any(|n| n == "subrun.logpro"));
            let wrong = match by.as_str() {
                "auto" => None,
                "logpro" if has_rules => None,
                "logpro" => Some("there are no rules that `passfail logpro` could judge by".to_owned()),
                other => Some(format!("`{other}` is no way to judge a sub-run")),
            };
            if let Some(wrong) = wrong {
                self.session
                    .complaints
                    .warning(pos, wrong)
                    .hint("`auto` takes what the run comes to, `logpro` what the rules in `logpro` say of its output");
            }
        }
        for key in ["run-wait", "runwait"] {
            let entry = self.table.get(SUBRUN, key).filter(|e| e.value.trim() == "no").map(|e| e.pos);
            if let Some(pos) = entry {
                self.session.complaints.warning(pos, "a sub-run is always waited for, by Megatest too");
            }
        }
        let text = |key: &str| self.table.get(SUBRUN, key).map_or("", |e| e.value.trim()).to_owned();
        self.has_subrun().then(|| SubRun {
            area: text("run-area"),
            start_dir: text("start-dir"),
            target: text("target"),
            run_name: text("run-name"),
            testpatt: text("test-patt"),
            modepatt: text("mode-patt"),
            tagexpr: text("tag-expr"),
            contour: text("contour"),
            log: text("log"),
            message: text("msg"),
        })
    }

    /// Those lines of `[waivers]` that can be used.
    fn waivers(&mut self) -> Vec<(String, String)> {
        let rules = pairs(self.table, "waiver_rules");
        let rules: Vec<(&str, &str)> = rules.iter().map(|(n, c)| (n.as_str(), c.as_str())).collect();
        let mut waivers = Vec::new();
        for entry in self.table.entries("waivers").filter(|e| e.is_known()) {
            let line = entry.value.trim();
            if self.common.on_lab {
                let said = "hosts of a lab do not know other runs of the area, so no failure is waived again";
                self.session.complaints.warning(entry.pos, said);
                break;
            }
            match Waiver::read(&[(&entry.key, line)], &rules) {
                Ok(_) => waivers.push((entry.key.clone(), line.to_owned())),
                Err(problems) => {
                    let message = format!("{}; no failure is waived by it", problems.join("; "));
                    self.session
                        .complaints
                        .warning(entry.pos, message)
                        .hint("`NAME diff results/*.txt`, or a name of `[waiver_rules]` for `diff`");
                }
            }
        }
        waivers
    }
}

/// The first of the area's commands whose pattern is for this test.
fn of_test(commands: &[(String, String)], test: &str) -> Option<String> {
    commands.iter().find(|(patt, _)| part_matches(patt, test)).map(|(_, command)| command.clone())
}

/// The step that is a run of another area, and its section.
pub const SUBRUN: &str = "subrun";

/// Reads `1h 2m 3s`; a bare number is seconds.
pub(super) fn parse_span(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let seconds = match &rest[..letters] {
            "" | "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            "w" | "week" | "weeks" => 604_800.0,
            "M" | "month" | "months" => 2_628_000.0,
            "y" | "year" | "years" => 31_536_000.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = rest[letters..].trim_start();
    }
    Some(total)
}
