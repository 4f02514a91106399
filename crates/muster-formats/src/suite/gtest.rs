//! `gtest`: Googletest binaries, which list themselves and report each test as it ends.

use super::batch::{Book, Said};
use super::bytes::take_line;
use super::template::shown;
use super::{
    Answer, Ask, Discovery, DiscoveryError, End, Judge, Launch, LaunchItem, Reader, Reported, SuiteCommand,
    paths,
};
use muster_core::definition::{Batch, Line};
use muster_core::exchange::{Found, FoundItem, Group};
use muster_core::outcome::Outcome;
use muster_core::output::Stream;
use std::collections::HashMap;
use std::time::Duration;

/// Limit: longest filter, one argument of the command line; the kernel allows 128 KiB.
const FILTER_BYTES_MAX: usize = 100_000;
/// Limit: most tests of one process where nobody says otherwise.
const BATCH_MAX: u32 = 1000;
/// Variables that would make a binary run other tests than asked for, or report them otherwise.
const UNSET: [&str; 9] = [
    "GTEST_TOTAL_SHARDS",
    "GTEST_SHARD_INDEX",
    "GTEST_SHARD_STATUS_FILE",
    "GTEST_FILTER",
    "GTEST_BRIEF",
    "GTEST_FAIL_FAST",
    "GTEST_REPEAT",
    "GTEST_PRINT_TIME",
    "GTEST_ALSO_RUN_DISABLED_TESTS",
];

fn unset() -> Vec<String> {
    UNSET.map(str::to_owned).to_vec()
}

pub(super) struct GtestDiscovery {
    programs: Vec<Vec<String>>,
    batch: Batch,
    /// The programs before this one have answered; this one is asked.
    at: usize,
    found: Found,
}

impl GtestDiscovery {
    pub(super) fn new(programs: &[Vec<String>], batch: Batch) -> Self {
        Self { programs: programs.to_vec(), batch, at: 0, found: Found::default() }
    }

    fn ask(&mut self) -> Ask {
        match self.programs.get(self.at) {
            Some(argv) => {
                Ask::Run(SuiteCommand { unset: unset(), ..SuiteCommand::plain(list_command(argv)) })
            }
            None => {
                paths::make_unique(&mut self.found.items);
                Ask::Done(Ok(std::mem::take(&mut self.found)))
            }
        }
    }

    fn add(&mut self, argv: &[String], names: &[String]) {
        let program = argv.first().map_or("", |p| p.rsplit('/').next().unwrap_or(p));
        let longest = names.iter().map(String::len).max().unwrap_or(0) + 1;
        let fitting = u32::try_from(FILTER_BYTES_MAX / longest).unwrap_or(BATCH_MAX).max(1);
        let group = u32::try_from(self.found.groups.len()).unwrap_or(u32::MAX);
        self.found.groups.push(Group {
            name: program.to_owned(),
            argv: argv.to_vec(),
            batch_max: match self.batch {
                Batch::Single => 1,
                Batch::Auto => fitting.min(BATCH_MAX),
                Batch::Most(n) => fitting.min(n.max(1)),
            },
            ..Group::default()
        });
        let disabled_too = argv.iter().any(|a| a.starts_with("--gtest_also_run_disabled_tests"));
        for name in names {
            let disabled = name.split(['.', '/']).any(|part| part.starts_with("DISABLED_"));
            self.found.items.push(FoundItem {
                path: if self.programs.len() == 1 { name.clone() } else { format!("{program}/{name}") },
                group,
                selector: name.clone(),
                skip: (disabled && !disabled_too).then(|| "DISABLED_".to_owned()),
                ..FoundItem::default()
            });
        }
    }
}

impl Discovery for GtestDiscovery {
    fn next(&mut self, answer: Option<Answer>) -> Ask {
        if let (Some(Answer::Ran { end, stdout, stderr, .. }), Some(argv)) =
            (answer, self.programs.get(self.at))
        {
            let argv = argv.clone();
            if end != End::Exit(0) {
                let command = shown(&list_command(&argv));
                return Ask::Done(Err(DiscoveryError::Failed { command, end, detail: super::tail(&stderr) }));
            }
            let names = parse_list(&stdout);
            self.add(&argv, &names);
            self.at += 1;
        }
        self.ask()
    }
}

fn list_command(argv: &[String]) -> Line {
    let more = ["--gtest_list_tests", "--gtest_color=no"].map(str::to_owned);
    Line::Argv(argv.iter().cloned().chain(more).collect())
}

/// `Suite.` lines with indented test names below; `# …` after either is a parameter for people.
fn parse_list(stdout: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stdout);
    let mut suite: Option<&str> = None;
    let mut names = Vec::new();
    for line in text.lines() {
        let bare = line.split("  # ").next().unwrap_or(line).trim_end();
        match bare.strip_prefix("  ") {
            Some(test) if !test.starts_with(' ') && !test.is_empty() => {
                names.extend(suite.map(|s| format!("{s}{test}")));
            }
            _ => suite = Some(bare).filter(|b| b.ends_with('.') && !b.contains(' ')),
        }
    }
    names
}

pub(super) fn launch(group: &Group, items: &[LaunchItem<'_>], log_max: usize) -> Launch {
    let mut argv = group.argv.clone();
    let names: Vec<&str> = items.iter().map(|i| i.selector).collect();
    argv.extend([format!("--gtest_filter={}", names.join(":")), "--gtest_color=no".to_owned()]);
    Launch {
        line: Line::Argv(argv),
        dir: group.dir.clone(),
        env: group.env.clone(),
        unset: unset(),
        report: false,
        judge: Judge::Reader(Box::new(GtestReader::new(items, log_max))),
    }
}

/// Reads `[ RUN      ]` and what follows. The marks are looked for within lines too, for a test may
/// print without a newline before them.
pub(super) struct GtestReader {
    names: HashMap<String, usize>,
    book: Book,
    line: Vec<u8>,
    /// What the running test says of a failure or skip: the lines after `FILE:LINE: Failure`.
    told: Vec<String>,
    telling: bool,
    /// Where a check failed outside of any test, in the fixture of the suite that runs.
    broken: Option<String>,
    /// Such a failure that no test could be charged with.
    outside_failed: bool,
    /// A test was charged with what is broken.
    charged: bool,
}

/// Limit: a line longer than this is passed on in parts.
const LINE_MAX: usize = 64 << 10;
/// Limit: lines of a failure kept for the message.
const TOLD_LINES: usize = 4;

const RUN: &str = "[ RUN      ] ";
const ENDS: [(&str, Outcome); 3] =
    [("[       OK ] ", Outcome::Pass), ("[  FAILED  ] ", Outcome::Fail), ("[  SKIPPED ] ", Outcome::Skip)];

impl GtestReader {
    pub(super) fn new(items: &[LaunchItem<'_>], log_max: usize) -> Self {
        let names = items.iter().enumerate().map(|(i, item)| (item.selector.to_owned(), i)).collect();
        Self {
            names,
            book: Book::new(items.len(), log_max),
            line: Vec::new(),
            told: Vec::new(),
            telling: false,
            broken: None,
            outside_failed: false,
            charged: false,
        }
    }

    fn whole_line(&mut self, at: Duration, line: &[u8], out: &mut Vec<Reported>) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\n', '\r']);
        match self.book.running() {
            None => {
                if let Some(pos) = text.rfind(RUN)
                    && let Some(index) = self.names.get(&text[pos + RUN.len()..])
                    && self.book.is_waiting(*index)
                {
                    self.told.clear();
                    self.telling = false;
                    self.book.start(*index, at, out);
                    return;
                }
                self.between(text);
            }
            Some(index) => {
                for (mark, outcome) in ENDS {
                    if let Some(pos) = text.rfind(mark)
                        && let Some((name, duration)) = name_and_time(&text[pos + mark.len()..])
                        && self.names.get(name) == Some(&index)
                    {
                        let printed = super::bytes::rfind(line, mark.as_bytes()).unwrap_or(0);
                        self.book.push(Stream::Stdout, at, &line[..printed]);
                        let mut outcome = outcome;
                        let mut message = match outcome {
                            Outcome::Pass => String::new(),
                            _ => self.told.join(", "),
                        };
                        // Googletest skips the tests of a suite whose set-up failed.
                        if let Some(place) = self.broken.as_ref().filter(|_| outcome == Outcome::Skip) {
                            outcome = Outcome::Fail;
                            self.charged = true;
                            message = format!("the set-up of its suite failed at {place}");
                        }
                        let message = super::shorten(&message).into_owned();
                        self.book.end_running(at, Said { outcome, message, duration }, out);
                        return;
                    }
                }
                self.listen(text);
            }
        }
        let frame =
            ["[==========]", "[----------]", "Note: Google Test filter", "[  PASSED  ]", "[  FAILED  ]"];
        if self.book.running().is_some() || !(text.is_empty() || frame.iter().any(|f| text.starts_with(f))) {
            self.book.push(Stream::Stdout, at, line);
        }
    }

    /// A line that no test printed.
    fn between(&mut self, text: &str) {
        if let Some(place) = text.strip_suffix(": Failure") {
            let place = place.rsplit('/').next().unwrap_or(place);
            self.broken.get_or_insert_with(|| place.to_owned());
        } else if text.starts_with("[----------]") || text.starts_with("[==========]") {
            // A suite begins or ends. A set-up that failed has been charged to the suite's tests; what
            // fails after them is the tear-down.
            let at_end = text.ends_with(" ms total)") || text.starts_with("[==========]");
            self.outside_failed |= self.broken.take().is_some() && at_end && !self.charged;
            self.charged = false;
        }
    }

    /// Keeps the beginning of the first failure (or skip) for the message.
    fn listen(&mut self, text: &str) {
        let place = text.strip_suffix(": Failure").or_else(|| text.strip_suffix(": Skipped"));
        match place {
            Some(place) if self.told.is_empty() && !self.telling => {
                self.telling = true;
                self.told.push(place.rsplit('/').next().unwrap_or(place).to_owned());
            }
            Some(_) => self.telling = false,
            None if self.telling && text.trim().is_empty() => self.telling = self.told.len() < 2,
            None if self.telling && self.told.len() < TOLD_LINES => self.told.push(text.trim().to_owned()),
            None => {}
        }
    }
}

/// `NAME, where GetParam() = … (12 ms)`.
fn name_and_time(text: &str) -> Option<(&str, Option<Duration>)> {
    let (front, time) = match text.rsplit_once(" (") {
        Some((front, t)) => {
            (front, t.strip_suffix(" ms)").and_then(|n| n.parse().ok()).map(Duration::from_millis))
        }
        None => (text, None),
    };
    let name = front.split(", where ").next()?;
    Some((name, time))
}

impl Reader for GtestReader {
    fn output(&mut self, stream: Stream, at: Duration, mut bytes: &[u8], out: &mut Vec<Reported>) {
        if stream != Stream::Stdout {
            self.book.push(stream, at, bytes);
            return;
        }
        while !bytes.is_empty() {
            take_line(&mut bytes, &mut self.line);
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.whole_line(at, &line, out);
            } else if self.line.len() > LINE_MAX {
                // A mark may begin in what is read next; what is shorter than one stays.
                let keep = self.line.split_off(self.line.len() - 1024);
                self.book.push(Stream::Stdout, at, &self.line);
                self.line = keep;
            }
        }
    }

    fn report(&mut self, _at: Duration, _bytes: &[u8], _out: &mut Vec<Reported>) {}

    fn ended(&mut self, end: &End, at: Duration, out: &mut Vec<Reported>) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.whole_line(at, &line, out);
        }
        let expected = *end == End::Exit(i32::from(!self.book.all_good())) && !self.outside_failed;
        self.book.close(end, expected, at, out);
    }
}
