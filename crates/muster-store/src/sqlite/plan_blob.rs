//! A plan as it is kept: the definitions with named fields, since they grow, and the items compact, since
//! there may be a hundred thousand.

use super::rows::{decode, decode_named, encode, encode_named};
use crate::error::StoreError;
use muster_core::definition::TestDef;
use muster_core::plan::{Plan, PlannedItems, PlannedTest, Why};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// A plan without its items.
#[derive(Serialize, Deserialize)]
struct Head {
    tests: Vec<HeadTest>,
}

#[derive(Serialize, Deserialize)]
struct HeadTest {
    def: Arc<TestDef>,
    why: Why,
}

/// Writes a plan: the definitions, and the items.
pub(super) fn write(buf: &mut Vec<u8>, plan: &Plan) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let Plan { tests } = plan;
    let (mut head, mut items) = (Vec::with_capacity(tests.len()), Vec::with_capacity(tests.len()));
    for PlannedTest { def, why, items: of_test } in tests {
        head.push(HeadTest { def: Arc::clone(def), why: why.clone() });
        items.push(of_test);
    }
    encode_named(buf, "a plan", &Head { tests: head })?;
    let head = std::mem::take(buf);
    encode(buf, "the items of a plan", &items)?;
    Ok((head, std::mem::take(buf)))
}

/// Reads a plan.
pub(super) fn read(db: &Path, head: &[u8], items: &[u8]) -> Result<Plan, StoreError> {
    let Head { tests } = decode_named(db, "a plan", head)?;
    let items: Vec<PlannedItems> = decode(db, "the items of a plan", items)?;
    if tests.len() != items.len() {
        return Err(super::rows::damaged(db, "a plan has other tests than its items".to_owned()));
    }
    let tests = tests.into_iter().zip(items);
    Ok(Plan { tests: tests.map(|(HeadTest { def, why }, items)| PlannedTest { def, why, items }).collect() })
}
