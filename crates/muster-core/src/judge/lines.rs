//! The lines of a framed log. Each stream's lines are put together on their own, so that one is whole
//! even where the other stream wrote in the middle of it.

use crate::output::{Stream, frames};

/// Calls `line` for every line of both streams (not for Muster's own remarks) in the order in which they
/// were completed, without the line feed and a carriage return before it. What follows the last line feed
/// of a stream is its last line.
pub fn for_each_line<'a>(log: &'a [u8], mut line: impl FnMut(Stream, &[u8])) {
    let (mut out, mut err): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    for frame in frames(log) {
        let open = match frame.stream {
            Stream::Stdout => &mut out,
            Stream::Stderr => &mut err,
            Stream::Muster => continue,
        };
        let mut rest: &'a [u8] = frame.text;
        while let Some(at) = rest.iter().position(|b| *b == b'\n') {
            let (head, tail) = (&rest[..at], &rest[at + 1..]);
            if open.is_empty() {
                line(frame.stream, without_return(head));
            } else {
                open.extend_from_slice(head);
                line(frame.stream, without_return(open));
                open.clear();
            }
            rest = tail;
        }
        open.extend_from_slice(rest);
    }
    for (stream, open) in [(Stream::Stdout, out), (Stream::Stderr, err)] {
        if !open.is_empty() {
            line(stream, without_return(&open));
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
