//! Running only some steps of an item again: which run, and what the others keep of what they came to.
//!
//! It is a new attempt like any other; its steps that do not run are those of earlier attempts, and say so. What an
//! item comes to is the worst of all its steps, so that what is kept can still fail it.

use crate::attempt::{Measured, StepResult};
use crate::change::RunRecord;
use crate::definition::{Kind, Step, TestDef};
use crate::id::ItemIx;
use crate::note::Spot;
use crate::view::{ItemView, RunView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Begins the message of a step's result that was kept.
const KEPT: &str = "kept from attempt ";

/// Which steps of an item run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SomeSteps {
    /// This one.
    Only(String),
    /// This one and all behind it.
    From(String),
}

impl SomeSteps {
    /// The step that is named.
    pub fn name(&self) -> &str {
        match self {
            Self::Only(name) | Self::From(name) => name,
        }
    }
}

/// An item of which only some steps run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The item.
    pub item: ItemIx,
    /// Its last attempt, which this one goes on from.
    pub attempt: u16,
    /// The steps that run, in the test's order.
    pub run: Vec<String>,
    /// What the others came to; those that never ran are not listed.
    pub kept: Vec<StepResult>,
    /// What the last attempt measured, but for what rules found in the logs of steps that run.
    pub measures: Vec<Measured>,
    /// What the last attempt left in its working directory: a path in the run's directory. Empty: nothing.
    pub files: String,
}

/// What is kept of each of these items of a run, if only these steps run as the record says, and why some cannot run
/// so. `spots`: the names of items by their place. `files_here`: working directories of earlier attempts can be had
/// where the next ones run.
pub fn parts(
    run: &RunView,
    record: &RunRecord,
    spots: &[Option<Spot>],
    items: &[ItemIx],
    steps: &SomeSteps,
    files_here: bool,
) -> (Vec<Arc<Part>>, Vec<String>) {
    let wanted: BTreeSet<ItemIx> = items.iter().copied().collect();
    let places: BTreeMap<(&str, &str), ItemIx> = (0u32..)
        .map(ItemIx)
        .zip(spots)
        .filter(|(ix, _)| wanted.contains(ix))
        .filter_map(|(ix, spot)| spot.as_ref().map(|s| ((s.test.as_str(), s.item.as_str()), ix)))
        .collect();
    let (mut parts, mut refused) = (Vec::with_capacity(places.len()), Vec::new());
    for (test, item) in run.all_items().filter(|(_, item)| !item.discovery) {
        let Some(ix) = places.get(&(test.name.as_str(), item.path.as_str())) else { continue };
        let def = record.plan.tests.iter().find(|t| t.def.name == test.name).map(|t| &*t.def);
        match def.ok_or_else(|| "it is not in the run".to_owned()).and_then(|d| of_item(*ix, item, d, steps)) {
            Ok(part) if !part.files.is_empty() && !files_here => refused.push(format!(
                "{}: what attempt {} left in its working directory is with the server, and steps cannot have it",
                crate::address::item_name(&test.name, &item.path),
                part.attempt
            )),
            Ok(part) => parts.push(Arc::new(part)),
            Err(why) => {
                refused.push(format!("{}: {why}", crate::address::item_name(&test.name, &item.path)));
            }
        }
    }
    parts.sort_by_key(|part| part.item);
    (parts, refused)
}

/// What a run has of such parts once these items run again: of those, these.
pub fn renew(parts: &mut Vec<Arc<Part>>, items: &[ItemIx], new: Vec<Arc<Part>>) {
    let again: BTreeSet<ItemIx> = items.iter().copied().collect();
    parts.retain(|part| !again.contains(&part.item));
    parts.extend(new);
    parts.sort_by_key(|part| part.item);
}

/// The part of an item, if only some of its steps run.
pub fn of(parts: &[Arc<Part>], item: ItemIx) -> Option<&Arc<Part>> {
    parts.binary_search_by_key(&item, |part| part.item).ok().map(|at| &parts[at])
}

fn of_item(ix: ItemIx, item: &ItemView, def: &TestDef, steps: &SomeSteps) -> Result<Part, String> {
    let all = steps_of(def)?;
    let Some(at) = all.iter().position(|s| s.name == steps.name()) else {
        let names: Vec<String> = all.iter().map(|s| format!("`{}`", s.name)).collect();
        return Err(format!("it has no step `{}`, it has {}", steps.name(), names.join(", ")));
    };
    if !def.devices_used().is_empty() {
        return Err("it runs on a device, where nothing of an attempt stays".to_owned());
    }
    if !def.pass.log.is_empty() || def.pass.stdout.is_some() || def.pass.logpro.is_some() {
        return Err("it is judged by what all its steps print together".to_owned());
    }
    let Some(last) = item.last() else { return Err("it has never run".to_owned()) };
    let runs = |place: usize| match steps {
        SomeSteps::Only(_) => place == at,
        SomeSteps::From(_) => place >= at,
    };
    let (mut run, mut kept) = (Vec::new(), Vec::new());
    for (place, Step { name, .. }) in all.iter().enumerate() {
        if runs(place) {
            run.push(name.clone());
            continue;
        }
        let results = kept_of(item, name);
        if results.is_empty() && place < at {
            return Err(format!("its step `{name}` has not run yet, which comes before `{}`", steps.name()));
        }
        kept.extend(results);
    }
    let of_steps = |measured: &&Measured| {
        !run.iter().any(|step| measured.name.strip_prefix(step.as_str()).is_some_and(|r| r.starts_with('/')))
    };
    let result = &last.result;
    let measures = result.measures.iter().filter(of_steps).cloned().collect();
    let files = result.artifacts.as_ref().map(|kept| kept.dir.clone()).unwrap_or_default();
    Ok(Part { item: ix, attempt: last.number, run, kept, measures, files })
}

/// The steps of a test that has some.
fn steps_of(def: &TestDef) -> Result<&[Step], String> {
    match &def.kind {
        Kind::Suite(_) => Err("it is an item of a suite, which has no steps that could run alone".to_owned()),
        Kind::Steps { steps, .. } => match steps.as_slice() {
            [only] if only.name == "run" => Err("it is one command, and has no steps".to_owned()),
            steps => Ok(steps),
        },
    }
}

/// What a step came to when it ran last, and what the test itself told of its parts.
fn kept_of(item: &ItemView, step: &str) -> Vec<StepResult> {
    for attempt in item.attempts.iter().rev() {
        let results = &attempt.result.steps;
        let ran = results.iter().any(|r| r.name == step && !r.message.starts_with(KEPT));
        if !ran {
            continue;
        }
        let is_of = |r: &&StepResult| {
            r.name.strip_prefix(step).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        return results.iter().filter(is_of).map(|r| kept(r, attempt.number)).collect();
    }
    Vec::new()
}

fn kept(result: &StepResult, attempt: u16) -> StepResult {
    let said = if result.message.is_empty() { String::new() } else { format!(": {}", result.message) };
    StepResult { output_from: 0, message: format!("{KEPT}{attempt}{said}"), ..result.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{AttemptResult, Cause};
    use crate::definition::{Items, Line};
    use crate::outcome::{Outcome, Verdict};
    use crate::time::Time;
    use crate::view::AttemptView;
    use std::time::Duration;

    fn def(steps: &[&str]) -> TestDef {
        let step = |name: &&str| Step::new(*name, Line::Shell("true".to_owned()));
        TestDef::new("t", Kind::Steps { steps: steps.iter().map(step).collect(), items: Items::None })
    }

    fn attempt(number: u16, steps: &[(&str, Outcome, &str)]) -> AttemptView {
        let bare = AttemptResult::bare(Outcome::Fail, Cause::Exit(1), Time(0), Duration::ZERO);
        let step = |(name, outcome, message): &(&str, Outcome, &str)| StepResult {
            name: (*name).to_owned(),
            outcome: *outcome,
            exit: Some(0),
            duration: Duration::from_secs(1),
            output_from: 9,
            message: (*message).to_owned(),
        };
        let result = Arc::new(AttemptResult { steps: steps.iter().map(step).collect(), ..bare });
        AttemptView { number, device: String::new(), result }
    }

    fn item(attempts: Vec<AttemptView>) -> ItemView {
        let (path, reason) = (String::new(), String::new());
        ItemView { path, discovery: false, verdict: Some(Verdict::Fail), reason, attempts }
    }

    fn told(item: &ItemView, def: &TestDef, steps: &SomeSteps) -> String {
        match of_item(ItemIx(0), item, def, steps) {
            Err(why) => why,
            Ok(part) => {
                let kept: Vec<String> = part
                    .kept
                    .iter()
                    .map(|s| format!("{} {} ({})", s.name, s.outcome.word(), s.message))
                    .collect();
                format!("run {}; keep {}", part.run.join(" "), kept.join(", "))
            }
        }
    }

    #[test]
    fn steps_that_do_not_run_keep_what_they_came_to_when_they_ran() {
        let (pass, fail) = (Outcome::Pass, Outcome::Fail);
        let def = def(&["a", "b", "c"]);
        let from = |name: &str| SomeSteps::From(name.to_owned());
        let only = |name: &str| SomeSteps::Only(name.to_owned());
        let mut tried = item(vec![attempt(
            1,
            &[("a", pass, ""), ("a/x", pass, ""), ("ab", pass, ""), ("b", fail, "no")],
        )]);
        assert_eq!(
            told(&tried, &def, &from("b")),
            "run b c; keep a pass (kept from attempt 1), a/x pass (kept from attempt 1)"
        );
        assert_eq!(told(&tried, &def, &only("a")), "run a; keep b fail (kept from attempt 1: no)");
        assert_eq!(told(&tried, &def, &only("d")), "it has no step `d`, it has `a`, `b`, `c`");
        // One that was kept is one that ran before.
        tried
            .attempts
            .push(attempt(2, &[("a", pass, "kept from attempt 1"), ("b", pass, ""), ("c", fail, "")]));
        assert_eq!(
            told(&tried, &def, &only("c")),
            "run c; keep a pass (kept from attempt 1), a/x pass (kept from attempt 1), b pass (kept from attempt 2)"
        );
        assert_eq!(told(&item(Vec::new()), &def, &from("a")), "it has never run");
        let begun = item(vec![attempt(1, &[("a", fail, "")])]);
        assert_eq!(told(&begun, &def, &from("c")), "its step `b` has not run yet, which comes before `c`");
    }

    #[test]
    fn what_is_run_again_takes_the_place_of_what_was_to_be() {
        let part = |item: u32, attempt: u16| {
            let (run, kept, measures) = (Vec::new(), Vec::new(), Vec::new());
            Arc::new(Part { item: ItemIx(item), attempt, run, kept, measures, files: String::new() })
        };
        let mut parts = vec![part(1, 1), part(4, 1)];
        renew(&mut parts, &[ItemIx(4), ItemIx(2)], vec![part(2, 7)]);
        assert_eq!(parts, [part(1, 1), part(2, 7)]);
        assert_eq!(of(&parts, ItemIx(2)).map(|p| p.attempt), Some(7));
        assert_eq!(of(&parts, ItemIx(4)), None);
    }
}
