//! Autotest's status log: a line for each thing that happens in a job, indented by the blocks it happens in.
//!
//! ```text
//! {TAB} CODE TAB SUBDIR TAB OPERATION TAB {KEY=VALUE TAB} MESSAGE
//! ```
//!
//! `CODE` is `START`, `INFO`, a status, or `END` and a status; `----` stands for no directory and no operation.
//! A line that begins with two blanks goes on with the message before it, for people. Readers of Autotest disagree
//! about a message that looks like `key=value`; here the last column is the message, as its writer has it.
//!
//! Source: Autotest 0.16, `client/shared/base_job.py`.

use muster_core::outcome::Outcome;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How many blocks are open round it.
    pub depth: usize,
    /// What happened.
    pub code: Code,
    /// The directory of its results below the job's.
    pub subdir: Option<String>,
    /// The test or step.
    pub operation: Option<String>,
    /// `timestamp`, `localtime` and others, in their order.
    pub fields: Vec<(String, String)>,
    /// For people.
    pub message: String,
}

/// What a line says that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A block begins.
    Start,
    /// Nothing happened; the fields say something.
    Info,
    /// Something came to this.
    Status(Status),
    /// A block has ended with this.
    End(Status),
}

/// What something came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is as it should be.
    Good,
    /// It passed, and somebody should look.
    Warn,
    /// The operation failed.
    Fail,
    /// The test could not do its work.
    Error,
    /// The job was given up.
    Abort,
    /// It cannot be tested there.
    TestNa,
    /// The test has a bug.
    Bug,
    /// Somebody should look at once.
    Alert,
    /// It has not ended.
    Running,
    /// Nothing is known.
    NoStatus,
}

const STATUSES: [(&str, Status); 10] = [
    ("GOOD", Status::Good),
    ("WARN", Status::Warn),
    ("FAIL", Status::Fail),
    ("ERROR", Status::Error),
    ("ABORT", Status::Abort),
    ("TEST_NA", Status::TestNa),
    ("BUG", Status::Bug),
    ("ALERT", Status::Alert),
    ("RUNNING", Status::Running),
    ("NOSTATUS", Status::NoStatus),
];

impl Status {
    /// As the log writes it.
    pub fn word(self) -> &'static str {
        STATUSES.iter().find(|(_, status)| *status == self).map_or("", |(word, _)| word)
    }

    /// What a test that came to this came to. An `ERROR` is the test's: what could not be had for it is not known to be
    /// the lab's fault.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Good => Outcome::Pass,
            Self::Warn | Self::Alert => Outcome::Warn,
            Self::Fail | Self::Error | Self::Bug | Self::Running | Self::NoStatus => Outcome::Fail,
            Self::Abort => Outcome::Abort,
            Self::TestNa => Outcome::Skip,
        }
    }
}

fn code(text: &str) -> Option<Code> {
    let status = |text: &str| STATUSES.iter().find(|(word, _)| *word == text).map(|(_, status)| *status);
    match text {
        "START" => Some(Code::Start),
        "INFO" => Some(Code::Info),
        _ => match text.strip_prefix("END ") {
            Some(word) => status(word).map(Code::End),
            None => status(text).map(Code::Status),
        },
    }
}

impl Entry {
    /// A line without its end. `None`: it is none of the log, or goes on with a message.
    pub fn read(line: &str) -> Option<Self> {
        let text = line.trim_start_matches('\t');
        let mut columns = text.split('\t');
        let code = code(columns.next()?)?;
        let mut named = || columns.next().map(|text| (text != "----").then(|| text.to_owned()));
        let (subdir, operation) = (named()?, named()?);
        let mut rest: Vec<&str> = columns.collect();
        let message = rest.pop()?;
        let mut fields = Vec::with_capacity(rest.len());
        for column in rest {
            let (key, value) = column.split_once('=')?;
            fields.push((key.to_owned(), value.to_owned()));
        }
        let depth = line.len() - text.len();
        Some(Self { depth, code, subdir, operation, fields, message: message.to_owned() })
    }

    /// The line, without its end. What would break it is replaced as Autotest does it.
    pub fn write(&self) -> String {
        let mut line = "\t".repeat(self.depth);
        match self.code {
            Code::Start => line.push_str("START"),
            Code::Info => line.push_str("INFO"),
            Code::Status(status) => line.push_str(status.word()),
            Code::End(status) => {
                line.push_str("END ");
                line.push_str(status.word());
            }
        }
        for name in [&self.subdir, &self.operation] {
            line.push('\t');
            line.push_str(name.as_deref().unwrap_or("----"));
        }
        for (key, value) in &self.fields {
            line.extend(["\t", key, "=", value]);
        }
        line.push('\t');
        let mut lines = self.message.split('\n');
        line.push_str(&lines.next().unwrap_or_default().replace('\t', "        "));
        for more in lines {
            line.extend(["\n  ", more]);
        }
        line
    }

    /// A field.
    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// When it happened, in seconds since the Unix epoch.
    pub fn timestamp(&self) -> Option<u64> {
        self.field("timestamp")?.parse().ok()
    }
}

/// A test or group of a job that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its name, below that of the groups it is in: `group/disk.quick`.
    pub name: String,
    /// The directory of its results below the job's.
    pub subdir: Option<String>,
    /// What it came to.
    pub status: Status,
    /// Why: the message of the worst line in it.
    pub message: String,
    /// How long it took, in seconds, by the clock of the device.
    pub seconds: u64,
}

/// Reads a log line by line, and says what has ended.
#[derive(Clone, Debug, Default)]
pub struct StatusLog {
    open: Vec<Block>,
    /// What the job as a whole came to.
    job: Option<(Status, String)>,
}

#[derive(Clone, Debug)]
struct Block {
    name: Option<String>,
    began: Option<u64>,
    worst: Option<(Status, String)>,
}

impl StatusLog {
    /// The next line, without its end; what has ended with it.
    pub fn line(&mut self, line: &str) -> Option<Ended> {
        let entry = Entry::read(line)?;
        match entry.code {
            Code::Info => None,
            Code::Start => {
                let began = entry.timestamp();
                self.open.push(Block { name: entry.operation, began, worst: None });
                None
            }
            Code::Status(status) => {
                let worst = self.open.last_mut().map(|block| &mut block.worst);
                if let Some(worst) = worst
                    && worst.as_ref().is_none_or(|(w, _)| weight(status) > weight(*w))
                {
                    *worst = Some((status, entry.message));
                }
                None
            }
            Code::End(status) => {
                let block = self.open.pop();
                let (worst, began, name) = block.map_or((None, None, None), |b| (b.worst, b.began, b.name));
                let message = match worst {
                    Some((worst, message)) if entry.message.is_empty() && worst == status => message,
                    Some(_) | None => entry.message.clone(),
                };
                let Some(operation) = name.or_else(|| entry.operation.clone()) else {
                    if self.open.is_empty() {
                        self.job = Some((status, message));
                    }
                    return None;
                };
                let groups = self.open.iter().filter_map(|block| block.name.as_deref());
                let name: Vec<&str> = groups.chain([operation.as_str()]).collect();
                let seconds =
                    entry.timestamp().zip(began).map_or(0, |(end, began)| end.saturating_sub(began));
                Some(Ended { name: name.join("/"), subdir: entry.subdir, status, message, seconds })
            }
        }
    }

    /// What the job came to, and why; `None` as long as it has not ended.
    pub fn job(&self) -> Option<(Status, &str)> {
        self.job.as_ref().map(|(status, message)| (*status, message.as_str()))
    }
}

/// Of two statuses of one test the heavier is the one to be told.
fn weight(status: Status) -> u8 {
    match status {
        Status::NoStatus | Status::Running | Status::Good => 0,
        Status::Alert | Status::Warn => 1,
        Status::Bug => 2,
        Status::Fail => 3,
        Status::Error => 4,
        Status::Abort => 5,
        Status::TestNa => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job with a group, a warning of two lines, a reboot, and a message that looks like a field.
    const LOG: &str = "START\t----\t----\ttimestamp=1700000000\tlocaltime=Nov 14 22:13:20\t
\tSTART\tdisk.quick\tdisk.quick\ttimestamp=1700000002\tlocaltime=Nov 14 22:13:22\t
\t\tWARN\tdisk.quick\tdisk.quick\ttimestamp=1700000031\tlocaltime=Nov 14 22:13:51\tslow seek on sdb
  measured 41 ms
\t\tGOOD\tdisk.quick\tdisk.quick\ttimestamp=1700000060\tlocaltime=Nov 14 22:14:20\tcompleted successfully
\tEND WARN\tdisk.quick\tdisk.quick\ttimestamp=1700000060\tlocaltime=Nov 14 22:14:20\t
\tSTART\t----\tgroup\ttimestamp=1700000061\tlocaltime=x\t
\t\tSTART\tnet\tnet\ttimestamp=1700000061\tlocaltime=x\t
\t\t\tFAIL\tnet\tnet\ttimestamp=1700000062\tlocaltime=x\trc=1
\t\tEND FAIL\tnet\tnet\ttimestamp=1700000063\tlocaltime=x\t
\tEND FAIL\t----\tgroup\ttimestamp=1700000063\tlocaltime=x\t
\tINFO\t----\t----\twarnings.disable=NETWORK\ttimestamp=1700000063\t
\tSTART\t----\treboot\ttimestamp=1700000064\tlocaltime=x\t
\t\tGOOD\t----\treboot.start\ttimestamp=1700000064\tlocaltime=x\t
\t\tGOOD\t----\treboot.verify\ttimestamp=1700000140\tlocaltime=x\t6.1.0
\tEND GOOD\t----\treboot\tkernel=6.1.0\ttimestamp=1700000140\tlocaltime=x\t
END GOOD\t----\t----\ttimestamp=1700000141\tlocaltime=x\t";

    #[test]
    fn a_log_tells_what_has_ended_and_why() {
        let mut log = StatusLog::default();
        let ended: Vec<Ended> = LOG.lines().filter_map(|line| log.line(line)).collect();
        let told: Vec<(&str, Status, &str, u64)> =
            ended.iter().map(|e| (&*e.name, e.status, &*e.message, e.seconds)).collect();
        assert_eq!(
            told,
            [
                ("disk.quick", Status::Warn, "slow seek on sdb", 58),
                ("group/net", Status::Fail, "rc=1", 2),
                ("group", Status::Fail, "", 2),
                ("reboot", Status::Good, "", 76),
            ]
        );
        assert_eq!(log.job(), Some((Status::Good, "")));
    }

    #[test]
    fn a_line_that_is_read_and_written_is_the_same() {
        for line in LOG.lines().filter(|line| !line.starts_with("  ")) {
            let entry = Entry::read(line).unwrap_or_else(|| panic!("{line:?} is a line"));
            assert_eq!(entry.write(), line);
        }
        let entry = Entry { message: "one\ttwo\nthree".into(), ..Entry::read("GOOD\ta\tb\t").unwrap() };
        assert_eq!(entry.write(), "GOOD\ta\tb\tone        two\n  three");
    }

    #[test]
    fn what_is_no_line_of_the_log_is_none() {
        for line in [
            "",
            "GOOD",
            "GOOD\ta\tb",
            "GODD\ta\tb\t",
            "END\ta\tb\t",
            "  GOOD\ta\tb\t",
            "GOOD\ta\tb\tno field\t",
            "ssh: x",
        ] {
            assert_eq!(Entry::read(line), None, "{line:?}");
        }
        assert!(Entry::read("GOOD\ta\tb\t").is_some(), "the message may be empty");
    }

    #[test]
    fn ends_without_beginnings_break_nothing() {
        let mut log = StatusLog::default();
        let ended = log.line("\tEND GOOD\ta\ta\ttimestamp=5\t").unwrap();
        assert_eq!((ended.name.as_str(), ended.seconds), ("a", 0));
        assert_eq!(log.line("END ABORT\t----\t----\ttimestamp=1\tgiven up"), None);
        assert_eq!(log.job(), Some((Status::Abort, "given up")));
    }
}
