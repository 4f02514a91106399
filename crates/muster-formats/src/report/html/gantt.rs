//! When what of a run was at work, as a drawing (SVG) that stands by itself or in a page: a lane for each device or each
//! test, a bar for each attempt. What went wrong is hatched, so that nobody needs to tell colours apart, and each bar
//! says what it is.

use super::timeline::{Attempt, Bar, bars, natural};
use crate::report::text::{clean, one_line, shorten};
use crate::report::words;
use maud::{Markup, PreEscaped, html};
use muster_core::outcome::Outcome;
use muster_core::view::RunView;
use std::time::Duration;

/// What has a lane of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// Each device, in the order of their names.
    Devices,
    /// Each test, in the order in which they began.
    Tests,
}

/// Limit: lanes drawn; the others are counted.
const LANES_MAX: usize = 200;
/// Limit: attempts of one lane that are drawn above each other; more are drawn over the last.
const DEPTH_MAX: usize = 16;

const WIDTH: u32 = 1_200;
const LEFT: u32 = 200;
const ROW: usize = 16;
const TOP: usize = 40;

/// Everything is below `.gantt`: in a page, what a drawing says of colours holds for all of it, and the other way round.
const STYLE: &str = "\
.gantt text{font:12px system-ui,sans-serif;fill:#1c2024}.gantt rect{stroke:none}.gantt .back{fill:#fff}.gantt .soft{fill:#60646c}\
.gantt .in{fill:#fff;font-size:10px}.gantt .line{stroke:#d0d3d8}.gantt .bad{fill:url(#muster-bad)}.gantt .hatch{fill:#fff;fill-opacity:.3}\
.gantt .pass{fill:#1a7f45}.gantt .warn,.gantt .check{fill:#8a5d00}.gantt .skip{fill:#687076}.gantt .error{fill:#8250df}\
.gantt .fail,.gantt .timeout,.gantt .crash,.gantt .abort{fill:#c01f2b}.gantt .cancelled{fill:#6b6d78}";

struct Lane {
    name: String,
    /// Bars with the row of the lane they are in.
    bars: Vec<(usize, Bar)>,
    rows: usize,
}

/// The drawing; `None` for a run of which nothing was ever started.
pub fn gantt(run: &RunView, by: Lanes) -> Option<String> {
    let attempts = || run.all_items().flat_map(|(t, i)| i.attempts.iter().map(move |a| (t, i, a)));
    let begin = attempts().map(|(.., a)| a.result.started).min()?;
    let end = attempts().map(|(.., a)| a.result.started + a.result.duration).max()?;
    let span = (end.0 - begin.0).max(1);
    let mut found: Vec<(String, Vec<Attempt>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (test, item, attempt) in attempts() {
        let lane = match by {
            Lanes::Devices => attempt.device.as_str(),
            Lanes::Tests => test.name.as_str(),
        };
        let from = attempt.result.started.0 - begin.0;
        let to = (attempt.result.started + attempt.result.duration).0 - begin.0;
        let mut name = super::full_name(test, item);
        if attempt.number > 1 {
            name = format!("{name}#{}", attempt.number);
        }
        let place = *places.entry(lane.to_owned()).or_insert_with(|| {
            found.push((lane.to_owned(), Vec::new()));
            found.len() - 1
        });
        found[place].1.push((from, to, attempt.result.outcome, name));
    }
    match by {
        Lanes::Devices => found.sort_by(|a, b| natural(&a.0).cmp(&natural(&b.0))),
        Lanes::Tests => found.sort_by_key(|(_, list)| list.iter().map(|(from, ..)| *from).min()),
    }
    let hidden = found.len().saturating_sub(LANES_MAX);
    let lanes: Vec<Lane> =
        found.into_iter().take(LANES_MAX).map(|(name, list)| lane(name, list, span)).collect();
    Some(draw(run, &lanes, span, hidden).into_string())
}

/// Puts bars that are at the same time above each other.
fn lane(name: String, list: Vec<Attempt>, span: u64) -> Lane {
    let mut ends: Vec<u64> = Vec::new();
    let mut placed = Vec::new();
    for bar in bars(list, span) {
        let free = ends.iter().position(|end| *end <= bar.from);
        let row = free.unwrap_or(ends.len()).min(DEPTH_MAX - 1);
        if row == ends.len() {
            ends.push(0);
        }
        ends[row] = ends[row].max(bar.to);
        placed.push((row, bar));
    }
    Lane { name, rows: ends.len().max(1), bars: placed }
}

fn draw(run: &RunView, lanes: &[Lane], span: u64, hidden: usize) -> Markup {
    let rows: usize = lanes.iter().map(|l| l.rows).sum();
    let bottom = TOP + rows * ROW + lanes.len() * 4;
    let height = bottom + if hidden > 0 { 20 } else { 0 };
    let room = f64::from(WIDTH - LEFT);
    let x = |at: u64| f64::from(LEFT) + at as f64 / span as f64 * room;
    let mut y = TOP;
    let mut drawn = Vec::new();
    for lane in lanes {
        drawn.push(html! {
            text.soft x=(LEFT - 8) y=(y + 12) text-anchor="end" { (shorten(&one_line(&lane.name, 200), 28)) title { (clean(&lane.name)) } }
            @for (row, bar) in &lane.bars { (draw_bar(bar, x(bar.from), x(bar.to), y + row * ROW)) }
        });
        y += lane.rows * ROW + 4;
    }
    html! {
        svg.gantt xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH + 10) " " (height) } width=(WIDTH + 10) height=(height) role="img" {
            title { "When what ran in " (clean(&run.address())) ", " (words::duration(Duration::from_micros(span))) " in all" }
            style { (PreEscaped(STYLE)) }
            defs {
                pattern id="muster-bad" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect.hatch width="2" height="6" {}
                }
            }
            rect.back width=(WIDTH + 10) height=(height) {}
            (legend(lanes))
            @for at in ticks(span) {
                line.line x1=(px(x(at))) x2=(px(x(at))) y1=(TOP - 6) y2=(bottom) {}
                text.soft x=(px(x(at))) y=(TOP - 10) text-anchor="middle" { (words::duration(Duration::from_micros(at))) }
            }
            @for lane in drawn { (lane) }
            @if hidden > 0 { text.soft x=(LEFT) y=(height - 6) { "and " (hidden) " more lanes" } }
        }
    }
}

fn px(x: f64) -> String {
    format!("{x:.2}")
}

fn draw_bar(bar: &Bar, from: f64, to: f64, y: usize) -> Markup {
    let wide = (to - from).max(1.0);
    let (left, wide_px) = (px(from), px(wide));
    // Letters are about six units wide.
    let fits = (wide / 6.0) as usize;
    html! {
        g {
            title {
                (bar.name) @if bar.attempts > 1 { " and " (bar.attempts - 1) " more" }
                ": " (bar.worst) ", " (words::duration(Duration::from_micros(bar.to - bar.from)))
            }
            rect.(bar.worst.word()) x=(left) y=(y + 1) width=(wide_px) height=(ROW - 2) rx="1" {}
            @if !bar.worst.is_good() { rect.bad x=(left) y=(y + 1) width=(wide_px) height=(ROW - 2) {} }
            @if fits >= 4 { text.in x=(px(from + 3.0)) y=(y + 12) { (shorten(&one_line(&bar.name, 200), fits - 1)) } }
        }
    }
}

/// A square and a word for each outcome that is drawn.
fn legend(lanes: &[Lane]) -> Markup {
    let drawn = |outcome: Outcome| lanes.iter().flat_map(|l| &l.bars).any(|(_, bar)| bar.worst == outcome);
    let outcomes = Outcome::ALL.into_iter().filter(|o| drawn(*o));
    html! {
        @for (n, outcome) in (0u32..).zip(outcomes) {
            rect.(outcome.word()) x=(LEFT + n * 90) y="2" width="10" height="10" {}
            @if !outcome.is_good() { rect.bad x=(LEFT + n * 90) y="2" width="10" height="10" {} }
            text x=(LEFT + n * 90 + 14) y="11" { (outcome) }
        }
    }
}

/// Moments that are marked: at most ten, at round times.
fn ticks(span: u64) -> impl Iterator<Item = u64> {
    const SECOND: u64 = 1_000_000;
    let fine =
        (0..7).flat_map(|power| [1, 2, 5].map(|n| n * 10_u64.pow(power))).take_while(|step| *step < SECOND);
    let coarse = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400];
    let days = (1..).map(|n: u64| n.saturating_mul(7 * 86_400 * SECOND));
    let mut steps = fine.chain(coarse.map(|s| s * SECOND)).chain(days);
    let step = steps.find(|step| span / step < 10).unwrap_or(span);
    (0..=span / step).map(move |n| n * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_few_and_at_round_times() {
        for span in [1, 999, 1_000_000, 59_000_000, 3_601_000_000, 90_000_000_000, u64::MAX / 2] {
            let marks: Vec<u64> = ticks(span).collect();
            assert!((1..=10).contains(&marks.len()), "{span}: {marks:?}");
        }
        assert_eq!(ticks(59_000_000).nth(1), Some(10_000_000));
    }

    #[test]
    fn what_is_at_the_same_time_is_above_each_other() {
        let one = |from, to| (from, to, Outcome::Pass, format!("{from}"));
        let lane =
            lane("t".to_owned(), vec![one(0, 500), one(100, 400), one(450, 900), one(600, 1_000)], 1_000);
        let rows: Vec<usize> = lane.bars.iter().map(|(row, _)| *row).collect();
        assert_eq!((rows, lane.rows), (vec![0, 1, 1, 0], 2));
    }
}
