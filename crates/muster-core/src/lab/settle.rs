//! From an attempt's end to verdicts: expectations, retries, roll-up, and what comes after.

use super::run::{Doomed, Met, Phase, Run};
use super::{Lab, Mistake};
use crate::attempt::{AttemptResult, Cause};
use crate::change::{Change, Expansion, FoundAgain, ItemRecord, RunPhase};
use crate::definition::{AfterMode, FlakyPolicy};
use crate::event::{Event, LabEvent};
use crate::exchange::Found;
use crate::id::{AttemptRef, DeviceId, ItemIx, RunId, TestIx, UnitId};
use crate::outcome::{Outcome, Verdict};
use crate::plan::{PlannedItem, PlannedItems, Wanted, found_items};
use crate::time::Time;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Pause before an attempt that failed by the lab's fault is made again.
const LAB_RETRY_DELAY: Duration = Duration::from_millis(200);

/// The reason of a stop whose own reason was lost together with the lab.
const STOPPED_BEFORE_LOSS: &str = "it was being stopped when the lab was lost";

/// What follows from an attempt for its item.
enum Next {
    Verdict(Verdict, String),
    Again(Duration),
}

impl Lab {
    /// What a new or reopened run can settle without running anything.
    pub(super) fn settle_new(&mut self, now: Time, run_id: RunId, doomed: Vec<Doomed>) {
        let run = self.run_mut(run_id);
        let skipped: Vec<Doomed> = (0u32..)
            .map(ItemIx)
            .zip(run.items())
            .filter(|(ix, item)| item.record.verdict.is_none() && !run.is_discovery(*ix))
            .filter_map(|(ix, _)| Some((ix, Verdict::Skip, run.planned(ix).skip.as_deref()?.to_owned())))
            .collect();
        self.end_items(now, run_id, skipped);
        self.end_items(now, run_id, doomed);
    }

    /// Gives items a verdict without an attempt, and settles what follows.
    pub(super) fn end_items(&mut self, now: Time, run_id: RunId, doomed: Vec<Doomed>) {
        let mut ended = Vec::with_capacity(doomed.len());
        for (ix, verdict, reason) in doomed {
            if self.set_verdict(run_id, ix, verdict, reason) {
                ended.push(ix);
            }
        }
        self.conclude(now, run_id, ended);
    }

    fn set_verdict(&mut self, run_id: RunId, ix: ItemIx, verdict: Verdict, reason: String) -> bool {
        let run = self.run_mut(run_id);
        let item = run.item(ix);
        // What is out comes to what it comes to, even if what it came after is run again meanwhile.
        if item.record.verdict.is_some() || matches!(item.phase, Phase::Out { .. }) {
            return false;
        }
        let old = &item.record;
        let record = ItemRecord { verdict: Some(verdict), reason, ..old.clone() };
        run.set_record(ix, record.clone());
        self.save(Change::ItemSet { run: run_id, item: ix, record });
        true
    }

    /// Rolls up what follows from items that have just got their verdict.
    fn conclude(&mut self, now: Time, run_id: RunId, ended: Vec<ItemIx>) {
        let mut ended = VecDeque::from(ended);
        // A test's end is told after that of its last item.
        let mut unsaid: BTreeMap<TestIx, u32> = BTreeMap::new();
        for ix in &ended {
            *unsaid.entry(self.runs[&run_id].item(*ix).test).or_default() += 1;
        }
        while let Some(ix) = ended.pop_front() {
            let mistaken = self.policy.mistake == Mistake::StartDependentsEarly;
            let run = self.run_mut(run_id);
            let test_ix = run.item(ix).test;
            let record = &run.item(ix).record;
            let verdict = record.verdict.expect("only ended items are concluded");
            let test = run.test(test_ix);
            let (name, path) = (Arc::clone(&test.name), Arc::clone(run.path(ix)));
            let event = Event::ItemEnded {
                test: Arc::clone(&name),
                item: Arc::clone(&path),
                verdict,
                attempts: record.attempts,
                reason: record.reason.as_str().into(),
            };
            let discovery = run.is_discovery(ix);
            let mut doomed: Vec<Doomed> = Vec::new();
            for waiting in run.take_edges(ix) {
                if verdict.lets_others_go_on() {
                    run.item_mut(waiting).unmet -= 1;
                    run.release_item(waiting);
                } else if verdict != Verdict::Cancelled {
                    let reason = format!("`{name}/{path}` came to `{verdict}`");
                    doomed.push((waiting, Verdict::PrerequisiteFailed, reason));
                }
            }
            if discovery {
                doomed.extend(Self::link_dependents(run, test_ix));
            }
            let left = unsaid.get_mut(&test_ix).expect("counted when it was put in the queue");
            *left -= 1;
            let over = *left == 0 && run.test(test_ix).open == 0 && !run.test(test_ix).told;
            let mut test_event = None;
            if over || (mistaken && run.test(test_ix).open == 1) {
                doomed.extend(Self::release_dependents(run, test_ix, mistaken));
            }
            if over {
                let test = run.test_mut(test_ix);
                test.told = true;
                let verdict = test.counts.worst().unwrap_or(Verdict::Pass);
                test_event = Some(Event::TestEnded { test: name, verdict, counts: test.counts });
            }
            if !discovery || !verdict.is_ok() {
                self.tell(now, run_id, event);
            }
            if let Some(event) = test_event {
                self.tell(now, run_id, event);
            }
            for (ix, verdict, reason) in doomed {
                if self.set_verdict(run_id, ix, verdict, reason) {
                    *unsaid.entry(self.runs[&run_id].item(ix).test).or_default() += 1;
                    ended.push_back(ix);
                }
            }
        }
        self.stop_after_failures(now, run_id);
    }

    /// The list of a test's items is known (or will never be): tests that wait for single items go on.
    fn link_dependents(run: &mut Run, test: TestIx) -> Vec<Doomed> {
        let mut doomed = Vec::new();
        for (dependent, mode) in run.test(test).dependents.clone() {
            if !matches!(mode, AfterMode::MatchingItem { .. }) {
                continue;
            }
            run.test_mut(dependent).unmet -= 1;
            doomed.extend(run.link_items(dependent, Some(test)));
            run.release(dependent);
        }
        doomed
    }

    /// A test has ended: what comes after it is released, or can never run.
    fn release_dependents(run: &mut Run, test: TestIx, mistaken: bool) -> Vec<Doomed> {
        let mut doomed = Vec::new();
        for (dependent, mode) in run.test(test).dependents.clone() {
            if matches!(mode, AfterMode::MatchingItem { .. }) {
                continue;
            }
            match run.met(test, &mode) {
                Met::Yes => {
                    let waiting = &mut run.test_mut(dependent).unmet;
                    *waiting = waiting.saturating_sub(1);
                    run.release(dependent);
                }
                Met::Never(reason) => doomed.extend(run.doom(dependent, &reason)),
                Met::NotYet if mistaken => {
                    run.test_mut(dependent).unmet = 0;
                    run.release(dependent);
                }
                // It was cancelled: what comes after it waits until the run goes on.
                Met::NotYet => {}
            }
        }
        doomed
    }

    /// Takes in the result of an attempt that was run under a live lease.
    pub(super) fn receive_result(
        &mut self,
        now: Time,
        attempt: AttemptRef,
        unit: UnitId,
        result: AttemptResult,
        found: Option<Found>,
    ) {
        let AttemptRef { run: run_id, item: ix, attempt: number } = attempt;
        let lab_errors_max = self.policy.lab_errors_max;
        let device = self.place_of(&self.units[&unit]);
        // That a device was lost says nothing of the others, nor of it.
        let judged = self.units[&unit].broken.is_none() || result.outcome.is_good();
        let devices: Vec<DeviceId> = self.units[&unit].devices().collect();
        let run = self.run_mut(run_id);
        let test_ix = run.item(ix).test;
        let discovery = run.is_discovery(ix);
        if result.outcome.is_good() && !discovery {
            run.learn(ix, result.duration);
        }
        let mut record = run.item(ix).record.clone();
        record.attempts = number;
        let mut next = Self::judge(run, ix, &mut record, &result, lab_errors_max);
        let mut expansion = None;
        let mut found_again = None;
        // A question that went well and has no list has an empty one; what was no question finds nothing.
        let found = if discovery { Some(found.unwrap_or_default()) } else { None };
        if let (Some(found), true) = (found, result.outcome.is_good()) {
            if run.test(test_ix).is_expanded() {
                found_again = Some(Self::find_again(run, test_ix, found));
            } else {
                let items = Self::planned_items(run, test_ix, &found);
                if items.is_empty() && found.items.is_empty() {
                    next = Next::Verdict(Verdict::NoItems, "the suite has no items".to_owned());
                }
                let first = ItemIx(u32::try_from(run.items().len()).expect("fewer than 2^32 items"));
                expansion = Some(Expansion {
                    run: run_id,
                    test: test_ix,
                    first,
                    groups: found.groups.into(),
                    items: items.into(),
                });
            }
        }
        let mut again = None;
        match next {
            Next::Verdict(verdict, reason) => {
                record.verdict = Some(verdict);
                record.reason = reason;
            }
            Next::Again(delay) => again = Some(delay),
        }
        if judged {
            self.judge_devices(run_id, ix, &mut record, &result, &devices);
        }
        let run = self.run_mut(run_id);
        run.has_run();
        run.set_back(ix);
        // The found items are entered before the question for them ends: the test is never seen as over.
        if let Some(expansion) = &expansion {
            run.append(expansion.clone());
        }
        if let Some(again) = &found_again {
            run.find_again(again.clone());
        }
        run.set_record(ix, record.clone());
        let (test, item) = (Arc::clone(&run.test(test_ix).name), Arc::clone(run.path(ix)));
        if let Some(delay) = again {
            if delay.is_zero() {
                run.release_item(ix);
            } else {
                run.set_backoff(ix, now + delay);
            }
        }
        let ended = record.verdict.is_some();
        let result = Arc::new(result);
        if let Some(expansion) = expansion {
            let items = u32::try_from(expansion.items.len()).expect("fewer than 2^32 items");
            self.save(Change::Expanded(expansion));
            self.tell(now, run_id, Event::ItemsFound { test: Arc::clone(&test), items });
        }
        if let Some(again) = found_again {
            self.save(Change::FoundAgain(again));
        }
        self.save(Change::AttemptEnded {
            attempt,
            unit,
            device: Arc::clone(&device),
            result: Arc::clone(&result),
            record,
        });
        let event =
            Event::AttemptEnded { test, item, attempt: number, device, discovery, result, retried: !ended };
        self.tell(now, run_id, event);
        if ended {
            self.conclude(now, run_id, vec![ix]);
            let run = self.run_mut(run_id);
            if discovery {
                let mut doomed = run.link_items(test_ix, None);
                doomed.extend(Self::planned_skips(run, test_ix));
                doomed.extend(Self::not_found_again(run, test_ix, ix));
                run.release(test_ix);
                self.end_items(now, run_id, doomed);
            }
        }
    }

    /// Matches a later answer with the items the run has. Items it does not have are not added: a rerun
    /// runs what the run is made of.
    fn find_again(run: &Run, test: TestIx, found: Found) -> FoundAgain {
        let def = &run.test(test).def;
        let answers = found_items(def, &Wanted::All, &run.selector, &found.items, run.history.as_ref());
        let mut by_path: HashMap<Arc<str>, PlannedItem> =
            answers.into_iter().map(|item| (Arc::clone(&item.path), item)).collect();
        let items = run
            .items_of(test)
            .filter(|ix| !run.is_discovery(*ix))
            .filter_map(|ix| Some((ix, by_path.remove(run.path(ix))?)))
            .collect();
        FoundAgain { run: run.id(), test, groups: found.groups.into(), items }
    }

    /// Open items that a later question did not find, or could not.
    fn not_found_again(run: &Run, test: TestIx, discovery: ItemIx) -> Vec<Doomed> {
        let answered = run.item(discovery).record.verdict.is_some_and(Verdict::is_ok);
        run.items_of(test)
            .filter(|ix| *ix != discovery && run.item(*ix).record.verdict.is_none())
            .filter_map(|ix| match answered {
                true if run.was_found(ix) => None,
                true => Some((ix, Verdict::Skip, "its suite does not have it any more".to_owned())),
                false => Some((
                    ix,
                    Verdict::PrerequisiteFailed,
                    "its suite could not be asked what it is run with".to_owned(),
                )),
            })
            .collect()
    }

    fn planned_skips(run: &Run, test: TestIx) -> Vec<Doomed> {
        run.items_of(test)
            .filter(|ix| !run.is_discovery(*ix))
            .filter_map(|ix| Some((ix, Verdict::Skip, run.planned(ix).skip.as_deref()?.to_owned())))
            .collect()
    }

    fn planned_items(run: &Run, test: TestIx, found: &Found) -> Vec<PlannedItem> {
        let PlannedItems::Found(wanted) = &run.record().plan.tests[test.0 as usize].items else {
            unreachable!("only tests whose items are to be found are asked for them")
        };
        found_items(&run.test(test).def, wanted, &run.selector, &found.items, run.history.as_ref())
    }

    /// What an attempt's outcome means for its item, and what its record says from now on.
    fn judge(
        run: &Run,
        ix: ItemIx,
        record: &mut ItemRecord,
        result: &AttemptResult,
        lab_errors_max: u16,
    ) -> Next {
        let discovery = run.is_discovery(ix);
        let test = run.test(run.item(ix).test);
        let outcome = result.outcome;
        let stopping = run.stop().is_some();
        if outcome == Outcome::Cancelled && stopping {
            return Next::Verdict(Verdict::Cancelled, result.message.clone());
        }
        // Ended although nobody wanted that (any more): its agent had lost the lab, or the run goes on.
        if matches!(result.cause, Cause::Lab(_)) || outcome == Outcome::Cancelled {
            record.lab_errors += 1;
            return if record.lab_errors <= lab_errors_max && !stopping {
                Next::Again(LAB_RETRY_DELAY * u32::from(record.lab_errors))
            } else {
                Next::Verdict(Verdict::Error, result.message.clone())
            };
        }
        record.tries += 1;
        let expected = if discovery { crate::plan::Expected::default() } else { run.planned(ix).expected };
        if expected.says_something() {
            let allowed = expected.allows(outcome);
            if allowed && !outcome.is_good() {
                return Next::Verdict(Verdict::KnownFailure, format!("`{outcome}` is expected"));
            }
            if !allowed && outcome.is_good() {
                return Next::Verdict(
                    Verdict::UnexpectedPass,
                    "it passed although it is expected not to".to_owned(),
                );
            }
        }
        if outcome.is_good() {
            return match (record.failed, test.def.retries.flaky) {
                (false, _) => Next::Verdict(outcome.into(), String::new()),
                (true, policy) => {
                    // A skip hides a failure no more than a pass does.
                    let did = if outcome == Outcome::Skip { "skipped" } else { "passed" };
                    let what = format!("{did} on try {}", record.tries);
                    match policy {
                        FlakyPolicy::Pass => Next::Verdict(Verdict::Flaky, what),
                        FlakyPolicy::Fail => Next::Verdict(Verdict::Fail, format!("flaky: {what}")),
                    }
                }
            };
        }
        record.failed = true;
        let retries = &test.def.retries;
        let more = record.tries <= retries.count && retries.is_after(outcome) && !stopping && !discovery;
        if more { Next::Again(test.def.retries.delay) } else { Next::Verdict(outcome.into(), String::new()) }
    }

    /// Settles runs that would wait for ever: something came back that had been out while what it comes
    /// after was run again and went wrong, or what it comes after was cancelled before the lab was lost.
    pub(super) fn settle_stuck(&mut self, now: Time) {
        let stuck: Vec<RunId> = self.runs.values().filter(|r| r.is_stuck()).map(Run::id).collect();
        for id in stuck {
            let doomed = self.run_mut(id).derive();
            self.settle_new(now, id, doomed);
            let run = self.run_mut(id);
            if run.is_stuck() && run.counts().get(Verdict::Cancelled) > 0 {
                // What waits for something that was killed waits until the run goes on.
                let reason = run.killed.clone().unwrap_or_else(|| STOPPED_BEFORE_LOSS.to_owned());
                self.stop_run(now, id, &reason, false);
            }
        }
    }

    /// Ends runs of which nothing is left to do.
    pub(super) fn finish_runs(&mut self, now: Time) {
        let over: Vec<(RunId, RunPhase, Event)> = self
            .runs
            .values()
            .filter(|run| *run.phase() == RunPhase::Active && run.out() == 0)
            .filter_map(|run| {
                let cancelled = run.counts().get(Verdict::Cancelled) > 0;
                let phase = match run.stop() {
                    Some(stop) if run.open() > 0 || cancelled => {
                        RunPhase::Stopped { at: now, reason: stop.reason.clone() }
                    }
                    _ if run.open() == 0 => RunPhase::Ended { at: now },
                    Some(_) | None => return None,
                };
                let event = Event::RunEnded {
                    verdict: run.counts().worst(),
                    counts: *run.counts(),
                    stopped: matches!(phase, RunPhase::Stopped { .. }),
                };
                Some((run.id(), phase, event))
            })
            .collect();
        for (id, phase, event) in over {
            self.run_mut(id).set_phase(phase.clone());
            self.save(Change::RunState { run: id, phase });
            self.check_ended(now, id);
            if let Event::RunEnded { verdict, stopped, .. } = event {
                self.run_happened(now, id, |address| LabEvent::RunEnded {
                    run: id,
                    address,
                    verdict,
                    stopped,
                });
            }
            self.tell(now, id, event);
        }
    }
}
