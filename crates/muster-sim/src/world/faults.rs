//! What goes wrong in a world.

use super::{Event, World};
use crate::rng::Rng;
use muster_core::exchange::Gauges;
use std::time::Duration;

/// How often things go wrong, in a thousand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    pub(super) lost: u32,
    pub(super) doubled: u32,
    /// Delayed by seconds, up to beyond every lease.
    pub(super) delayed: u32,
    pub(super) commit_refused: u32,
    pub(super) commit_unanswered: u32,
    pub(super) crash_before_acting: u32,
    /// Hosts are mostly cut off, or stand still, for longer than a lease, while tests take as long: what ought to
    /// end then is seen.
    pub(super) far_off: bool,
}

impl Weather {
    pub(super) const FINE: Self = Self {
        lost: 0,
        doubled: 0,
        delayed: 0,
        commit_refused: 0,
        commit_unanswered: 0,
        crash_before_acting: 0,
        far_off: false,
    };

    /// Each kind of fault is absent from some worlds: what one hides, another shows.
    pub(super) fn random(rng: &mut Rng) -> Self {
        let mut some = |most: usize| {
            if rng.permille(400) { 0 } else { u32::try_from(rng.below(most)).unwrap_or(0) }
        };
        Self {
            lost: some(200),
            doubled: some(200),
            delayed: some(60),
            commit_refused: some(20),
            commit_unanswered: some(20),
            crash_before_acting: some(30),
            far_off: rng.permille(100),
        }
    }
}

impl World {
    pub(super) fn fault(&mut self) {
        if self.quiet {
            return;
        }
        let n = self.rng.below(self.hosts.len());
        match self.rng.below(11) {
            0 => {
                say!(self, "the shell is killed");
                self.shell_down();
            }
            1 | 2 => self.crash_agent(n),
            3 | 4 => {
                let lease = self.policy.lease;
                let lasts = if self.rng.permille(if self.weather.far_off { 900 } else { 200 }) {
                    self.rng.duration(lease, lease * 3)
                } else {
                    self.rng.duration(Duration::from_millis(10), lease)
                };
                say!(self, "h{n} is cut off for {lasts:?}");
                self.hosts[n].parted_until = self.now + lasts;
            }
            5 => self.freeze(n),
            6 => {
                let home = self.homes[self.rng.below(self.homes.len())].clone();
                let kind = *self.rng.pick(&["a", "b"]).unwrap_or(&"a");
                say!(self, "{} is of kind {kind} from now on", home.name);
                for host in &mut self.hosts {
                    host.labels.insert(home.name.clone(), home.labels_as(kind));
                }
            }
            7 => self.crash_agent(n),
            _ => {
                let load = *self.rng.pick(&[0.1, 1.0, 3.0]).unwrap_or(&0.1);
                let disk = *self.rng.pick(&[100, 1000, 1000]).unwrap_or(&1000);
                self.hosts[n].gauges = Gauges { load_per_core: load, disk_free_bytes: disk };
            }
        }
        let after = self.rng.duration(Duration::from_millis(20), self.policy.lease);
        self.at(after, Event::Fault);
    }

    /// A host stands still for a while, up to beyond every lease.
    fn freeze(&mut self, n: usize) {
        if self.hosts[n].ledger.is_none() || self.hosts[n].frozen_until.is_some() {
            return;
        }
        let least = if self.weather.far_off { self.policy.lease } else { Duration::from_millis(10) };
        let lasts = self.rng.duration(least, self.policy.lease * 3);
        say!(self, "h{n} stands still for {lasts:?}");
        let mut facts = Vec::new();
        self.hosts[n].freeze(self.now + lasts, &mut facts);
        self.carry_on(n, Vec::new(), facts);
        self.at(lasts, Event::Thaw(n));
    }

    /// The devices that a host has when its agent begins. While things go wrong, one may be missing, and one may
    /// have been plugged into another host.
    pub(super) fn devices_of(&mut self, n: usize) -> Vec<String> {
        let mut names: Vec<String> =
            self.homes.iter().filter(|home| home.host == n).map(|home| home.name.clone()).collect();
        if self.quiet {
            return names;
        }
        if self.rng.permille(150) {
            names.remove(self.rng.below(names.len()));
        }
        let elsewhere = self.homes.iter().filter(|home| home.host != n).map(|home| home.name.clone());
        let elsewhere: Vec<String> = elsewhere.collect();
        if self.rng.permille(100)
            && let Some(other) = self.rng.pick(&elsewhere)
        {
            let at = self.rng.below(names.len() + 1);
            names.insert(at, other.clone());
        }
        names
    }

    /// A host has its own devices again, as they were.
    pub(super) fn come_home(&mut self, n: usize) {
        for home in &self.homes {
            self.hosts[n].labels.insert(home.name.clone(), home.labels());
        }
        if self.hosts[n].ledger.is_some() && self.devices_of(n) != self.hosts[n].names {
            self.crash_agent(n);
        }
    }

    fn crash_agent(&mut self, n: usize) {
        let (id, session) = (self.hosts[n].id, self.hosts[n].session);
        if self.hosts[n].ledger.is_none() {
            return;
        }
        say!(self, "{id} is killed");
        let mut facts = Vec::new();
        self.hosts[n].crash(&mut facts);
        self.carry_on(n, Vec::new(), facts);
        if self.rng.permille(300) {
            self.send(id, || Event::Gone(id, session));
        }
        let after = self.rng.duration(Duration::from_millis(1), self.policy.lease);
        self.at(after, Event::AgentUp(n));
    }
}
