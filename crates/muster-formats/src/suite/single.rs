//! One item whose process says nothing but how it ends.

use super::batch::Book;
use super::{End, ItemEnd, Reader, Reported};
use muster_core::attempt::Cause;
use muster_core::outcome::Outcome;
use muster_core::output::Stream;
use std::time::Duration;

/// Decides what a process that has ended came to: by its end and what it printed (both streams, as
/// much as was kept). `None`: exit code 0 is a pass, all else is what it is.
pub(super) type Decide = Box<dyn Fn(&End, &str) -> Option<(Outcome, Cause, String)> + Send>;

/// Reads a process that is one item.
pub(super) struct SingleReader {
    book: Book,
    started: bool,
    decide: Decide,
}

impl SingleReader {
    pub(super) fn new(log_max: usize, decide: Decide) -> Self {
        Self { book: Book::new(1, log_max), started: false, decide }
    }

    fn start(&mut self, out: &mut Vec<Reported>) {
        if !self.started {
            self.started = true;
            self.book.start(0, Duration::ZERO, out);
        }
    }
}

impl Reader for SingleReader {
    fn output(&mut self, stream: Stream, at: Duration, bytes: &[u8], out: &mut Vec<Reported>) {
        self.start(out);
        self.book.push(stream, at, bytes);
    }

    fn report(&mut self, _at: Duration, _bytes: &[u8], _out: &mut Vec<Reported>) {}

    fn ended(&mut self, end: &End, at: Duration, out: &mut Vec<Reported>) {
        self.start(out);
        let Some((index, started, log)) = self.book.take_running() else { return };
        let log = log.finish().log;
        let printed = muster_core::output::text(&log, |s| s != Stream::Muster);
        let decided = (self.decide)(end, &String::from_utf8_lossy(&printed));
        let (outcome, cause, message) = decided.unwrap_or_else(|| {
            let (outcome, cause) = end.judgement();
            let message = match outcome {
                Outcome::Pass => String::new(),
                _ => super::batch::with_last_words(&format!("the process {end}"), &log),
            };
            (outcome, cause, message)
        });
        let duration = at.saturating_sub(started);
        let steps = Vec::new();
        out.push(Reported::Ended {
            index,
            end: ItemEnd { outcome, cause, message, started, duration, steps, log },
        });
    }
}
