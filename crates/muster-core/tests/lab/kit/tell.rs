//! What the watchers are told, a line each. What one could guess from the line before is left out.

use muster_core::event::{Event, Told};
use muster_core::outcome::{Counts, Verdict};
use muster_core::time::Time;
use std::fmt::Write as _;

pub(super) fn name(test: &str, item: &str) -> String {
    if item.is_empty() { test.to_owned() } else { format!("{test}/{item}") }
}

pub(super) fn line(story: &mut String, at: Time, text: &str) {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let secs = at.0 as f64 / 1e6;
    writeln!(story, "{secs}s {text}").expect("strings take everything");
}

fn counts(counts: &Counts) -> String {
    let words = Verdict::ALL.into_iter().filter(|v| counts.get(*v) > 0);
    words.map(|v| format!("{} {v}", counts.get(v))).collect::<Vec<_>>().join(", ")
}

fn reason(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

pub(super) fn tell(story: &mut String, told: &Told) {
    let text = match &told.event {
        Event::RunStarted { items, undiscovered: 0, .. } => format!("run of {items}"),
        Event::RunStarted { items, undiscovered, .. } => format!("run of {items}, and {undiscovered} to ask"),
        Event::Waiting { reason } => format!("waiting: {reason}"),
        Event::ItemsFound { test, items } => format!("{test} has {items}"),
        Event::AttemptStarted { test, item, attempt, device } => {
            format!("{device}: {}#{attempt}", name(test, item))
        }
        Event::AttemptEnded { test, item, attempt, result, retried: true, .. } => {
            format!("    {}#{attempt} {}, again", name(test, item), result.outcome)
        }
        Event::AttemptEnded { .. } => return,
        Event::ItemEnded { test, item, verdict, reason: why, .. } => {
            format!("    {} = {verdict}{}", name(test, item), reason(why))
        }
        Event::TestEnded { counts, .. } if counts.total() <= 1 => return,
        Event::TestEnded { test, verdict, counts: c } => format!("    {test}: {verdict} of {}", counts(c)),
        Event::RunEnded { counts: c, stopped, .. } => {
            format!("run {}: {}", if *stopped { "stopped" } else { "ended" }, counts(c))
        }
    };
    line(story, told.at, &text);
}
