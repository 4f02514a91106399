//! Between the core's types and what columns and blobs hold. Numbers written here are for ever.
//!
//! A blob is one byte for its form, then the value: postcard for what there is much of (results, items),
//! which is compact and can never change; CBOR with named fields for what there is little of and what
//! grows (definitions, specs, holds), where a field that was not there yet takes its default.

use crate::error::StoreError;
use muster_core::attempt::{AttemptResult, Cause, Measured, Output, StepResult, Usage};
use muster_core::change::{ItemRecord, RunPhase};
use muster_core::definition::UnexpectedPass;
use muster_core::id::RunId;
use muster_core::outcome::{Counts, Outcome, Verdict};
use muster_core::time::Time;
use muster_core::view::{AttemptView, RunState};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Postcard.
const COMPACT: u8 = 1;
/// CBOR with named fields.
const NAMED: u8 = 2;

/// Writes a compact blob into `buf`, whose content goes.
pub(super) fn encode<T: Serialize + ?Sized>(
    buf: &mut Vec<u8>,
    what: &'static str,
    value: &T,
) -> Result<(), StoreError> {
    let mut bytes = std::mem::take(buf);
    bytes.clear();
    bytes.push(COMPACT);
    *buf = postcard::to_extend(value, bytes).map_err(|e| StoreError::Encode { what, source: e.into() })?;
    Ok(())
}

/// Reads a compact blob.
pub(super) fn decode<'a, T: Deserialize<'a>>(
    db: &Path,
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&COMPACT, body)) => {
            postcard::from_bytes(body).map_err(|e| damaged(db, format!("{what} cannot be read ({e})")))
        }
        _ => Err(other_form(db, what, bytes)),
    }
}

/// Writes a blob that grows into `buf`, whose content goes.
pub(super) fn encode_named<T: Serialize + ?Sized>(
    buf: &mut Vec<u8>,
    what: &'static str,
    value: &T,
) -> Result<(), StoreError> {
    buf.clear();
    buf.push(NAMED);
    ciborium::into_writer(value, &mut *buf).map_err(|e| StoreError::Encode { what, source: e.into() })
}

/// Reads a blob that grows.
pub(super) fn decode_named<T: DeserializeOwned>(
    db: &Path,
    what: &'static str,
    bytes: &[u8],
) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&NAMED, body)) => {
            ciborium::from_reader(body).map_err(|e| damaged(db, format!("{what} cannot be read ({e})")))
        }
        _ => Err(other_form(db, what, bytes)),
    }
}

fn other_form(db: &Path, what: &str, bytes: &[u8]) -> StoreError {
    damaged(
        db,
        match bytes.first() {
            Some(form) => format!("{what} has the unknown form {form}"),
            None => format!("{what} is empty"),
        },
    )
}

pub(super) const TODO: &str = "move `.muster` away to begin anew, or put a copy of it back";

pub(super) fn damaged(db: &Path, what: String) -> StoreError {
    StoreError::Damaged { path: db.to_owned(), what, todo: TODO }
}

macro_rules! codes {
    ($to:ident, $from:ident, $ty:ident, $($name:ident = $code:literal),*) => {
        pub(super) fn $to(value: $ty) -> u8 {
            match value { $($ty::$name => $code,)* }
        }
        pub(super) fn $from(db: &Path, code: i64) -> Result<$ty, StoreError> {
            match code {
                $($code => Ok($ty::$name),)*
                _ => Err(damaged(db, format!(concat!("{} is not a ", stringify!($ty)), code))),
            }
        }
    };
}

codes!(
    outcome_code,
    outcome,
    Outcome,
    Pass = 0,
    Warn = 1,
    Skip = 2,
    Check = 3,
    Fail = 4,
    Timeout = 5,
    Crash = 6,
    Abort = 7,
    Error = 8,
    Cancelled = 9
);
codes!(
    verdict_code,
    verdict,
    Verdict,
    Pass = 0,
    Skip = 1,
    KnownFailure = 2,
    Warn = 3,
    Flaky = 4,
    Check = 5,
    NoItems = 6,
    Cancelled = 7,
    PrerequisiteFailed = 8,
    UnexpectedPass = 9,
    Fail = 10,
    Timeout = 11,
    Crash = 12,
    Error = 13,
    Abort = 14
);
codes!(unexpected_code, unexpected, UnexpectedPass, Fail = 0, Report = 1);

/// Sorts by time of creation, as the ids do.
pub(super) fn run_id_bytes(run: RunId) -> [u8; 16] {
    run.0.to_be_bytes()
}

pub(super) fn run_id(db: &Path, bytes: &[u8]) -> Result<RunId, StoreError> {
    let bytes = bytes.try_into().map_err(|_| damaged(db, "a run's id has not 16 bytes".to_owned()))?;
    Ok(RunId(u128::from_be_bytes(bytes)))
}

pub(super) fn nanos(duration: Duration) -> i64 {
    // Limit: durations beyond 292 years are kept as that.
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

pub(super) fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.unsigned_abs())
}

/// The same 64 bits; the database has signed numbers only.
pub(super) fn time(micros: i64) -> Time {
    Time(micros.cast_unsigned())
}

/// A phase as `state`, `ended` and `reason`.
pub(super) fn phase_columns(phase: &RunPhase) -> (i64, Option<i64>, Option<&str>) {
    match phase {
        RunPhase::Active => (0, None, None),
        RunPhase::Ended { at } => (1, Some(at.0.cast_signed()), None),
        RunPhase::Stopped { at, reason } => (2, Some(at.0.cast_signed()), Some(reason)),
    }
}

pub(super) fn phase(
    db: &Path,
    state: i64,
    ended: Option<i64>,
    reason: Option<String>,
) -> Result<RunPhase, StoreError> {
    match (state, ended.map(time)) {
        (0, None) => Ok(RunPhase::Active),
        (1, Some(at)) => Ok(RunPhase::Ended { at }),
        (2, Some(at)) => Ok(RunPhase::Stopped { at, reason: reason.unwrap_or_default() }),
        _ => Err(damaged(db, format!("a run has the impossible state {state}"))),
    }
}

pub(super) fn run_state(db: &Path, state: i64) -> Result<RunState, StoreError> {
    match state {
        0 => Ok(RunState::Active),
        1 => Ok(RunState::Ended),
        2 => Ok(RunState::Stopped),
        _ => Err(damaged(db, format!("a run has the impossible state {state}"))),
    }
}

/// Counts as pairs of verdict code and number, so that a new verdict does not shift them.
pub(super) fn encode_counts(buf: &mut Vec<u8>, counts: &Counts) -> Result<(), StoreError> {
    let pairs: Vec<(u8, u32)> =
        Verdict::ALL.into_iter().map(|v| (verdict_code(v), counts.get(v))).filter(|(_, n)| *n > 0).collect();
    encode(buf, "counts", &pairs)
}

pub(super) fn decode_counts(db: &Path, bytes: &[u8]) -> Result<Counts, StoreError> {
    let mut counts = Counts::default();
    let mut total = 0u32;
    for (code, n) in decode::<Vec<(u8, u32)>>(db, "counts", bytes)? {
        // They are added up everywhere.
        let sum = total.checked_add(n);
        total = sum.ok_or_else(|| damaged(db, "counts are more than there can be items".to_owned()))?;
        let of = verdict(db, i64::from(code))?;
        if counts.get(of) > 0 {
            return Err(damaged(db, format!("counts name `{of}` twice")));
        }
        counts.add_many(of, n);
    }
    Ok(counts)
}

/// What of an attempt is in the blob; the rest has columns.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    device: Cow<'a, str>,
    cause: Cow<'a, Cause>,
    message: Cow<'a, str>,
    usage: [u64; 5],
    steps: Cow<'a, [StepResult]>,
    measures: Cow<'a, [Measured]>,
    leaked: u32,
    output: OutputRef<'a>,
}

/// Where an output is.
#[derive(Serialize, Deserialize)]
pub(super) enum OutputRef<'a> {
    None,
    /// In the row's own column.
    Row,
    Segment {
        offset: u64,
        len: u64,
    },
    File {
        path: Cow<'a, str>,
        len: u64,
    },
}

/// The columns of an attempt beside its item's.
pub(super) struct AttemptColumns {
    pub(super) outcome: u8,
    pub(super) nanos: i64,
    pub(super) started: i64,
    pub(super) artifacts: Option<Vec<u8>>,
}

/// Splits an attempt into columns and blob. `output` says where its output is.
pub(super) fn encode_attempt(
    buf: &mut Vec<u8>,
    device: &str,
    result: &AttemptResult,
    output: OutputRef<'_>,
) -> Result<AttemptColumns, StoreError> {
    let AttemptResult {
        outcome,
        cause,
        message,
        started,
        duration,
        usage,
        steps,
        measures,
        output: _, // told by the caller, who has put it somewhere
        leaked,
        artifacts,
    } = result;
    let Usage { user_micros, system_micros, memory_peak_bytes, read_bytes, write_bytes } = *usage;
    let body = Body {
        device: device.into(),
        cause: Cow::Borrowed(cause),
        message: message.into(),
        usage: [user_micros, system_micros, memory_peak_bytes, read_bytes, write_bytes],
        steps: steps.into(),
        measures: measures.into(),
        leaked: *leaked,
        output,
    };
    encode(buf, "an attempt", &body)?;
    let mut kept = Vec::new();
    if let Some(artifacts) = artifacts {
        encode_named(&mut kept, "artifacts", artifacts)?;
    }
    Ok(AttemptColumns {
        artifacts: (!kept.is_empty()).then_some(kept),
        outcome: outcome_code(*outcome),
        nanos: nanos(*duration),
        started: started.0.cast_signed(),
    })
}

/// An attempt from a row whose columns are `outcome, nanos, started, body, output, artifacts`, beginning at `at`.
pub(super) fn decode_attempt(
    db: &Path,
    number: u16,
    row: &rusqlite::Row<'_>,
    at: usize,
) -> Result<AttemptView, StoreError> {
    let get = super::error::reading(db);
    let body = row.get_ref(at + 3).map_err(&get)?.as_blob().map_err(|e| get(e.into()))?;
    let Body { device, cause, message, usage, steps, measures, leaked, output } =
        decode(db, "an attempt", body)?;
    let [user_micros, system_micros, memory_peak_bytes, read_bytes, write_bytes] = usage;
    let output = match output {
        OutputRef::None => Output::None,
        OutputRef::Row => Output::Inline(row.get(at + 4).map_err(&get)?),
        OutputRef::Segment { offset, len } => Output::Segment { offset, len },
        OutputRef::File { path, len } => Output::File { path: path.into_owned(), len },
    };
    let result = AttemptResult {
        outcome: outcome(db, row.get(at).map_err(&get)?)?,
        cause: cause.into_owned(),
        message: message.into_owned(),
        started: time(row.get(at + 2).map_err(&get)?),
        duration: duration(row.get(at + 1).map_err(&get)?),
        usage: Usage { user_micros, system_micros, memory_peak_bytes, read_bytes, write_bytes },
        steps: steps.into_owned(),
        measures: measures.into_owned(),
        output,
        leaked,
        artifacts: match row.get_ref(at + 5).map_err(&get)?.as_blob_or_null().map_err(|e| get(e.into()))? {
            Some(kept) => Some(decode_named(db, "artifacts", kept)?),
            None => None,
        },
    };
    Ok(AttemptView { number, device: device.into_owned(), result: Arc::new(result) })
}

/// An item's record from a row whose columns are
/// `verdict, attempts, tries, lab_errors, failed, reason, failed_on`, beginning at `at`.
pub(super) fn item_record(db: &Path, row: &rusqlite::Row<'_>, at: usize) -> Result<ItemRecord, StoreError> {
    let get = super::error::reading(db);
    let code: Option<i64> = row.get(at).map_err(&get)?;
    Ok(ItemRecord {
        attempts: row.get(at + 1).map_err(&get)?,
        tries: row.get(at + 2).map_err(&get)?,
        lab_errors: row.get(at + 3).map_err(&get)?,
        failed: row.get(at + 4).map_err(&get)?,
        verdict: code.map(|c| verdict(db, c)).transpose()?,
        reason: row.get::<_, Option<String>>(at + 5).map_err(&get)?.unwrap_or_default(),
        failed_on: match row.get_ref(at + 6).map_err(&get)?.as_blob_or_null().map_err(|e| get(e.into()))? {
            Some(devices) => decode(db, "devices", devices)?,
            None => Vec::new(),
        },
    })
}
