//! Items that could start now, in the order they should: by priority, then the longest first.
//!
//! Items are kept by class. All items of a class stand before the same gate, and items that may share a
//! process have a class of their own, so the best item that is not held up is found by looking at the
//! first items of the classes, best first.

use crate::id::{ItemIx, TestIx};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Items of a class that are looked at for a short one.
// Limit: those of which nothing is known may stand before it.
const LOOKED_AT_MAX: usize = 64;

/// What items have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class {
    /// The gate, by its place in the run.
    pub(super) gate: u32,
    /// Test and group whose items may share a process.
    pub(super) shared: Option<(TestIx, u32)>,
    /// The devices its items failed on, by their place in the run; 0 for none.
    pub(super) failed_on: u32,
}

/// Where an item stands among the others: smaller starts earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: Reverse<i32>,
    pub(super) micros: Reverse<u64>,
    pub(super) item: ItemIx,
}

/// The ready items of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready {
    classes: BTreeMap<Class, Members>,
    /// The first item of each class.
    heads: BTreeSet<(Rank, Class)>,
    len: usize,
}

/// The ready items of a class, and what is known of how long they take.
#[derive(Clone, Debug, Default)]
struct Members {
    ranks: BTreeMap<Rank, Option<u32>>,
    known_micros: u64,
    unknown: usize,
}

impl Ready {
    /// `micros`: what the item is known to take.
    pub(super) fn insert(&mut self, class: Class, rank: Rank, micros: Option<u32>) {
        let members = self.classes.entry(class).or_default();
        let before = members.first();
        if members.ranks.insert(rank, micros).is_some() {
            return;
        }
        members.known_micros += u64::from(micros.unwrap_or(0));
        members.unknown += usize::from(micros.is_none());
        self.len += 1;
        if before.is_none_or(|before| rank < before) {
            if let Some(before) = before {
                self.heads.remove(&(before, class));
            }
            self.heads.insert((rank, class));
        }
    }

    pub(super) fn remove(&mut self, class: Class, rank: Rank) {
        let Some(members) = self.classes.get_mut(&class) else { return };
        let Some(micros) = members.ranks.remove(&rank) else { return };
        members.known_micros -= u64::from(micros.unwrap_or(0));
        members.unknown -= usize::from(micros.is_none());
        self.len -= 1;
        if self.heads.remove(&(rank, class))
            && let Some(first) = members.first()
        {
            self.heads.insert((first, class));
        }
        if members.ranks.is_empty() {
            self.classes.remove(&class);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The first item of each class, best first.
    pub(super) fn heads(&self) -> impl Iterator<Item = (Rank, Class)> {
        self.heads.iter().copied()
    }

    /// The items of a class, best first.
    pub(super) fn class(&self, class: Class) -> impl Iterator<Item = Rank> {
        self.classes.get(&class).into_iter().flat_map(|m| m.ranks.keys().copied())
    }

    /// The first item of a class of which it is known that it takes no longer than this.
    pub(super) fn short(&self, class: Class, micros: u64) -> Option<Rank> {
        let members = self.classes.get(&class)?;
        let from = Rank { micros: Reverse(micros), item: ItemIx(0), ..members.first()? };
        let is_short = |(rank, known): &(&Rank, &Option<u32>)| known.is_some() && rank.micros.0 <= micros;
        members.ranks.range(from..).take(LOOKED_AT_MAX).find(is_short).map(|(rank, _)| *rank)
    }

    /// How many items a class has, of how many nothing is known, and what the others take together.
    pub(super) fn class_micros(&self, class: Class) -> (usize, usize, u64) {
        self.classes.get(&class).map_or((0, 0, 0), |m| (m.ranks.len(), m.unknown, m.known_micros))
    }

    /// What all items take together, those of which nothing is known as long as this.
    pub(super) fn all_micros(&self, unknown: u64) -> u64 {
        let micros = |m: &Members| m.known_micros.saturating_add(unknown.saturating_mul(m.unknown as u64));
        self.classes.values().map(micros).fold(0, u64::saturating_add)
    }

    /// Items of all classes that stand before this place.
    pub(super) fn before(&self, rank: Rank) -> usize {
        self.classes.values().map(|m| m.ranks.range(..rank).count()).sum()
    }

    /// Panics if the sums do not add up.
    pub(super) fn check(&self) {
        assert_eq!(self.len, self.classes.values().map(|m| m.ranks.len()).sum::<usize>());
        let heads: BTreeSet<(Rank, Class)> =
            self.classes.iter().filter_map(|(class, m)| Some((m.first()?, *class))).collect();
        assert_eq!(heads, self.heads, "the first of each class");
        assert_eq!(heads.len(), self.classes.len(), "no class is empty");
        for members in self.classes.values() {
            let known: u64 = members.ranks.values().flatten().map(|m| u64::from(*m)).sum();
            assert_eq!(members.known_micros, known);
            assert_eq!(members.unknown, members.ranks.values().filter(|m| m.is_none()).count());
        }
    }
}

impl Members {
    fn first(&self) -> Option<Rank> {
        self.ranks.first_key_value().map(|(rank, _)| *rank)
    }
}
