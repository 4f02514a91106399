//! `muster why`: why an item is as it is.
//!
//! Everything said here is recorded: the plan the run was made of, the attempts, the reasons the lab gave.

use super::runs::word;
use super::typed::address_text;
use crate::context::{Context, OutputMode};
use crate::local::area::{self, Purpose};
use crate::local::{made_of, megatest};
use crate::records::{Found, Life, Records};
use crate::terminal::style::{self, DIM, HEAD, INFO, paint};
use crate::terminal::table::{Cell, Column, Table};
use crate::terminal::text::add;
use crate::terminal::{text, why_item};
use crate::wiring::place;
use clap::Args;
use muster_api::Why;
use muster_core::address::{RunRef, item_name};
use muster_core::change::{RunPhase, RunSnapshot};
use muster_core::definition::{After, AfterMode, FlakyPolicy, TestDef};
use muster_core::outcome::{ExitCode, Outcome, Verdict};
use muster_core::plan::{PlannedItem, PlannedItems};
use muster_core::view::{AttemptView, ItemView, RunView};
use muster_formats::report::{Logs, wire, words};
use muster_store::{ItemFilter, LateEvidence};
use serde::Serialize;
use std::io::Write as _;
use std::time::Duration;

/// Arguments of `muster why`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
An address is `[AREA/][RUN/]TEST[/ITEM]`. Without a run the latest is meant.

Examples:
  muster why boot/arm64        why it failed, was skipped, or is not running
  muster why 42/net/upload     in run 42
  muster why 42                what keeps run 42 from being fine")]
pub(crate) struct WhyArgs {
    /// What to explain: `[RUN/]TEST[/ITEM]`, or a run
    #[arg(value_name = "ADDRESS", value_parser = address_text, allow_negative_numbers = true)]
    pub(crate) address: String,
}

/// Explains.
pub(crate) fn run(args: &WhyArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let records = Records::open_for(context, &args.address)?;
    let address = records.address(&args.address)?;
    let mut out = context.stdout();
    if address.test.is_none() {
        let run = records.find_run(address.run.as_ref().unwrap_or(&RunRef::LATEST))?;
        let run = records.load(&run, ItemFilter::NotOk)?;
        if context.output == OutputMode::Json {
            serde_json::to_writer(&mut out, &wire::Run::new(&run, wire::Texts::None))?;
            writeln!(out)?;
            return Ok(ExitCode::Passed);
        }
        let life = records.life(&run);
        let phase = records.with(|s| s.load_run_snapshot(run.id))?.phase;
        let logs = records.into_logs(&run);
        for line in of_run(&run, life, &phase, &logs) {
            writeln!(out, "{line}")?;
        }
        return Ok(ExitCode::Passed);
    }
    let found = records.find_item(&address)?;
    let mut story = Story::tell(&records, found)?;
    story.stale = stale_now(&records, &story.found, context);
    if context.output == OutputMode::Json {
        serde_json::to_writer(&mut out, &story.json())?;
        writeln!(out)?;
    } else {
        let logs = records.into_logs(&story.found.run);
        for line in story.lines(&logs, context.stdout_width()) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(ExitCode::Passed)
}

/// What has changed since an item ran here. Reading a Megatest area runs commands of its files, which nobody expects
/// who only asks why; `muster results --stale` says it there.
fn stale_now(records: &Records, found: &Found, context: &Context) -> Option<String> {
    if megatest::is_area(&context.area_dir().ok()?) {
        return None;
    }
    let noted = records.with(|s| s.made_of(found.run.id, found.run.number)).ok().filter(|n| !n.is_empty())?;
    let target: Vec<&str> = found.run.target.iter().map(|(_, v)| v.as_str()).collect();
    let target = (!target.is_empty()).then(|| target.join("/"));
    let area = area::load(context, None, target.as_deref(), &[], Purpose::Look).ok()?;
    made_of::stale(&noted, &area, None, &found.run).pop().map(|stale| stale.why)
}

/// Limit: items listed that have not ended; none of them tells more than the others.
const OPEN_MAX: usize = 20;

/// What keeps a run from being fine: the items that are not ok, those that are first to blame before
/// those that only suffer from them.
fn of_run(run: &RunView, life: Option<Life>, phase: &RunPhase, logs: &dyn Logs) -> Vec<String> {
    let (label, style) = word(run, life);
    let mut lines = vec![format!("{} {}", paint(HEAD, run.address()), paint(style, label))];
    match life {
        Some(Life::Alive(pid)) => lines.push(format!("  it is being worked on{}", by(pid))),
        Some(Life::Dead) => lines.push(format!(
            "  its process ended without saying so; {} goes on with it",
            paint(INFO, format!("muster resume {}", run.number))
        )),
        None => {}
    }
    if let RunPhase::Stopped { reason, .. } = phase {
        lines.push(format!(
            "  it was stopped: {}; {} goes on with it",
            text::visible(reason),
            paint(INFO, format!("muster resume {}", run.number))
        ));
    }
    if let Some(lock) = &run.said.locked {
        lines.push(format!("  it is {}", text::visible(&lock.to_string())));
    }
    let of_run = run.said.notes.iter().filter(|note| note.on().is_none());
    lines.extend(of_run.map(|note| format!("  {}", text::note(note))));
    let mut table = Table::new(&[("", Column::Left), ("", Column::Left), ("", Column::Left)]);
    let blame = |v: Option<Verdict>| match v {
        Some(Verdict::PrerequisiteFailed) => 1,
        Some(_) => 0,
        None => 2,
    };
    let mut items: Vec<_> = run.all_items().filter(|(_, i)| i.verdict.is_none_or(|v| !v.is_ok())).collect();
    items.sort_by_key(|(_, i)| blame(i.verdict));
    // What has not ended comes last, so that is what the end of a long list leaves out.
    let open = items.iter().filter(|(_, i)| i.verdict.is_none()).count();
    let more = open.saturating_sub(OPEN_MAX);
    for (test, item) in items.iter().take(items.len() - more) {
        let (label, style) = item.verdict.map_or(("OPEN", INFO), |v| (style::label(v), style::of(v)));
        table.row(vec![
            Cell::new(label, style),
            item_name(&test.name, &item.path).into(),
            Cell::new(why_item(item, logs), DIM),
        ]);
    }
    let rows = table.lines(usize::MAX);
    if rows.is_empty() {
        lines.push("  every item that ended is ok".to_owned());
    }
    lines.extend(rows.into_iter().map(|l| format!("  {l}")));
    if more > 0 {
        lines.push(format!(
            "  and {} more that have not ended: {}",
            text::count(more as u64),
            paint(INFO, format!("muster results {}", run.number))
        ));
    }
    lines
}

fn by(pid: Option<u32>) -> String {
    pid.map(|p| format!(" by process {p}")).unwrap_or_default()
}

/// All that is recorded about an item.
struct Story {
    found: Found,
    snapshot: RunSnapshot,
    life: Option<Life>,
    /// What the lab says now, where it can be asked.
    now: Option<Why>,
    /// What it comes after, and how far that is.
    after: Vec<Before>,
    late: Vec<LateEvidence>,
    /// What has changed since it ran.
    stale: Option<String>,
}

/// Something an item comes after.
struct Before {
    how: &'static str,
    test: String,
    verdict: Option<Verdict>,
    /// Items of it that are not ok, or not ended.
    items: Vec<(String, Option<Verdict>)>,
}

#[derive(Serialize)]
struct JsonStory<'a> {
    address: String,
    run: wire::Run<'a>,
    planned_because: String,
    state: String,
    devices: &'a [String],
    expectations: Vec<String>,
    after: Vec<JsonBefore<'a>>,
    late_results: usize,
    /// What has changed since it ran; `null`: nothing that is known.
    stale: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonBefore<'a> {
    mode: &'a str,
    test: &'a str,
    verdict: Option<&'a str>,
    not_ok: Vec<(&'a str, Option<&'a str>)>,
}

impl Story {
    fn tell(records: &Records, found: Found) -> Result<Self, anyhow::Error> {
        let id = found.run.id;
        let snapshot = records.with(|s| s.load_run_snapshot(id))?;
        let late = records.with(|s| s.list_late_evidence(id))?;
        let life = records.life(&found.run);
        let item = found.item();
        let open =
            item.verdict.is_none().then(|| place(&snapshot, &found.test().name, &item.path, item.discovery));
        let (number, test) = (found.run.number, &found.test().name);
        let now = open.flatten().and_then(|ix| records.why_now(id, number, ix, test));
        let mut story = Self { found, snapshot, life, now, after: Vec::new(), late, stale: None };
        if let Some(def) = story.def().cloned() {
            for After { test, mode } in &def.after {
                story.after.push(before(records, &story.found.run, test, mode)?);
            }
        }
        Ok(story)
    }

    fn def(&self) -> Option<&TestDef> {
        let name = &self.found.test().name;
        let tests = &self.snapshot.record.plan.tests;
        tests.iter().find(|t| t.def.name == *name).map(|t| &*t.def)
    }

    /// The item as it was planned or found.
    fn planned(&self) -> Option<&PlannedItem> {
        let (name, path) = (&self.found.test().name, &self.found.item().path);
        let (ix, test) =
            self.snapshot.record.plan.tests.iter().enumerate().find(|(_, t)| t.def.name == *name)?;
        let listed = match &test.items {
            PlannedItems::Listed(items) => items.iter().find(|i| &*i.path == path),
            PlannedItems::Found(_) => None,
        };
        listed.or_else(|| {
            let found = self.snapshot.expansions.iter().filter(|e| e.test.0 as usize == ix);
            found.flat_map(|e| e.items.iter()).find(|i| &*i.path == path)
        })
    }

    /// Where it stands, in a sentence.
    fn state(&self) -> String {
        let item = self.found.item();
        match item.verdict {
            Some(verdict) => meaning(verdict, item, self.def()),
            None => self.waits_for(),
        }
    }

    /// Why devices are not given to it, a line for each reason.
    fn devices(&self) -> &[String] {
        self.now.as_ref().map_or(&[], |now| &now.devices)
    }

    fn waits_for(&self) -> String {
        let tries = self.found.item().attempts.len();
        let so_far = match tries {
            0 => String::new(),
            n => format!(", after {}", text::plural(n as u64, "attempt", "attempts")),
        };
        let open = |b: &&Before| b.verdict.is_none() && b.how != APART;
        match (&self.snapshot.phase, self.life) {
            (RunPhase::Stopped { reason, .. }, _) => {
                format!("it has no verdict{so_far}: the run was stopped ({reason})")
            }
            (RunPhase::Active, Some(Life::Dead)) => {
                format!("it has no verdict{so_far}: the process that worked on the run was killed")
            }
            (RunPhase::Active, _) if self.now.is_some() => {
                format!(
                    "it has no verdict yet{so_far}: {}",
                    self.now.as_ref().map(|now| now.why.as_str()).unwrap_or_default()
                )
            }
            _ if !self.found.item().reason.is_empty() => {
                format!("it has no verdict yet{so_far}: {}", self.found.item().reason)
            }
            _ => match self.after.iter().find(open) {
                Some(b) => format!("it has no verdict yet{so_far}: it waits for `{}`", b.test),
                None => format!("it has no verdict yet{so_far}: it runs, or waits for its turn"),
            },
        }
    }

    fn because(&self) -> String {
        let name = &self.found.test().name;
        let tests = &self.snapshot.record.plan.tests;
        match tests.iter().find(|t| t.def.name == *name).map(|t| &t.why) {
            None => "it is not part of the plan".to_owned(),
            Some(muster_core::plan::Why::PrerequisiteOf(ix)) => {
                let other = tests.get(ix.0 as usize).map_or("another test", |t| t.def.name.as_str());
                format!("`{other}` comes after it")
            }
            Some(muster_core::plan::Why::Asked) => {
                let selection = &self.snapshot.record.spec.selection;
                let mut said: Vec<String> = selection.patterns.iter().map(|p| format!("`{p}`")).collect();
                said.extend(selection.tags.iter().map(|t| format!("tags `{t}`")));
                said.extend(selection.shard.iter().map(|s| format!("shard {}/{}", s.index, s.count)));
                said.extend(selection.only.iter().map(|_| "a list of items".to_owned()));
                if said.is_empty() {
                    "every test was asked for".to_owned()
                } else {
                    format!("asked for by {}", said.join(", "))
                }
            }
        }
    }

    fn expectations(&self) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(planned) = self.planned() {
            let allowed: Vec<&str> = Outcome::ALL
                .into_iter()
                .filter(|o| planned.expected.allowed & (1 << *o as u16) != 0)
                .map(Outcome::word)
                .collect();
            if !allowed.is_empty() {
                said.push(format!("it is expected to come to {}", allowed.join(" or ")));
            }
            if planned.expected.slow {
                said.push("it is expected to be slow: its limits are doubled".to_owned());
            }
            if let Some(skip) = &planned.skip {
                said.push(format!("it is not to be run: {skip}"));
            }
        }
        let path = &self.found.item().path;
        if let Some(def) = self.def() {
            let own = def.expectations.iter().filter(|e| matches(&e.items, path));
            said.extend(own.map(|e| {
                let reason = if e.reason.is_empty() { String::new() } else { format!(": {}", e.reason) };
                format!("{}{reason}", e.origin)
            }));
        }
        said
    }

    fn json(&self) -> JsonStory<'_> {
        JsonStory {
            address: self.found.address(),
            run: wire::Run::new(&self.found.run, wire::Texts::None),
            planned_because: self.because(),
            state: self.state(),
            devices: self.devices(),
            expectations: self.expectations(),
            after: self.after.iter().map(Before::json).collect(),
            late_results: self.late.len(),
            stale: self.stale.as_deref(),
        }
    }

    fn lines(&self, logs: &dyn Logs, width: usize) -> Vec<String> {
        let item = self.found.item();
        let (label, style) = item.verdict.map_or(("OPEN", INFO), |v| (style::label(v), style::of(v)));
        let address = self.found.address();
        let mut lines = vec![
            format!("{} {}", paint(HEAD, text::visible(&address)), paint(style, label)),
            format!("  {}", self.state()),
        ];
        lines.extend(self.devices().iter().map(|line| format!("    {line}")));
        let told = why_item(item, logs);
        if !told.is_empty() && told != item.reason {
            lines.push(format!("  {told}"));
        }
        let mut facts = Table::new(&[("", Column::Left), ("", Column::Left)]);
        let mut fact = |name: &str, value: String| {
            if !value.is_empty() {
                facts.row(vec![Cell::new(name, DIM), value.into()]);
            }
        };
        let test = self.found.test();
        fact("checks", test.description.clone());
        fact("owner", test.owner.clone());
        fact("defined in", test.origin.clone());
        fact("tags", test.tags.join(", "));
        fact("stale", self.stale.clone().unwrap_or_default());
        for (n, note) in self.found.run.said.of(&test.name, &item.path).enumerate() {
            fact(if n == 0 { "said of it" } else { "" }, text::note(note));
        }
        fact("is run because", self.because());
        for (n, said) in self.expectations().into_iter().enumerate() {
            fact(if n == 0 { "expectation" } else { "" }, said);
        }
        if let Some(def) = self.def() {
            fact("limits", limits(def, self.planned()));
            fact("retries", retries(def));
            fact("skip-when", def.skip_when.clone().unwrap_or_default());
        }
        if let Some(Life::Alive(pid)) = self.life {
            fact("run", format!("is being worked on{}", by(pid)));
        }
        for (n, before) in self.after.iter().enumerate() {
            fact(if n == 0 { "comes after" } else { "" }, before.text());
        }
        lines.push(String::new());
        lines.extend(facts.lines(usize::MAX).into_iter().map(|l| format!("  {l}")));
        for attempt in &item.attempts {
            lines.push(String::new());
            lines.extend(of_attempt(&address, attempt, width));
        }
        if !self.late.is_empty() {
            let mine = self.late.iter().filter(|l| l.result.message == item.reason).count();
            let n = self.late.len().max(mine);
            lines.push(String::new());
            lines.push(format!(
                "  {} came too late to count in this run",
                text::plural(n as u64, "result", "results")
            ));
        }
        lines
    }
}

/// How the mode of a test that must only not run at the same time is told.
const APART: &str = "never beside";

fn before(records: &Records, run: &RunView, test: &str, mode: &AfterMode) -> Result<Before, anyhow::Error> {
    let view = records.load(run, ItemFilter::Test(test))?;
    let found = view.tests.first();
    let how = match mode {
        AfterMode::Passed => "all of",
        AfterMode::Ended => "the end of",
        AfterMode::MatchingItem { .. } => "its item of",
        AfterMode::Exclusive => APART,
    };
    Ok(Before {
        how,
        test: test.to_owned(),
        verdict: found.and_then(|t| t.verdict),
        items: found
            .into_iter()
            .flat_map(|t| &t.items)
            .filter(|i| i.verdict.is_none_or(|v| !v.is_ok()))
            .map(|i| (i.path.clone(), i.verdict))
            .collect(),
    })
}

impl Before {
    fn text(&self) -> String {
        let mut text = format!("{} `{}`", self.how, self.test);
        if self.how == APART {
            return text;
        }
        match self.verdict {
            Some(verdict) => add!(text, ": {verdict}"),
            None => text.push_str(": not ended"),
        }
        let named: Vec<String> = self
            .items
            .iter()
            .filter(|(path, _)| !path.is_empty())
            .take(5)
            .map(|(path, v)| format!("{path} {}", words::verdict_word(*v)))
            .collect();
        if !named.is_empty() {
            let more = self.items.len() - named.len();
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            add!(text, " ({}{more})", named.join(", "));
        }
        text
    }

    fn json(&self) -> JsonBefore<'_> {
        JsonBefore {
            mode: self.how,
            test: &self.test,
            verdict: self.verdict.map(Verdict::word),
            not_ok: self.items.iter().map(|(p, v)| (p.as_str(), v.map(Verdict::word))).collect(),
        }
    }
}

fn matches(wanted: &muster_core::definition::ItemMatch, path: &str) -> bool {
    use muster_core::definition::ItemMatch;
    match wanted {
        ItemMatch::Exact(exact) => exact == path,
        ItemMatch::Prefix(prefix) => path.starts_with(prefix.as_str()),
        ItemMatch::Glob(glob) => muster_core::select::wildcard(glob, path),
    }
}

/// What a verdict means here, in a sentence.
fn meaning(verdict: Verdict, item: &ItemView, def: Option<&TestDef>) -> String {
    let tries = item.attempts.len();
    let reason = if item.reason.is_empty() { String::new() } else { format!(": {}", item.reason) };
    let said = match verdict {
        Verdict::Pass => "it passed",
        Verdict::Skip => "it was skipped",
        Verdict::KnownFailure => "it failed as it is expected to",
        Verdict::Warn => "it passed with warnings",
        Verdict::Flaky => "it passed after it had failed",
        Verdict::Check => "a person must look at it",
        Verdict::NoItems => "it was asked for its items and has none",
        Verdict::Cancelled => "it was stopped before it came to anything",
        Verdict::PrerequisiteFailed => {
            "it was not run, because something it comes after did not do what it must"
        }
        Verdict::UnexpectedPass => "it passed, although it is expected not to",
        Verdict::Fail => match def.map(|d| d.retries.flaky) {
            Some(FlakyPolicy::Fail) if item.last().is_some_and(|a| a.result.outcome.is_good()) => {
                "it passed after it had failed, which its test does not forgive"
            }
            Some(_) | None => "it ran and said no",
        },
        Verdict::Timeout => "it did not end in time",
        Verdict::Crash => "a signal ended it",
        Verdict::Error => "the lab failed, so nothing is known about the test itself",
        Verdict::Abort => "it asked that everything after it stop",
    };
    let tried = if tries > 1 { format!(" ({tries} attempts)") } else { String::new() };
    format!("{said}{tried}{reason}")
}

fn limits(def: &TestDef, planned: Option<&PlannedItem>) -> String {
    let mut said = Vec::new();
    let timeout = planned.and_then(|p| p.timeout).or(def.limits.timeout);
    said.extend(timeout.map(|t| format!("{} an attempt", words::duration(t))));
    said.extend(def.limits.silence.map(|t| format!("{} without output", words::duration(t))));
    said.join(", ")
}

fn retries(def: &TestDef) -> String {
    match def.retries.count {
        0 => "none".to_owned(),
        n => {
            let flaky = match def.retries.flaky {
                FlakyPolicy::Pass => "a pass after a failure counts as flaky",
                FlakyPolicy::Fail => "a pass after a failure counts as failed",
            };
            let on: Vec<&str> = def.retries.on.iter().map(|outcome| outcome.word()).collect();
            let on = if on.is_empty() { String::new() } else { format!(" after {}", on.join(", ")) };
            format!("up to {n}{on}; {flaky}")
        }
    }
}

fn of_attempt(address: &str, attempt: &AttemptView, width: usize) -> Vec<String> {
    let result = &attempt.result;
    let mut lines = vec![format!(
        "  {} {} in {} on {}, {}",
        paint(HEAD, format!("attempt {}", attempt.number)),
        paint(style::of_outcome(result.outcome), result.outcome),
        words::duration(result.duration),
        text::visible(&attempt.device),
        text::moment(result.started),
    )];
    let mut facts = Table::new(&[("", Column::Left), ("", Column::Cut)]);
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            facts.row(vec![Cell::new(name, DIM), value.into()]);
        }
    };
    fact("cause", words::cause(&result.cause));
    fact("message", muster_formats::report::text::one_line(&result.message, 500));
    let usage = &result.usage;
    let cpu = |micros| words::duration(Duration::from_micros(micros));
    let mut used = Vec::new();
    if usage.user_micros + usage.system_micros > 0 {
        used.push(format!("cpu {} user, {} system", cpu(usage.user_micros), cpu(usage.system_micros)));
    }
    if usage.memory_peak_bytes > 0 {
        used.push(format!("memory {}", words::bytes(usage.memory_peak_bytes)));
    }
    if usage.read_bytes + usage.write_bytes > 0 {
        used.push(format!(
            "read {}, wrote {}",
            words::bytes(usage.read_bytes),
            words::bytes(usage.write_bytes)
        ));
    }
    fact("used", used.join("; "));
    if result.leaked > 0 {
        fact("left behind", text::plural(result.leaked.into(), "process, killed", "processes, killed"));
    }
    if let Some(kept) = &result.artifacts {
        let number = attempt.number;
        let command = format!("muster artifacts {}", text::quoted(&format!("{address}#{number}")));
        fact("kept", format!("{}: {command}", words::artifacts(kept)));
    }
    for step in &result.steps {
        let exit = step.exit.map(|e| format!(", exit code {e}")).unwrap_or_default();
        let message = if step.message.is_empty() { String::new() } else { format!(": {}", step.message) };
        let told =
            format!("{} {} in {}{exit}{message}", step.name, step.outcome, words::duration(step.duration));
        fact("step", muster_formats::report::text::one_line(&told, 500));
    }
    for m in &result.measures {
        let good = match m.good {
            Some(true) => " ok",
            Some(false) => " NOT OK",
            None => "",
        };
        let tolerance = &m.tolerance;
        let expected = m.expected.map(|e| match tolerance.parse::<f64>() {
            Ok(_) => format!(", expected {e} ± {tolerance}"),
            Err(_) if tolerance.is_empty() => format!(", expected {e}"),
            Err(_) => format!(", expected {tolerance} {e}"),
        });
        let expected = expected.unwrap_or_default();
        let units = if m.units.is_empty() { String::new() } else { format!(" {}", m.units) };
        fact("measured", format!("{} = {}{units}{expected}{good}", m.name, m.value));
    }
    lines.extend(facts.lines(width.saturating_sub(4)).into_iter().map(|l| format!("    {l}")));
    lines.push(format!(
        "    {}",
        paint(INFO, format!("muster log {}", text::quoted(&format!("{address}#{}", attempt.number))))
    ));
    lines
}
