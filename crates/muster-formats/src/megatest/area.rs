//! An area for one target: the files in the order Megatest reads them, and what they come to.
//!
//! `megatest.config` is read twice: runconfigs need its keys and paths, and it may need their variables.

use super::config::{self, DEFAULT, Entry, Session, Table, What};
use super::echo::{Echoed, echo, is_name};
use super::gates;
use super::launchers;
use super::requirements;
use super::testconfig::{self, Test, parse_span};
use super::ticket::Ticket;
use super::{MAIN_FILE, NotRun, Printed, RUNCONFIGS_FILE, TEST_FILE, World, known, outline, runconfigs};
use crate::area::above::{self, Around};
use crate::area::error::{Complaints, ConfigError};
use crate::area::gates::AreaGates;
use crate::area::limits::{LimitPlaces, fit_name};
use crate::area::resolve::Places;
use crate::area::show::Origins;
use crate::area::source::Pos;
use crate::area::{Layer, LoadContext, Loaded, Shown, conditions};
use muster_core::definition::{AreaDef, AreaLimits, Keeping};
use muster_core::hours::Hours;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// What reading an area is done with.
#[derive(Clone, Copy)]
pub struct AreaContext<'a> {
    /// The target, the environment and what is known of this machine.
    pub load: &'a LoadContext<'a>,
    /// The user's file and flags; none of the area's own.
    pub layers: &'a [Layer<'a>],
    /// The area's directory, absolute.
    pub dir: &'a str,
    /// The run's name, if it has one already.
    pub run_name: Option<&'a str>,
    /// The program that the tests' steps are run by: `megatest`, a name of Muster's.
    pub program: &'a str,
    /// How many tests can run at once where they run; `None`: on a lab, which knows by itself.
    pub places: Option<u32>,
    /// The machine.
    pub world: &'a dyn World,
}

/// An area that can be used.
#[derive(Clone, Debug)]
pub struct MegatestArea {
    /// As any area is.
    pub loaded: Loaded,
    /// Run before the first test of a run: `[runs] pre-hook`.
    pub pre_hook: Option<String>,
    /// Run after the last: `[runs] post-hook`.
    pub post_hook: Option<String>,
    /// The files that were read beside the tests' own, relative to the area where they are in it.
    pub files: Vec<String>,
    /// What `megatest.config` says.
    pub main: Vec<ShownSection>,
    /// What holds of `runconfigs.config`: `default` and the target.
    pub runconfigs: Vec<ShownSection>,
    /// What a native file cannot say of each test, in the order of the tests.
    pub(super) beyond: Vec<Vec<String>>,
}

/// A section as its file has it, once read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSection {
    /// Its name.
    pub name: String,
    /// Keys and values in their order; the path of each is its key.
    pub values: Vec<Shown>,
}

/// What all tests of an area have in common.
pub(super) struct Common<'a> {
    pub(super) runconfigs: &'a Table,
    /// The beginning of the main file, for what has no place of its own.
    pub(super) pos: Pos,
    pub(super) program: &'a str,
    /// Whether hosts of a lab run them, which do not have the area's records.
    pub(super) on_lab: bool,
    /// With the area's part filled in.
    pub(super) ticket: Ticket,
    /// Job groups that have a limit.
    pub(super) groups: Vec<String>,
    /// How many tokens there are, by name.
    pub(super) tokens: BTreeMap<String, u32>,
    /// What every test is started within.
    pub(super) hours: Option<Hours>,
    pub(super) retries: u16,
    pub(super) timeout: Option<Duration>,
    /// Commands that copy the files of tests whose names match: `[testcopy]`.
    pub(super) copies: Vec<(String, String)>,
    /// Commands that make a page of a test's items when they have ended, by test: `[testrollup]`.
    pub(super) rollups: Vec<(String, String)>,
}

/// Key names that Megatest has columns of its own for.
const FORBIDDEN_KEYS: [&str; 9] =
    ["runname", "state", "status", "owner", "event_time", "comment", "fail_count", "pass_count", "contour"];

/// Loads an area for one target.
///
/// # Errors
/// All that makes it unusable; at least one.
pub fn load(context: &AreaContext<'_>) -> Result<MegatestArea, Vec<ConfigError>> {
    let mut complaints = Complaints::default();
    let around = above::read(context.layers, context.load, &mut complaints);
    if complaints.has_errors() {
        return Err(complaints.finish(&around.sources).0);
    }
    let mut session = Session::new(context.world, context.dir, context.load.process_env.clone());
    let Around { sources, below, above, gates, retries, timeout, env } = around;
    let first = sources.len();
    session.sources = sources;
    let flags = env;
    let area =
        Reading { context, session: &mut session, below, above, gates, retries, timeout, flags }.area();
    let failed = session.complaints.has_errors();
    let (errors, warnings) = session.complaints.finish(&session.sources);
    match area {
        Some(made) if !failed => {
            let Made { area, places, hooks, main, runconfigs, beyond } = made;
            let facts = conditions::facts(context.load.facts, &area.target, context.load.process_env);
            // A test's own file changes that test alone.
            let of_test = format!("/{TEST_FILE}");
            let files = session.sources.names(first).filter(|name| !name.ends_with(&of_test));
            let files = files.map(str::to_owned).collect();
            let origins = Origins::new(session.sources, places);
            let [pre_hook, post_hook] = hooks;
            let loaded = Loaded { area, facts, warnings, origins };
            Ok(MegatestArea { loaded, pre_hook, post_hook, files, main, runconfigs, beyond })
        }
        Some(_) | None => Err(errors),
    }
}

/// What an area is called, for whatever target. Nothing is run. `otherwise`: where it does not say itself.
///
/// # Errors
/// The main file cannot be read.
pub fn area_name(
    dir: &str,
    otherwise: &str,
    env: &BTreeMap<String, String>,
    world: &dyn World,
) -> io::Result<String> {
    let looking = Looking(world);
    let mut session = Session::new(&looking, dir, env.clone());
    let main = config::read(&mut session, &format!("{dir}/{MAIN_FILE}"), What::Main { runconfigs: None })?;
    Ok(name(&main, env).unwrap_or_else(|| fit_name(otherwise)))
}

/// What the main file, or else the environment, calls the area.
fn name(main: &Table, env: &BTreeMap<String, String>) -> Option<String> {
    let set = |key: &str| main.get("setup", key).filter(|e| e.is_known()).map(|e| e.value.trim().to_owned());
    let said = [set("area-name"), set("testsuite"), env.get("MT_TESTSUITE_NAME").cloned()];
    said.into_iter().flatten().find(|n| !n.is_empty()).map(|n| fit_name(&n))
}

/// A world in which nothing is run and nothing made.
pub struct Looking<'w>(pub &'w dyn World);

impl World for Looking<'_> {
    fn text(&self, path: &str) -> io::Result<String> {
        self.0.text(path)
    }
    fn names(&self, dir: &str) -> io::Result<Vec<String>> {
        self.0.names(dir)
    }
    fn shell(&self, _: &str, _: &str, _: &BTreeMap<String, String>) -> Result<Printed, NotRun> {
        Err(NotRun::OnlyLooking)
    }
    fn make_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn cores(&self) -> u32 {
        self.0.cores()
    }
    fn host_name(&self) -> String {
        self.0.host_name()
    }
}

/// The value of a variable that is exported: what a shell would echo. `None` where it cannot be one.
pub(super) fn exported(entry: &Entry, session: &mut Session<'_>) -> Option<String> {
    if !is_name(&entry.key) || entry.key.starts_with("MUSTER_") {
        let message = format!("`{}` cannot be the name of a variable that is exported", entry.key);
        session.complaints.warning(entry.pos, message);
        return None;
    }
    match echo(&entry.value, &session.env) {
        Echoed::Text(text) => Some(text),
        // A value that is not known is shown as it is written, and nothing of it is run.
        Echoed::NeedsShell if !entry.is_known() => Some(entry.value.clone()),
        Echoed::NeedsShell => {
            let line = format!("echo {}", entry.value.replace('\n', " "));
            let Some(printed) = session.run(&line, entry.pos, &BTreeMap::new()) else {
                return Some(entry.value.clone());
            };
            if printed.status != 0 {
                let message = format!("a shell that reads this value ends with exit code {}", printed.status);
                session
                    .complaints
                    .warning(entry.pos, message)
                    .hint("what is exported goes through a shell's `echo`: `\\$`, `\\(` and the like stand for themselves");
            }
            Some(printed.text.trim_end_matches('\n').to_owned())
        }
    }
}

/// Keys of a section with their values.
pub(super) fn pairs(table: &Table, section: &str) -> Vec<(String, String)> {
    table.entries(section).map(|e| (e.key.clone(), e.value.trim().to_owned())).collect()
}

struct Reading<'a, 's, 'w> {
    context: &'a AreaContext<'a>,
    session: &'s mut Session<'w>,
    below: (AreaLimits, LimitPlaces),
    above: (AreaLimits, LimitPlaces),
    gates: AreaGates,
    retries: Option<(muster_core::definition::Retries, Pos)>,
    timeout: Option<(Option<Duration>, Pos)>,
    flags: Vec<(String, String, Pos)>,
}

/// Variables in their order, each once, with where they were written.
#[derive(Default)]
struct Vars(Vec<(String, String, Option<Pos>)>);

impl Vars {
    fn set(&mut self, session: &mut Session<'_>, name: &str, value: String, pos: Option<Pos>) {
        session.env.insert(name.to_owned(), value.clone());
        self.0.retain(|(n, _, _)| n != name);
        self.0.push((name.to_owned(), value, pos));
    }

    fn export(&mut self, session: &mut Session<'_>, entry: &Entry) {
        if let Some(value) = exported(entry, session) {
            self.set(session, &entry.key, value, Some(entry.pos));
        }
    }
}

/// What reading comes to.
struct Made {
    area: AreaDef,
    places: Places,
    /// Before and after.
    hooks: [Option<String>; 2],
    main: Vec<ShownSection>,
    runconfigs: Vec<ShownSection>,
    beyond: Vec<Vec<String>>,
}

impl Reading<'_, '_, '_> {
    fn area(&mut self) -> Option<Made> {
        let dir = self.session.area.clone();
        let given = self.context.load.target;
        self.session.run_name = self.context.run_name.map(str::to_owned);
        self.session.env.insert("MT_RUN_AREA_HOME".to_owned(), dir.clone());
        if !given.is_empty() {
            let target = given.join("/");
            self.session.env.insert("MT_TARGET".to_owned(), target.clone());
            self.session.target = Some(target);
        }
        if let Some(name) = self.context.run_name {
            self.session.env.insert("MT_RUNNAME".to_owned(), name.to_owned());
        }
        let main = self.main(None)?;
        let name = self.name(&main);
        let target = self.target(&main)?;
        for (key, value) in &target {
            self.session.env.insert(key.clone(), value.clone());
        }
        let link_tree = self.link_tree(&main);
        self.session.env.insert("MT_LINKTREE".to_owned(), link_tree);
        self.session.env.insert("MT_TESTSUITENAME".to_owned(), name.clone());

        // All that is wrong with the main file is told of its second reading.
        self.session.forget_complaints();
        let runconfigs = self.runconfigs(&dir);
        let mut vars = Vars::default();
        let holding: Vec<Entry> =
            runconfigs::holding(&runconfigs, self.session.target.as_deref()).cloned().collect();
        let mut hidden_vars = Vec::new();
        for entry in &holding {
            match entry.key.strip_prefix('!') {
                Some(name) => hidden_vars.push((name.to_owned(), entry.value.clone(), Some(entry.pos))),
                None => vars.export(self.session, entry),
            }
        }
        let main = self.main(Some(&runconfigs))?;
        known::check(&main, known::MAIN, known::MAIN_SECTIONS, self.session);
        let link_tree = self.link_tree(&main);
        self.set_own(&mut vars, &main, &name, &link_tree);
        let link_tree = self.tree_of_contour(&link_tree);
        for entry in main.entries("env-override") {
            vars.export(self.session, entry);
        }
        let fields = main.section("fields");
        for (key, value) in &target {
            let pos = fields.and_then(|f| f.get(key)).map(|e| e.pos);
            vars.set(self.session, key, value.clone(), pos);
        }
        for (key, value, pos) in std::mem::take(&mut self.flags) {
            vars.set(self.session, &key, value, Some(pos));
        }

        let (limits, limit_places) = self.limits(&main);
        let common = Common {
            runconfigs: &runconfigs,
            pos: main.pos,
            program: self.context.program,
            on_lab: self.context.places.is_none(),
            ticket: self.ticket(&main, link_tree),
            groups: limits.groups.keys().cloned().collect(),
            tokens: limits.tokens.clone(),
            hours: gates::area_hours(&main, self.session),
            retries: self.number(&main, "setup", "reruns").unwrap_or(0),
            timeout: self.span(&main, "setup", "runtimelim"),
            copies: pairs(&main, "testcopy"),
            rollups: pairs(&main, "testrollup"),
        };
        let mut tests = Vec::new();
        for (name, dir) in outline::test_dirs(self.session, &main) {
            let env = self.session.env.clone();
            self.session.env.insert("MT_TEST_NAME".to_owned(), name.clone());
            let test = testconfig::read(&name, &dir, &common, self.session);
            self.session.env = env;
            tests.extend(test);
        }
        let beyond = tests.iter_mut().map(|t| std::mem::take(&mut t.beyond)).collect();
        let (defs, test_places) = self.tests(tests);
        self.sum_up();
        let hook = |key: &str| {
            main.get("runs", key)
                .filter(|e| e.is_known() && !e.value.trim().is_empty())
                .map(|e| e.value.clone())
        };
        let hooks = [hook("pre-hook"), hook("post-hook")];
        let setup = |key: &str| main.get("setup", key).map(|e| e.pos);
        let places = Places {
            name: setup("area-name").or(setup("testsuite")),
            keys: fields.map(|f| f.pos),
            limits: limit_places,
            env: vars.0.iter().map(|(_, _, pos)| *pos).collect(),
            vars: hidden_vars,
            tests: test_places,
            ..Places::default()
        };
        let env = vars.0.into_iter().map(|(name, value, _)| (name, value)).collect();
        let records = self.keeping(&main);
        let area = AreaDef { name, target, env, limits, tests: defs, records, ..AreaDef::default() };
        let target = self.session.target.as_deref();
        let main = self.shown(&main, &|_| true);
        let runconfigs = self.shown(&runconfigs, &|name| name == DEFAULT || Some(name) == target);
        Some(Made { area, places, hooks, main, runconfigs, beyond })
    }

    /// Sections that hold, for people.
    fn shown(&self, table: &Table, holds: &dyn Fn(&str) -> bool) -> Vec<ShownSection> {
        let sections = table.sections().filter(|s| !s.name.is_empty() && holds(&s.name));
        let shown = |e: &Entry| Shown {
            path: e.key.clone(),
            value: e.value.clone(),
            origin: self.session.sources.origin(e.pos),
        };
        sections
            .map(|s| ShownSection { name: s.name.clone(), values: s.entries().map(shown).collect() })
            .collect()
    }

    fn main(&mut self, runconfigs: Option<&Table>) -> Option<Table> {
        let path = format!("{}/{MAIN_FILE}", self.session.area);
        match config::read(self.session, &path, What::Main { runconfigs }) {
            Ok(table) => Some(table),
            Err(e) => {
                let source = self.session.sources.add(MAIN_FILE, "").unwrap_or_default();
                let pos = Pos { source, start: 0, end: 0 };
                self.session
                    .complaints
                    .error(pos, format!("`{MAIN_FILE}` cannot be read"))
                    .cause(e.to_string());
                None
            }
        }
    }

    fn runconfigs(&mut self, dir: &str) -> Table {
        match config::read(self.session, &format!("{dir}/{RUNCONFIGS_FILE}"), What::Runconfigs) {
            Ok(table) => table,
            Err(e) => {
                if e.kind() != ErrorKind::NotFound {
                    let source = self.session.sources.add(RUNCONFIGS_FILE, "").unwrap_or_default();
                    let pos = Pos { source, start: 0, end: 0 };
                    let message = format!("`{RUNCONFIGS_FILE}` cannot be read");
                    self.session.complaints.error(pos, message).cause(e.to_string());
                }
                Table::default()
            }
        }
    }

    fn name(&self, main: &Table) -> String {
        name(main, self.context.load.process_env).unwrap_or_else(|| fit_name(self.context.load.area_name))
    }

    /// What the target names, by the keys of `[fields]`. `None`: they do not fit, which has been told.
    fn target(&mut self, main: &Table) -> Option<Vec<(String, String)>> {
        let given = self.context.load.target;
        let keys: Vec<(String, Pos)> = main.entries("fields").map(|e| (e.key.clone(), e.pos)).collect();
        let complaints = &mut self.session.complaints;
        let pos = main.section("fields").map_or(main.pos, |s| s.pos);
        for (key, pos) in &keys {
            if FORBIDDEN_KEYS.contains(&key.to_lowercase().as_str()) || !is_name(key) {
                complaints.error(*pos, format!("`{key}` cannot be the name of a key"));
            }
        }
        let names: Vec<&str> = keys.iter().map(|(k, _)| k.as_str()).collect();
        if given.len() != keys.len() || given.iter().any(|part| matches!(part.as_str(), "" | "." | "..")) {
            let message = match given.len() {
                0 => format!("this area needs a target: {}", names.join("/")),
                n => format!(
                    "the target `{}` has {n} parts, the area has {} keys",
                    given.join("/"),
                    keys.len()
                ),
            };
            let complaint = complaints.error(pos, message);
            complaint.hint(match keys.is_empty() {
                true => "`[fields]` names the keys, one a line: `OS TEXT`".to_owned(),
                false => {
                    format!("`--target {}`; `[…]` in {RUNCONFIGS_FILE} are those there are", names.join("/"))
                }
            });
        }
        if complaints.has_errors() {
            return None;
        }
        Some(keys.into_iter().map(|(key, _)| key).zip(given.iter().cloned()).collect())
    }

    fn link_tree(&self, main: &Table) -> String {
        let area = &self.session.area;
        let said = main.get("setup", "linktree").map(|e| e.value.trim()).filter(|v| !v.is_empty());
        match said {
            Some(path) if path.starts_with('/') => path.trim_end_matches('/').to_owned(),
            Some(path) => format!("{area}/{}", path.trim_end_matches('/')),
            None => format!("{area}/lt"),
        }
    }

    /// Megatest's own variables.
    fn set_own(&mut self, vars: &mut Vars, main: &Table, name: &str, link_tree: &str) {
        let area = self.session.area.clone();
        let target = self.session.target.clone().unwrap_or_default();
        let linked = main.get("setup", "linktree").map(|e| e.pos);
        for (variable, value, pos) in [
            ("MT_MEGATEST", self.context.program.to_owned(), None),
            ("MT_RUN_AREA_HOME", area, None),
            ("MT_TESTSUITENAME", name.to_owned(), None),
            ("MT_TARGET", target.clone(), None),
            ("MT_LINKTREE", link_tree.to_owned(), linked),
            ("MT_CONTOUR", String::new(), None),
        ] {
            vars.set(self.session, variable, value, pos);
        }
        // Without one, the run's number makes the name, which the steps find out.
        if let Some(run) = self.context.run_name {
            let tree = self.tree_of_contour(link_tree);
            vars.set(self.session, "MT_RUNNAME", run.to_owned(), None);
            vars.set(self.session, "MT_RUNPATH", format!("{tree}/{target}/{run}"), None);
        }
    }

    /// Where the links of the run are: those of a contour's runs have a directory of its name.
    fn tree_of_contour(&self, link_tree: &str) -> String {
        let contour = self.flags.iter().rev().find(|(name, _, _)| name == "MT_CONTOUR");
        match contour.map(|(_, value, _)| value.as_str()) {
            None | Some("") => link_tree.to_owned(),
            Some(contour) => format!("{link_tree}/{contour}"),
        }
    }

    /// What the road map of Megatest wishes for: areas that take no runs, and those whose old runs go to them.
    fn keeping(&mut self, main: &Table) -> Keeping {
        let mut keeping = Keeping::default();
        let said = |key: &str| main.get("setup", key).filter(|e| e.is_known());
        if let Some(entry) = said("allow-runs") {
            match entry.value.trim() {
                "no" => keeping.allow_runs = false,
                "yes" => {}
                other => {
                    let message = format!("`{other}` is neither `yes` nor `no`");
                    self.session.complaints.warning(entry.pos, message).hint("`allow-runs no`");
                }
            }
        }
        keeping.move_to = said("auto-migrate").map(|e| e.value.trim().to_owned()).filter(|v| !v.is_empty());
        keeping
    }

    fn limits(&mut self, main: &Table) -> (AreaLimits, LimitPlaces) {
        let (mut limits, mut places) = self.below.clone();
        let mut say = |key: &str, pos: Pos| {
            places.retain(|(k, _)| k != key);
            places.push((key.to_owned(), pos));
        };
        if let Some(jobs) = self.number::<u32>(main, "setup", "max_concurrent_jobs") {
            // Megatest hands its jobs to a batch system; here they may all run on one machine.
            let places = self.context.places.filter(|_| !launchers::are_used(main));
            limits.jobs = Some(jobs.clamp(1, places.unwrap_or(u32::MAX).max(1)));
            // A lab counts all runs anyway.
            limits.jobs_of_all_runs = self.context.places.map(|_| jobs.max(1));
            say("jobs", main.get("setup", "max_concurrent_jobs").map_or(main.pos, |e| e.pos));
        }
        if let Some(load) = self.number::<f64>(main, "jobtools", "maxload").filter(|l| l.is_finite()) {
            limits.load_max = Some(load.max(0.5));
            say("load", main.get("jobtools", "maxload").map_or(main.pos, |e| e.pos));
        }
        limits.timezone = gates::timezone(main).or(limits.timezone);
        for (name, count, pos) in gates::tokens(main, self.session) {
            say(&format!("tokens.{name}"), pos);
            limits.tokens.insert(name, count);
        }
        for entry in main.entries("jobgroups") {
            match entry.value.trim().parse::<u32>() {
                Ok(count) if count > 0 => {
                    limits.groups.insert(entry.key.clone(), count);
                    say(&format!("groups.{}", entry.key), entry.pos);
                }
                Ok(_) | Err(_) => {
                    let message = format!("`{}` is no limit of a job group", entry.value.trim());
                    self.session
                        .complaints
                        .warning(entry.pos, message)
                        .hint("`NAME 4`: at most four at once");
                }
            }
        }
        let (above, above_places) = &self.above;
        let said = |key: &str| above_places.iter().any(|(k, _)| k == key);
        if said("jobs") {
            limits.jobs = above.jobs;
            limits.jobs_of_all_runs = None;
        }
        if said("load") {
            limits.load_max = above.load_max;
        }
        if said("disk-free") {
            limits.disk_free_bytes_min = above.disk_free_bytes_min;
        }
        if said("run-timeout") {
            limits.run_timeout = above.run_timeout;
        }
        limits.groups.extend(above.groups.clone());
        limits.tokens.extend(above.tokens.clone());
        if said("timezone") {
            limits.timezone.clone_from(&above.timezone);
        }
        for (key, pos) in above_places {
            say(key, *pos);
        }
        (limits, places)
    }

    fn number<T: std::str::FromStr>(&mut self, main: &Table, section: &str, key: &str) -> Option<T> {
        let entry = main.get(section, key).filter(|e| e.is_known() && !e.value.trim().is_empty())?;
        let number = entry.value.trim().parse().ok();
        if number.is_none() {
            let message = format!("`{}` is no number that `{key}` can be", entry.value.trim());
            self.session.complaints.warning(entry.pos, message);
        }
        number
    }

    fn span(&mut self, main: &Table, section: &str, key: &str) -> Option<Duration> {
        let entry = main.get(section, key).filter(|e| e.is_known() && !e.value.trim().is_empty())?;
        let span = parse_span(&entry.value);
        if span.is_none() {
            let message = format!("`{}` is no duration", entry.value.trim());
            self.session.complaints.warning(entry.pos, message).hint("sums such as `1h 2m 3s`");
        }
        span
    }

    fn ticket(&mut self, main: &Table, link_tree: String) -> Ticket {
        let text =
            |key: &str| main.get("setup", key).map(|e| e.value.trim().to_owned()).filter(|v| !v.is_empty());
        let area = &self.session.area;
        let disks = outline::disks(main, area);
        Ticket {
            target: self.session.target.clone().unwrap_or_default(),
            run_name: self.context.run_name.map(str::to_owned),
            link_tree,
            disks,
            free_space: text("free-space-script"),
            copy: text("testcopycmd"),
            triggers: pairs(main, "triggers"),
            waiver_comment: text("waivercommentpatt"),
            hidden: text("blacklistvars")
                .map_or_else(Vec::new, |names| names.split_whitespace().map(str::to_owned).collect()),
            min_space: self.number(main, "setup", "minspace").unwrap_or(10_000),
            launch_lease_secs: self.span(main, "jobtools", "launch-lease").map_or(60, |l| l.as_secs()),
            launchers: launchers::read(main, self.session),
            ..Ticket::default()
        }
    }

    /// Definitions with what they come after, and flags over them.
    fn tests(
        &mut self,
        tests: Vec<Test>,
    ) -> (Vec<muster_core::definition::TestDef>, Vec<crate::area::resolve::TestPlaces>) {
        let (mut defs, mut places, mut needs) = (Vec::new(), Vec::new(), Vec::new());
        for Test { def, places: at, needs: requirements, beyond: _ } in tests {
            defs.push(def);
            places.push(at);
            needs.push(requirements);
        }
        requirements::resolve(&mut defs, &needs, self.session);
        for (def, places) in defs.iter_mut().zip(&mut places) {
            self.gates.hold_for(&mut def.needs);
            if let Some((retries, pos)) = &self.retries {
                def.retries = retries.clone();
                places.push(("retries", *pos));
            }
            if let Some((timeout, pos)) = &self.timeout {
                def.limits.timeout = *timeout;
                places.retain(|(key, _)| *key != "timeout");
                places.push(("timeout", *pos));
            }
        }
        (defs, places)
    }

    /// One warning for what is at many places.
    fn sum_up(&mut self) {
        let session = &mut *self.session;
        let more = |all: &[Pos]| match all.len() {
            0 | 1 => String::new(),
            2 => ", here and at one more place".to_owned(),
            n => format!(", here and at {} more places", n - 1),
        };
        let complaints = &mut session.complaints;
        if let Some(first) = session.not_run.first() {
            let message = format!("a command was not run{}", more(&session.not_run));
            complaints
                .warning(*first, message)
                .hint("nothing is run while an area is only looked at; `muster run` runs it");
        }
        if let Some(first) = session.in_comments.first() {
            let message =
                format!("Megatest runs this although it is in a comment{}", more(&session.in_comments));
            complaints.warning(*first, message).hint("Muster does not");
        }
        if let Some(first) = session.rget_elsewhere.first() {
            let message = format!(
                "Megatest finds nothing by `rget` outside of runconfigs{}",
                more(&session.rget_elsewhere)
            );
            complaints.warning(*first, message).hint("Muster takes the value of runconfigs");
        }
        if let Some(first) = session.several_wildcards.first() {
            let message = format!(
                "to Megatest only the first `%` of a section's name is a wildcard{}",
                more(&session.several_wildcards)
            );
            complaints.warning(*first, message).hint("to Muster each is");
        }
    }
}
