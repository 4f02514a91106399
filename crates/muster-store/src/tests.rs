//! Every backend of this crate against the contract.

use crate::contract::{Records, all, random_changes};
use crate::{LabKey, Mem, Sqlite, Store};

struct InMemory(Mem);

impl Records for InMemory {
    fn open(&self, lab: LabKey) -> Box<dyn Store> {
        Box::new(self.0.handle(lab))
    }
}

struct OnDisk(tempfile::TempDir);

impl OnDisk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Records for OnDisk {
    fn open(&self, lab: LabKey) -> Box<dyn Store> {
        Box::new(Sqlite::open(&self.0.path().join(".muster"), lab).unwrap())
    }
}

/// So that a failure tells which promise was broken.
fn check_all(fresh: impl Fn() -> Box<dyn Records>) {
    for case in all() {
        println!("{}", case.name);
        (case.check)(&*fresh());
    }
}

#[test]
fn memory_keeps_the_contract() {
    check_all(|| Box::new(InMemory(Mem::new(LabKey(0)))));
}

#[test]
fn sqlite_keeps_the_contract() {
    check_all(|| Box::new(OnDisk::new()));
}

#[test]
fn sqlite_and_memory_answer_alike_after_any_legal_changes() {
    // Others with `MUSTER_STORE_SEEDS=100..200`.
    let asked = std::env::var("MUSTER_STORE_SEEDS").unwrap_or("0..4".to_owned());
    let (from, to) = asked.split_once("..").unwrap();
    for seed in from.parse().unwrap()..to.parse().unwrap() {
        random_changes(&OnDisk::new(), seed, 100);
    }
}
