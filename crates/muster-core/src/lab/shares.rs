//! Who has had how much of the lab: device time by user, so that whoever had least is served first.
//!
//! What was used decays: after one half-life it counts half, so that a burst does not win, and a long
//! night's work does not lose, for ever. What is under way counts as it was expected to last, so that free
//! devices are shared out also among those who begin at the same moment.
//!
//! Nothing of this is durable: a lab that was restored begins even.

use super::{Lab, Policy};
use crate::id::DeviceId;
use crate::time::{Time, micros};
use std::collections::BTreeMap;
use std::fmt;

/// A user's place in the list of shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UserIx(u32);

/// What users have had and have.
#[derive(Clone, Default)]
pub(super) struct Shares {
    // Limit: one for each user that asked for a run while the lab lives; small, and looked up by place.
    users: Vec<Share>,
    places: BTreeMap<String, UserIx>,
    /// What was used is told as of then.
    at: Time,
}

/// What a user has had and has.
#[derive(Clone, Debug, Default)]
struct Share {
    /// Device time, decayed, in microseconds.
    used: f64,
    /// Devices whose first unit is of theirs.
    devices: u32,
    /// Their units that are out, as long as they were expected to last, in microseconds.
    given: u64,
}

/// What was used is shown only where it decides something: among several.
impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.users[..] {
            [] | [_] => f.write_str("Shares"),
            users => {
                f.debug_struct("Shares").field("users", &users).field("at", &self.at).finish_non_exhaustive()
            }
        }
    }
}

impl Shares {
    /// The place of a user.
    pub(super) fn user(&mut self, name: &str) -> UserIx {
        if let Some(known) = self.places.get(name) {
            return *known;
        }
        let ix = UserIx(u32::try_from(self.users.len()).expect("fewer than 2^32 users"));
        self.users.push(Share::default());
        self.places.insert(name.to_owned(), ix);
        ix
    }

    /// What a user has had, the smaller the sooner it is their turn, in microseconds.
    pub(super) fn used(&self, user: UserIx) -> u64 {
        let share = &self.users[user.0 as usize];
        // Past 2^64 it stays there.
        share.given.saturating_add(share.used as u64)
    }

    /// A unit goes out.
    pub(super) fn give(&mut self, user: UserIx, micros: u64) {
        self.users[user.0 as usize].given += micros;
    }

    /// A unit is out no more.
    pub(super) fn take(&mut self, user: UserIx, micros: u64) {
        self.users[user.0 as usize].given -= micros;
    }

    /// Books what was used until now.
    pub(super) fn settle(&mut self, now: Time, policy: &Policy) {
        let passed = now.since(self.at);
        if passed.is_zero() {
            return;
        }
        self.at = now;
        let half_lives = passed.as_secs_f64() / policy.share_half_life.as_secs_f64().max(1e-6);
        let left = (-half_lives).exp2();
        // What was used at the beginning of a long while has decayed by its end.
        let worth =
            if half_lives < 1e-6 { 1.0 } else { (1.0 - left) / (half_lives * std::f64::consts::LN_2) };
        let each = micros(passed) as f64 * worth;
        for share in &mut self.users {
            share.used = share.used * left + f64::from(share.devices) * each;
        }
    }

    fn begin(&mut self, user: UserIx) {
        self.users[user.0 as usize].devices += 1;
    }

    pub(super) fn end(&mut self, user: UserIx) {
        self.users[user.0 as usize].devices -= 1;
    }

    /// Panics if what users have is not this: devices and microseconds, by user.
    pub(super) fn check(&self, has: &BTreeMap<UserIx, (u32, u64)>) {
        for (place, share) in (0u32..).zip(&self.users) {
            let (devices, given) = has.get(&UserIx(place)).copied().unwrap_or_default();
            assert_eq!((share.devices, share.given), (devices, given), "what user {place} has");
            assert!(share.used.is_finite() && share.used >= 0.0);
        }
        assert!(has.keys().all(|user| (user.0 as usize) < self.users.len()), "users are known");
    }
}

impl Lab {
    /// Books for whom a device works from now on: for the user of its first unit.
    pub(super) fn account(&mut self, now: Time, device: DeviceId) {
        let device = self.devices.get_mut(&device).expect("the caller knows it");
        let user = device.units.first().map(|unit| self.runs[&self.units[unit].run].user);
        if device.works_for == user {
            return;
        }
        self.shares.settle(now, &self.policy);
        if let Some(before) = std::mem::replace(&mut device.works_for, user) {
            self.shares.end(before);
        }
        if let Some(user) = user {
            self.shares.begin(user);
        }
    }
}
