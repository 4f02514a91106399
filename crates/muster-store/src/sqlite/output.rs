//! Reading outputs from where they were put.

use super::run_dir;
use crate::error::StoreError;
use crate::segment::{self, io_error};
use muster_core::attempt::Output;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path};

/// All of an output.
pub(super) fn read(root: &Path, number: u32, output: &Output) -> Result<Vec<u8>, StoreError> {
    match output {
        Output::Segment { offset, len } => segment::read(&run_dir(root, number), *offset, *len),
        Output::File { len, .. } => read_range(root, number, output, 0, *len),
        Output::None | Output::Inline(_) => read_range(root, number, output, 0, u64::MAX),
    }
}

/// Part of an output.
pub(super) fn read_range(
    root: &Path,
    number: u32,
    output: &Output,
    from: u64,
    want: u64,
) -> Result<Vec<u8>, StoreError> {
    match output {
        Output::None => Ok(Vec::new()),
        Output::Inline(frames) => {
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(frames.len());
            let want = usize::try_from(want).unwrap_or(usize::MAX).min(frames.len() - from);
            Ok(frames[from..from + want].to_vec())
        }
        Output::Segment { offset, len } => {
            segment::read_range(&run_dir(root, number), *offset, *len, from, want)
        }
        Output::File { path, len } => read_file(&run_dir(root, number), path, *len, from, want),
    }
}

fn read_file(dir: &Path, path: &str, len: u64, from: u64, want: u64) -> Result<Vec<u8>, StoreError> {
    // The path comes from an agent.
    if path.is_empty() || !Path::new(path).components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(StoreError::OutputOutside { path: path.to_owned() });
    }
    let path = dir.join(path);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::OutputGone { path, what: "the file does not exist".to_owned() });
        }
        Err(source) => return Err(io_error("open", &path)(source)),
    };
    let size = file.metadata().map_err(io_error("measure", &path))?.len();
    if size < len {
        return Err(StoreError::OutputGone { path, what: format!("it has {size} bytes instead of {len}") });
    }
    let from = from.min(len);
    // Not more than the file has, so the memory is asked for a reason.
    let want = usize::try_from(want.min(len - from)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; want];
    file.read_exact_at(&mut bytes, from).map_err(io_error("read", &path))?;
    Ok(bytes)
}
