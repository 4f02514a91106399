//! Which store, opened how, and where the executor puts what it has not recorded yet.

use crate::commands::records::no_runs;
use crate::context::RECORDS;
use crate::records::{Found, Records};
use muster_store::{Sqlite, Store, StoreError};
use std::path::{Path, PathBuf};

/// Opens the records of an area for reading.
///
/// # Errors
/// There are none yet, or they cannot be read.
pub(crate) fn open_for_reading(area_dir: &Path) -> Result<Box<dyn Store>, anyhow::Error> {
    match Sqlite::open_to_read(&area_dir.join(RECORDS)) {
        Ok(store) => Ok(Box::new(store)),
        Err(StoreError::NoStore { .. }) => Err(no_runs()),
        Err(e) => Err(e.into()),
    }
}

/// The file that the log of a running attempt is spilled to, if it has one.
pub(crate) fn running_log(_records: &Records, _found: &Found, _number: u16) -> Option<PathBuf> {
    None
}
