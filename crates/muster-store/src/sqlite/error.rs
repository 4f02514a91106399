//! What the database says, in the store's own words.

use super::{BUSY_TIMEOUT, rows::TODO};
use crate::error::StoreError;
use rusqlite::ErrorCode;
use std::path::Path;

/// Turns an error of the database into ours.
pub(super) fn database(doing: &'static str, db: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    let path = db.to_owned();
    move |error| {
        let path = path.clone();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Busy { path, waited: BUSY_TIMEOUT }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Damaged { path, what: error.to_string(), todo: TODO }
            }
            _ => match error {
                // A column that is not of the type every writer gives it.
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..) => {
                    StoreError::Damaged { path, what: error.to_string(), todo: TODO }
                }
                other => StoreError::Database { doing, path, source: Box::new(other) },
            },
        }
    }
}

/// For reads.
pub(super) fn reading(db: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    database("read", db)
}

/// For writes.
pub(super) fn writing(db: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    database("write to", db)
}
