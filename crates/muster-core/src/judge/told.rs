//! Steps that a test tells of itself, in its `$MUSTER_STEPS` file: a line of JSON when one begins
//! (`{"step": "prepare", "at": 1700000000.5}`), another when it has ended (with `outcome`, and `exit` and `message`
//! where there is something to say). They decide nothing.

use crate::attempt::StepResult;
use crate::outcome::Outcome;
use serde::Deserialize;
use std::time::Duration;

/// Steps of one attempt.
// Limit: more than anybody looks at; a loop that tells of each turn does not fill the record.
const STEPS_MAX: usize = 1_000;
/// Characters of a name or message.
// Limit: names are one line of a list.
const CHARS_MAX: usize = 500;

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    step: String,
    /// The test's own step that it is a part of.
    #[serde(default, rename = "in")]
    within: String,
    /// Seconds since 1970.
    at: Option<f64>,
    /// It has ended.
    outcome: Option<Outcome>,
    exit: Option<i32>,
    message: Option<String>,
}

/// A step that was told of.
struct Told {
    name: String,
    within: String,
    began: Option<f64>,
    took: f64,
    /// What it came to, if it has ended.
    end: Option<(Outcome, Option<i32>, String)>,
}

fn short(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect()
}

/// The steps in the order in which they began. Lines that make no sense are left out.
fn parse(text: &str) -> Vec<Told> {
    let mut steps: Vec<Told> = Vec::new();
    for line in text.lines() {
        let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
        let Line { step, within, at, outcome, exit, message } = line;
        let name = short(&step);
        if name.is_empty() {
            continue;
        }
        let end = outcome.map(|outcome| (outcome, exit, short(&message.unwrap_or_default())));
        let is_it = |told: &Told| told.end.is_none() && told.name == name && told.within == within;
        let open = if end.is_some() { steps.iter().rposition(is_it) } else { None };
        match open {
            Some(open) => {
                let open = &mut steps[open];
                open.took = open.began.zip(at).map_or(0.0, |(began, at)| at - began);
                open.end = end;
            }
            None if steps.len() < STEPS_MAX => steps.push(Told { name, within, began: at, took: 0.0, end }),
            None => {}
        }
    }
    steps
}

/// The steps of an attempt with those that it told of, each behind the step that it was a part of. `outcome` is what the
/// attempt came to, for a test without steps of its own.
pub fn with_told(steps: Vec<StepResult>, text: &str, outcome: Outcome) -> Vec<StepResult> {
    let mut told = parse(text);
    if told.is_empty() {
        return steps;
    }
    let mut all = Vec::with_capacity(steps.len() + told.len());
    for step in steps {
        let (name, around, from) = (step.name.clone(), step.outcome, step.output_from);
        all.push(step);
        let (inside, rest): (Vec<Told>, Vec<Told>) = told.into_iter().partition(|t| t.within == name);
        told = rest;
        all.extend(inside.into_iter().map(|t| {
            let name = format!("{name}/{}", t.name);
            result(name, t, around, from)
        }));
    }
    let last = all.last().map_or(0, |step| step.output_from);
    all.extend(told.into_iter().map(|t| result(t.name.clone(), t, outcome, last)));
    all
}

/// `around`: what the part of the attempt came to in which it ran; a step that never ended came to the same.
fn result(name: String, told: Told, around: Outcome, output_from: u64) -> StepResult {
    let (outcome, exit, message) = told.end.unwrap_or_else(|| {
        let outcome = if around.is_good() { Outcome::Pass } else { around };
        (outcome, None, "it was not told when it ended".to_owned())
    });
    let duration = Duration::try_from_secs_f64(told.took).unwrap_or_default();
    StepResult { name, outcome, exit, duration, output_from, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str, outcome: Outcome, output_from: u64) -> StepResult {
        let (name, message) = (name.to_owned(), String::new());
        StepResult { name, outcome, exit: Some(0), duration: Duration::ZERO, output_from, message }
    }

    fn shown(steps: &[StepResult]) -> Vec<String> {
        let line = |s: &StepResult| {
            format!(
                "{} {} {:?} {:.1} @{} {}",
                s.name,
                s.outcome,
                s.exit,
                s.duration.as_secs_f64(),
                s.output_from,
                s.message
            )
        };
        steps.iter().map(line).collect()
    }

    #[test]
    fn steps_that_are_told_stand_behind_the_one_they_belong_to() {
        let text = "{\"step\":\"a\",\"in\":\"script\",\"at\":10.5}\n\
                    {\"step\":\"b\",\"in\":\"script\",\"at\":11}\n\
                    {\"step\":\"a\",\"in\":\"script\",\"at\":12,\"outcome\":\"fail\",\"exit\":3,\"message\":\"no\"}\n\
                    not json\n{\"step\":\" \"}\n\
                    {\"step\":\"alone\",\"outcome\":\"warn\"}\n";
        let steps = vec![own("script", Outcome::Timeout, 7), own("after", Outcome::Pass, 40)];
        assert_eq!(
            shown(&with_told(steps, text, Outcome::Timeout)),
            [
                "script timeout Some(0) 0.0 @7 ",
                "script/a fail Some(3) 1.5 @7 no",
                "script/b timeout None 0.0 @7 it was not told when it ended",
                "after pass Some(0) 0.0 @40 ",
                "alone warn None 0.0 @40 ",
            ]
        );
    }

    #[test]
    fn a_test_without_steps_may_tell_of_some_and_a_flood_is_cut() {
        let told = with_told(Vec::new(), "{\"step\":\"x\",\"outcome\":\"pass\"}", Outcome::Pass);
        assert_eq!(shown(&told), ["x pass None 0.0 @0 "]);
        let flood = "{\"step\":\"x\"}\n".repeat(5_000);
        assert_eq!(with_told(Vec::new(), &flood, Outcome::Pass).len(), STEPS_MAX);
        assert_eq!(with_told(vec![own("s", Outcome::Pass, 0)], "", Outcome::Pass).len(), 1);
    }
}
