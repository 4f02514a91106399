//! What is under way: for people who want to look at an attempt that has no result yet.

use super::Sqlite;
use super::error::reading;
use super::rows::{decode, run_id_bytes};
use crate::error::StoreError;
use crate::store::Store as _;
use muster_core::change::SentUnit;
use muster_core::id::{ItemIx, RunId, UnitId};
use rusqlite::OptionalExtension as _;

impl Sqlite {
    /// The unit that an attempt was sent out with and from which neither its result nor the attempt itself
    /// has come back, whichever lab sent it. `None` where there is none.
    ///
    /// # Errors
    /// The run is not recorded, or the records cannot be read.
    pub fn find_unit(
        &mut self,
        run: RunId,
        item: ItemIx,
        attempt: u16,
    ) -> Result<Option<UnitId>, StoreError> {
        // A row of `sent` still lists what has a result; that is known from the records.
        if self.list_attempts(run, item)?.iter().any(|a| a.number >= attempt) {
            return Ok(None);
        }
        let err = reading(&self.db);
        let lab: Option<i64> = self
            .conn
            .query_row("SELECT lab FROM runs WHERE id = ?1", [run_id_bytes(run)], |r| r.get(0))
            .optional()
            .map_err(&err)?;
        let Some(lab) = lab else { return Ok(None) };
        let mut rows = self.conn.prepare_cached("SELECT units FROM sent WHERE lab = ?1").map_err(&err)?;
        let mut rows = rows.query([lab]).map_err(&err)?;
        while let Some(row) = rows.next().map_err(&err)? {
            let body = row.get_ref(0).map_err(&err)?.as_blob().map_err(|e| err(e.into()))?;
            let units: Vec<SentUnit> = decode(&self.db, "what was sent", body)?;
            let found = units.iter().find(|u| u.run == run && u.attempts.contains(&(item, attempt)));
            if let Some(unit) = found {
                return Ok(Some(unit.unit));
            }
        }
        Ok(None)
    }
}
