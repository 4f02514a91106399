//! What a run's results were made of, as whoever asked for it found it: text that is kept in the run's directory,
//! and that the records themselves do not read.

use muster_core::time::Time;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Its name in the run's directory.
const FILE: &str = "made-of";

/// Adds a line: what tests that are given to be run from then on are made of.
///
/// # Errors
/// It cannot be written.
pub fn note_made_of(run_dir: &Path, at: Time, line: &str) -> io::Result<()> {
    fs::create_dir_all(run_dir)?;
    // In one piece. A line that is cut off is not read.
    let mut file = OpenOptions::new().create(true).append(true).open(run_dir.join(FILE))?;
    file.write_all(format!("{} {line}\n", at.0).as_bytes())
}

/// The lines so far; none where nothing was noted.
///
/// # Errors
/// They cannot be read.
pub(crate) fn read_made_of(run_dir: &Path) -> io::Result<String> {
    match fs::read(run_dir.join(FILE)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => Ok(String::from_utf8_lossy(&read?).into_owned()),
    }
}
