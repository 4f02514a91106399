//! What a watcher remembers between two ticks: counts, what is running, what there is to say.
//!
//! Taking in an event costs a few hash look-ups and no formatting; the news wait until they are drained.

use super::text;
use muster_core::attempt::AttemptResult;
use muster_core::event::{Event, Told};
use muster_core::outcome::{Counts, Outcome, Verdict};
use muster_core::time::Time;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// An item by test and path.
pub(super) type Key = (Arc<str>, Arc<str>);

/// What there is to say.
#[derive(Debug)]
pub(super) enum News {
    /// The run began.
    Started,
    /// An attempt ended.
    Attempt(AttemptNews),
    /// An item has its verdict.
    Item(ItemNews),
    /// A test has its verdict.
    Test {
        /// Its name.
        test: Arc<str>,
        /// The worst of its items.
        verdict: Verdict,
        /// Items by verdict.
        counts: Counts,
        /// From the first start of an attempt of it to its end; `None` where nothing of it ran.
        took: Option<Duration>,
    },
    /// Nothing runs, and this is why.
    Waiting(Arc<str>),
}

/// An attempt that ended.
#[derive(Debug)]
pub(super) struct AttemptNews {
    pub(super) key: Key,
    pub(super) number: u16,
    pub(super) device: Arc<str>,
    pub(super) discovery: bool,
    pub(super) retried: bool,
    pub(super) result: Arc<AttemptResult>,
}

/// An item that has its verdict.
#[derive(Debug)]
pub(super) struct ItemNews {
    pub(super) key: Key,
    pub(super) verdict: Verdict,
    pub(super) attempts: u16,
    pub(super) reason: Arc<str>,
    /// Its last attempt, where one was made and it was not plainly good.
    pub(super) result: Option<Arc<AttemptResult>>,
}

/// An attempt under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) since: Time,
    pub(super) attempt: u16,
}

/// How many slowest attempts are remembered.
const SLOWEST: usize = 3;

/// Counts and news of a run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// `AREA/RUN`.
    pub(super) address: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) target: String,
    pub(super) started: Time,
    pub(super) tests: u32,
    /// Items known so far.
    pub(super) items: u32,
    /// Tests whose items are not known yet.
    pub(super) undiscovered: u32,
    /// Items that have a verdict.
    pub(super) counts: Counts,
    /// Attempts under way.
    pub(super) running: HashMap<Key, Running>,
    /// What keeps all of it from starting.
    pub(super) waiting: Option<Arc<str>>,
    /// The attempts that took longest, the longest first.
    pub(super) slowest: Vec<(Duration, Key)>,
    /// When each test's first attempt started.
    test_started: HashMap<Arc<str>, Time>,
    /// Questions for items that have been asked, and whose verdict has not been told.
    questions: HashSet<Key>,
    /// The last attempts of items that may need explaining when their verdict comes.
    unexplained: HashMap<Key, Arc<AttemptResult>>,
    news: Vec<News>,
    /// Whether plain attempts and plain passes are news too.
    all: bool,
}

impl Tally {
    /// One that has nothing to say about what passed.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// One that tells of every attempt and item.
    pub(super) fn of_all() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Takes in an event.
    pub(super) fn take(&mut self, told: &Told) {
        match &told.event {
            Event::RunStarted { address, name, target, tests, items, undiscovered } => {
                self.address = address.clone();
                self.name = name.clone();
                self.target = text::target(target);
                self.started = told.at;
                self.tests = *tests;
                self.items = *items;
                self.undiscovered = *undiscovered;
                self.news.push(News::Started);
            }
            Event::Waiting { reason } => {
                self.waiting = Some(reason.clone());
                self.news.push(News::Waiting(reason.clone()));
            }
            Event::ItemsFound { items, .. } => {
                self.items += items;
                self.undiscovered = self.undiscovered.saturating_sub(1);
            }
            Event::AttemptStarted { test, item, attempt, .. } => {
                self.waiting = None;
                if !self.test_started.contains_key(test) {
                    self.test_started.insert(test.clone(), told.at);
                }
                let running = Running { since: told.at, attempt: *attempt };
                self.running.insert((test.clone(), item.clone()), running);
            }
            Event::AttemptEnded { test, item, attempt, device, discovery, result, retried } => {
                let key = (test.clone(), item.clone());
                self.running.remove(&key);
                // The news of its start may come late, or not at all.
                match self.test_started.get_mut(test) {
                    Some(since) => *since = (*since).min(result.started),
                    None => drop(self.test_started.insert(test.clone(), result.started)),
                }
                if *discovery {
                    self.questions.insert(key.clone());
                } else {
                    self.keep_slowest(result.duration, &key);
                }
                // A question that failed is told with the verdict it leads to.
                if result.outcome != Outcome::Pass {
                    self.unexplained.insert(key.clone(), result.clone());
                }
                if self.all {
                    self.news.push(News::Attempt(AttemptNews {
                        key,
                        number: *attempt,
                        device: device.clone(),
                        discovery: *discovery,
                        retried: *retried,
                        result: result.clone(),
                    }));
                }
            }
            Event::ItemEnded { test, item, verdict, attempts, reason } => {
                let key = (test.clone(), item.clone());
                // A question that was answered is no item; one that was not stands for its test.
                if !self.questions.is_empty() && self.questions.remove(&key) {
                    if verdict.is_ok() && *verdict != Verdict::NoItems {
                        return;
                    }
                    self.items += 1;
                    self.undiscovered = self.undiscovered.saturating_sub(1);
                }
                self.counts.add(*verdict);
                let result = if self.unexplained.is_empty() { None } else { self.unexplained.remove(&key) };
                if self.all || is_news(*verdict) {
                    self.news.push(News::Item(ItemNews {
                        key,
                        verdict: *verdict,
                        attempts: *attempts,
                        reason: reason.clone(),
                        result,
                    }));
                }
            }
            Event::TestEnded { test, verdict, counts } => self.news.push(News::Test {
                test: test.clone(),
                verdict: *verdict,
                counts: *counts,
                took: self.test_started.get(test).map(|since| told.at.since(*since)),
            }),
            Event::RunEnded { .. } => {
                self.running.clear();
                self.waiting = None;
            }
        }
    }

    fn keep_slowest(&mut self, took: Duration, key: &Key) {
        if self.slowest.len() == SLOWEST && self.slowest.last().is_some_and(|(least, _)| *least >= took) {
            return;
        }
        let at = self.slowest.partition_point(|(d, _)| *d >= took);
        self.slowest.insert(at, (took, key.clone()));
        self.slowest.truncate(SLOWEST);
    }

    /// What there is to say since the last time.
    pub(super) fn drain(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Items that have a verdict.
    pub(super) fn ended(&self) -> u32 {
        self.counts.total()
    }

    /// Items known so far, never fewer than have ended.
    pub(super) fn known(&self) -> u32 {
        self.items.max(self.ended())
    }

    /// How long the rest takes: as the lab expects, else at the pace so far; `None` where either would be
    /// guessing from nothing.
    pub(super) fn left(&self, now: Time, expected: Option<Duration>) -> Option<Duration> {
        if expected.is_some() {
            return expected;
        }
        let (ended, known) = (self.ended(), self.known());
        let elapsed = now.since(self.started);
        if self.undiscovered > 0 || ended * 20 < known || ended < 3 || elapsed < Duration::from_secs(2) {
            return None;
        }
        Some(elapsed.mul_f64(f64::from(known - ended) / f64::from(ended)))
    }

    /// What runs, the longest first.
    pub(super) fn longest_running(&self, max: usize) -> Vec<(&Key, Running)> {
        let mut running: Vec<_> = self.running.iter().map(|(k, r)| (k, *r)).collect();
        running.sort_unstable_by(|a, b| (a.1.since, a.0).cmp(&(b.1.since, b.0)));
        running.truncate(max);
        running
    }
}

/// Whether an item is told as soon as it has its verdict, unless everything is.
pub(super) fn is_news(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Pass | Verdict::Skip | Verdict::KnownFailure | Verdict::NoItems => false,
        // Of one failure may come thousands; the test's line and the summary count them.
        Verdict::PrerequisiteFailed | Verdict::Cancelled => false,
        Verdict::Warn
        | Verdict::Flaky
        | Verdict::Check
        | Verdict::UnexpectedPass
        | Verdict::Fail
        | Verdict::Timeout
        | Verdict::Crash
        | Verdict::Error
        | Verdict::Abort => true,
    }
}
