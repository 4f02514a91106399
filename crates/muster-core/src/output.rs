//! The framed log of an attempt: one byte string that keeps both streams apart and in the order they
//! were read.
//!
//! A frame is one byte for the [`Stream`], the milliseconds since the attempt began and the length of
//! the text as LEB128 numbers, then the text. A log cut anywhere is readable up to its last whole frame.

/// Which stream a frame's text came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// Muster's own remark: truncation, signals sent, the start of a step.
    Muster = 3,
}

/// One piece of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Where it came from.
    pub stream: Stream,
    /// Milliseconds since the attempt began.
    pub at_millis: u64,
    /// The bytes as they were read; not necessarily whole lines, nor UTF-8.
    pub text: &'a [u8],
}

/// Appends a frame.
pub fn push(log: &mut Vec<u8>, frame: Frame<'_>) {
    log.push(frame.stream as u8);
    push_number(log, frame.at_millis);
    push_number(log, frame.text.len() as u64);
    log.extend_from_slice(frame.text);
}

/// The frames of a log, up to the first that is not whole.
pub fn frames(mut log: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    std::iter::from_fn(move || {
        let (frame, rest) = split_frame(log)?;
        log = rest;
        Some(frame)
    })
}

/// The first frame and what follows it; `None` where no whole frame is left.
pub fn split_frame(log: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (&stream, rest) = log.split_first()?;
    let stream = match stream {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        3 => Stream::Muster,
        _ => return None,
    };
    let (at_millis, rest) = split_number(rest)?;
    let (len, rest) = split_number(rest)?;
    let (text, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    Some((Frame { stream, at_millis, text }, rest))
}

/// The text of some streams, joined.
pub fn text(log: &[u8], wanted: impl Fn(Stream) -> bool) -> Vec<u8> {
    frames(log).filter(|f| wanted(f.stream)).flat_map(|f| f.text.iter().copied()).collect()
}

fn push_number(log: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        log.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    log.push(n as u8);
}

fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut n = 0u64;
    for (i, b) in bytes.iter().enumerate().take(10) {
        n |= u64::from(b & 0x7f).checked_shl(7 * i as u32)?;
        if b & 0x80 == 0 {
            return Some((n, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cut_anywhere_is_readable_up_to_its_last_whole_frame() {
        let mut log = Vec::new();
        let long = vec![b'x'; 300];
        push(&mut log, Frame { stream: Stream::Stdout, at_millis: 0, text: b"one\n" });
        let first = log.len();
        push(&mut log, Frame { stream: Stream::Stderr, at_millis: 70_000, text: &long });
        for cut in 0..=log.len() {
            let whole = frames(&log[..cut]).count();
            assert_eq!(whole, usize::from(cut >= first) + usize::from(cut == log.len()), "cut at {cut}");
        }
        assert_eq!(text(&log, |s| s == Stream::Stdout), b"one\n");
    }
}
