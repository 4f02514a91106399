//! How much may be asked: a bucket of tokens for each who asks, refilled steadily.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who is remembered at most.
// Limit: memory, against who asks under many names or from many addresses.
const REMEMBERED_MAX: usize = 20_000;

/// How a bucket is filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Refilled by so many a second.
    pub(crate) per_sec: f64,
    /// It holds so many.
    pub(crate) burst: f64,
}

/// A bucket for each who asks.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    all: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Hash + Eq> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, all: Mutex::new(HashMap::new()) }
    }

    /// Takes one out of a bucket.
    ///
    /// # Errors
    /// It is empty: how long it takes until there is one again.
    pub(crate) fn take(&self, who: K, now: Instant) -> Result<(), Duration> {
        let Rate { per_sec, burst } = self.rate;
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED_MAX && !all.contains_key(&who) {
            // Who has a full bucket is not different from who has none.
            all.retain(|_, b| b.left + now.duration_since(b.at).as_secs_f64() * per_sec < burst);
            if all.len() >= REMEMBERED_MAX {
                return Err(Duration::from_secs(1));
            }
        }
        let bucket = all.entry(who).or_insert(Bucket { left: burst, at: now });
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + since * per_sec).min(burst);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / per_sec));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_what_flows_in() {
        let buckets = Buckets::new(Rate { per_sec: 2.0, burst: 3.0 });
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(buckets.take("ana", start), Ok(()));
        }
        assert_eq!(buckets.take("ana", start), Err(Duration::from_millis(500)));
        assert_eq!(buckets.take("ben", start), Ok(()), "each has its own");
        let later = start + Duration::from_millis(500);
        assert_eq!(buckets.take("ana", later), Ok(()));
        assert!(buckets.take("ana", later).is_err());
        let much_later = start + Duration::from_secs(3600);
        for _ in 0..3 {
            assert_eq!(buckets.take("ana", much_later), Ok(()));
        }
        assert!(buckets.take("ana", much_later).is_err(), "it never holds more than its burst");
    }

    #[test]
    fn many_names_do_not_take_all_memory() {
        let buckets = Buckets::new(Rate { per_sec: 1.0, burst: 2.0 });
        let start = Instant::now();
        for name in 0..REMEMBERED_MAX {
            buckets.take(name, start).unwrap();
        }
        assert!(buckets.take(REMEMBERED_MAX, start).is_err());
        assert!(buckets.take(0, start).is_ok(), "who is known goes on");
        buckets.take(REMEMBERED_MAX, start + Duration::from_secs(5)).unwrap();
        assert!(buckets.all.lock().unwrap().len() < 10, "who was quiet is forgotten");
    }
}
