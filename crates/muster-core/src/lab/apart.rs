//! Tests that must not run at the same time, over all runs of an area.

use super::Lab;
use crate::change::RunPhase;
use crate::id::TestIx;
use std::collections::{BTreeMap, BTreeSet};

impl Lab {
    /// What one run of an area keeps apart is kept apart in its other runs too.
    pub(super) fn keep_apart(&mut self) {
        let mut all: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
        for run in self.runs.values().filter(|r| *r.phase() == RunPhase::Active) {
            let area = run.record().spec.area.as_str();
            for (name, others) in run.apart() {
                all.entry((area, name)).or_default().extend(others.iter().cloned());
                for other in others {
                    all.entry((area, other)).or_default().insert(name.to_string());
                }
            }
        }
        if all.is_empty() {
            return;
        }
        let all: BTreeMap<(String, String), BTreeSet<String>> =
            all.into_iter().map(|((area, name), o)| ((area.to_owned(), name.to_owned()), o)).collect();
        for run in self.runs.values_mut() {
            let area = run.record().spec.area.clone();
            for ix in (0u32..).map(TestIx).take(run.tests().len()) {
                if let Some(others) = all.get(&(area.clone(), run.test(ix).name.to_string())) {
                    run.keep_apart(ix, others);
                }
            }
        }
    }
}
