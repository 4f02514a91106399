//! One item's part of what a process printed, within a bound.

use muster_core::output::{Frame, Stream, push};
use std::collections::VecDeque;
use std::time::Duration;

/// Longest text of one frame. Limit: small enough that cutting whole frames cuts close to the bound.
const FRAME_MAX: usize = 16 << 10;

/// Frames of one item. Beyond the bound the middle is dropped: the first half says how it began, the
/// last how it ended.
pub(super) struct ItemLog {
    began: Duration,
    max: usize,
    head: Vec<u8>,
    tail: VecDeque<Vec<u8>>,
    tail_len: usize,
    dropped: u64,
    open: Option<(Stream, u64, Vec<u8>)>,
}

impl ItemLog {
    /// An empty log of at most about `max` bytes for an item that began at `began`.
    pub(super) fn new(began: Duration, max: usize) -> Self {
        Self { began, max, head: Vec::new(), tail: VecDeque::new(), tail_len: 0, dropped: 0, open: None }
    }

    /// Takes in text. Text of one stream and one millisecond is put into one frame.
    pub(super) fn push(&mut self, stream: Stream, at: Duration, mut text: &[u8]) {
        let at_millis = u64::try_from(at.saturating_sub(self.began).as_millis()).unwrap_or(u64::MAX);
        while !text.is_empty() {
            match &mut self.open {
                Some((s, t, open)) if *s == stream && *t == at_millis && open.len() < FRAME_MAX => {
                    let (now, later) = text.split_at(text.len().min(FRAME_MAX - open.len()));
                    open.extend_from_slice(now);
                    text = later;
                }
                _ => {
                    self.close_frame();
                    self.open = Some((stream, at_millis, Vec::new()));
                }
            }
        }
    }

    /// Ends the current frame and says where the next will begin, for [`place`](Finished::place).
    pub(super) fn mark(&mut self) -> u64 {
        self.close_frame();
        self.head.len() as u64 + self.dropped + self.tail_len as u64
    }

    /// Ends the log.
    pub(super) fn finish(mut self) -> Finished {
        self.close_frame();
        let head_len = self.head.len() as u64;
        let mut log = self.head;
        if self.dropped > 0 {
            let text = format!("about {} bytes of output cut here\n", self.dropped);
            push(&mut log, Frame { stream: Stream::Muster, at_millis: 0, text: text.as_bytes() });
        }
        let gap_end = log.len() as u64;
        log.extend(self.tail.into_iter().flatten());
        Finished { log, head_len, gap_end, dropped: self.dropped }
    }

    fn close_frame(&mut self) {
        let Some((stream, at_millis, text)) = self.open.take() else { return };
        let mut frame = Vec::with_capacity(text.len() + 12);
        push(&mut frame, Frame { stream, at_millis, text: &text });
        if self.tail.is_empty() && self.dropped == 0 && self.head.len() + frame.len() <= self.max / 2 {
            self.head.append(&mut frame);
            return;
        }
        self.tail_len += frame.len();
        self.tail.push_back(frame);
        while self.tail_len > self.max / 2 {
            let Some(old) = self.tail.pop_front() else { break };
            self.tail_len -= old.len();
            self.dropped += old.len() as u64;
        }
    }
}

/// A log that takes no more text.
pub(super) struct Finished {
    /// The frames.
    pub(super) log: Vec<u8>,
    head_len: u64,
    gap_end: u64,
    dropped: u64,
}

impl Finished {
    /// Where a [mark](ItemLog::mark) is now; the cut's remark for one whose text was dropped.
    pub(super) fn place(&self, mark: u64) -> u64 {
        if mark <= self.head_len {
            mark
        } else if mark < self.head_len + self.dropped {
            self.head_len
        } else {
            mark - self.head_len - self.dropped + self.gap_end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::output::{frames, split_frame, text};

    #[test]
    fn text_of_one_moment_is_one_frame_and_streams_stay_apart() {
        let mut log = ItemLog::new(Duration::from_secs(1), 1000);
        log.push(Stream::Stdout, Duration::from_millis(1005), b"a");
        log.push(Stream::Stdout, Duration::from_millis(1005), b"b");
        log.push(Stream::Stderr, Duration::from_millis(1005), b"c");
        let log = log.finish().log;
        let seen: Vec<_> = frames(&log).map(|f| (f.stream, f.at_millis, f.text.to_vec())).collect();
        assert_eq!(seen, [(Stream::Stdout, 5, b"ab".to_vec()), (Stream::Stderr, 5, b"c".to_vec())]);
    }

    #[test]
    fn the_middle_is_cut_visibly_and_marks_still_point_at_frames() {
        let mut log = ItemLog::new(Duration::ZERO, 400);
        let mut marks = Vec::new();
        for i in 0..100u64 {
            marks.push(log.mark());
            log.push(Stream::Stdout, Duration::from_millis(i), format!("line {i:02}\n").as_bytes());
        }
        let done = log.finish();
        assert!(done.log.len() < 500, "{}", done.log.len());
        let all = String::from_utf8(text(&done.log, |_| true)).unwrap();
        assert!(
            all.starts_with("line 00\n") && all.ends_with("line 99\n") && all.contains("cut here"),
            "{all}"
        );
        for (i, mark) in marks.iter().enumerate() {
            let at = usize::try_from(done.place(*mark)).unwrap();
            let (frame, _) = split_frame(&done.log[at..]).unwrap();
            let own = format!("line {i:02}\n");
            assert!(frame.text == own.as_bytes() || frame.stream == Stream::Muster, "{i}");
        }
    }
}
