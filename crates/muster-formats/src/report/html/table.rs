//! All tests with their items, compact.

use super::card::{Notable, anchor};
use super::{badge, tone, write};
use crate::report::{text, words};
use maud::{Markup, html};
use muster_core::outcome::Verdict;
use muster_core::view::{ItemView, RunView, TestView};
use std::io::{self, Write};

/// Limit: a test with more items than this is folded until somebody wants to see them.
const OPEN_ITEMS_MAX: usize = 12;

pub(super) fn section(
    run: &RunView,
    notable: &Notable<'_>,
    rows_max: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    write(out, html! { h2 #tests { "All tests " span.count { (run.tests.len()) } } })?;
    let mut room = rows_max;
    for (t, test) in run.tests.iter().enumerate() {
        let items: Vec<(usize, &ItemView)> =
            test.items.iter().enumerate().filter(|(_, i)| words::is_shown(i)).collect();
        write(out, head(test, items.len()))?;
        let mut hidden = 0;
        for (i, item) in items {
            let fine = matches!(item.verdict, Some(Verdict::Pass | Verdict::Skip));
            if fine && room == 0 {
                hidden += 1;
                continue;
            }
            room -= usize::from(fine);
            write(out, row(test, item, notable.places.contains(&(t, i)).then(|| anchor((t, i)))))?;
            out.write_all(b"\n")?;
        }
        out.write_all(b"</table>")?;
        if hidden > 0 {
            write(
                out,
                html! { p.note { (hidden) " more items that are fine are left out: the page's limit." } },
            )?;
        }
        out.write_all(b"</details>\n")?;
    }
    Ok(())
}

/// The beginning of a test's part, whose table is left open.
fn head(test: &TestView, items: usize) -> Markup {
    let open = items <= OPEN_ITEMS_MAX;
    let part = html! {
        details.test open[open] {
            summary {
                (badge(test.verdict)) " " span.name { (text::clean(&test.name)) }
                " " span.few {
                    @for verdict in Verdict::ALL.into_iter().rev().filter(|v| test.counts.get(*v) > 0) {
                        span.(tone(Some(verdict))) { (test.counts.get(verdict)) " " (verdict) }
                    }
                }
                @if !test.description.is_empty() { " " span.about { (text::clean(&test.description)) } }
            }
            table.items {}
        }
    };
    let open = part.into_string();
    maud::PreEscaped(open.trim_end_matches("</table></details>").to_owned())
}

fn row(test: &TestView, item: &ItemView, card: Option<String>) -> Markup {
    let last = item.last();
    let message = match item.verdict {
        Some(Verdict::Pass) => String::new(),
        _ => text::one_line(&words::headline(item), 160),
    };
    let name = text::clean(words::item_name(test, item));
    html! {
        tr data-verdict=(words::verdict_word(item.verdict)) {
            td { (badge(item.verdict)) }
            td.name { @match &card { Some(card) => { a href={ "#" (card) } { (name) } }, None => { (name) } } }
            td.time { @if let Some(last) = last { (words::duration(last.result.duration)) } }
            td.where { @if let Some(last) = last { (text::clean(&last.device)) @if item.attempts.len() > 1 { " ×" (item.attempts.len()) } } }
            td.why { (message) }
        }
    }
}
