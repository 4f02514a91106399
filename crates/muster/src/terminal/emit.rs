//! A place to write lines to that never fails: once nobody reads, writing is over and the run goes on.

use anstream::adapter::strip_str;
use std::io::Write;

/// Lines on their way out. They are written at [`flush`](Emit::flush), many at once.
pub(super) struct Emit {
    out: Option<Box<dyn Write + Send>>,
    color: bool,
    buffer: String,
}

impl Emit {
    /// Writes to standard error.
    pub(super) fn stderr(color: bool) -> Self {
        Self::new(Box::new(std::io::stderr()), color)
    }

    /// Writes anywhere.
    pub(super) fn new(out: Box<dyn Write + Send>, color: bool) -> Self {
        Self { out: Some(out), color, buffer: String::new() }
    }

    /// Text without a line end.
    pub(super) fn text(&mut self, text: &str) {
        self.buffer.push_str(text);
    }

    /// A whole line.
    pub(super) fn line(&mut self, line: &str) {
        self.buffer.push_str(line.trim_end());
        self.buffer.push('\n');
    }

    /// Several whole lines.
    pub(super) fn lines(&mut self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            self.line(&line);
        }
    }

    /// Whether something waits to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether colour codes go out as they are.
    pub(super) fn has_color(&self) -> bool {
        self.color
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if let Some(out) = &mut self.out {
            let done = if self.color {
                out.write_all(self.buffer.as_bytes())
            } else {
                out.write_all(strip_str(&self.buffer).to_string().as_bytes())
            };
            if done.and_then(|()| out.flush()).is_err() {
                self.out = None;
            }
        }
        self.buffer.clear();
    }
}

impl Drop for Emit {
    fn drop(&mut self) {
        self.flush();
    }
}
