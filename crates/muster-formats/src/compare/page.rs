//! A comparison as one page, which is also the second part of a letter: plain tables, no script, nothing loaded, and
//! styles that programs for mail understand. Colours only repeat what words say.

use super::{Comparison, Difference, Kind, took};
use crate::report::text::{clean, one_line};
use crate::report::words;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use muster_core::address::item_name;
use muster_core::view::{ItemView, RunView};

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;color:#1c2024;background:#fff;margin:1.2rem;max-width:70rem}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}\
table{border-collapse:collapse;font-size:.9rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top;border-bottom:1px solid #e3e5e9}\
th{color:#60646c;font-weight:400}.n{text-align:right}.bad{color:#b4141f;font-weight:600}.good{color:#1a7f45;font-weight:600}\
.soft{color:#60646c}.name{font-weight:600;overflow-wrap:anywhere}.why{overflow-wrap:anywhere}";

/// The page. Of each kind at most `rows_max` items are listed, and the others counted.
pub fn page(comparison: &Comparison<'_>, rows_max: usize) -> String {
    let Comparison { before, after, differences, same } = comparison;
    let counts = comparison.counts();
    let total = (differences.len() + same).max(1);
    let (word, class) = if comparison.is_worse() { ("worse", "bad") } else { ("not worse", "good") };
    let title =
        format!("{} → {}: {}", clean(&before.address()), clean(&after.address()), comparison.headline());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content="muster";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (clean(&after.address())) " is " span.(class) { (word) } " beside " (clean(&before.address())) }
                table {
                    tr { th {} th { "run" } th { "target" } th { "started" } th { "items" } }
                    (side("before", before))
                    (side("after", after))
                }
                h2 { "What changed" }
                table {
                    tr { th {} th.n { "items" } th.n { "share" } th { "Megatest calls it" } }
                    @for (kind, n) in &counts {
                        tr {
                            td { a.(tone(*kind)) href={ "#" (slug(*kind)) } { (kind.title()) } }
                            td.n { (n) } td.n { (share(*n, total)) } td.soft { (kind.megatest_word()) }
                        }
                    }
                    tr { td { "as it was" } td.n { (same) } td.n { (share(*same, total)) } td.soft { "CLEAN" } }
                }
                @for group in differences.chunk_by(|a, b| a.kind == b.kind) {
                    h2 #(slug(group[0].kind)) { span.(tone(group[0].kind)) { (group[0].kind.title()) } " (" (group.len()) ")" }
                    table {
                        tr { th { "item" } th { "was" } th { "is" } th { "took" } th { "why" } }
                        @for difference in group.iter().take(rows_max) { (row(difference)) }
                    }
                    @if group.len() > rows_max {
                        p.soft { "and " (group.len() - rows_max) " more: " code { "muster diff " (before.number) " " (after.number) } }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn side(name: &str, run: &RunView) -> Markup {
    let target: Vec<&str> = run.target.iter().map(|(_, v)| v.as_str()).collect();
    html! {
        tr {
            th { (name) }
            td { (clean(&run.address())) @if !run.name.is_empty() { " " (clean(&run.name)) } }
            td { (clean(&target.join("/"))) }
            td { (words::timestamp(run.started)) }
            td { (run.items) ", " (run.counts.failed()) " of them not ok" }
        }
    }
}

fn row(difference: &Difference<'_>) -> Markup {
    let Difference { test, item, before, after, .. } = difference;
    let word = |i: Option<&ItemView>| i.map_or("–", |i| words::verdict_word(i.verdict));
    let time = |i: Option<&ItemView>| i.and_then(took).map(words::duration);
    let times = match (time(*before), time(*after)) {
        (Some(a), Some(b)) if a != b => format!("{a} → {b}"),
        (a, b) => b.or(a).unwrap_or_default(),
    };
    let why =
        after.filter(|i| i.verdict.is_none_or(|v| !v.is_ok())).map(|i| one_line(&words::headline(i), 300));
    html! {
        tr {
            td.name { (clean(&item_name(test, item))) }
            td { (word(*before)) }
            td { (word(*after)) }
            td {
                (times)
                @if let Some(usual) = difference.usual {
                    span.soft { ", usually " (words::duration(std::time::Duration::from_micros(usual.median_micros))) }
                }
            }
            td.why { (why.unwrap_or_default()) }
        }
    }
}

fn tone(kind: Kind) -> &'static str {
    match kind {
        Kind::NewlyFailing | Kind::NewAndFailing | Kind::StillFailing | Kind::NotEnded => "bad",
        Kind::Fixed | Kind::Faster => "good",
        Kind::New | Kind::Gone | Kind::Changed | Kind::Slower => "soft",
    }
}

fn slug(kind: Kind) -> String {
    kind.title().replace(' ', "-")
}

fn share(part: usize, whole: usize) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}
