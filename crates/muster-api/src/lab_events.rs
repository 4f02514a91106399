//! What happens in a lab as a whole, as its server tells it: server-sent events, read one by one.

use crate::ClientError;
use std::io::{self, BufRead as _, BufReader, Read};

/// Longest line of an event.
// Limit: memory; whoever answers may not be the server that is meant.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// One thing of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabNews {
    /// Something happened: its number, and the line of JSON that tells it.
    Event(u64, String),
    /// Nothing to tell; watching goes on behind this number.
    From(u64),
    /// So many events that were asked for are not kept; `None`: the number is not of these records, which are told
    /// from their beginning.
    Gap(Option<u64>),
    /// Nothing happened for a while; the connection lives.
    Quiet,
}

/// What happens in a lab, as it happens. Waits for what happens next, to the end of the connection.
pub struct LabEvents {
    body: BufReader<Box<dyn Read + Send>>,
    server: String,
}

impl LabEvents {
    pub(crate) fn new(body: impl Read + Send + 'static, server: String) -> Self {
        Self { body: BufReader::new(Box::new(body)), server }
    }

    /// The next line without its end; `None` at the end of the stream, also in the middle of a line.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        (&mut self.body).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        String::from_utf8(line).map(Some).map_err(io::Error::other)
    }

    fn event(&mut self) -> Result<Option<LabNews>, ClientError> {
        let unreachable =
            |server: &str, source| ClientError::Unreachable { server: server.to_owned(), source };
        let (mut id, mut data, mut kind) = (None, String::new(), String::new());
        loop {
            let line = self.line().map_err(|e| unreachable(&self.server, e))?;
            // An event that was cut is told again.
            let Some(line) = line else { return Ok(None) };
            match line.split_once(": ") {
                Some(("id", value)) => id = value.parse().ok(),
                Some(("event", value)) => value.clone_into(&mut kind),
                Some(("data", value)) => data.push_str(value),
                Some(_) => {}
                None if line.is_empty() => break,
                None => {}
            }
        }
        let not_understood = || ClientError::NotUnderstood {
            server: self.server.clone(),
            why: "an event of the lab has no number".to_owned(),
        };
        Ok(Some(match (kind.as_str(), data.is_empty()) {
            ("", true) => id.map_or(LabNews::Quiet, LabNews::From),
            ("", false) => LabNews::Event(id.ok_or_else(not_understood)?, data),
            ("gap", _) => {
                let said: serde_json::Value = serde_json::from_str(&data).unwrap_or_default();
                LabNews::Gap(said["missing"].as_u64())
            }
            // Of a newer server.
            _ => LabNews::Quiet,
        }))
    }
}

impl Iterator for LabEvents {
    type Item = Result<LabNews, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.event().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_one_by_one_and_one_that_was_cut_is_none() {
        let text = ":\n\nid: 4\n\nevent: gap\ndata: {\"missing\":3}\n\nid: 8\ndata: {\"a\": 1}\n\n\
                    event: later\ndata: x\n\nevent: gap\ndata: {\"missing\":null}\n\nid: 9\ndata: {\"b\"";
        let events = LabEvents::new(text.as_bytes(), "http://lab".to_owned());
        let read: Vec<LabNews> = events.map(Result::unwrap).collect();
        let wanted = [
            LabNews::Quiet,
            LabNews::From(4),
            LabNews::Gap(Some(3)),
            LabNews::Event(8, "{\"a\": 1}".to_owned()),
            LabNews::Quiet,
            LabNews::Gap(None),
        ];
        assert_eq!(read, wanted);
    }

    #[test]
    fn a_line_without_end_is_not_read_into_memory_for_ever() {
        let endless = io::repeat(b'x');
        let mut events = LabEvents::new(endless, "http://lab".to_owned());
        assert!(events.next().is_none());
    }
}
