//! Work on all cores, in scoped threads.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};

/// How many threads work at once.
pub(super) fn threads() -> usize {
    // Limit: beyond this the disk is what takes the time.
    std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 16)
}

/// Does `work` for each job, with a state of each thread's own, and hands what comes of it to `take` in the
/// order of the jobs. Ends early with the first error.
pub(super) fn ordered<J: Send, S, R: Send, E: Send>(
    jobs: impl Iterator<Item = J> + Send,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, J) -> Result<R, E> + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    struct Shared<I, R, E> {
        jobs: I,
        begun: usize,
        taken: usize,
        running: usize,
        done: BTreeMap<usize, R>,
        error: Option<E>,
    }
    let threads = threads();
    let shared = Mutex::new(Shared {
        jobs: jobs.enumerate(),
        begun: 0,
        taken: 0,
        running: threads,
        done: BTreeMap::new(),
        error: None,
    });
    let changed = Condvar::new();
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut state = state();
                loop {
                    let mut all = lock();
                    // Limit: what is done ahead of its turn is held in memory.
                    while all.begun > all.taken + 4 * threads && all.error.is_none() {
                        all = changed.wait(all).unwrap_or_else(PoisonError::into_inner);
                    }
                    let next = if all.error.is_some() { None } else { all.jobs.next() };
                    let Some((at, job)) = next else {
                        all.running -= 1;
                        changed.notify_all();
                        return;
                    };
                    all.begun += 1;
                    drop(all);
                    let done = work(&mut state, job);
                    let mut all = lock();
                    match done {
                        Ok(done) => drop(all.done.insert(at, done)),
                        Err(error) => drop(all.error.get_or_insert(error)),
                    }
                    changed.notify_all();
                }
            });
        }
        let mut at = 0;
        loop {
            let mut all = lock();
            let next = loop {
                if let Some(next) = all.done.remove(&at) {
                    break Some(next);
                }
                if all.running == 0 || all.error.is_some() {
                    break None;
                }
                all = changed.wait(all).unwrap_or_else(PoisonError::into_inner);
            };
            let Some(next) = next else { break };
            at += 1;
            all.taken = at;
            changed.notify_all();
            drop(all);
            if let Err(error) = take(next) {
                lock().error = Some(error);
                changed.notify_all();
                break;
            }
        }
    });
    match shared.into_inner().unwrap_or_else(PoisonError::into_inner).error {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Does `work` for each place of a list, in runs of neighbours so that a directory is one thread's.
pub(super) fn each<T: Sync, R: Send, E: Send>(
    list: &[T],
    run: usize,
    work: impl Fn(usize, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let mut all = Vec::with_capacity(list.len());
    let one = |(at, run_of): (usize, &[T])| {
        run_of.iter().enumerate().map(|(n, item)| work(at * run + n, item)).collect::<Result<Vec<R>, E>>()
    };
    if list.len() <= run {
        return one((0, list));
    }
    ordered(
        list.chunks(run).enumerate(),
        || (),
        |(), job| one(job),
        |some| {
            all.extend(some);
            Ok(())
        },
    )?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_comes_in_order_and_the_first_error_ends_it() {
        let squares = each(&(0..10_000_u64).collect::<Vec<_>>(), 7, |_, n| Ok::<_, ()>(n * n)).unwrap();
        assert!(squares.iter().enumerate().all(|(n, s)| (n * n) as u64 == *s));
        let list: Vec<u32> = (0..1000).collect();
        assert_eq!(each(&list, 1, |_, n| if *n == 500 { Err(*n) } else { Ok(()) }), Err(500));
    }
}
