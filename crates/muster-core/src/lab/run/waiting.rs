//! What waits for what: derived from the records, released as things end.

use super::*;

impl Run {
    /// Derives from records and units what waits for what. Returns what can never run any more.
    pub(in crate::lab) fn derive(&mut self) -> Vec<Doomed> {
        self.ready.clear();
        self.backoff.clear();
        self.edges.clear();
        for item in &mut self.items {
            item.unmet = 0;
            item.phase = match item.phase {
                Phase::Out { unit } => Phase::Out { unit },
                Phase::Blocked | Phase::Ready | Phase::Backoff { .. } | Phase::Ended => {
                    if item.record.verdict.is_some() { Phase::Ended } else { Phase::Blocked }
                }
            };
        }
        let mut doomed = Vec::new();
        for ix in 0..self.tests.len() {
            self.tests[ix].unmet = 0;
            self.tests[ix].told = self.tests[ix].open == 0;
        }
        for ix in 0..self.tests.len() {
            let test = TestIx(u32::try_from(ix).expect("fewer than 2^32 tests"));
            for (dependent, mode) in self.tests[ix].dependents.clone() {
                match self.met(test, &mode) {
                    Met::Yes => {}
                    Met::NotYet => self.test_mut(dependent).unmet += 1,
                    Met::Never(reason) => doomed.extend(self.doom(dependent, &reason)),
                }
            }
        }
        for ix in 0..self.tests.len() {
            let test = TestIx(u32::try_from(ix).expect("fewer than 2^32 tests"));
            doomed.extend(self.link_items(test, None));
        }
        for ix in 0..self.tests.len() {
            self.release(TestIx(u32::try_from(ix).expect("fewer than 2^32 tests")));
        }
        doomed
    }

    /// Whether what a test is waited for has happened.
    pub(in crate::lab) fn met(&self, test: TestIx, mode: &AfterMode) -> Met {
        let t = self.test(test);
        let worst = t.counts.worst_that_blocks();
        if matches!(mode, AfterMode::MatchingItem { .. }) {
            // Item by item; only the list of the other's items is waited for here.
            let unknown = t.discovery.is_some_and(|d| self.item(d).record.verdict.is_none());
            return if unknown { Met::NotYet } else { Met::Yes };
        }
        if t.open > 0 {
            return Met::NotYet;
        }
        match (mode, worst) {
            (_, Some(Verdict::Abort)) => {
                Met::Never(format!("`{}` asked to stop what comes after it", t.name))
            }
            // What was cancelled is run again when the run goes on, and what comes after it then follows.
            (_, Some(Verdict::Cancelled)) => Met::NotYet,
            (AfterMode::Passed, Some(v)) => Met::Never(format!("`{}` came to `{v}`", t.name)),
            (AfterMode::Ended, Some(_)) if t.counts.get(Verdict::Cancelled) > 0 => Met::NotYet,
            _ => Met::Yes,
        }
    }

    /// The items of a test that could still run and now cannot.
    pub(in crate::lab) fn doom(&self, test: TestIx, reason: &str) -> Vec<Doomed> {
        self.items_of(test)
            .filter(|ix| {
                matches!(self.item(*ix).phase, Phase::Blocked | Phase::Ready | Phase::Backoff { .. })
            })
            .filter(|ix| self.item(*ix).record.verdict.is_none())
            .map(|ix| (ix, Verdict::PrerequisiteFailed, reason.to_owned()))
            .collect()
    }

    /// Makes the edges from this test's open items to the items they come after, of all tests or of one.
    pub(in crate::lab) fn link_items(&mut self, test: TestIx, only: Option<TestIx>) -> Vec<Doomed> {
        let mut doomed = Vec::new();
        for (other, map) in self.test(test).map_from.clone() {
            if only.is_some_and(|only| only != other) {
                continue;
            }
            let discovered =
                self.test(other).discovery.is_some_and(|d| self.item(d).record.verdict.is_none());
            if discovered {
                continue;
            }
            // The question for the other's items was never answered.
            let unasked =
                self.test(other).discovery.and_then(|d| self.item(d).record.verdict).filter(|v| !v.is_ok());
            let by_path: HashMap<Arc<str>, ItemIx> = self
                .items_of(other)
                .filter(|ix| !self.is_discovery(*ix))
                .map(|ix| (Arc::clone(self.path(ix)), ix))
                .collect();
            for ix in self.items_of(test).collect::<Vec<_>>() {
                if self.is_discovery(ix) || self.item(ix).record.verdict.is_some() {
                    continue;
                }
                let wanted = map.apply(self.path(ix));
                let name = Arc::clone(&self.test(other).name);
                match by_path.get(wanted.as_str()) {
                    None => {
                        let reason = match unasked {
                            Some(v) => format!("`{name}` came to `{v}`"),
                            None if wanted.is_empty() => format!("`{name}` has no item without a path"),
                            None => format!("`{name}` has no item `{wanted}` in this run"),
                        };
                        doomed.push((ix, Verdict::PrerequisiteFailed, reason));
                    }
                    Some(&prerequisite) => match self.item(prerequisite).record.verdict {
                        None | Some(Verdict::Cancelled) => {
                            self.edges.entry(prerequisite).or_default().push(ix);
                            self.item_mut(ix).unmet += 1;
                        }
                        Some(v) if v.lets_others_go_on() => {}
                        Some(v) => doomed.push((
                            ix,
                            Verdict::PrerequisiteFailed,
                            format!("`{name}/{wanted}` came to `{v}`"),
                        )),
                    },
                }
            }
        }
        doomed
    }

    /// Items that waited for this one.
    pub(in crate::lab) fn take_edges(&mut self, item: ItemIx) -> Vec<ItemIx> {
        self.edges.remove(&item).unwrap_or_default()
    }

    /// Makes ready what of a test waits for nothing any more.
    pub(in crate::lab) fn release(&mut self, test: TestIx) {
        if self.test(test).unmet > 0 || self.stop.is_some() {
            return;
        }
        for ix in self.items_of(test).collect::<Vec<_>>() {
            self.release_item(ix);
        }
    }

    pub(in crate::lab) fn release_item(&mut self, ix: ItemIx) {
        let item = self.item(ix);
        let free = item.phase == Phase::Blocked
            && item.unmet == 0
            && item.record.verdict.is_none()
            && self.stop.is_none()
            && self.test(item.test).unmet == 0
            && self.knows_items(item.test, ix)
            // A planned skip never becomes ready: it gets its verdict when the run is settled.
            && (self.is_discovery(ix) || self.planned(ix).skip.is_none());
        if free {
            self.item_mut(ix).phase = Phase::Ready;
            let (class, rank) = self.place(ix);
            let micros = if self.is_discovery(ix) { None } else { self.planned(ix).micros };
            self.ready.insert(class, rank, micros);
        }
    }

    /// Whether the question for a test's items is answered, or this is it.
    fn knows_items(&self, test: TestIx, ix: ItemIx) -> bool {
        self.test(test).discovery.is_none_or(|d| d == ix || self.item(d).record.verdict.is_some())
    }

    /// Takes an item out of whatever queue it is in.
    pub(in crate::lab) fn unqueue(&mut self, ix: ItemIx) {
        match self.item(ix).phase {
            Phase::Ready => {
                let (class, rank) = self.place(ix);
                self.ready.remove(class, rank);
            }
            Phase::Backoff { until } => {
                self.backoff.remove(&(until, ix));
            }
            Phase::Blocked | Phase::Out { .. } | Phase::Ended => {}
        }
        self.item_mut(ix).phase = Phase::Blocked;
    }

    pub(in crate::lab) fn set_backoff(&mut self, ix: ItemIx, until: Time) {
        self.item_mut(ix).phase = Phase::Backoff { until };
        self.backoff.insert((until, ix));
    }

    pub(in crate::lab) fn release_backoff(&mut self, now: Time) {
        while let Some(&(until, ix)) = self.backoff.first() {
            if until > now {
                break;
            }
            self.backoff.pop_first();
            self.item_mut(ix).phase = Phase::Blocked;
            self.release_item(ix);
        }
    }

    /// The tests and items an item that is not ready waits for, by name.
    pub(in crate::lab) fn waits_for(&self, ix: ItemIx) -> Vec<String> {
        let test = self.item(ix).test;
        let tests = self
            .tests
            .iter()
            .filter(|t| t.open > 0)
            .filter(|t| {
                t.dependents
                    .iter()
                    .any(|(d, mode)| *d == test && !matches!(mode, AfterMode::MatchingItem { .. }))
            })
            .map(|t| format!("`{}`", t.name));
        let items = self
            .edges
            .iter()
            .filter(|(_, waiting)| waiting.contains(&ix))
            .map(|(on, _)| format!("`{}/{}`", self.test(self.item(*on).test).name, self.path(*on)));
        tests.chain(items).collect()
    }
}
