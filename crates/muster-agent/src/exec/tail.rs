//! The last so many bytes of a stream of frames, in bounded memory: blocks of frames, in memory while the
//! bound is small, otherwise in the places of a nameless file, the oldest making room for the newest.

use muster_core::output::{Frame, push, split_frame};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// A block is closed when it is longer than this.
const BLOCK_BYTES: usize = 64 << 10;
/// Limit: a block in the file, closed by one last frame of at most a whole read.
const PLACE_BYTES: u64 = (BLOCK_BYTES + super::READ_BYTES + 64) as u64;
/// Up to here blocks stay in memory.
const MEMORY_BYTES: u64 = 256 << 10;

/// Keeps at least the last `max` bytes of text, and at most a block more.
#[derive(Debug)]
pub(super) struct Tail {
    max: u64,
    /// Beside which path a file may be made.
    beside: Option<PathBuf>,
    file: Option<File>,
    free: Vec<u64>,
    closed: VecDeque<Block>,
    open: Vec<u8>,
    open_text: u64,
    /// Text in `closed` and `open`.
    kept: u64,
    /// Text let go.
    gone: u64,
}

#[derive(Debug)]
struct Block {
    data: Data,
    text: u64,
}

#[derive(Debug)]
enum Data {
    Memory(Vec<u8>),
    File { place: u64, len: usize },
}

impl Tail {
    pub(super) fn new(max: u64, beside: Option<PathBuf>) -> Self {
        let beside = beside.filter(|_| max > MEMORY_BYTES);
        Self {
            max,
            beside,
            file: None,
            free: Vec::new(),
            closed: VecDeque::new(),
            open: Vec::new(),
            open_text: 0,
            kept: 0,
            gone: 0,
        }
    }

    /// Adds a frame; its text is at most [`READ_BYTES`](super::READ_BYTES) long.
    pub(super) fn push(&mut self, frame: Frame<'_>) {
        let text = frame.text.len() as u64;
        push(&mut self.open, frame);
        self.open_text += text;
        self.kept += text;
        if self.open.len() as u64 > (BLOCK_BYTES as u64).min(self.max.max(1)) {
            self.close();
        }
        while let Some(first) = self.closed.front()
            && self.kept - first.text >= self.max
        {
            let first = self.closed.pop_front().expect("it was there a line ago");
            self.kept -= first.text;
            self.gone += first.text;
            if let Data::File { place, .. } = first.data {
                self.free.push(place);
            }
        }
    }

    /// How many bytes of text will be missing in front of what [`drain`](Self::drain) gives.
    pub(super) fn cut(&self) -> u64 {
        self.gone + self.kept.saturating_sub(self.max)
    }

    /// Gives every kept frame to `to`, oldest first; the first is shortened so that the text is `max` bytes.
    pub(super) fn drain(mut self, mut to: impl FnMut(Frame<'_>)) {
        let mut skip = self.kept.saturating_sub(self.max);
        let last = Block { data: Data::Memory(std::mem::take(&mut self.open)), text: self.open_text };
        self.closed.push_back(last);
        let mut buffer = Vec::new();
        for block in self.closed {
            let mut frames = match (&block.data, &self.file) {
                (Data::Memory(frames), _) => frames.as_slice(),
                (Data::File { place, len }, Some(file)) => {
                    buffer.resize(*len, 0);
                    match file.read_exact_at(&mut buffer, place * PLACE_BYTES) {
                        Ok(()) => buffer.as_slice(),
                        Err(_) => continue,
                    }
                }
                (Data::File { .. }, None) => continue,
            };
            while let Some((frame, rest)) = split_frame(frames) {
                frames = rest;
                let drop = skip.min(frame.text.len() as u64);
                skip -= drop;
                let text = &frame.text[usize::try_from(drop).expect("no more than a slice's length")..];
                if !text.is_empty() {
                    to(Frame { text, ..frame });
                }
            }
        }
    }

    fn close(&mut self) {
        let text = std::mem::take(&mut self.open_text);
        let data = match self.store() {
            Ok(Some((place, len))) => {
                self.open.clear();
                Data::File { place, len }
            }
            Ok(None) => Data::Memory(std::mem::take(&mut self.open)),
            Err(_) => {
                // The disk is full: what fits in memory is better than nothing, and the cut will say so.
                self.beside = None;
                self.max = self.max.min(MEMORY_BYTES);
                Data::Memory(std::mem::take(&mut self.open))
            }
        };
        self.closed.push_back(Block { data, text });
    }

    /// Writes the open block to a place of the file, where there is one.
    fn store(&mut self) -> io::Result<Option<(u64, usize)>> {
        let Some(beside) = &self.beside else { return Ok(None) };
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(nameless(beside)?),
        };
        let in_file = self.closed.iter().filter(|b| matches!(b.data, Data::File { .. })).count() as u64;
        let place = self.free.last().copied().unwrap_or(in_file);
        file.write_all_at(&self.open, place * PLACE_BYTES)?;
        self.free.pop();
        Ok(Some((place, self.open.len())))
    }
}

/// A file without a name, so that nothing is left behind however this process ends.
fn nameless(beside: &Path) -> io::Result<File> {
    let mut path = beside.as_os_str().to_owned();
    path.push(".tail");
    let path = PathBuf::from(path);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::output::Stream;

    fn tail_of(chunks: &[usize], max: u64, beside: Option<PathBuf>) -> (Vec<u8>, u64) {
        let mut tail = Tail::new(max, beside);
        let mut n = 0u32;
        for len in chunks {
            let text: Vec<u8> = (0..*len)
                .map(|_| {
                    n = n.wrapping_add(1);
                    (n % 251) as u8
                })
                .collect();
            tail.push(Frame { stream: Stream::Stdout, at_millis: 1, text: &text });
        }
        let cut = tail.cut();
        let mut text = Vec::new();
        tail.drain(|f| text.extend_from_slice(f.text));
        (text, cut)
    }

    fn check(chunks: &[usize], max: u64, beside: Option<PathBuf>) {
        let all: Vec<u8> = (1..=chunks.iter().sum::<usize>() as u32).map(|n| (n % 251) as u8).collect();
        let (text, cut) = tail_of(chunks, max, beside);
        let keep = all.len().min(max as usize);
        assert_eq!(cut as usize, all.len() - keep, "cut of {max}");
        assert!(text == all[all.len() - keep..], "not the last {keep} bytes");
    }

    #[test]
    fn exactly_the_last_bytes_are_kept_whatever_the_pieces() {
        for max in [0, 1, 7, 100, 5_000, 70_000, 300_000, 10_000_000] {
            for chunks in [vec![1; 3_000], vec![65_536; 12], vec![10, 65_536, 3, 40_000, 1], vec![]] {
                check(&chunks, max, None);
            }
        }
    }

    #[test]
    fn a_large_tail_is_kept_in_a_file_that_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/log");
        let chunks: Vec<usize> = (0..400).map(|i| 1 + i * 7919 % 65_536).collect();
        check(&chunks, 1_000_000, Some(path));
        assert_eq!(std::fs::read_dir(dir.path().join("deep")).unwrap().count(), 0);
    }

    #[test]
    fn without_room_on_disk_a_smaller_tail_is_kept_in_memory() {
        let chunks = [50_000; 100];
        let (text, cut) = tail_of(&chunks, 1_000_000, Some(PathBuf::from("/proc/no-such-place/log")));
        assert_eq!(text.len() as u64, MEMORY_BYTES);
        assert_eq!(text.len() as u64 + cut, 5_000_000);
    }
}
