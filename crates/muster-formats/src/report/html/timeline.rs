//! When each device ran what: a lane per device, drawn as SVG.

use crate::report::text::clean;
use crate::report::words;
use maud::{Markup, html};
use muster_core::outcome::Outcome;
use muster_core::view::RunView;
use std::collections::BTreeMap;
use std::time::Duration;

/// Limit: lanes drawn; the others are counted.
const LANES_MAX: usize = 64;

/// Limit: bars per lane. Bars that would be closer than this resolution become one.
const BARS_MAX: u64 = 600;

/// From and to in microseconds since the first attempt, what it came to, what to call it.
pub(super) type Attempt = (u64, u64, Outcome, String);

pub(super) struct Bar {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) worst: Outcome,
    pub(super) attempts: u32,
    pub(super) name: String,
}

pub(super) fn section(run: &RunView) -> Markup {
    let attempts = || run.all_items().flat_map(|(t, i)| i.attempts.iter().map(move |a| (t, i, a)));
    let Some(begin) = attempts().map(|(.., a)| a.result.started).min() else { return html! {} };
    let end = attempts().map(|(.., a)| a.result.started + a.result.duration).max().unwrap_or(begin);
    let span = (end.0 - begin.0).max(1);

    let mut lanes: BTreeMap<(&str, u64, &str), Vec<Attempt>> = BTreeMap::new();
    for (test, item, attempt) in attempts() {
        let from = attempt.result.started.0 - begin.0;
        let to = (attempt.result.started + attempt.result.duration).0 - begin.0;
        let mut name = super::full_name(test, item);
        if attempt.number > 1 {
            name = format!("{name}#{}", attempt.number);
        }
        lanes.entry(natural(&attempt.device)).or_default().push((from, to, attempt.result.outcome, name));
    }
    let hidden = lanes.len().saturating_sub(LANES_MAX);
    html! {
        section #timeline {
            h2 { "Timeline" }
            div.lanes {
                @for ((_, _, device), list) in lanes.into_iter().take(LANES_MAX) {
                    div.lane {
                        span.device title=(clean(device)) { (clean(device)) }
                        svg width="100%" height="14" role="img" aria-label={ "attempts on " (clean(device)) } {
                            @for bar in bars(list, span) {
                                rect.(bar.worst.word()) x={ (percent(bar.from, span)) "%" } width={ (percent(bar.to - bar.from, span)) "%" } height="14" {
                                    title {
                                        (bar.name) @if bar.attempts > 1 { " and " (bar.attempts - 1) " more" }
                                        ": " (bar.worst) ", " (words::duration(Duration::from_micros(bar.to - bar.from)))
                                    }
                                }
                            }
                        }
                    }
                }
                div.lane.axis {
                    span.device {}
                    span.ticks { @for n in 0..=4 { span { (words::duration(Duration::from_micros(span * n / 4))) } } }
                }
            }
            @if hidden > 0 { p.note { (hidden) " more devices are not drawn." } }
        }
    }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.3}", part as f64 * 100.0 / whole as f64)
}

/// Sorts `slot-10` after `slot-9`: the name without its last number, the number, the name.
pub(super) fn natural(name: &str) -> (&str, u64, &str) {
    let head = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (head, name[head.len()..].parse().unwrap_or(0), name)
}

/// Bars in order; what lies closer together than can be seen is one bar of the worst outcome.
pub(super) fn bars(mut list: Vec<Attempt>, span: u64) -> Vec<Bar> {
    // What is drawn later lies on top: of attempts that begin together, the worst.
    list.sort_by_key(|(from, _, outcome, _)| (*from, *outcome));
    let fine = span / BARS_MAX;
    let mut bars: Vec<Bar> = Vec::new();
    for (from, to, outcome, name) in list {
        match bars.last_mut() {
            // A bar that can be seen by itself stays by itself.
            Some(last) if from < last.from + fine && to < last.from + 2 * fine => {
                last.to = last.to.max(to);
                last.attempts += 1;
                if outcome > last.worst {
                    (last.worst, last.name) = (outcome, name);
                }
            }
            _ => bars.push(Bar { from, to: to.max(from + span / 2_000), worst: outcome, attempts: 1, name }),
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_thousand_attempts_are_drawn_as_hundreds_of_bars_and_no_failure_is_lost() {
        let list = (0..100_000u64).map(|n| {
            let outcome = if n == 54_321 { Outcome::Crash } else { Outcome::Pass };
            (n * 10, n * 10 + 9, outcome, n.to_string())
        });
        let bars = bars(list.collect(), 1_000_000);
        assert!(bars.len() as u64 <= BARS_MAX + 1, "{}", bars.len());
        assert_eq!(bars.iter().map(|b| b.attempts).sum::<u32>(), 100_000);
        let crashed: Vec<_> =
            bars.iter().filter(|b| b.worst == Outcome::Crash).map(|b| b.name.as_str()).collect();
        assert_eq!(crashed, ["54321"]);
    }

    #[test]
    fn devices_are_sorted_as_people_count() {
        let mut names = ["slot-10", "slot-9", "pixel", "slot-1"];
        names.sort_by_key(|n| natural(n));
        assert_eq!(names, ["pixel", "slot-1", "slot-9", "slot-10"]);
    }
}
