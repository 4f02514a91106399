//! JUnit XML in the dialect that Jenkins' JUnit plug-in reads, with Maven Surefire's elements for
//! retries (`flakyFailure`, `rerunFailure` and their `…Error` kin).
//!
//! One `testsuite` per test, one `testcase` per item; `docs/reference/reports.md` says what becomes of
//! each verdict. Written as a stream with `quick-xml`: `quick-junit` would hold the whole document.
//! The schema in `testdata/junit/junit.xsd` describes exactly what is written here.

use super::words::{self, Drawer};
use super::{FinalReport, Logs, text};
use muster_core::attempt::Measured;
use muster_core::outcome::Outcome;
use muster_core::output::Stream;
use muster_core::view::{AttemptView, ItemView, RunView, TestView};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

/// Writes JUnit XML.
#[derive(Clone, Copy, Debug)]
pub struct Junit {
    /// Whose output is included.
    pub outputs: Outputs,
    /// Most bytes of one attempt's output; the middle of more is left out, and a remark says so.
    pub output_bytes_max: usize,
}

/// Most files of an attempt that are named; their number is told in any case.
const ARTIFACTS_MAX: usize = 50;

/// Whose output a report includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// Nobody's.
    None,
    /// Of items that failed, are flaky, warned, or want a person to look.
    Notable,
    /// Everybody's.
    All,
}

impl Default for Junit {
    fn default() -> Self {
        Self { outputs: Outputs::Notable, output_bytes_max: 64 << 10 }
    }
}

/// What is added up for the attributes of `testsuite` and `testsuites`.
#[derive(Default)]
struct Sums {
    tests: u32,
    failures: u32,
    errors: u32,
    skipped: u32,
    time: Duration,
}

impl Sums {
    fn add(&mut self, run: &RunView, item: &ItemView) {
        self.tests += 1;
        match words::drawer(item.verdict, run.unexpected_pass) {
            Drawer::Good => {}
            Drawer::Skipped => self.skipped += 1,
            Drawer::Failed => self.failures += 1,
            Drawer::Error => self.errors += 1,
        }
        self.time += item.last().map(|a| a.result.duration).unwrap_or_default();
    }

    fn push(&self, tag: &mut BytesStart<'_>) {
        tag.push_attribute(("tests", self.tests.to_string().as_str()));
        tag.push_attribute(("failures", self.failures.to_string().as_str()));
        tag.push_attribute(("errors", self.errors.to_string().as_str()));
        tag.push_attribute(("skipped", self.skipped.to_string().as_str()));
        tag.push_attribute(("time", seconds(self.time).as_str()));
    }
}

fn seconds(d: Duration) -> String {
    format!("{:.3}", d.as_secs_f64())
}

/// The characters that XML 1.0 allows (§2.2), others removed.
fn legal(text: &str) -> Cow<'_, str> {
    let ok = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    if text.chars().all(ok) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().filter(|c| ok(*c)).collect())
    }
}

/// For attributes: no terminal codes either, and on one line as far as possible.
fn attribute(text: &str) -> String {
    legal(&text::clean(text)).trim_end().to_owned()
}

impl FinalReport for Junit {
    fn write(&self, run: &RunView, logs: &dyn Logs, out: &mut dyn Write) -> io::Result<()> {
        let mut page = Page { xml: Writer::new_with_indent(out, b' ', 2), settings: self, run, logs };
        page.document()
    }
}

struct Page<'a, W: Write> {
    xml: Writer<W>,
    settings: &'a Junit,
    run: &'a RunView,
    logs: &'a dyn Logs,
}

impl<W: Write> Page<'_, W> {
    fn document(&mut self) -> io::Result<()> {
        let run = self.run;
        self.xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let mut sums = Sums::default();
        run.all_items().filter(|(_, i)| words::is_shown(i)).for_each(|(_, i)| sums.add(run, i));
        let mut tag = BytesStart::new("testsuites");
        tag.push_attribute(("name", attribute(&run.address()).as_str()));
        sums.push(&mut tag);
        self.xml.write_event(Event::Start(tag))?;
        for test in run.tests.iter().filter(|t| t.items.iter().any(words::is_shown)) {
            self.suite(test)?;
        }
        self.end("testsuites")?;
        self.xml.get_mut().write_all(b"\n")
    }

    fn suite(&mut self, test: &TestView) -> io::Result<()> {
        let run = self.run;
        let shown = || test.items.iter().filter(|i| words::is_shown(i));
        let mut sums = Sums::default();
        shown().for_each(|i| sums.add(run, i));
        let started = test.items.iter().flat_map(|i| &i.attempts).map(|a| a.result.started).min();
        let mut tag = BytesStart::new("testsuite");
        tag.push_attribute(("name", attribute(&test.name).as_str()));
        tag.push_attribute(("package", attribute(&run.area).as_str()));
        sums.push(&mut tag);
        tag.push_attribute(("timestamp", words::timestamp(started.unwrap_or(run.started)).as_str()));
        tag.push_attribute(("hostname", attribute(&run.host).as_str()));
        self.xml.write_event(Event::Start(tag))?;

        let tags = test.tags.join(",");
        let mut properties = vec![
            ("address", words::address(run, &test.name, "", 0)),
            ("run", words::run_uuid(run.id)),
            ("run-name", run.name.clone()),
            ("owner", test.owner.clone()),
            ("tags", tags),
            ("description", test.description.clone()),
            ("origin", test.origin.clone()),
        ];
        let inputs = &run.inputs;
        if !inputs.changeset.is_empty() {
            properties.push(("changeset", inputs.changeset.clone()));
        }
        if let Some(build) = &inputs.build {
            properties.push(("build", build.url.clone()));
            properties.push(("build-digest", build.digest.to_string()));
        }
        if let Some(tests) = &inputs.tests {
            properties.push(("tests", tests.url.clone()));
            properties.push(("tests-digest", tests.digest.to_string()));
        }
        let target: Vec<(String, String)> =
            run.target.iter().map(|(k, v)| (format!("target.{k}"), v.clone())).collect();
        properties.extend(target.iter().map(|(k, v)| (k.as_str(), v.clone())));
        self.properties(&properties)?;
        for item in shown() {
            self.case(test, item)?;
        }
        self.end("testsuite")
    }

    fn case(&mut self, test: &TestView, item: &ItemView) -> io::Result<()> {
        let run = self.run;
        let last = item.last();
        let mut tag = BytesStart::new("testcase");
        tag.push_attribute(("name", attribute(words::item_name(test, item)).as_str()));
        // Jenkins takes what is before the last dot for the package and the rest for the class.
        tag.push_attribute((
            "classname",
            format!("{}.{}", attribute(&run.area), attribute(&test.name)).as_str(),
        ));
        tag.push_attribute(("time", seconds(last.map(|a| a.result.duration).unwrap_or_default()).as_str()));
        if let Some(last) = last {
            tag.push_attribute(("timestamp", words::timestamp(last.result.started).as_str()));
        }
        self.xml.write_event(Event::Start(tag))?;

        let mut properties =
            vec![("address", words::address(run, &test.name, &item.path, last.map_or(0, |a| a.number)))];
        properties.push(("verdict", words::verdict_word(item.verdict).to_owned()));
        if let Some(last) = last {
            properties.push(("device", last.device.clone()));
            properties.push(("attempts", item.attempts.len().to_string()));
        }
        let measures: Vec<(String, String)> =
            last.iter().flat_map(|a| &a.result.measures).map(measure_property).collect();
        properties.extend(measures.iter().map(|(k, v)| (k.as_str(), v.clone())));
        if let Some(kept) = last.and_then(|a| a.result.artifacts.as_ref()) {
            properties.push(("artifacts", words::artifacts(kept)));
            properties.extend(kept.files.iter().take(ARTIFACTS_MAX).map(|f| ("artifact", f.path.clone())));
        }
        self.properties(&properties)?;

        let drawer = words::drawer(item.verdict, run.unexpected_pass);
        let message = words::headline(item);
        let kind = words::verdict_word(item.verdict);
        match drawer {
            Drawer::Good => {}
            Drawer::Skipped => self.told("skipped", kind, &message, "")?,
            Drawer::Failed => {
                self.told("failure", kind, &message, &last.map(words::detail).unwrap_or_default())?;
            }
            Drawer::Error => {
                self.told("error", kind, &message, &last.map(words::detail).unwrap_or_default())?;
            }
        }
        if drawer != Drawer::Skipped {
            self.earlier(item, drawer == Drawer::Good)?;
        }
        let wanted = match self.settings.outputs {
            Outputs::None => false,
            Outputs::Notable => words::is_notable(item),
            Outputs::All => true,
        };
        if let (true, Some(last)) = (wanted, last) {
            self.output(last)?;
        }
        self.end("testcase")
    }

    /// The attempts before the one that decided, where they were bad.
    fn earlier(&mut self, item: &ItemView, good: bool) -> io::Result<()> {
        let (_, earlier) = item.attempts.split_last().unzip();
        for attempt in earlier.unwrap_or_default() {
            let lab = match attempt.result.outcome {
                Outcome::Pass | Outcome::Warn | Outcome::Skip | Outcome::Check => continue,
                Outcome::Error | Outcome::Cancelled => true,
                Outcome::Fail | Outcome::Timeout | Outcome::Crash | Outcome::Abort => false,
            };
            let name = match (good, lab) {
                (true, false) => "flakyFailure",
                (true, true) => "flakyError",
                (false, false) => "rerunFailure",
                (false, true) => "rerunError",
            };
            let mut tag = BytesStart::new(name);
            tag.push_attribute(("message", attribute(&words::attempt_headline(&attempt.result)).as_str()));
            tag.push_attribute(("type", attempt.result.outcome.word()));
            self.xml.write_event(Event::Start(tag))?;
            self.text_element("stackTrace", &words::detail(attempt))?;
            if self.settings.outputs != Outputs::None {
                self.output(attempt)?;
            }
            self.end(name)?;
        }
        Ok(())
    }

    fn output(&mut self, attempt: &AttemptView) -> io::Result<()> {
        let log = self.logs.log(&attempt.result.output, self.settings.output_bytes_max);
        let log = text::cut_frames(&log, self.settings.output_bytes_max);
        // Each stream is cut with a remark, and a remark belongs to the place where something is missing:
        // so both elements carry Muster's remarks, unless they carry nothing else.
        for (name, stream) in [("system-out", Stream::Stdout), ("system-err", Stream::Stderr)] {
            let own = muster_core::output::frames(&log).any(|f| f.stream == stream);
            if own || stream == Stream::Stderr {
                let text = text::plain(&log, |s| s == stream || s == Stream::Muster);
                self.text_element(name, &text)?;
            }
        }
        Ok(())
    }

    fn told(&mut self, name: &'static str, kind: &str, message: &str, detail: &str) -> io::Result<()> {
        let mut tag = BytesStart::new(name);
        tag.push_attribute(("message", attribute(message).as_str()));
        tag.push_attribute(("type", kind));
        if detail.is_empty() {
            return self.xml.write_event(Event::Empty(tag));
        }
        self.xml.write_event(Event::Start(tag))?;
        self.xml.write_event(Event::Text(BytesText::new(&legal(&text::clean(detail)))))?;
        self.end(name)
    }

    fn text_element(&mut self, name: &'static str, text: &str) -> io::Result<()> {
        let text = legal(text);
        if text.trim().is_empty() {
            return Ok(());
        }
        self.xml.write_event(Event::Start(BytesStart::new(name)))?;
        self.xml.write_event(Event::Text(BytesText::new(&text)))?;
        self.end(name)
    }

    fn properties(&mut self, properties: &[(&str, String)]) -> io::Result<()> {
        self.xml.write_event(Event::Start(BytesStart::new("properties")))?;
        for (name, value) in properties.iter().filter(|(_, v)| !v.is_empty()) {
            let mut tag = BytesStart::new("property");
            tag.push_attribute(("name", attribute(name).as_str()));
            tag.push_attribute(("value", attribute(value).as_str()));
            self.xml.write_event(Event::Empty(tag))?;
        }
        self.end("properties")
    }

    fn end(&mut self, name: &'static str) -> io::Result<()> {
        self.xml.write_event(Event::End(BytesEnd::new(name)))
    }
}

fn measure_property(measured: &Measured) -> (String, String) {
    let Measured { name, value, expected: _, tolerance: _, units, good: _ } = measured;
    (format!("measure.{name}"), format!("{value} {units}").trim_end().to_owned())
}
