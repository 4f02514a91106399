//! Items that could start now, in the order they should: by priority, then the longest first.
//!
//! Items are kept by class. All items of a class stand before the same gate, and items that may share a
//! process have a class of their own, so the best item that is not held up is found by looking at the
//! first item of each class.

use crate::id::{ItemIx, TestIx};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What items have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class {
    /// The gate, by its place in the run.
    pub(super) gate: u32,
    /// Test and group whose items may share a process.
    pub(super) shared: Option<(TestIx, u32)>,
}

/// Where an item stands among the others: smaller starts earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: Reverse<i32>,
    pub(super) micros: Reverse<u64>,
    pub(super) item: ItemIx,
}

/// The ready items of a run.
#[derive(Debug, Default)]
pub(super) struct Ready {
    classes: BTreeMap<Class, BTreeSet<Rank>>,
    len: usize,
}

impl Ready {
    pub(super) fn insert(&mut self, class: Class, rank: Rank) {
        self.len += usize::from(self.classes.entry(class).or_default().insert(rank));
    }

    pub(super) fn remove(&mut self, class: Class, rank: Rank) {
        if let Some(set) = self.classes.get_mut(&class) {
            self.len -= usize::from(set.remove(&rank));
            if set.is_empty() {
                self.classes.remove(&class);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The first item of each class.
    pub(super) fn heads(&self) -> impl Iterator<Item = (Class, Rank)> {
        self.classes.iter().filter_map(|(class, set)| Some((*class, *set.first()?)))
    }

    pub(super) fn class(&self, class: Class) -> impl Iterator<Item = Rank> {
        self.classes.get(&class).into_iter().flatten().copied()
    }

    pub(super) fn class_len(&self, class: Class) -> usize {
        self.classes.get(&class).map_or(0, BTreeSet::len)
    }
}
