//! TeamCity service messages
//! (<https://www.jetbrains.com/help/teamcity/service-messages.html>), live.
//!
//! Each device is a flow; in it, the tests that run there are suites and their items tests. A message is
//! one line. An attempt that ended is held until its item's verdict is told, because only that says
//! whether a failure was expected; nothing else is kept.

use super::words::{self, Drawer};
use super::{LiveReport, Logs, text};
use muster_core::attempt::AttemptResult;
use muster_core::definition::UnexpectedPass;
use muster_core::event::{Event, Told};
use muster_core::outcome::Verdict;
use muster_core::output::Stream;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

/// Where messages go that belong to no device.
const LAB_FLOW: &str = "muster";

/// Writes TeamCity service messages.
pub struct Teamcity {
    /// Most bytes of an attempt's output that are told; only failed attempts' are.
    pub output_bytes_max: usize,
    /// What the run does with unexpected passes.
    pub unexpected_pass: UnexpectedPass,
    logs: Arc<dyn Logs + Send + Sync>,
    flows: BTreeMap<Arc<str>, Flow>,
    held: BTreeMap<Name, Ended>,
}

/// What is open in a flow.
#[derive(Default)]
struct Flow {
    suite: Option<Arc<str>>,
    test: Option<(Name, u16)>,
}

type Name = (Arc<str>, Arc<str>);

/// An attempt that ended and waits for its item's verdict.
struct Ended {
    attempt: u16,
    device: Arc<str>,
    result: Arc<AttemptResult>,
}

impl Teamcity {
    /// A writer that has told nothing yet.
    pub fn new(logs: Arc<dyn Logs + Send + Sync>) -> Self {
        Self {
            output_bytes_max: 64 << 10,
            unexpected_pass: UnexpectedPass::default(),
            logs,
            flows: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    fn started(
        &mut self,
        name: &Name,
        attempt: u16,
        device: &Arc<str>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let flow = self.flows.entry(device.clone()).or_default();
        if flow.suite.as_ref() != Some(&name.0) {
            if let Some(suite) = flow.suite.replace(name.0.clone()) {
                message(out, "testSuiteFinished", &[("name", &suite), ("flowId", device)])?;
            }
            message(out, "testSuiteStarted", &[("name", &name.0), ("flowId", device)])?;
        }
        flow.test = Some((name.clone(), attempt));
        message(
            out,
            "testStarted",
            &[("name", item(name)), ("captureStandardOutput", "false"), ("flowId", device)],
        )
    }

    /// The flow in which this attempt is, or can be, told: its device's, or a side flow where that is busy
    /// with another (a lost start, a batch).
    fn open(
        &mut self,
        name: &Name,
        attempt: u16,
        device: &Arc<str>,
        out: &mut dyn Write,
    ) -> io::Result<Arc<str>> {
        let busy = self.flows.get(device).and_then(|f| f.test.as_ref());
        let flow = match busy {
            Some((open, at)) if open == name && *at == attempt => return Ok(device.clone()),
            Some(_) => Arc::from(format!("{device} (side)")),
            None => device.clone(),
        };
        self.started(name, attempt, &flow, out)?;
        Ok(flow)
    }

    fn finished(
        &mut self,
        name: &Name,
        flow: &Arc<str>,
        millis: u128,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if let Some(flow) = self.flows.get_mut(flow) {
            flow.test = None;
        }
        let millis = millis.to_string();
        message(out, "testFinished", &[("name", item(name)), ("duration", &millis), ("flowId", flow)])
    }

    /// Tells an attempt to its end. `verdict` is the item's, or the outcome's for one that is retried.
    fn attempt(
        &mut self,
        name: &Name,
        ended: &Ended,
        verdict: Verdict,
        reason: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Ended { attempt, device, result } = ended;
        let flow = self.open(name, *attempt, device, out)?;
        let base = [("name", item(name)), ("flowId", &*flow)];
        let headline = if reason.is_empty() { words::attempt_headline(result) } else { reason.into() };
        let headline = text::clean(&headline);
        let drawer = words::drawer(Some(verdict), self.unexpected_pass);
        if drawer != Drawer::Good || !result.outcome.is_good() {
            let log = self.logs.log(&result.output, self.output_bytes_max);
            let log = text::cut_frames(&log, self.output_bytes_max);
            for (kind, stream) in [("testStdOut", Stream::Stdout), ("testStdErr", Stream::Stderr)] {
                let text =
                    text::plain(&log, |s| s == stream || s == Stream::Muster && stream == Stream::Stderr);
                if !text.is_empty() {
                    message(out, kind, &[base[0], ("out", &text), base[1]])?;
                }
            }
        }
        match drawer {
            Drawer::Good => {}
            Drawer::Skipped => {
                let text = match verdict {
                    Verdict::Skip => headline,
                    other => format!("{other}: {headline}"),
                };
                message(out, "testIgnored", &[base[0], ("message", &text), base[1]])?;
            }
            Drawer::Failed | Drawer::Error => {
                let headline = match verdict {
                    Verdict::Fail => headline,
                    Verdict::Error => format!("the lab's fault: {headline}"),
                    other => format!("{other}: {headline}"),
                };
                let cause = words::cause(&result.cause);
                message(
                    out,
                    "testFailed",
                    &[base[0], ("message", &headline), ("details", &text::clean(&cause)), base[1]],
                )?;
            }
        }
        self.finished(name, &flow, result.duration.as_millis(), out)
    }

    /// An item that has a verdict without an attempt that waits for it.
    fn not_run(
        &mut self,
        name: &Name,
        verdict: Verdict,
        reason: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let flow = self.open(name, 0, &Arc::from(LAB_FLOW), out)?;
        let text = text::clean(&format!("{verdict}: {reason}"));
        let text = text.trim_end_matches([':', ' ']);
        let base = [("name", item(name)), ("flowId", &*flow)];
        match words::drawer(Some(verdict), self.unexpected_pass) {
            Drawer::Good | Drawer::Skipped => {
                message(out, "testIgnored", &[base[0], ("message", text), base[1]])?;
            }
            Drawer::Failed | Drawer::Error => {
                message(out, "testFailed", &[base[0], ("message", text), base[1]])?;
            }
        }
        self.finished(name, &flow, 0, out)
    }

    /// Ends what is open: attempts whose verdict was never told, then suites.
    fn close(&mut self, out: &mut dyn Write) -> io::Result<()> {
        for (name, ended) in std::mem::take(&mut self.held) {
            self.attempt(&name, &ended, ended.result.outcome.into(), "", out)?;
        }
        for (device, flow) in std::mem::take(&mut self.flows) {
            if let Some((name, _)) = flow.test {
                let text = "it had not ended when the run did";
                message(out, "testFailed", &[("name", item(&name)), ("message", text), ("flowId", &device)])?;
                message(out, "testFinished", &[("name", item(&name)), ("flowId", &device)])?;
            }
            if let Some(suite) = flow.suite {
                message(out, "testSuiteFinished", &[("name", &suite), ("flowId", &device)])?;
            }
        }
        Ok(())
    }
}

impl LiveReport for Teamcity {
    fn told(&mut self, told: &Told, out: &mut dyn Write) -> io::Result<()> {
        match &told.event {
            Event::RunStarted { address, .. } => {
                message(out, "testRetrySupport", &[("enabled", "true")])?;
                message(out, "progressMessage", &[("", &format!("run {address}"))])
            }
            Event::ItemsFound { .. } => Ok(()),
            Event::Waiting { reason } => {
                message(out, "progressMessage", &[("", &format!("waiting: {reason}"))])
            }
            Event::AttemptStarted { test, item, attempt, device } => {
                // Without an item path it may be the question for the test's items: told only when it has ended.
                let free = self.flows.get(device).is_none_or(|f| f.test.is_none());
                if item.is_empty() || !free {
                    return Ok(());
                }
                self.started(&(test.clone(), item.clone()), *attempt, device, out)
            }
            Event::AttemptEnded { test, item, attempt, device, discovery, result, retried } => {
                if *discovery && (result.outcome.is_good() || *retried) {
                    return Ok(());
                }
                let name = (test.clone(), item.clone());
                let ended = Ended { attempt: *attempt, device: device.clone(), result: result.clone() };
                if *retried {
                    return self.attempt(&name, &ended, result.outcome.into(), "", out);
                }
                self.held.insert(name, ended);
                Ok(())
            }
            Event::ItemEnded { test, item, verdict, attempts, reason } => {
                let name = (test.clone(), item.clone());
                match self.held.remove(&name) {
                    Some(ended) => self.attempt(&name, &ended, *verdict, reason, out),
                    None if *attempts == 0 => self.not_run(&name, *verdict, reason, out),
                    None => Ok(()),
                }
            }
            Event::TestEnded { .. } => Ok(()),
            Event::RunEnded { stopped, verdict: _, counts } => {
                self.close(out)?;
                let problem = match () {
                    () if *stopped => "the run was stopped before everything had ended",
                    () if counts.get(Verdict::Error) > 0 => {
                        "the lab failed: at least one test has no verdict"
                    }
                    () if counts.get(Verdict::Abort) > 0 => "a test asked that the run be aborted",
                    () => return Ok(()),
                };
                message(out, "buildProblem", &[("description", problem), ("identity", "muster")])
            }
        }
    }
}

fn item(name: &Name) -> &str {
    if name.1.is_empty() { &name.0 } else { &name.1 }
}

/// One service message on one line; an attribute without a name is a message's single value.
fn message(out: &mut dyn Write, kind: &str, attributes: &[(&str, &str)]) -> io::Result<()> {
    let mut line = format!("##teamcity[{kind}");
    for (name, value) in attributes {
        line.push(' ');
        if !name.is_empty() {
            line.push_str(name);
            line.push('=');
        }
        line.push('\'');
        escape(value, &mut line);
        line.push('\'');
    }
    line.push_str("]\n");
    out.write_all(line.as_bytes())
}

/// Escapes a value: `|` before `'`, `|`, `[`, `]`; `|n`, `|r`, and `|0xNNNN` for what is not ASCII, in
/// UTF-16 units as TeamCity's own libraries do.
fn escape(value: &str, line: &mut String) {
    for c in value.chars() {
        match c {
            '\n' => line.push_str("|n"),
            '\r' => line.push_str("|r"),
            '\'' | '|' | '[' | ']' => {
                line.push('|');
                line.push(c);
            }
            ' '..='~' => line.push(c),
            '\t' => line.push('\t'),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(line, "|0x{unit:04X}").expect("a string takes all");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_end_their_message() {
        let mut line = String::new();
        escape("it's [a|b]\r\n] ##teamcity[x] ü 😀 \x07", &mut line);
        assert_eq!(line, "it|'s |[a||b|]|r|n|] ##teamcity|[x|] |0x00FC |0xD83D|0xDE00 |0x0007");
    }
}
