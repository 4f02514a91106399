//! Those who watch: what happened in each run, numbered, for as long as somebody may ask again.
//!
//! The record is the store's; this is a memory of the news. Numbers grow over restarts of the server too,
//! since they begin at the time it started: who comes back with an older one is told to begin anew.

use muster_core::event::{Event, Told};
use muster_core::id::RunId;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// News of one run that are remembered.
// Limit: memory; who is further behind begins anew, from the record.
const NEWS_MAX: usize = 20_000;
/// Runs that are over and remembered.
const OVER_MAX: usize = 64;
/// News of all of them together; at least those of the last one stay.
// Limit: some 20 MB, however large the runs are.
const OVER_NEWS_MAX: usize = 100_000;

/// The news of all runs.
#[derive(Debug)]
pub(crate) struct Hub {
    /// The first number given.
    first: u64,
    runs: Mutex<Runs>,
    /// Changes whenever something happened in the lab as a whole; what, its record says.
    lab: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Runs {
    logs: HashMap<RunId, Log>,
    /// Runs that are over, oldest first.
    over: VecDeque<RunId>,
}

#[derive(Debug)]
struct Log {
    /// The number of the first one remembered.
    first: u64,
    /// Nothing of the run happened before.
    from_start: bool,
    news: VecDeque<Arc<Told>>,
    /// Why it was stopped, once it is over.
    over: Option<Option<String>>,
    /// Changes with every news.
    bell: watch::Sender<u64>,
}

/// What comes next for somebody who watches.
#[derive(Debug)]
pub(crate) enum Next {
    /// These, and the number of the last.
    News(Vec<Arc<Told>>, u64),
    /// The run is over; everything was told.
    Over(Option<String>),
    /// Nothing yet; the bell rings when there is something.
    Wait(watch::Receiver<u64>),
    /// What happened in between is not remembered: ask the record, then go on from this number.
    Record(u64),
}

impl Hub {
    /// Without news. `first`: the first number.
    pub(crate) fn new(first: u64) -> Self {
        Self { first: first.max(1), runs: Mutex::default(), lab: watch::Sender::new(0) }
    }

    /// Something happened.
    pub(crate) fn tell(&self, told: Vec<Told>) {
        let mut runs = self.lock();
        let Runs { logs, over } = &mut *runs;
        for told in told {
            let run = told.run;
            let starts = matches!(told.event, Event::RunStarted { .. });
            let log = logs.entry(run).or_insert_with(|| Log::new(self.first, starts));
            if starts && log.over.take().is_some() {
                over.retain(|r| *r != run);
            }
            log.news.push_back(Arc::new(told));
            if log.news.len() > NEWS_MAX {
                log.news.pop_front();
                log.first += 1;
                log.from_start = false;
            }
            log.bell.send_replace(log.end());
        }
    }

    /// Something happened in the lab as a whole.
    pub(crate) fn ring_lab(&self) {
        self.lab.send_modify(|n| *n += 1);
    }

    /// Rings when something happens in the lab as a whole.
    pub(crate) fn lab_bell(&self) -> watch::Receiver<u64> {
        self.lab.subscribe()
    }

    /// The number behind which a run's news of the future are.
    pub(crate) fn now(&self, run: RunId) -> u64 {
        let mut runs = self.lock();
        runs.logs.entry(run).or_insert_with(|| Log::new(self.first, false)).end() - 1
    }

    /// A run is over.
    pub(crate) fn end(&self, run: RunId, stopped: Option<String>) {
        let mut runs = self.lock();
        let log = runs.logs.entry(run).or_insert_with(|| Log::new(self.first, false));
        log.over = Some(stopped);
        log.bell.send_replace(log.end());
        runs.over.retain(|r| *r != run);
        runs.over.push_back(run);
        runs.forget();
    }

    /// What comes behind this number; 0: behind nothing. At most `max` news at once.
    pub(crate) fn next(&self, run: RunId, after: u64, max: usize) -> Next {
        let mut runs = self.lock();
        let log = runs.logs.entry(run).or_insert_with(|| Log::new(self.first, false));
        let end = log.end();
        let known = if after == 0 { log.from_start } else { after + 1 >= log.first && after < end };
        if !known {
            return Next::Record(end - 1);
        }
        let skip = usize::try_from((after + 1).saturating_sub(log.first)).unwrap_or(usize::MAX);
        let news: Vec<Arc<Told>> = log.news.iter().skip(skip).take(max).cloned().collect();
        if !news.is_empty() {
            let last = log.first + (skip + news.len()) as u64 - 1;
            return Next::News(news, last);
        }
        match &log.over {
            Some(stopped) => Next::Over(stopped.clone()),
            None => Next::Wait(log.bell.subscribe()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs {
    /// What is remembered does not grow with the number of runs that there were.
    fn forget(&mut self) {
        let Self { logs, over } = self;
        let news = |logs: &HashMap<RunId, Log>, run: &RunId| logs.get(run).map_or(0, |log| log.news.len());
        let mut all: usize = over.iter().map(|run| news(logs, run)).sum();
        while over.len() > OVER_MAX || (over.len() > 1 && all > OVER_NEWS_MAX) {
            let Some(oldest) = over.pop_front() else { break };
            all -= news(logs, &oldest);
            logs.remove(&oldest);
        }
        // Somebody asked once about a run of long ago: without news it is as one that nobody asked about.
        logs.retain(|_, log| log.over.is_some() || !log.news.is_empty() || log.bell.receiver_count() > 0);
    }
}

impl Log {
    fn new(first: u64, from_start: bool) -> Self {
        Self { first, from_start, news: VecDeque::new(), over: None, bell: watch::Sender::new(first) }
    }

    /// The number the next one gets.
    fn end(&self) -> u64 {
        self.first + self.news.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::time::Time;

    const RUN: RunId = RunId(7);

    fn started(run: RunId) -> Told {
        let event = Event::RunStarted {
            address: "a/1".into(),
            name: "".into(),
            target: Vec::new(),
            tests: 1,
            items: 1,
            undiscovered: 0,
        };
        Told { at: Time(0), run, event }
    }

    fn found(run: RunId, items: u32) -> Told {
        Told { at: Time(0), run, event: Event::ItemsFound { test: "t".into(), items } }
    }

    #[test]
    fn who_watches_from_the_start_is_told_all_in_order_and_the_end() {
        let hub = Hub::new(100);
        hub.tell(vec![started(RUN), found(RUN, 1)]);
        let Next::News(news, 100) = hub.next(RUN, 0, 1) else { panic!("the first") };
        assert_eq!(*news[0], started(RUN));
        let Next::News(news, 101) = hub.next(RUN, 100, 9) else { panic!("the second") };
        assert_eq!(*news[0], found(RUN, 1));
        let Next::Wait(mut bell) = hub.next(RUN, 101, 9) else { panic!("nothing yet") };
        assert!(!bell.has_changed().unwrap());
        hub.tell(vec![found(RUN, 2)]);
        assert!(bell.has_changed().unwrap());
        bell.mark_unchanged();
        hub.end(RUN, None);
        assert!(bell.has_changed().unwrap());
        assert!(matches!(hub.next(RUN, 101, 9), Next::News(news, 102) if news.len() == 1));
        assert!(matches!(hub.next(RUN, 102, 9), Next::Over(None)));
    }

    #[test]
    fn what_is_not_remembered_comes_from_the_record() {
        let hub = Hub::new(100);
        assert!(matches!(hub.next(RUN, 0, 9), Next::Record(99)), "a run of the server's last life");
        assert!(matches!(hub.next(RUN, 12, 9), Next::Record(99)), "a number of its last life");
        assert!(matches!(hub.next(RUN, 99, 9), Next::Wait(_)), "and from there it goes on");
        hub.tell((0..NEWS_MAX as u32 + 5).map(|n| found(RUN, n)).collect());
        assert!(matches!(hub.next(RUN, 99, 9), Next::Record(_)), "too far behind");
    }

    #[test]
    fn a_run_that_goes_on_is_told_from_there_and_not_forgotten_with_those_that_are_over() {
        let hub = Hub::new(100);
        hub.tell(vec![started(RUN), found(RUN, 1)]);
        hub.end(RUN, Some("enough".to_owned()));
        let after = hub.now(RUN);
        hub.tell(vec![started(RUN)]);
        let Next::News(news, last) = hub.next(RUN, after, 9) else { panic!("it goes on") };
        assert_eq!((news.len(), &*news[0]), (1, &started(RUN)));
        for run in 1_000..1_000 + 2 * OVER_MAX as u128 {
            hub.tell(vec![started(RunId(run))]);
            hub.end(RunId(run), None);
        }
        assert!(matches!(hub.next(RUN, last, 9), Next::Wait(_)));
        let of_last_life = Hub::new(500);
        let after = of_last_life.now(RUN);
        of_last_life.tell(vec![found(RUN, 3)]);
        assert!(matches!(of_last_life.next(RUN, after, 9), Next::News(..)));
    }

    #[test]
    fn large_runs_that_are_over_do_not_add_up() {
        let hub = Hub::new(1);
        for run in 0..12 {
            assert!(matches!(hub.next(RunId(1_000 + run), 0, 9), Next::Record(_)), "asked about in passing");
            hub.tell((0..NEWS_MAX as u32).map(|n| found(RunId(run), n)).collect());
            hub.end(RunId(run), None);
        }
        let runs = hub.lock();
        assert_eq!(runs.logs.values().map(|log| log.news.len()).sum::<usize>(), OVER_NEWS_MAX);
        assert_eq!(runs.logs.len(), OVER_NEWS_MAX / NEWS_MAX);
    }

    #[test]
    fn runs_that_are_over_are_forgotten_in_time() {
        let hub = Hub::new(1);
        for run in 0..=OVER_MAX as u128 {
            hub.tell(vec![started(RunId(run))]);
            hub.end(RunId(run), None);
        }
        assert_eq!(hub.lock().logs.len(), OVER_MAX);
        assert!(matches!(hub.next(RunId(0), 0, 9), Next::Record(_)));
    }
}
