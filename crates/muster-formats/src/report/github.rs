//! GitHub Actions: annotations and log groups by workflow commands
//! (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions>), and a job summary
//! in Markdown.
//!
//! GitHub shows the first 10 errors and 10 warnings of a step as annotations; the worst come first.
//! Text of tests is never printed where it could be taken for a command.

use super::source_line::source_line;
use super::words::{self, Drawer};
use super::{FinalReport, Logs, text};
use muster_core::definition::UnexpectedPass;
use muster_core::judge::first_useful_line;
use muster_core::outcome::Verdict;
use muster_core::output::Stream;
use muster_core::view::{ItemView, RunView, TestView};
use std::io::{self, Write};

/// Writes annotations and groups.
#[derive(Clone, Debug)]
pub struct Github {
    /// Most bytes of one failed attempt's output.
    pub output_bytes_max: usize,
    /// The checkout's absolute path (`$GITHUB_WORKSPACE`): source paths under it are made relative, as
    /// annotations need them. Empty: unknown.
    pub root: String,
}

impl Default for Github {
    fn default() -> Self {
        Self { output_bytes_max: 64 << 10, root: String::new() }
    }
}

/// Most failed items whose output is printed. Limit: a step's log of GitHub becomes unusable long before.
const GROUPS_MAX: usize = 200;

impl FinalReport for Github {
    fn write(&self, run: &RunView, logs: &dyn Logs, out: &mut dyn Write) -> io::Result<()> {
        let mut told: Vec<_> = run.all_items().filter_map(|(t, i)| Some((level(run, i)?, t, i))).collect();
        told.sort_by_key(|(level, _, item)| (*level, std::cmp::Reverse(item.verdict)));
        for (n, (level, test, item)) in told.into_iter().enumerate() {
            self.item(run, test, item, level, if n < GROUPS_MAX { Some(logs) } else { None }, out)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Error,
    Warning,
    Notice,
}

fn level(run: &RunView, item: &ItemView) -> Option<Level> {
    match words::drawer(item.verdict, run.unexpected_pass) {
        Drawer::Failed | Drawer::Error => Some(Level::Error),
        Drawer::Skipped => None,
        Drawer::Good => match item.verdict {
            Some(Verdict::Flaky | Verdict::Warn) => Some(Level::Warning),
            Some(Verdict::Check | Verdict::UnexpectedPass) => Some(Level::Notice),
            _ => None,
        },
    }
}

impl Github {
    fn item(
        &self,
        run: &RunView,
        test: &TestView,
        item: &ItemView,
        level: Level,
        logs: Option<&dyn Logs>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let last = item.last();
        // Of a flaky item, what failed is of interest, not what passed.
        let telling = item.attempts.iter().rfind(|a| !a.result.outcome.is_good()).or(last);
        let address = words::address(run, &test.name, &item.path, telling.map_or(0, |a| a.number));
        let mut message = text::clean(&words::headline(item));
        let mut source = source_line(&message);
        if let (Some(attempt), Some(logs)) = (telling, logs) {
            let log = logs.log(&attempt.result.output, self.output_bytes_max);
            let log = text::cut_frames(&log, self.output_bytes_max);
            let bare = message.is_empty() || message == words::cause(&attempt.result.cause);
            if let Some(line) = first_useful_line(&log).filter(|_| bare) {
                source = source.or_else(|| source_line(&line));
                message =
                    [message, line].into_iter().filter(|m| !m.is_empty()).collect::<Vec<_>>().join(": ");
            }
            source = source.or_else(|| source_line(&text::plain(&log, |_| true)));
            self.group(&address, item, &log, out)?;
        }
        let kind = match level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Notice => "notice",
        };
        let title = match item.verdict {
            Some(Verdict::Error) => format!("{address}: error (the lab's fault)"),
            verdict => format!("{address}: {}", words::verdict_word(verdict)),
        };
        let mut properties = Vec::new();
        if let Some(file) = source.as_ref().and_then(|s| self.relative(&s.file)) {
            let line = source.as_ref().map_or(1, |s| s.line);
            properties.push(format!("file={},line={line}", escape_property(file)));
            if let Some(column) = source.as_ref().and_then(|s| s.column) {
                properties.push(format!("col={column}"));
            }
        }
        properties.push(format!("title={}", escape_property(&text::clean(&title))));
        writeln!(out, "::{kind} {}::{}", properties.join(","), escape(message.trim_end()))
    }

    /// The path relative to the checkout; `None` for one that lies elsewhere.
    fn relative<'a>(&self, file: &'a str) -> Option<&'a str> {
        let root = self.root.trim_end_matches('/');
        let inner = file.strip_prefix(root).and_then(|f| f.strip_prefix('/')).filter(|_| !root.is_empty());
        if inner.is_some() {
            return inner;
        }
        (!file.starts_with('/') && !file.split('/').any(|part| part == "..")).then_some(file)
    }

    fn group(&self, address: &str, item: &ItemView, log: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let plain = text::pieces(log, |_| true);
        if plain.iter().all(|p| p.text.trim().is_empty()) {
            return Ok(());
        }
        let verdict = words::verdict_word(item.verdict);
        writeln!(out, "::group::{}", escape(&text::clean(&format!("{verdict} {address}"))))?;
        for piece in plain {
            // The mark keeps `::commands::` from the beginning of a line; `##[` is one anywhere.
            let mark = match piece.stream {
                Stream::Stdout => "|",
                Stream::Stderr => "!",
                Stream::Muster => "*",
            };
            for line in text::clean(&piece.text).lines() {
                writeln!(out, "{mark} {}", line.replace("##[", "## ["))?;
            }
        }
        writeln!(out, "::endgroup::")
    }
}

/// Escapes a command's message.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a command's property.
fn escape_property(text: &str) -> String {
    escape(text).replace(':', "%3A").replace(',', "%2C")
}

/// Most rows of each list of the summary. Limit: GitHub refuses summaries of more than 1 MiB.
const ROWS_MAX: usize = 50;

/// The run as a short Markdown page, for the file `$GITHUB_STEP_SUMMARY` names: counts, what failed, what
/// is flaky, the slowest.
///
/// # Errors
/// What `out` says.
pub fn summary(run: &RunView, out: &mut dyn Write) -> io::Result<()> {
    let verdict = if run.ended.is_none() {
        "not ended"
    } else if run.has_passed() {
        "passed"
    } else if run.is_ok() {
        "stopped"
    } else {
        "failed"
    };
    let took =
        run.ended.map(|e| format!(" in {}", words::duration(e.since(run.started)))).unwrap_or_default();
    writeln!(out, "## {} {verdict}{took}\n", code(&run.address()))?;
    writeln!(out, "| verdict | items |\n|---|---:|")?;
    for verdict in Verdict::ALL.into_iter().rev().filter(|v| run.counts.get(*v) > 0) {
        writeln!(out, "| {verdict} | {} |", run.counts.get(verdict))?;
    }
    let mut failed: Vec<_> = run
        .all_items()
        .filter(|(_, i)| match (i.verdict, run.unexpected_pass) {
            (None, _) | (Some(Verdict::UnexpectedPass), UnexpectedPass::Report) => false,
            (Some(verdict), _) => !verdict.is_ok(),
        })
        .collect();
    failed.sort_by_key(|(_, i)| std::cmp::Reverse(i.verdict));
    list(out, run, "Failed", &failed)?;
    let flaky: Vec<_> = run.all_items().filter(|(_, i)| i.verdict == Some(Verdict::Flaky)).collect();
    list(out, run, "Flaky", &flaky)?;
    let mut slowest: Vec<_> = run
        .all_items()
        .filter(|(_, i)| words::is_shown(i))
        .filter_map(|(t, i)| Some((i.last()?.result.duration, t, i)))
        .collect();
    slowest.sort_by_key(|(duration, ..)| std::cmp::Reverse(*duration));
    if !slowest.is_empty() {
        writeln!(out, "\n<details><summary>Slowest</summary>\n\n| item | time |\n|---|---:|")?;
        for (duration, test, item) in slowest.into_iter().take(10) {
            let address = words::address(run, &test.name, &item.path, 0);
            writeln!(out, "| {} | {} |", code(&address), words::duration(duration))?;
        }
        writeln!(out, "\n</details>")?;
    }
    Ok(())
}

fn list(out: &mut dyn Write, run: &RunView, title: &str, items: &[(&TestView, &ItemView)]) -> io::Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### {title}\n\n| item | verdict | why |\n|---|---|---|")?;
    for (test, item) in items.iter().take(ROWS_MAX) {
        let address = words::address(run, &test.name, &item.path, item.last().map_or(0, |a| a.number));
        let why = text::one_line(&words::headline(item), 300);
        let why = if why.is_empty() { String::new() } else { code(&why) };
        writeln!(out, "| {} | {} | {why} |", code(&address), words::verdict_word(item.verdict))?;
    }
    if items.len() > ROWS_MAX {
        writeln!(out, "\n… and {} more", items.len() - ROWS_MAX)?;
    }
    Ok(())
}

/// Text that is neither Markdown nor HTML, in a table's cell.
fn code(text: &str) -> String {
    let mut html = String::from("<code>");
    for c in text::one_line(text, 400).chars() {
        match c {
            c if c.is_ascii_alphanumeric() || " /-#.".contains(c) || !c.is_ascii() => html.push(c),
            c => {
                html.push_str("&#");
                html.push_str(&u32::from(c).to_string());
                html.push(';');
            }
        }
    }
    html.push_str("</code>");
    html
}
