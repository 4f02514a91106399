//! One connection to an agent: lines there, answers back.

use super::Wrong;
use super::variant::Variant;
use crate::stream::{NotConnected, Stream};
use crate::sut::extension::{ANSWER_BYTES_MAX, Answer, DONE, FRAME_BYTES_MAX, NO, Request, WORD};
use crate::sut::{PROMPT, WARNING};
use crate::until::{Ended, Until};
use std::io;
use std::net::IpAddr;

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: Stream,
    variant: Variant,
    /// Whether the last answer was read to its end, and only that.
    in_step: bool,
    /// Whether the device has a shell, once that was asked.
    pub(super) shell: Option<bool>,
}

/// Why there is no link.
pub(super) enum NotOpen {
    Unreachable(io::Error),
    Wrong(Wrong),
}

impl From<Wrong> for NotOpen {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

// Limit: what an agent may say in answer to one line.
const TEXT_BYTES_MAX: usize = 64 << 20;

impl Link {
    /// Connects, waits for the greeting, and asks which agent it is.
    pub(super) fn open(host: &str, port: u16, until: &Until) -> Result<Self, NotOpen> {
        let stream = Stream::connect(host, port, until).map_err(|e| match e {
            NotConnected::Io(e) => NotOpen::Unreachable(e),
            NotConnected::Ended(Ended::Deadline) => NotOpen::Unreachable(io::ErrorKind::TimedOut.into()),
            NotConnected::Ended(e) => NotOpen::Wrong(Wrong::Ended(e)),
        })?;
        let mut link = Self { stream, variant: Variant::Other(String::new()), in_step: false, shell: None };
        link.read_to_prompt(until)?;
        let version = link.text("ver", until)?;
        link.variant = Variant::from_version(&version);
        Ok(link)
    }

    pub(super) fn variant(&self) -> &Variant {
        &self.variant
    }

    /// Whether it may be used for another call.
    pub(super) fn is_in_step(&self) -> bool {
        self.in_step && !self.has_more()
    }

    /// Whether the agent has said something that nobody asked for, or gone away.
    pub(super) fn has_more(&self) -> bool {
        self.stream.has_more()
    }

    /// The address of this host on the way to the agent.
    pub(super) fn local_ip(&self) -> io::Result<IpAddr> {
        self.stream.local_addr().map(|a| a.ip())
    }

    /// From now on it is open where an answer ends, until [`Self::back_in_step`].
    pub(super) fn begin(&mut self) {
        self.in_step = false;
    }

    /// An answer was read to its end.
    pub(super) fn back_in_step(&mut self) {
        self.in_step = true;
    }

    /// Sends a line.
    pub(super) fn say(&mut self, line: &str, until: &Until) -> Result<(), Wrong> {
        if line.contains(['\r', '\n', '\0']) || line.trim().is_empty() {
            return Err(Wrong::Nonsense(format!("{line:?} cannot be said in one line")));
        }
        self.begin();
        Ok(self.stream.send_all(format!("{line}\r\n").as_bytes(), until)?)
    }

    /// Sends a line after which the agent closes the connection, or should.
    pub(super) fn last_words(&mut self, line: &str, until: &Until) -> Result<(), Wrong> {
        self.say(line, until)?;
        self.stream.finish();
        // The end of the connection says that it was heard; some agents never close.
        let patience = until.at_most(std::time::Duration::from_secs(5));
        while matches!(self.stream.fill(&patience), Ok(n) if n > 0) {
            let n = self.stream.input().len();
            self.stream.consume(n);
        }
        Ok(())
    }

    /// Asks for a text.
    pub(super) fn text(&mut self, line: &str, until: &Until) -> Result<String, Wrong> {
        self.say(line, until)?;
        self.answer(until)
    }

    /// Reads an answer that is a text.
    pub(super) fn answer(&mut self, until: &Until) -> Result<String, Wrong> {
        let text = self.read_to_prompt(until)?;
        warning(&text).map_or(Ok(text), |why| Err(Wrong::Warning(why)))
    }

    /// What comes before the prompt, without line breaks round it.
    fn read_to_prompt(&mut self, until: &Until) -> Result<String, Wrong> {
        loop {
            let input = self.stream.input();
            if input.ends_with(PROMPT) {
                let text = String::from_utf8_lossy(&input[..input.len() - PROMPT.len()]);
                let text = text.trim_matches(['\r', '\n']).to_owned();
                let n = input.len();
                self.stream.consume(n);
                self.back_in_step();
                return Ok(text);
            }
            if input.len() > TEXT_BYTES_MAX {
                return Err(Wrong::Nonsense("it does not stop talking".to_owned()));
            }
            self.more(until)?;
        }
    }

    /// Waits for more input.
    pub(super) fn more(&mut self, until: &Until) -> Result<(), Wrong> {
        if self.stream.fill(until)? == 0 { Err(Wrong::Closed) } else { Ok(()) }
    }

    /// Takes exactly so many bytes.
    pub(super) fn exactly(&mut self, n: usize, until: &Until) -> Result<Vec<u8>, Wrong> {
        while self.stream.input().len() < n {
            self.more(until)?;
        }
        let bytes = self.stream.input()[..n].to_vec();
        self.stream.consume(n);
        Ok(bytes)
    }

    /// Takes the prompt and nothing else.
    pub(super) fn prompt(&mut self, until: &Until) -> Result<(), Wrong> {
        let found = self.exactly(PROMPT.len(), until)?;
        if found != PROMPT {
            return Err(Wrong::Nonsense(format!("{found:?} where its prompt should be")));
        }
        self.back_in_step();
        Ok(())
    }

    /// Takes a line, without its end.
    pub(super) fn line(&mut self, until: &Until) -> Result<String, Wrong> {
        loop {
            let input = self.stream.input();
            if let Some(end) = input.iter().position(|b| *b == b'\n') {
                let line = String::from_utf8_lossy(&input[..end]).trim_end_matches('\r').to_owned();
                self.stream.consume(end + 1);
                return Ok(line);
            }
            if input.ends_with(PROMPT) || input.len() > FRAME_BYTES_MAX {
                return Err(Wrong::Nonsense("a line without an end".to_owned()));
            }
            self.more(until)?;
        }
    }

    /// The directory for tests.
    pub(super) fn test_root(&mut self, until: &Until) -> Result<String, Wrong> {
        let root = self.text("testroot", until)?.trim().to_owned();
        if root.starts_with('/') {
            Ok(root.trim_end_matches('/').to_owned())
        } else {
            Err(Wrong::Nonsense(format!("`{root}` is no directory for tests")))
        }
    }

    /// Sends one of Muster's own requests.
    pub(super) fn ask(&mut self, request: &Request, until: &Until) -> Result<(), Wrong> {
        let json = serde_json::to_vec(request).expect("a request has nothing that cannot be written");
        self.begin();
        let mut bytes = format!("{WORD} {}\r\n", json.len()).into_bytes();
        bytes.extend_from_slice(&json);
        Ok(self.stream.send_all(&bytes, until)?)
    }

    /// Reads the answer to one. Frames before its end go to `take`, with their kind.
    pub(super) fn hear(
        &mut self,
        mut take: impl FnMut(u8, &[u8]) -> Result<(), Wrong>,
        until: &Until,
    ) -> Result<Answer, Wrong> {
        loop {
            let head = self.exactly(5, until)?;
            if head == WARNING.as_bytes()[..5] {
                // It could not even read the request.
                let text = self.read_to_prompt(until)?;
                return Err(Wrong::Warning(text.trim_start_matches("NT-WARNING## ").to_owned()));
            }
            let kind = head[0];
            let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let most = if kind == DONE || kind == NO { ANSWER_BYTES_MAX } else { FRAME_BYTES_MAX };
            if len > most {
                return Err(Wrong::Nonsense(format!("a frame of {len} bytes")));
            }
            while self.stream.input().len() < len {
                self.more(until)?;
            }
            if kind != DONE && kind != NO {
                let taken = take(kind, &self.stream.input()[..len]);
                self.stream.consume(len);
                taken?;
                continue;
            }
            let json = self.exactly(len, until)?;
            self.prompt(until)?;
            let nonsense = |e: serde_json::Error| Wrong::Nonsense(format!("an answer that is none: {e}"));
            if kind == NO {
                return Err(Wrong::No(serde_json::from_slice(&json).map_err(nonsense)?));
            }
            return serde_json::from_slice(&json).map_err(nonsense);
        }
    }
}

/// What an answer warns of, if it is a warning.
pub(super) fn warning(text: &str) -> Option<String> {
    let why = text.strip_prefix(WARNING.trim_end())?;
    Some(why.trim().trim_end_matches('\0').to_owned())
}
