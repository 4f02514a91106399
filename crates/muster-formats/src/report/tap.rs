//! Test Anything Protocol, version 14 (<https://testanything.org/tap-version-14-specification.html>).
//!
//! A test with items is a subtest with a point per item; a test without is a point. Known failures are
//! `TODO`, what was not run is `SKIP`, everything else that is bad carries a YAML diagnostic block.
//! Readers know no difference between a failed test and a failed lab; the block's `verdict` does.

use super::words::{self, Drawer};
use super::{FinalReport, Logs, text};
use muster_core::outcome::Verdict;
use muster_core::view::{ItemView, RunView, TestView};
use std::io::{self, Write};

/// Writes TAP 14.
#[derive(Clone, Copy, Debug)]
pub struct Tap {
    /// Most bytes of an attempt's output in a diagnostic block; 0 leaves it out.
    pub output_bytes_max: usize,
}

impl Default for Tap {
    fn default() -> Self {
        Self { output_bytes_max: 16 << 10 }
    }
}

impl FinalReport for Tap {
    fn write(&self, run: &RunView, logs: &dyn Logs, out: &mut dyn Write) -> io::Result<()> {
        let mut page = Page { out, settings: self, run, logs };
        page.document()
    }
}

struct Page<'a> {
    out: &'a mut dyn Write,
    settings: &'a Tap,
    run: &'a RunView,
    logs: &'a dyn Logs,
}

impl Page<'_> {
    fn document(&mut self) -> io::Result<()> {
        let run = self.run;
        let tests: Vec<&TestView> =
            run.tests.iter().filter(|t| t.items.iter().any(words::is_shown)).collect();
        writeln!(self.out, "TAP version 14")?;
        writeln!(self.out, "# run {} {}", comment(&run.address()), comment(&run.name))?;
        match tests.len() {
            0 => writeln!(self.out, "1..0 # SKIP no tests")?,
            n => writeln!(self.out, "1..{n}")?,
        }
        for (i, test) in tests.into_iter().enumerate() {
            let items: Vec<&ItemView> = test.items.iter().filter(|i| words::is_shown(i)).collect();
            match items[..] {
                [only] if only.path.is_empty() => self.point("", i + 1, &test.name, test, only)?,
                _ => self.subtest(i + 1, test, &items)?,
            }
        }
        Ok(())
    }

    fn subtest(&mut self, number: usize, test: &TestView, items: &[&ItemView]) -> io::Result<()> {
        let name = description(&test.name);
        writeln!(self.out, "# Subtest: {name}")?;
        writeln!(self.out, "    1..{}", items.len())?;
        let mut ok = true;
        for (i, item) in items.iter().enumerate() {
            self.point("    ", i + 1, words::item_name(test, item), test, item)?;
            ok &= !self.is_bad(item);
        }
        writeln!(self.out, "{} {number} - {name}", if ok { "ok" } else { "not ok" })
    }

    fn is_bad(&self, item: &ItemView) -> bool {
        matches!(words::drawer(item.verdict, self.run.unexpected_pass), Drawer::Failed | Drawer::Error)
    }

    fn point(
        &mut self,
        pad: &str,
        number: usize,
        name: &str,
        test: &TestView,
        item: &ItemView,
    ) -> io::Result<()> {
        let known = item.verdict == Some(Verdict::KnownFailure);
        let bad = self.is_bad(item);
        let reason = || description(&text::one_line(&words::headline(item), 200));
        let directive = match words::drawer(item.verdict, self.run.unexpected_pass) {
            _ if known => format!(" # TODO {}", reason()),
            Drawer::Skipped => format!(" # SKIP {}", reason()),
            Drawer::Good | Drawer::Failed | Drawer::Error => String::new(),
        };
        let ok = if bad || known { "not ok" } else { "ok" };
        writeln!(self.out, "{pad}{ok} {number} - {}{}", description(name), directive.trim_end())?;
        if bad || words::is_notable(item) || item.attempts.len() > 1 {
            self.diagnostics(&format!("{pad}  "), test, item)?;
        }
        Ok(())
    }

    fn diagnostics(&mut self, pad: &str, test: &TestView, item: &ItemView) -> io::Result<()> {
        let run = self.run;
        let last = item.last();
        writeln!(self.out, "{pad}---")?;
        let address = words::address(run, &test.name, &item.path, last.map_or(0, |a| a.number));
        self.field(pad, "message", &words::headline(item))?;
        self.field(pad, "verdict", words::verdict_word(item.verdict))?;
        self.field(pad, "severity", if self.is_bad(item) { "fail" } else { "comment" })?;
        self.field(pad, "address", &address)?;
        if let Some(last) = last {
            self.field(pad, "outcome", last.result.outcome.word())?;
            self.field(pad, "cause", &words::cause(&last.result.cause))?;
            self.field(pad, "device", &last.device)?;
            writeln!(self.out, "{pad}duration_ms: {:.3}", last.result.duration.as_secs_f64() * 1e3)?;
            writeln!(self.out, "{pad}attempts: {}", item.attempts.len())?;
            let log = match self.settings.output_bytes_max {
                0 => String::new(),
                max => {
                    text::plain(&text::cut_frames(&self.logs.log(&last.result.output, max), max), |_| true)
                }
            };
            if !log.trim().is_empty() {
                // The block's own first line sets its indentation, whatever the log begins with.
                writeln!(self.out, "{pad}output: |\n{pad}  output of {}", comment(&address))?;
                for line in log.lines() {
                    writeln!(self.out, "{pad}  {}", yaml_legal(line))?;
                }
            }
        }
        writeln!(self.out, "{pad}...")
    }

    /// A string as YAML's double-quoted form, with only the escapes that YAML and TAP's readers share.
    fn field(&mut self, pad: &str, name: &str, value: &str) -> io::Result<()> {
        let mut quoted = String::with_capacity(value.len() + 2);
        for c in text::clean(value).trim_end().chars() {
            match c {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                '\t' => quoted.push_str("\\t"),
                c => quoted.push(c),
            }
        }
        writeln!(self.out, "{pad}{name}: \"{}\"", yaml_legal(&quoted))
    }
}

/// YAML 1.2 §5.1 has no place for these beside control characters, which are gone already; U+2028 and
/// its kin end lines for some readers.
fn yaml_legal(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')).collect()
}

/// A test point's description: one line, `\` and `#` escaped (TAP 14, "Escaping").
fn description(text: &str) -> String {
    comment(text).replace('\\', "\\\\").replace('#', "\\#")
}

/// One line without control characters.
fn comment(text: &str) -> String {
    text::clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}
