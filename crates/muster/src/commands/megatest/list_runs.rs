//! `megatest -list-runs`: runs with their tests, in the very text that scripts and rules for logs expect.

use super::args::Args;
use super::fields::Fields;
use super::record::{HostFacts, OwnStatus, Record};
use super::tables;
use crate::context::{Context, RECORDS};
use crate::error::Complaint;
use crate::local::megatest::outline;
use muster_core::change::{RunSnapshot, RunSpec};
use muster_core::note::NoteKind;
use muster_core::outcome::{ExitCode, Verdict};
use muster_core::plan::{PlannedItems, PlannedTest};
use muster_core::select::testpatt::{TestPatt, part_matches};
use muster_core::view::{ItemView, RunState, RunView};
use muster_formats::megatest::item_dirs;
use muster_formats::megatest::rollup::RollUp;
use muster_formats::megatest::status::{State, Status, of_verdict};
use muster_formats::megatest::ticket::{TICKET_VARIABLE, Ticket};
use muster_store::{ItemFilter, RunFilter, RunLock, Store};
use serde_json::{Map, Value, json};
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A record as it is listed.
#[derive(Default)]
pub(super) struct Line {
    pub(super) id: u64,
    pub(super) test: String,
    pub(super) item: String,
    /// The record of a test above its items.
    pub(super) is_top: bool,
    pub(super) state: State,
    pub(super) status: Status,
    pub(super) seconds: u64,
    pub(super) time: String,
    pub(super) host: String,
    /// In the tree of links.
    pub(super) run_dir: PathBuf,
    pub(super) attempts: usize,
    pub(super) comment: String,
    pub(super) log: String,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let wanted = Wanted::of(args);
    let tests = TestPatt::new(args.get("testpatt").unwrap_or("%"));
    let as_json = match args.get("dumpmode") {
        None => false,
        Some("json") => true,
        Some(mode) => return tables::list_runs(args, mode, context),
    };
    let fields = Fields::of(args);
    if as_json {
        // The names of keys are the area's.
        let keys = context.area_dir().ok().and_then(|dir| outline(&dir).ok()).map(|o| o.keys);
        let keys = keys.unwrap_or_default();
        let known: Vec<&str> = META.into_iter().chain(keys.iter().map(String::as_str)).collect();
        fields.check("runs", &known)?;
        fields.check("tests", &DATA)?;
    } else if args.has("fields") {
        let said = "`-fields` is for tables; the text of `-list-runs` is what rules for logs expect";
        return Err(Complaint::usage(said).hint("`-dumpmode json`, `csv`, `sexpr` or `ods`").into());
    }
    let files = args.get("test-files");
    let only_paths = files.is_some() || args.has("test-paths");
    // A test on a host of a lab has the directories and no records, or none of its own run.
    if only_paths && let Some(ticket) = own_ticket() {
        let dirs = in_the_tree(&ticket, &wanted, &tests);
        if !dirs.is_empty() || crate::wiring::open_at_hand(context).is_err() {
            return print_paths(&mut context.stdout(), dirs, files);
        }
    }
    let (mut store, filter) = crate::wiring::open_at_hand(context)?;
    let mut paths = Vec::new();
    let mut out = context.stdout();
    let mut all = Map::new();
    for Chosen { head, target, name } in wanted.find(store.as_mut(), &filter)? {
        let view = store.load_run(head.id, ItemFilter::All)?;
        let snapshot = store.load_run_snapshot(head.id)?;
        let ticket = snapshot.record.plan.tests.first().and_then(|t| ticket_of(&t.def.env));
        let mut lines = lines(&view, &snapshot.record.spec, ticket.as_ref(), &name);
        lines.extend(without_items(&view, &snapshot, lines.len() as u64));
        let mut lines: Vec<Line> = lines.into_iter().filter(|l| tests.matches(&l.test, &l.item)).collect();
        if let Some(field) = args.get("sort") {
            sort(&mut lines, field, view.number)?;
        }
        if only_paths {
            let below = lines.iter().filter(|l| !l.is_top).map(|l| l.run_dir.clone());
            paths.extend(below.filter(|dir| dir.exists()));
            continue;
        }
        if as_json {
            let of_tests = fields.of_table("tests");
            let data = lines.iter().map(|l| (l.id.to_string(), only(l.to_json(view.number), of_tests)));
            let data: Map<String, Value> = data.collect();
            let meta = meta(&view, &target, &name, &snapshot.record.spec, &lines);
            let meta = only(meta, fields.of_table("runs"));
            let of_target = all.entry(target).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(of_target) = of_target {
                of_target.insert(name, json!({ "meta": meta, "data": data }));
            }
            continue;
        }
        writeln!(
            out,
            "Run: {target}/{name} status: {} run-id: {}, number tests: {}",
            state(&view),
            view.number,
            lines.len()
        )?;
        for line in lines {
            line.print(&mut out)?;
        }
    }
    if only_paths {
        return print_paths(&mut out, paths, files);
    }
    if as_json {
        writeln!(out, "{}", Value::Object(all))?;
    }
    Ok(ExitCode::Passed)
}

/// Which runs are meant.
pub(super) struct Wanted {
    names: String,
    targets: String,
}

/// A run that is meant.
pub(super) struct Chosen {
    pub(super) head: RunView,
    pub(super) target: String,
    pub(super) name: String,
}

/// Whether one of these patterns, with commas between, is that of a text.
fn matches_any(patterns: &str, text: &str) -> bool {
    patterns.split(',').any(|p| part_matches(p.trim(), text))
}

impl Wanted {
    pub(super) fn of(args: &Args) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| args.get(name)).unwrap_or("%").to_owned();
        Self {
            names: first(&["list-runs", "runname", "run-patt"]),
            targets: first(&["target", "reqtarg", "target-patt"]),
        }
    }

    /// The runs whose names and targets match, the oldest first, as Megatest has them.
    pub(super) fn find(
        &self,
        store: &mut dyn Store,
        filter: &RunFilter,
    ) -> Result<Vec<Chosen>, anyhow::Error> {
        let mut runs = store.list_runs(filter)?;
        runs.reverse();
        let runs =
            runs.into_iter().map(|head| Chosen { target: target_of(&head), name: name_of(&head), head });
        let meant =
            |run: &Chosen| matches_any(&self.names, &run.name) && matches_any(&self.targets, &run.target);
        Ok(runs.filter(meant).collect())
    }
}

/// Fields of a run in JSON, beside the keys of its target.
const META: [&str; 11] = [
    "target",
    "runname",
    "id",
    "state",
    "status",
    "contour",
    "owner",
    "event_time",
    "comment",
    "pass_count",
    "fail_count",
];
/// Fields of a record in JSON.
const DATA: [&str; 17] = [
    "id",
    "run_id",
    "cpuload",
    "diskfree",
    "uname",
    "shortdir",
    "attemptnum",
    "testname",
    "item_path",
    "state",
    "status",
    "event_time",
    "host",
    "rundir",
    "run_duration",
    "comment",
    "final_logf",
];

/// A run's own record in JSON.
fn meta(view: &RunView, target: &str, name: &str, spec: &RunSpec, lines: &[Line]) -> Value {
    let contour =
        spec.env.iter().find(|(name, _)| name == "MT_CONTOUR").map_or("", |(_, value)| value.as_str());
    let comment =
        view.said.notes.iter().rev().find(|note| matches!(note.what, NoteKind::Comment { on: None }));
    let count = |is_it: &dyn Fn(&Status) -> bool| {
        lines.iter().filter(|l| !l.is_top && l.state == State::Completed && is_it(&l.status)).count()
    };
    let mut meta = json!({
        "target": target,
        "runname": name,
        "id": view.number,
        "state": state(view),
        "status": status(view),
        "contour": contour,
        "owner": spec.placement.user,
        "event_time": clock(view.started.0 / 1_000_000),
        "comment": comment.map_or("", |note| note.text.as_str()),
        "pass_count": count(&|status| *status == Status::Pass),
        "fail_count": count(&|status| *status == Status::Fail),
    });
    for (key, value) in &view.target {
        meta[key] = value.as_str().into();
    }
    meta
}

/// Puts records into the order of a field: `-sort FIELD`.
pub(super) fn sort(lines: &mut [Line], field: &str, run: u32) -> Result<(), Complaint> {
    if !DATA.contains(&field) {
        return Err(Complaint::usage(format!("tests have no field `{field}` here"))
            .hint(format!("`-sort` takes {}", DATA.join(" "))));
    }
    lines.sort_by_cached_key(|line| match &line.to_json(run)[field] {
        // Numbers stand before texts, in their order.
        Value::Number(n) => (n.as_f64().map_or(0, |n| (n * 1000.0) as i64), String::new()),
        other => (i64::MAX, other.as_str().unwrap_or_default().to_owned()),
    });
    Ok(())
}

/// These fields of an object.
fn only(mut object: Value, fields: Option<&[String]>) -> Value {
    if let (Value::Object(map), Some(fields)) = (&mut object, fields) {
        map.retain(|name, _| fields.iter().any(|field| field == name));
    }
    object
}

/// The ticket of the test that this process is a part of.
fn own_ticket() -> Option<Ticket> {
    Ticket::parse(&std::env::var(TICKET_VARIABLE).ok()?).ok()
}

/// The run directories in the tree of links that match.
fn in_the_tree(ticket: &Ticket, wanted: &Wanted, tests: &TestPatt) -> Vec<PathBuf> {
    let keys = ticket.target.split('/').count();
    let mut dirs = Vec::new();
    let mut below: Vec<(PathBuf, Vec<String>)> = vec![(PathBuf::from(&ticket.link_tree), Vec::new())];
    while let Some((dir, words)) = below.pop() {
        if words.len() > keys + 1 && Record::is_in(&dir) {
            if tests.matches(&words[keys + 1], &words[keys + 2..].join("/")) {
                dirs.push(dir);
            }
            continue;
        }
        for entry in std::fs::read_dir(&dir).into_iter().flatten().filter_map(Result::ok) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let words: Vec<String> = words.iter().cloned().chain([name]).collect();
            let fits = (words.len() < keys || matches_any(&wanted.targets, &words[..keys].join("/")))
                && words.get(keys).is_none_or(|run| matches_any(&wanted.names, run));
            // Limit: an item's path has as many parts as it has variables; what lies deeper is the test's own.
            if fits && words.len() <= keys + 2 + ticket.item_vars.len().max(8) && entry.path().is_dir() {
                below.push((entry.path(), words));
            }
        }
    }
    dirs
}

fn print_paths(
    out: &mut impl std::io::Write,
    dirs: Vec<PathBuf>,
    files: Option<&str>,
) -> Result<ExitCode, anyhow::Error> {
    for path in newest(dirs, files)? {
        writeln!(out, "{}", path.display())?;
    }
    Ok(ExitCode::Passed)
}

/// Run directories, or the files in them that match, the newest last.
fn newest(dirs: Vec<PathBuf>, files: Option<&str>) -> Result<Vec<PathBuf>, anyhow::Error> {
    let mut all = Vec::new();
    for dir in dirs {
        match files {
            None => all.push(dir),
            Some(glob) => matching(&dir, &glob.replace('%', "*"), &mut all)?,
        }
    }
    all.sort_by_key(|path| std::fs::metadata(path).and_then(|m| m.modified()).ok());
    Ok(all)
}

/// What is in a directory under names that match: `*.log`, `results/*/out.txt`.
fn matching(dir: &Path, glob: &str, all: &mut Vec<PathBuf>) -> Result<(), anyhow::Error> {
    let (first, rest) = glob.split_once('/').map_or((glob, None), |(first, rest)| (first, Some(rest)));
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let fits = |name: &OsStr| muster_core::select::wildcard(first, &name.to_string_lossy());
        if !path.file_name().is_some_and(fits) {
            continue;
        }
        match rest {
            None => all.push(path),
            Some(rest) if path.is_dir() => matching(&path, rest, all)?,
            Some(_) => {}
        }
    }
    Ok(())
}

/// Megatest itself has never anything but `new` here.
pub(super) fn state(view: &RunView) -> &'static str {
    match view.state {
        RunState::Active => "running",
        RunState::Ended => "completed",
        RunState::Stopped => "stopped",
    }
}

/// The target of a run, as Megatest has it.
pub(super) fn target_of(run: &RunView) -> String {
    run.target.iter().map(|(_, v)| v.as_str()).collect::<Vec<_>>().join("/")
}

/// The name of a run, as Megatest has it.
pub(super) fn name_of(run: &RunView) -> String {
    if run.name.is_empty() { format!("run-{}", run.number) } else { run.name.clone() }
}

pub(super) fn status(view: &RunView) -> &'static str {
    match view.state {
        RunState::Ended if view.has_passed() => "PASS",
        RunState::Ended => "FAIL",
        RunState::Active | RunState::Stopped => "n/a",
    }
}

pub(crate) fn ticket_of(env: &[(String, String)]) -> Option<Ticket> {
    let (_, text) = env.iter().find(|(name, _)| name == TICKET_VARIABLE)?;
    Ticket::parse(text).ok()
}

/// The records of a run, the one of a test before those of its items.
pub(super) fn lines(view: &RunView, spec: &RunSpec, ticket: Option<&Ticket>, run: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut id = 0;
    let records = Path::new(&spec.area_dir).join(RECORDS).join("runs").join(view.number.to_string());
    // A run of a lab is executed elsewhere, and the lab knows what has become of it.
    let is_held = !records.is_dir() || RunLock::holder(&records).is_some();
    let is_alive = view.state == RunState::Active && is_held;
    for test in &view.tests {
        let top = ticket.map_or_else(PathBuf::new, |t| {
            PathBuf::from(format!("{}/{}/{run}/{}", t.link_tree, t.target, test.name))
        });
        let is_itemised = test.items.iter().any(|i| !i.path.is_empty() || i.discovery);
        let items: Vec<&ItemView> = test.items.iter().filter(|i| !i.discovery).collect();
        let mut made = Vec::new();
        let dirs = item_dirs(items.iter().map(|i| i.path.as_str()));
        for item in items {
            let run_dir = match item.path.as_str() {
                "" => top.clone(),
                path => top.join(dirs.get(path).map_or(path, String::as_str)),
            };
            let own = Record::of(&run_dir).status();
            if item.verdict.is_none() {
                let id = 0;
                let test = test.name.clone();
                made.push(Line { id, test, ..open_line(item, run_dir, &spec.host, is_alive) });
                continue;
            }
            let mut line = line(item, own, run_dir, &spec.host);
            if let Some((state, status)) = said_of(view, &test.name, item) {
                (line.state, line.status) = (state, status);
            }
            made.push(Line { id: 0, test: test.name.clone(), ..line });
        }
        if is_itemised {
            let mut counts = RollUp::default();
            made.iter().for_each(|line| counts.add(&line.state, &line.status));
            // Without any item it is what became of the question for them.
            let asked = test.items.iter().find(|i| i.discovery).map(of_item);
            let (state, status) = counts.test().or(asked).unwrap_or_default();
            let log = Record::of(&top).status().map_or_else(String::new, |own| own.log);
            let seconds = made.iter().map(|l| l.seconds).sum();
            let time = made.iter().map(|l| l.time.clone()).min().unwrap_or_default();
            made.insert(
                0,
                Line {
                    id: 0,
                    test: test.name.clone(),
                    item: String::new(),
                    is_top: true,
                    state,
                    status,
                    seconds,
                    time,
                    host: spec.host.clone(),
                    run_dir: top,
                    attempts: 0,
                    comment: String::new(),
                    log,
                },
            );
        }
        for mut line in made {
            id += 1;
            line.id = id;
            lines.push(line);
        }
    }
    lines
}

fn line(item: &ItemView, own: Option<OwnStatus>, run_dir: PathBuf, host: &str) -> Line {
    let last = item.last().map(|a| &a.result);
    let (state, status) = of_item(item);
    // What the test called itself is kept, any text may be; what Muster found beside it counts more: it may have been
    // called a pass and gone on until its time was up.
    let cut_off =
        matches!(item.verdict, Some(Verdict::Timeout | Verdict::Crash | Verdict::Error | Verdict::Cancelled));
    let (state, status) = match &own {
        Some(own) if state == State::Completed && !cut_off && !matches!(own.status.as_str(), "AUTO" | "") => {
            match State::from(own.state.as_str()) {
                own_state if own_state.is_running() => (state, status),
                own_state => (own_state, Status::from(own.status.as_str())),
            }
        }
        _ => (state, status),
    };
    Line {
        id: 0,
        test: String::new(),
        item: item.path.clone(),
        is_top: false,
        state,
        status,
        seconds: last.map_or(0, |r| r.duration.as_secs()),
        time: last.map_or_else(String::new, |r| clock(r.started.0 / 1_000_000)),
        host: if last.is_some() { host.to_owned() } else { String::new() },
        run_dir,
        attempts: item.attempts.len(),
        comment: own.as_ref().map_or_else(String::new, |o| o.comment.clone()),
        log: own.map_or_else(String::new, |o| o.log),
    }
}

/// The records of tests whose lists of items are empty: Megatest keeps one of each.
fn without_items(view: &RunView, snapshot: &RunSnapshot, last: u64) -> Vec<Line> {
    // A test that was added to the run has its items beside the plan.
    let has_items = |name: &str| view.tests.iter().any(|t| t.name == name && !t.items.is_empty());
    let is_empty = |t: &&PlannedTest| {
        matches!(&t.items, PlannedItems::Listed(items) if items.is_empty()) && !has_items(&t.def.name)
    };
    let empty = snapshot.record.plan.tests.iter().filter(is_empty);
    let line = |(test, id): (&PlannedTest, u64)| Line {
        id,
        test: test.def.name.clone(),
        item: String::new(),
        is_top: true,
        state: State::NotStarted,
        status: Status::ZeroItems,
        seconds: 0,
        time: String::new(),
        host: String::new(),
        run_dir: PathBuf::new(),
        attempts: 0,
        comment: String::new(),
        log: String::new(),
    };
    empty.zip(last + 1..).map(line).collect()
}

/// The line of an item without a verdict: it waits, or runs, or was left behind by who ran it.
fn open_line(item: &ItemView, run_dir: PathBuf, host: &str, is_alive: bool) -> Line {
    let next = u16::try_from(item.attempts.len() + 1).unwrap_or(u16::MAX);
    let record = Record::of(&run_dir);
    // Its run directory is set up when the attempt begins.
    let has_begun = record.attempt() == Some(next);
    let (state, status) = match (has_begun, is_alive) {
        (false, _) => (State::NotStarted, Status::NotAvailable),
        (true, false) => (State::Incomplete, Status::NotAvailable),
        (true, true) => match record.status() {
            // As far as it has said.
            Some(own) if State::from(own.state.as_str()).is_running() => {
                (State::from(own.state.as_str()), Status::from(own.status.as_str()))
            }
            _ => (State::Running, Status::NotAvailable),
        },
    };
    let began = if has_begun { record.begun() } else { None };
    Line {
        id: 0,
        test: String::new(),
        item: item.path.clone(),
        is_top: false,
        state,
        status,
        seconds: began.map_or(0, |at| super::ezstep::now().saturating_sub(at)),
        time: began.map_or_else(String::new, clock),
        host: if has_begun { host.to_owned() } else { String::new() },
        run_dir,
        attempts: item.attempts.len(),
        comment: String::new(),
        log: String::new(),
    }
}

/// What a person has set an item to since its last attempt, in the words that were used.
fn said_of(view: &RunView, test: &str, item: &ItemView) -> Option<(State, Status)> {
    let last = item.last().map(|a| a.result.started + a.result.duration);
    let note = view.said.of(test, &item.path).filter(|n| matches!(n.what, NoteKind::Set { .. })).last()?;
    let NoteKind::Set { to, word, .. } = &note.what else { return None };
    if last.is_some_and(|ended| ended > note.at) {
        return None;
    }
    match (word.split_once('/'), to) {
        (Some((state, status)), _) => Some((State::from(state), Status::from(status))),
        (None, Some(verdict)) => Some(of_verdict(*verdict)),
        (None, None) => Some((State::NotStarted, Status::NotAvailable)),
    }
}

/// What an item is in Megatest's words.
fn of_item(item: &ItemView) -> (State, Status) {
    match item.verdict {
        None => (State::NotStarted, Status::NotAvailable),
        // Stopped before it began.
        Some(Verdict::Cancelled) if item.attempts.is_empty() => (State::NotStarted, Status::NotAvailable),
        Some(verdict) => of_verdict(verdict),
    }
}

/// A time of this machine's, for people.
fn clock(secs: u64) -> String {
    let at = i64::try_from(secs).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    let zoned = at.map(|t| t.to_zoned(jiff::tz::TimeZone::system()));
    zoned.map_or_else(String::new, |z| z.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

impl Line {
    fn name(&self) -> String {
        if self.item.is_empty() { self.test.clone() } else { format!("{}({})", self.test, self.item) }
    }

    fn print(&self, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        writeln!(
            out,
            "  Test: {:<25} State: {:<15} Status: {:<15} Runtime: {:>5}s Time: {:<22} Host: {:<10}",
            self.name(),
            self.state,
            self.status,
            self.seconds,
            self.time,
            self.host
        )?;
        // Megatest has one line for what went as it should, or has not begun.
        if matches!(self.status, Status::Pass | Status::Warn) || self.state == State::NotStarted {
            return Ok(());
        }
        let record = Record::of(&self.run_dir);
        if let Some(HostFacts { cpuload, diskfree, uname }) = record.host() {
            writeln!(out, "         cpuload:  {cpuload}")?;
            writeln!(out, "         diskfree: {diskfree}")?;
            writeln!(out, "         uname:    {uname}")?;
        }
        writeln!(out, "         rundir:   {}", self.run_dir.display())?;
        for step in record.steps() {
            writeln!(
                out,
                "    Step: {:<20} State: {:<10} Status: {:<10} Time {:<22}",
                step.step,
                step.state,
                step.status,
                clock(step.time)
            )?;
        }
        Ok(())
    }

    /// `run`: the number of its run.
    fn to_json(&self, run: u32) -> Value {
        let record = Record::of(&self.run_dir);
        let HostFacts { cpuload, diskfree, uname } = record.host().unwrap_or_default();
        let short =
            if self.item.is_empty() { self.test.clone() } else { format!("{}/{}", self.test, self.item) };
        let mut line = json!({
            "id": self.id,
            "run_id": run,
            "cpuload": cpuload,
            "diskfree": diskfree,
            "uname": uname,
            "shortdir": short,
            "attemptnum": self.attempts,
            "testname": self.test,
            "item_path": self.item,
            "state": self.state.word(),
            "status": self.status.word(),
            "event_time": self.time,
            "host": self.host,
            "rundir": self.run_dir,
            "run_duration": self.seconds,
            "comment": self.comment,
            "final_logf": self.log,
        });
        // Where a run of another area is, for those who go down to it.
        if let Some(run) = record.subrun() {
            line["subrun"] = json!(run);
        }
        line
    }
}
