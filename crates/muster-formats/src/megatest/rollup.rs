//! Roll-up in Megatest's words, by counting: items to their test, tests to their run. A change costs the same whatever
//! the number of items, and what is asked is right at every instant.
//!
//! Two answers are to be had for a test. [`RollUp::as_megatest`] is the table of its code, row by row. [`RollUp::test`]
//! is Muster's, and differs in one thing, on purpose: Megatest calls a test `NOT_STARTED/PREQ_FAIL` although most of
//! its items ran, and `COMPLETED/STARTED` where one could not; its own expected results disagree with it. Here an item
//! that can never run any more has ended. So a test is COMPLETED when nothing of it can run any more, and its status is
//! the worst of its items'. How many came to what is kept, and can be shown beside it ([`RollUp::counts`]).
//!
//! A run has no state and status in Megatest. Here it has: those of its tests, rolled up in the same way, and when the
//! last of them ended ([`RunRollUp`]).

use super::status::{State, Status};

/// How many records are in which state and status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollUp {
    /// By [`State::place`]; words that are not known share the last.
    states: [u32; State::PLACES],
    /// By [`Status::place`], likewise.
    statuses: [u32; Status::PLACES],
    /// Those that have not started and never will.
    never: u32,
}

impl RollUp {
    /// One more record. Those on their way out count for nothing.
    pub fn add(&mut self, state: &State, status: &Status) {
        self.count(state, status, |n| *n += 1);
    }

    /// One record fewer, which was added so.
    pub fn remove(&mut self, state: &State, status: &Status) {
        self.count(state, status, |n| *n -= 1);
    }

    /// A record is not any more what it was.
    pub fn change(&mut self, from: (&State, &Status), to: (&State, &Status)) {
        self.remove(from.0, from.1);
        self.add(to.0, to.1);
    }

    fn count(&mut self, state: &State, status: &Status, by: impl Fn(&mut u32)) {
        if state.is_never_rolled_up() {
            return;
        }
        by(&mut self.states[state.place()]);
        by(&mut self.statuses[status.place()]);
        if *state == State::NotStarted && !status.is_healthy() {
            by(&mut self.never);
        }
    }

    /// How many records there are.
    pub fn total(&self) -> u32 {
        self.states.iter().sum()
    }

    /// How many came to each status, the best first, then those without a rank. Words that are not known are one
    /// `Other` with no text.
    pub fn counts(&self) -> impl Iterator<Item = (Status, u32)> + '_ {
        let all = Status::at_places().zip(self.statuses);
        all.filter(|(_, n)| *n > 0)
    }

    fn of(&self, state: &State) -> u32 {
        self.states[state.place()]
    }

    /// Records in a running state.
    pub fn running(&self) -> u32 {
        [State::Running, State::RemoteHostStart, State::Launched].iter().map(|s| self.of(s)).sum()
    }

    /// Records that have not started and may yet.
    pub fn waiting(&self) -> u32 {
        self.of(&State::NotStarted) - self.never
    }

    /// The status of the highest rank; n/a where none has one.
    fn worst_ranked(&self) -> Status {
        let ranked = Status::at_places().zip(self.statuses).take(Status::RANKED);
        ranked.filter(|(_, n)| *n > 0).last().map_or(Status::NotAvailable, |(status, _)| status)
    }

    /// The highest-ranked state but COMPLETED. Of those without a rank, and beside ARCHIVED, which has none to speak
    /// of, the one that most wants to be seen.
    fn highest_unfinished(&self) -> Option<State> {
        let unranked = [State::Incomplete, State::Unknown, State::FailedKill];
        let ranked = State::at_places().take(State::RANKED).skip(1).filter(|s| *s != State::Completed);
        let best = ranked.filter(|s| self.of(s) > 0).last();
        best.or_else(|| unranked.into_iter().find(|s| self.of(s) > 0))
            .or_else(|| (self.states[State::PLACES - 1] > 0).then_some(State::Unknown))
            .or_else(|| (self.of(&State::Archived) > 0).then_some(State::Archived))
    }

    /// What Megatest's code makes of a test's items: the first row of its table that holds. `None`: there are none.
    pub fn as_megatest(&self) -> Option<(State, Status)> {
        if self.total() == 0 {
            return None;
        }
        let preq_fail = self.statuses[Status::PreqFail.place()] > 0;
        Some(if self.running() > 0 {
            let status = match (preq_fail, self.never > 0) {
                (true, _) => Status::PreqFail,
                (false, true) => Status::Started,
                (false, false) => self.worst_ranked(),
            };
            (State::Running, status)
        } else if preq_fail {
            (State::NotStarted, Status::PreqFail)
        } else if self.never > 0 {
            (State::Completed, Status::Started)
        } else {
            match self.highest_unfinished() {
                Some(State::NotStarted) => (State::NotStarted, Status::Started),
                Some(state) => (state, self.worst_ranked()),
                None => (State::Completed, self.worst_ranked()),
            }
        })
    }

    /// What Muster makes of a test's items, or of a run's tests. `None`: there are none.
    pub fn test(&self) -> Option<(State, Status)> {
        if self.total() == 0 {
            return None;
        }
        if self.running() > 0 {
            return Some((State::Running, self.worst()));
        }
        if self.waiting() > 0 {
            // What has ended already shows that it has begun.
            let begun = self.waiting() < self.total();
            return Some((State::NotStarted, if begun { Status::Started } else { Status::NotAvailable }));
        }
        // Nothing can run any more; those that never will have ended.
        let mut ended = self.clone();
        ended.states[State::NotStarted.place()] = 0;
        let state = ended.highest_unfinished().unwrap_or(State::Completed);
        Some((state, self.worst()))
    }

    /// The worst status, with those of a rank that Megatest forgot.
    fn worst(&self) -> Status {
        let has = |status: Status| self.statuses[status.place()] > 0;
        let ranked = self.worst_ranked();
        let unranked = [
            (Status::TenStrikes, Status::Fail),
            (Status::TimedOut, Status::Fail),
            (Status::FailedToKill, Status::Fail),
            (Status::Killed, Status::Fail),
            (Status::Blocked, Status::PreqDiscarded),
            (Status::AutoWarn, Status::Warn),
        ];
        let hidden =
            unranked.into_iter().filter(|(status, _)| has(status.clone())).map(|(_, as_bad_as)| as_bad_as);
        let worst = hidden.chain([ranked]).max_by_key(Status::rank).unwrap_or_default();
        let only = |status: Status| self.statuses[status.place()] == self.total();
        if only(Status::ZeroItems) { Status::ZeroItems } else { worst }
    }
}

/// A run: what its tests come to, and when.
///
/// Its records are tests: those without items themselves, those with items by their roll-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunRollUp {
    tests: RollUp,
    ended: Option<i64>,
}

impl RunRollUp {
    /// A test is not what it was: `None` is that there is no such test. `at`: when, in seconds since the Unix epoch.
    pub fn change(&mut self, from: Option<(&State, &Status)>, to: Option<(&State, &Status)>, at: i64) {
        if let Some((state, status)) = from {
            self.tests.remove(state, status);
        }
        if let Some((state, status)) = to {
            self.tests.add(state, status);
        }
        let open = self.tests.running() + self.tests.waiting();
        self.ended = match (self.ended, open, self.tests.total()) {
            (_, 1.., _) | (_, _, 0) => None,
            // That somebody sets a status of a run that is over does not make it end later.
            (Some(ended), 0, _) => Some(ended),
            (None, 0, _) => Some(at),
        };
    }

    /// State and status; a run without tests is `new`.
    pub fn status(&self) -> (State, Status) {
        self.tests.test().unwrap_or_else(|| (State::from("new"), Status::NotAvailable))
    }

    /// When the last of its tests ended, in seconds since the Unix epoch; `None` as long as one of them can run.
    pub fn ended(&self) -> Option<i64> {
        self.ended
    }

    /// How many tests came to what.
    pub fn tests(&self) -> &RollUp {
        &self.tests
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rolled(items: &[&str]) -> RollUp {
        let mut roll_up = RollUp::default();
        for item in items {
            let (state, status) = item.split_once('/').unwrap();
            roll_up.add(&state.into(), &status.into());
        }
        roll_up
    }

    fn words(rolled: Option<(State, Status)>) -> String {
        rolled.map_or_else(|| "-".to_owned(), |(state, status)| format!("{state}/{status}"))
    }

    /// Items, what Megatest makes of them, what Muster does.
    #[test]
    fn items_are_rolled_up_as_the_table_says() {
        for (items, megatest, muster) in [
            (vec![], "-", "-"),
            (vec!["COMPLETED/PASS", "COMPLETED/WARN"], "COMPLETED/WARN", "COMPLETED/WARN"),
            (vec!["COMPLETED/PASS", "COMPLETED/SKIP"], "COMPLETED/SKIP", "COMPLETED/SKIP"),
            (vec!["COMPLETED/FAIL", "COMPLETED/ABORT"], "COMPLETED/ABORT", "COMPLETED/ABORT"),
            (vec!["RUNNING/n/a", "COMPLETED/FAIL"], "RUNNING/FAIL", "RUNNING/FAIL"),
            (vec!["LAUNCHED/n/a", "NOT_STARTED/n/a"], "RUNNING/n/a", "RUNNING/n/a"),
            (vec!["NOT_STARTED/n/a"], "NOT_STARTED/STARTED", "NOT_STARTED/n/a"),
            (vec!["NOT_STARTED/n/a", "COMPLETED/PASS"], "NOT_STARTED/STARTED", "NOT_STARTED/STARTED"),
            (vec!["KILLED/KILLED", "COMPLETED/PASS"], "KILLED/PASS", "KILLED/FAIL"),
            (vec!["INCOMPLETE/n/a", "COMPLETED/PASS"], "INCOMPLETE/PASS", "INCOMPLETE/PASS"),
            (vec!["ARCHIVED/PASS", "COMPLETED/PASS"], "ARCHIVED/PASS", "ARCHIVED/PASS"),
            (vec!["COMPLETED/PASS", "DELETED/FAIL"], "COMPLETED/PASS", "COMPLETED/PASS"),
            (vec!["COMPLETED/PASS", "COMPLETED/FORCED"], "COMPLETED/PASS", "COMPLETED/PASS"),
            (vec!["COMPLETED/FORCED"], "COMPLETED/n/a", "COMPLETED/n/a"),
            // Where Megatest's code and its expected results disagree.
            (vec!["COMPLETED/PASS", "NOT_STARTED/PREQ_FAIL"], "NOT_STARTED/PREQ_FAIL", "COMPLETED/PREQ_FAIL"),
            (vec!["COMPLETED/PASS", "COMPLETED/PREQ_FAIL"], "NOT_STARTED/PREQ_FAIL", "COMPLETED/PREQ_FAIL"),
            (
                vec!["RUNNING/n/a", "COMPLETED/ABORT", "NOT_STARTED/PREQ_FAIL"],
                "RUNNING/PREQ_FAIL",
                "RUNNING/ABORT",
            ),
            (
                vec!["COMPLETED/PASS", "NOT_STARTED/PREQ_DISCARDED"],
                "COMPLETED/STARTED",
                "COMPLETED/PREQ_DISCARDED",
            ),
            (vec!["COMPLETED/PASS", "NOT_STARTED/TEN_STRIKES"], "COMPLETED/STARTED", "COMPLETED/FAIL"),
            (vec!["COMPLETED/PASS", "NOT_STARTED/BLOCKED"], "COMPLETED/STARTED", "COMPLETED/PREQ_DISCARDED"),
            (vec!["NOT_STARTED/ZERO_ITEMS"], "COMPLETED/STARTED", "COMPLETED/ZERO_ITEMS"),
            (
                vec!["NOT_STARTED/n/a", "NOT_STARTED/PREQ_FAIL"],
                "NOT_STARTED/PREQ_FAIL",
                "NOT_STARTED/STARTED",
            ),
        ] {
            let roll_up = rolled(&items);
            assert_eq!(words(roll_up.as_megatest()), megatest, "Megatest: {items:?}");
            assert_eq!(words(roll_up.test()), muster, "Muster: {items:?}");
        }
    }

    #[test]
    fn a_run_ends_with_the_last_test_that_can_run() {
        let mut run = RunRollUp::default();
        assert_eq!((words(Some(run.status())).as_str(), run.ended()), ("new/n/a", None));
        let (waits, runs) =
            ((State::NotStarted, Status::NotAvailable), (State::Running, Status::NotAvailable));
        let (passed, failed) = ((State::Completed, Status::Pass), (State::Completed, Status::Fail));
        fn of(pair: &(State, Status)) -> Option<(&State, &Status)> {
            Some((&pair.0, &pair.1))
        }
        run.change(None, of(&waits), 1);
        run.change(None, of(&waits), 1);
        run.change(of(&waits), of(&runs), 2);
        assert_eq!((words(Some(run.status())).as_str(), run.ended()), ("RUNNING/n/a", None));
        run.change(of(&runs), of(&failed), 5);
        assert_eq!((words(Some(run.status())).as_str(), run.ended()), ("NOT_STARTED/STARTED", None));
        run.change(of(&waits), of(&passed), 8);
        assert_eq!((words(Some(run.status())).as_str(), run.ended()), ("COMPLETED/FAIL", Some(8)));
        run.change(of(&failed), of(&passed), 20);
        assert_eq!(
            (words(Some(run.status())).as_str(), run.ended()),
            ("COMPLETED/PASS", Some(8)),
            "set by hand"
        );
        run.change(of(&passed), of(&runs), 30);
        assert_eq!(run.ended(), None, "run again");
        run.change(of(&runs), of(&passed), 40);
        assert_eq!(run.ended(), Some(40));
        run.change(of(&passed), None, 50);
        run.change(of(&passed), None, 51);
        assert_eq!(run.ended(), None, "removed");
    }

    /// The table as it is written, over all items each time.
    fn fold(items: &[(State, Status)]) -> Option<(State, Status)> {
        let counted: Vec<&(State, Status)> =
            items.iter().filter(|(state, _)| !state.is_never_rolled_up()).collect();
        let worst =
            counted.iter().map(|(_, status)| status).filter(|s| s.rank() > 0).max_by_key(|s| s.rank());
        let worst = worst.cloned().unwrap_or(Status::NotAvailable);
        let preq_fail = counted.iter().any(|(_, status)| *status == Status::PreqFail);
        let never = counted.iter().any(|(state, status)| *state == State::NotStarted && !status.is_healthy());
        counted.first()?;
        if counted.iter().any(|(state, _)| state.is_running()) {
            let status = if preq_fail {
                Status::PreqFail
            } else if never {
                Status::Started
            } else {
                worst
            };
            return Some((State::Running, status));
        }
        if preq_fail {
            return Some((State::NotStarted, Status::PreqFail));
        }
        if never {
            return Some((State::Completed, Status::Started));
        }
        let open = counted
            .iter()
            .map(|(state, _)| state)
            .filter(|s| **s != State::Completed)
            .max_by_key(|s| s.rank());
        match open {
            None => Some((State::Completed, worst)),
            Some(State::NotStarted) => Some((State::NotStarted, Status::Started)),
            Some(state) if state.rank() > 0 => Some((state.clone(), worst)),
            // Of those without a rank the table says nothing.
            Some(_) => Some((State::Unknown, worst)),
        }
    }

    fn any_item() -> impl Strategy<Value = (State, Status)> {
        let states = State::at_places().chain([
            State::from("MINE"),
            State::Completed,
            State::Completed,
            State::Completed,
        ]);
        let statuses = Status::at_places().chain([Status::from("my own"), Status::Pass, Status::Pass]);
        let (states, statuses): (Vec<State>, Vec<Status>) = (states.collect(), statuses.collect());
        (proptest::sample::select(states), proptest::sample::select(statuses))
    }

    proptest! {
        #[test]
        fn counting_changes_comes_to_the_same_as_looking_at_all_items(
            items in proptest::collection::vec(any_item(), 1..12),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any_item()), 0..30),
        ) {
            let mut items = items;
            let mut roll_up = RollUp::default();
            for (state, status) in &items {
                roll_up.add(state, status);
            }
            for (place, new) in changes {
                let place = place.index(items.len());
                let old = std::mem::replace(&mut items[place], new);
                roll_up.change((&old.0, &old.1), (&items[place].0, &items[place].1));
                let mut anew = RollUp::default();
                items.iter().for_each(|(state, status)| anew.add(state, status));
                prop_assert_eq!(&roll_up, &anew);
                let (rolled, folded) = (roll_up.as_megatest(), fold(&items));
                let unranked = folded.as_ref().is_some_and(|(state, _)| *state == State::Unknown);
                if unranked {
                    prop_assert_eq!(rolled.as_ref().map(|r| r.0.rank()), Some(0));
                    prop_assert_eq!(rolled.map(|r| r.1), folded.map(|f| f.1));
                } else {
                    prop_assert_eq!(rolled, folded);
                }
            }
        }

        #[test]
        fn a_test_is_never_better_than_an_item_that_ended(items in proptest::collection::vec(any_item(), 1..12)) {
            let mut roll_up = RollUp::default();
            items.iter().for_each(|(state, status)| roll_up.add(state, status));
            let ended = items.iter().all(|(s, t)| {
                s.is_never_rolled_up() || !s.is_running() && (*s != State::NotStarted || !t.is_healthy())
            });
            if let Some((_, status)) = roll_up.test().filter(|_| ended) {
                let counted = items.iter().filter(|(state, _)| !state.is_never_rolled_up());
                let worst = counted.map(|(_, status)| status.rank()).max().unwrap_or(0);
                prop_assert!(status.rank() >= worst || status == Status::ZeroItems);
            }
        }
    }
}
