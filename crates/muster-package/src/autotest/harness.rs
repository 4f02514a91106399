//! What an Autotest client says to the server that started it: lines on descriptor 3, which the server reads
//! as the standard error of the client.
//!
//! | Line | Meaning |
//! |---|---|
//! | `AUTOTEST_STATUS:<tag>:<status line>` | a line of the status log; the tag names a parallel branch |
//! | `AUTOTEST_TEST_COMPLETE:<fifo>` | a test has ended; signal when its results were collected |
//! | `AUTOTEST_FETCH_PACKAGE:<file>:<to>:<fifo>` | put the file there, then signal |
//!
//! The client waits for each signal (a byte through the named pipe) without any limit, so whoever reads this must
//! answer every request, whatever happens; that is not done here. Source: Autotest 0.16, `harness_autoserv.py` and
//! `autotest_remote.py`.

use std::collections::BTreeMap;

/// Longest line that is understood.
// Limit: memory; a status line has a message of one line, and paths are shorter than 4,096 bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// One thing that a client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A line of the status log, of the branch with this tag; an empty one is the trunk.
    Status {
        /// `1.0` is the first branch of the second branch.
        tag: Vec<u32>,
        /// The line as it is to be logged.
        line: String,
    },
    /// It waits for a signal.
    Request(Request),
    /// Something else, for people: what the shell or `ssh` say.
    Other(String),
}

/// What a client waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// That the results so far are collected.
    Collect {
        /// The named pipe that it reads a byte from.
        fifo: String,
    },
    /// That a file is put somewhere.
    Fetch {
        /// A package, or the list of sums.
        file: String,
        /// The path on the device.
        to: String,
        /// The named pipe that it reads a byte from.
        fifo: String,
    },
}

impl Request {
    /// The named pipe that the client reads a byte from.
    pub fn fifo(&self) -> &str {
        match self {
            Self::Collect { fifo } | Self::Fetch { fifo, .. } => fifo,
        }
    }

    /// The byte that Autotest's own server sends. Clients do not look at it.
    pub fn signal(&self) -> &'static str {
        match self {
            Self::Collect { .. } => "A",
            Self::Fetch { .. } => "B",
        }
    }
}

/// Makes lines of what a client writes, and sense of the lines.
#[derive(Debug, Default)]
pub struct Hearing {
    begun: Vec<u8>,
    /// The line that is begun is longer than any that is understood.
    too_long: bool,
}

impl Hearing {
    /// The next bytes; what was said with them.
    pub fn hear(&mut self, mut bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.add(&bytes[..end]);
            said.push(self.end());
            bytes = &bytes[end + 1..];
        }
        self.add(bytes);
        said
    }

    /// It says nothing more; what it said last without an end of the line.
    pub fn finish(&mut self) -> Option<Said> {
        (!self.begun.is_empty()).then(|| self.end())
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX - self.begun.len();
        self.too_long |= bytes.len() > room;
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end(&mut self) -> Said {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned();
        if std::mem::take(&mut self.too_long) { Said::Other(line) } else { understand(line) }
    }
}

fn understand(line: String) -> Said {
    if let Some((tag, status)) = line.strip_prefix("AUTOTEST_STATUS:").and_then(|rest| rest.split_once(':'))
        && let Some(tag) = tag_of(tag)
    {
        return Said::Status { tag, line: status.to_owned() };
    }
    if let Some(fifo) = line.strip_prefix("AUTOTEST_TEST_COMPLETE:") {
        return Said::Request(Request::Collect { fifo: fifo.to_owned() });
    }
    let fetch = line.strip_prefix("AUTOTEST_FETCH_PACKAGE:").and_then(|rest| {
        let (file, rest) = rest.split_once(':')?;
        let (to, fifo) = rest.split_once(':')?;
        Some(Request::Fetch { file: file.to_owned(), to: to.to_owned(), fifo: fifo.to_owned() })
    });
    fetch.map_or(Said::Other(line), Said::Request)
}

fn tag_of(tag: &str) -> Option<Vec<u32>> {
    if tag.is_empty() {
        return Some(Vec::new());
    }
    tag.split('.').map(|part| part.parse().ok()).collect()
}

/// Puts the lines of parallel branches in order: each branch as one piece, when the trunk goes on.
#[derive(Debug, Default)]
pub struct Branches {
    lines: BTreeMap<Vec<u32>, Vec<String>>,
}

impl Branches {
    /// A line; those that can be logged now.
    pub fn add(&mut self, tag: Vec<u32>, line: String) -> Vec<String> {
        if !tag.is_empty() {
            self.lines.entry(tag).or_default().push(line);
            return Vec::new();
        }
        let mut ready = self.release();
        ready.push(line);
        ready
    }

    /// All that branches have said, in the order of the branches.
    pub fn release(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_however_they_are_cut() {
        let text = b"NOTE: x\nAUTOTEST_STATUS::START\t----\t----\ttimestamp=1\t\nAUTOTEST_STATUS:1.0:\tGOOD\tt\tt\trc: 1\n\
            AUTOTEST_FETCH_PACKAGE:test-x.tar.bz2:/a/packages/test-x.tar.bz2:/a/tmp/b:c/autoserv.fifo\n\
            AUTOTEST_TEST_COMPLETE:/a/tmp/fifo\nAUTOTEST_FETCH_PACKAGE:only:two\nAUTOTEST_STATUS:x:y\nlast";
        let whole = {
            let mut hearing = Hearing::default();
            let mut said = hearing.hear(text);
            said.extend(hearing.finish());
            said
        };
        assert_eq!(whole.len(), 8);
        assert_eq!(whole[1], Said::Status { tag: vec![], line: "START\t----\t----\ttimestamp=1\t".into() });
        assert_eq!(whole[2], Said::Status { tag: vec![1, 0], line: "\tGOOD\tt\tt\trc: 1".into() });
        let Said::Request(fetch) = &whole[3] else { panic!("{:?}", whole[3]) };
        assert_eq!((fetch.fifo(), fetch.signal()), ("/a/tmp/b:c/autoserv.fifo", "B"));
        assert_eq!(whole[4], Said::Request(Request::Collect { fifo: "/a/tmp/fifo".into() }));
        assert!(whole[5..].iter().all(|said| matches!(said, Said::Other(_))), "{whole:?}");
        for piece in 1..40 {
            let mut hearing = Hearing::default();
            let mut said: Vec<Said> = text.chunks(piece).flat_map(|bytes| hearing.hear(bytes)).collect();
            said.extend(hearing.finish());
            assert_eq!(said, whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_line_without_end_is_bounded_and_no_request() {
        let mut hearing = Hearing::default();
        assert_eq!(hearing.hear(b"AUTOTEST_TEST_COMPLETE:"), []);
        for _ in 0..100 {
            assert_eq!(hearing.hear(&[b'x'; 10_000]), []);
        }
        let said = hearing.hear(b"\nAUTOTEST_TEST_COMPLETE:/f\n");
        assert!(matches!(&said[0], Said::Other(line) if line.len() == LINE_BYTES_MAX));
        assert_eq!(said[1], Said::Request(Request::Collect { fifo: "/f".into() }));
    }

    #[test]
    fn branches_are_told_one_after_the_other_when_the_trunk_goes_on() {
        let mut branches = Branches::default();
        for (tag, line) in
            [(vec![1], "b1"), (vec![0], "a1"), (vec![0, 0], "aa"), (vec![1], "b2"), (vec![0], "a2")]
        {
            assert_eq!(branches.add(tag, line.into()), Vec::<String>::new());
        }
        assert_eq!(branches.add(vec![], "trunk".into()), ["a1", "a2", "aa", "b1", "b2", "trunk"]);
        assert_eq!(branches.release(), Vec::<String>::new());
    }
}
