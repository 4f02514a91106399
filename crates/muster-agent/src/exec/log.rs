//! The framed log of one process: in memory while it is small and young, then in its spill file, the
//! middle cut out where it is longer than its quota.
//!
//! The spill file is only ever appended to, by whole frames, so another process may follow it. What is
//! past half the quota is held back until the end, when it is known what of it is cut. A file that cannot
//! be written costs the middle of the log, not the run: the beginning and the end are then kept in memory
//! and a remark says what is missing.

use super::tail::Tail;
use muster_core::attempt::Output;
use muster_core::output::{Frame, Stream, push, split_frame};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Limit: what a log keeps in memory before it goes to its file.
const MEMORY_BYTES: usize = 64 << 10;
/// Limit: what is read back from a file that could not be written to its end.
const READ_BACK_BYTES: u64 = 1 << 20;
/// Limit: what is kept of the end of such a log.
const RESCUE_BYTES: u64 = 64 << 10;

/// A log being written.
#[derive(Debug)]
pub(super) struct Log {
    path: Option<PathBuf>,
    /// Frames not yet in the file.
    memory: Vec<u8>,
    place: Place,
    /// Text the first half of the quota still has room for.
    head_room: u64,
    /// The second half.
    tail_max: u64,
    tail: Option<Tail>,
}

#[derive(Debug)]
enum Place {
    /// In `memory`.
    Memory,
    /// In the file, whole frames up to this length.
    File { file: File, len: u64 },
    /// The file failed; whole frames up to this length are in it, `memory` follows, then what `rest` kept.
    Failed { error: io::Error, len: u64, rest: Tail },
}

impl Log {
    /// A log that keeps `max` bytes of text.
    pub(super) fn new(max: u64, path: Option<PathBuf>) -> Self {
        let tail_max = max / 2;
        Self {
            path,
            memory: Vec::new(),
            place: Place::Memory,
            head_room: max - tail_max,
            tail_max,
            tail: None,
        }
    }

    /// Adds what was read from a stream; at most [`READ_BYTES`](super::READ_BYTES) at once.
    pub(super) fn push(&mut self, stream: Stream, at_millis: u64, text: &[u8]) {
        let room = usize::try_from(self.head_room).unwrap_or(usize::MAX).min(text.len());
        let (head, rest) = text.split_at(room);
        if !head.is_empty() {
            self.head_room -= head.len() as u64;
            self.append(Frame { stream, at_millis, text: head });
        }
        if !rest.is_empty() {
            let (max, path) = (self.tail_max, &self.path);
            let tail = self.tail.get_or_insert_with(|| Tail::new(max, path.clone()));
            tail.push(Frame { stream, at_millis, text: rest });
        }
    }

    /// Adds a remark of Muster's own. It does not count towards the quota unless the cut has begun.
    pub(super) fn remark(&mut self, at_millis: u64, text: &str) {
        let frame = Frame { stream: Stream::Muster, at_millis, text: text.as_bytes() };
        match &mut self.tail {
            Some(tail) => tail.push(frame),
            None => self.append(frame),
        }
    }

    /// Puts what there is into the file, for those who follow it; nothing is created for nothing.
    pub(super) fn spill(&mut self) {
        if self.memory.is_empty() || matches!(self.place, Place::Failed { .. }) {
            return;
        }
        let Some(path) = &self.path else { return };
        let (result, len) = match &mut self.place {
            Place::Memory => match create(path) {
                Ok(mut file) => {
                    let result = file.write_all(&self.memory);
                    let written = if result.is_ok() { self.memory.len() as u64 } else { 0 };
                    self.place = Place::File { file, len: written };
                    (result, 0)
                }
                Err(error) => (Err(error), 0),
            },
            Place::File { file, len } => {
                let (result, before) = (file.write_all(&self.memory), *len);
                if result.is_ok() {
                    *len += self.memory.len() as u64;
                }
                (result, before)
            }
            Place::Failed { .. } => (Ok(()), 0),
        };
        match result {
            Ok(()) => self.memory.clear(),
            Err(error) => {
                if let Place::File { file, .. } = &self.place {
                    // Nobody shall read half a frame; should this fail too, readers stop before it anyway.
                    drop(file.set_len(len));
                }
                self.place = Place::Failed { error, len, rest: Tail::new(RESCUE_BYTES, None) };
            }
        }
    }

    /// Ends the log. `at_millis` is for remarks.
    pub(super) fn finish(mut self, at_millis: u64) -> Output {
        if let Some(tail) = self.tail.take() {
            let cut = tail.cut();
            if cut > 0 {
                let text = format!("{cut} bytes of output cut here\n");
                self.append(Frame { stream: Stream::Muster, at_millis, text: text.as_bytes() });
            }
            tail.drain(|frame| self.append(frame));
        }
        if matches!(self.place, Place::File { .. }) {
            self.spill();
        }
        match self.place {
            Place::Memory if self.memory.is_empty() => Output::None,
            Place::Memory => Output::Inline(self.memory),
            Place::File { len, .. } => {
                let path = self.path.as_deref().unwrap_or(Path::new(""));
                Output::File { path: path.to_string_lossy().into_owned(), len }
            }
            Place::Failed { error, len, rest } => {
                Output::Inline(rescue(self.path.as_deref(), &self.memory, &error, len, rest, at_millis))
            }
        }
    }

    fn append(&mut self, frame: Frame<'_>) {
        match &mut self.place {
            Place::Memory => {
                push(&mut self.memory, frame);
                if self.memory.len() > MEMORY_BYTES {
                    self.spill();
                }
            }
            Place::File { .. } => {
                push(&mut self.memory, frame);
                self.spill();
            }
            Place::Failed { rest, .. } => rest.push(frame),
        }
    }
}

/// What can be had of a log whose file failed: all of it where that is short, else its beginning, a remark, its end.
fn rescue(
    path: Option<&Path>,
    memory: &[u8],
    error: &io::Error,
    len: u64,
    rest: Tail,
    at_millis: u64,
) -> Vec<u8> {
    let mut log = Vec::new();
    let mut lost = rest.cut();
    if let Some(path) = path {
        if len > 0 {
            let mut head = Vec::new();
            // A file that cannot be read back is one more loss, and the remark counts it.
            drop(File::open(path).and_then(|f| f.take(len.min(READ_BACK_BYTES)).read_to_end(&mut head)));
            let mut left = head.as_slice();
            while let Some((_, rest)) = split_frame(left) {
                left = rest;
            }
            log.extend_from_slice(&head[..head.len() - left.len()]);
            lost += len - log.len() as u64;
        }
        // What is of use of it is in the answer; its room is needed.
        drop(std::fs::remove_file(path));
    }
    log.extend_from_slice(memory);
    if lost > 0 {
        let name = path.unwrap_or(Path::new("")).display();
        let text =
            format!("{lost} bytes of output lost here: the log could not be written to {name}: {error}\n");
        push(&mut log, Frame { stream: Stream::Muster, at_millis, text: text.as_bytes() });
    }
    rest.drain(|frame| push(&mut log, frame));
    log
}

fn create(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().create(true).write(true).truncate(true).open(path);
    match (open(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(parent)?;
            open()
        }
        (result, _) => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::output::frames;

    fn write(log: &mut Log, bytes: usize) {
        for chunk in vec![b'x'; bytes].chunks(super::super::READ_BYTES) {
            log.push(Stream::Stdout, 1, chunk);
        }
    }

    fn read(output: &Output) -> Vec<u8> {
        match output {
            Output::None => Vec::new(),
            Output::Inline(log) => log.clone(),
            Output::Segment { .. } => panic!("only a store makes these"),
            Output::File { path, len } => {
                let log = std::fs::read(path).unwrap();
                assert_eq!(log.len() as u64, *len);
                log
            }
        }
    }

    #[test]
    fn a_small_log_makes_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::new(1 << 20, Some(dir.path().join("a/log")));
        write(&mut log, 60_000);
        assert!(matches!(log.finish(1), Output::Inline(_)));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_log_without_a_byte_is_none() {
        assert_eq!(Log::new(1 << 20, None).finish(1), Output::None);
    }

    #[test]
    fn a_log_that_outgrows_memory_is_whole_in_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/log");
        let mut log = Log::new(4 << 20, Some(path.clone()));
        write(&mut log, 3 << 20);
        let output = log.finish(1);
        assert!(matches!(&output, Output::File { path: p, .. } if Path::new(p) == path));
        let log = read(&output);
        assert_eq!(frames(&log).map(|f| f.text.len()).sum::<usize>(), 3 << 20);
    }

    #[test]
    fn the_middle_of_a_log_past_its_quota_is_cut_with_a_remark() {
        let dir = tempfile::tempdir().unwrap();
        for max in [1_001u64, 200_000, 2_000_001] {
            let path = dir.path().join(max.to_string());
            let mut log = Log::new(max, Some(path));
            log.push(Stream::Stdout, 1, b"first");
            write(&mut log, 5_000_000);
            log.push(Stream::Stderr, 1, b"last");
            let log = read(&log.finish(9));
            let all: Vec<_> = frames(&log).collect();
            assert_eq!(all.first().unwrap().text, b"first");
            assert_eq!(all.last().unwrap().text, b"last");
            let remark = all.iter().find(|f| f.stream == Stream::Muster).unwrap();
            let cut = 5_000_009 - max;
            assert_eq!(String::from_utf8_lossy(remark.text), format!("{cut} bytes of output cut here\n"));
            let kept: usize = all.iter().filter(|f| f.stream != Stream::Muster).map(|f| f.text.len()).sum();
            assert_eq!(kept as u64, max);
        }
    }

    #[test]
    fn a_follower_sees_what_was_spilled_before_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::new(1 << 20, Some(path.clone()));
        log.push(Stream::Stdout, 1, b"one");
        log.spill();
        log.push(Stream::Stdout, 2, b"two");
        assert_eq!(frames(&std::fs::read(&path).unwrap()).count(), 2);
    }

    #[test]
    fn a_full_disk_costs_a_short_log_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut log = Log::new(100 << 20, Some(path));
        write(&mut log, MEMORY_BYTES + 1_000);
        log.push(Stream::Stdout, 2, b"last");
        let Output::Inline(log) = log.finish(3) else { panic!("not in memory") };
        let all: Vec<_> = frames(&log).collect();
        assert!(all.iter().all(|f| f.stream == Stream::Stdout), "there is nothing to be said");
        assert_eq!(all.iter().map(|f| f.text.len()).sum::<usize>(), MEMORY_BYTES + 1_004);
    }

    #[test]
    fn a_full_disk_costs_the_middle_and_says_so() {
        // Every write to /dev/full fails as on a full disk.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut log = Log::new(100 << 20, Some(path.clone()));
        log.push(Stream::Stdout, 1, b"first");
        write(&mut log, 1_000_000);
        log.push(Stream::Stderr, 2, b"last");
        let Output::Inline(log) = log.finish(3) else { panic!("not in memory") };
        let all: Vec<_> = frames(&log).collect();
        assert_eq!(all.first().unwrap().text, b"first");
        assert_eq!(all.last().unwrap().text, b"last");
        let kept: usize = all.iter().filter(|f| f.stream != Stream::Muster).map(|f| f.text.len()).sum();
        let remark = all.iter().find(|f| f.stream == Stream::Muster).unwrap();
        let lost = 1_000_009 - kept;
        assert_eq!(
            String::from_utf8_lossy(remark.text),
            format!(
                "{lost} bytes of output lost here: the log could not be written to {}: \
                 No space left on device (os error 28)\n",
                path.display()
            )
        );
    }
}
