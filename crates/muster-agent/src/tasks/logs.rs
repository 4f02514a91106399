//! One framed log for an attempt out of the logs of its processes.
//!
//! Where there are several, each begins with a remark of Muster's that names it, and times are counted
//! from the attempt's start. Small logs go with the result, large ones into a file of the run's directory.

use muster_core::attempt::Output;
use muster_core::output::{Frame, Stream, push, split_frame};
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest log that goes with a result.
// Limit: results of many attempts travel in one message.
pub(super) const INLINE_BYTES_MAX: usize = 64 << 10;

/// Where an attempt's output goes.
#[derive(Clone, Debug)]
pub(super) struct Place {
    run_dir: PathBuf,
    /// Path of its file, relative to the run's directory, without extension.
    name: String,
}

impl Place {
    /// The place of a unit's outputs.
    pub(super) fn new(run_dir: &str, unit: u64) -> Self {
        // A thousand files to a directory at most.
        Self { run_dir: PathBuf::from(run_dir), name: format!("out/{}/{unit}", unit / 1000) }
    }

    /// Absolute path of the file of one of its processes or items.
    pub(super) fn file(&self, part: usize) -> PathBuf {
        self.run_dir.join(self.relative(part))
    }

    fn relative(&self, part: usize) -> String {
        format!("{}-{part}.frames", self.name)
    }

    /// A process's log with the file's name as the record wants it: relative to the run's directory.
    pub(super) fn own(&self, log: Output) -> Output {
        match log {
            Output::File { path, len } => {
                let relative = Path::new(&path).strip_prefix(&self.run_dir).ok().and_then(Path::to_str);
                Output::File { path: relative.map_or(path.clone(), str::to_owned), len }
            }
            Output::Inline(frames) if frames.is_empty() => Output::None,
            other => other,
        }
    }

    /// The frames of a log, wherever they are.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub(super) fn read<'a>(&self, log: &'a Output) -> io::Result<Cow<'a, [u8]>> {
        Ok(match log {
            Output::None | Output::Segment { .. } => Cow::Borrowed(&[]),
            Output::Inline(frames) => Cow::Borrowed(frames),
            Output::File { path, .. } => Cow::Owned(fs::read(self.run_dir.join(path))?),
        })
    }

    /// Frames as an output: with the result, or, if they are too many, in the file of this part.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep(&self, frames: Vec<u8>, part: usize) -> io::Result<Output> {
        if frames.is_empty() {
            return Ok(Output::None);
        }
        if frames.len() <= INLINE_BYTES_MAX {
            return Ok(Output::Inline(frames));
        }
        let path = self.file(part);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        File::create(&path)?.write_all(&frames)?;
        Ok(Output::File { path: self.relative(part), len: frames.len() as u64 })
    }

    /// Adds a remark of Muster's to the end of a log.
    pub(super) fn remark(&self, log: &mut Output, at: Duration, text: &str) {
        let text = format!("{text}\n");
        let mut frame = Vec::new();
        let at_millis = at.as_millis() as u64;
        push(&mut frame, Frame { stream: Stream::Muster, at_millis, text: text.as_bytes() });
        match log {
            Output::None | Output::Segment { .. } => *log = Output::Inline(frame),
            Output::Inline(frames) => frames.extend_from_slice(&frame),
            Output::File { path, len } => {
                let file = File::options().append(true).open(self.run_dir.join(path));
                if file.and_then(|mut f| f.write_all(&frame)).is_ok() {
                    *len += frame.len() as u64;
                }
            }
        }
    }

    /// Removes the file of a log that has been taken up into another.
    fn forget(&self, log: &Output) {
        if let Output::File { path, .. } = log {
            // It only takes space until the run is removed.
            let _stays = fs::remove_file(self.run_dir.join(path));
        }
    }
}

/// The log of several processes, as it grows.
#[derive(Debug, Default)]
pub(super) struct Joined {
    frames: Vec<u8>,
}

impl Joined {
    /// Bytes so far: where the next part begins.
    pub(super) fn len(&self) -> u64 {
        self.frames.len() as u64
    }

    /// Adds a remark of Muster's.
    pub(super) fn remark(&mut self, at: Duration, text: &str) {
        let text = format!("{text}\n");
        push(
            &mut self.frames,
            Frame { stream: Stream::Muster, at_millis: at.as_millis() as u64, text: text.as_bytes() },
        );
    }

    /// Adds a process's log; it was started this long after the attempt.
    pub(super) fn add(&mut self, place: &Place, log: &Output, at: Duration) {
        match place.read(log) {
            Ok(frames) => {
                let mut rest: &[u8] = &frames;
                while let Some((frame, after)) = split_frame(rest) {
                    let at_millis = frame.at_millis + at.as_millis() as u64;
                    push(&mut self.frames, Frame { at_millis, ..frame });
                    rest = after;
                }
                place.forget(log);
            }
            Err(e) => self.remark(at, &format!("the output of this step is lost: {e}")),
        }
    }

    /// All frames.
    pub(super) fn frames(&self) -> &[u8] {
        &self.frames
    }

    /// The joined frames, taken out.
    pub(super) fn into_frames(self) -> Vec<u8> {
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::output::{frames, text};

    fn frame(text: &str) -> Vec<u8> {
        let mut log = Vec::new();
        push(&mut log, Frame { stream: Stream::Stdout, at_millis: 5, text: text.as_bytes() });
        log
    }

    #[test]
    fn small_logs_go_with_the_result_and_large_ones_into_a_file_of_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().to_str().unwrap(), 4711);
        assert_eq!(place.keep(vec![], 0).unwrap(), Output::None);
        assert_eq!(place.keep(frame("a"), 0).unwrap(), Output::Inline(frame("a")));
        let large = frame(&"x".repeat(100_000));
        let kept = place.keep(large.clone(), 2).unwrap();
        let len = large.len() as u64;
        assert_eq!(kept, Output::File { path: "out/4/4711-2.frames".into(), len });
        assert_eq!(place.read(&kept).unwrap(), large);
        let absolute = Output::File { path: place.file(2).to_str().unwrap().into(), len };
        assert_eq!(place.own(absolute), kept);
    }

    #[test]
    fn joined_logs_keep_their_order_and_count_time_from_the_attempts_start() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().to_str().unwrap(), 1);
        let in_file = place.keep(frame(&"y".repeat(70_000)), 1).unwrap();
        let mut joined = Joined::default();
        joined.remark(Duration::ZERO, "step one");
        joined.add(&place, &Output::Inline(frame("one\n")), Duration::ZERO);
        let second = joined.len();
        joined.remark(Duration::from_millis(100), "step two");
        joined.add(&place, &in_file, Duration::from_millis(100));
        joined.add(&place, &in_file, Duration::from_millis(200));
        assert!(!place.file(1).exists(), "what was joined is not kept twice");
        let times: Vec<u64> = frames(joined.frames()).map(|f| f.at_millis).collect();
        assert_eq!(times, [0, 5, 100, 105, 200]);
        let from_second = &joined.frames()[second as usize..];
        assert!(
            text(from_second, |s| s == Stream::Muster)
                .starts_with(b"step two\nthe output of this step is lost")
        );
    }
}
