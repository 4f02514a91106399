//! The records beside the area: opening them, and reading outputs for watchers and reports.

use crate::context::RECORDS;
use muster_core::attempt::Output;
use muster_core::id::RunId;
use muster_formats::report::{Logs, text};
use muster_store::{LabKey, Sqlite, Store as _, StoreError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Opens the records of the area in this directory, making them where there are none.
///
/// # Errors
/// They cannot be opened, are damaged, or are newer than this program.
pub(crate) fn open(area_dir: &Path) -> Result<Sqlite, StoreError> {
    // The random half of the id; the database keeps signed numbers.
    let key = uuid::Uuid::now_v7().as_u64_pair().1 >> 1;
    Sqlite::open(&area_dir.join(RECORDS), LabKey(key))
}

/// Outputs of one run, for those who show them. Opens the records a second time, and only when an output
/// is asked for that is not in the result itself.
pub(crate) struct StoreLogs {
    dir: PathBuf,
    run: Mutex<(Option<RunId>, Option<Sqlite>)>,
}

impl StoreLogs {
    /// For the area in this directory.
    pub(crate) fn new(area_dir: &Path) -> Self {
        Self { dir: area_dir.to_owned(), run: Mutex::new((None, None)) }
    }

    /// Which run is asked about from now on.
    pub(crate) fn set_run(&self, run: RunId) {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(run);
    }
}

impl Logs for StoreLogs {
    fn log(&self, output: &Output, bytes_max: usize) -> Vec<u8> {
        match output {
            Output::None => return Vec::new(),
            Output::Inline(log) => return text::cut_frames(log, bytes_max),
            Output::File { .. } | Output::Segment { .. } => {}
        }
        let mut state = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(run), store) = (state.0, &mut state.1) else { return Vec::new() };
        let read = match store {
            Some(store) => store.read_output(run, output),
            None => open(&self.dir).and_then(|opened| store.insert(opened).read_output(run, output)),
        };
        match read {
            Ok(log) => text::cut_frames(&log, bytes_max),
            Err(error) => text::remark(&format!("its output cannot be read: {error}\n")),
        }
    }
}
