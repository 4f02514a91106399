//! The shell of a world: its turns, its loss, and how it comes up again.

use super::people::Wish;
use super::{Event, KEY, World};
use crate::shaky::{Next, Shaky};
use muster_core::change::{Hold, RunRecord};
use muster_core::exchange::DeviceOffer;
use muster_core::id::{AgentId, ItemIx};
use muster_core::lab::{Input, Rejected};
use muster_core::plan::History;
use muster_core::time::Time;
use muster_server::Shell;
use muster_store::Store as _;
use std::sync::Arc;
use std::time::Duration;

impl World {
    pub(super) fn turn_soon(&mut self) {
        let after = self.rng.duration(Duration::from_micros(1), Duration::from_millis(5));
        self.turn_by(self.now + after);
    }

    fn turn_by(&mut self, at: Time) {
        if self.turn_at.is_none_or(|t| at < t) {
            self.turn_at = Some(at);
            self.at(at.since(self.now), Event::Turn);
        }
    }

    pub(super) fn turn(&mut self) {
        if self.turn_at != Some(self.now) {
            return;
        }
        self.turn_at = None;
        let Some(mut shell) = self.shell.take() else { return };
        let mut inputs = std::mem::take(&mut self.inbox);
        let mut devices = shell.lab().view(self.now).devices;
        devices.sort_by_key(|device| device.id);
        for wish in &self.wishes {
            match wish {
                Wish::Hold { .. } | Wish::Quarantine { .. } | Wish::Check { .. }
                    if devices.is_empty() || self.quiet => {}
                Wish::Check { place } => {
                    let device = devices[place % devices.len()].id;
                    inputs.push(Input::CheckNow { device, by: "ana".to_owned() });
                }
                Wish::Hold { place, held, lasts } => {
                    let device = &devices[place % devices.len()];
                    let hold = held.then(|| Hold {
                        by: "ana".to_owned(),
                        reason: "a person".to_owned(),
                        since: self.now,
                        until: lasts.map(|lasts| self.now + lasts),
                        id: None,
                    });
                    inputs.push(Input::Hold { device: device.id, hold });
                }
                Wish::Quarantine { place, put } => {
                    let device = devices[place % devices.len()].id;
                    let put = put.then(|| ("a person".to_owned(), None));
                    inputs.push(Input::Quarantine { device, by: "ana".to_owned(), put });
                }
                // It may have been recorded, and over, before the shell was lost with the answer.
                Wish::Create(record) if shell.store().load_run_snapshot(record.id).is_ok() => {}
                Wish::Create(record) => {
                    let (record, history) = (Arc::clone(record), Arc::new(self.truth));
                    inputs.push(Input::CreateRun { record, history });
                }
                Wish::Stop(run, kill) => {
                    inputs.push(Input::StopRun { run: *run, reason: "a person".to_owned(), kill: *kill });
                }
                Wish::Reopen(run) => {
                    let snapshot =
                        shell.store().load_run_snapshot(*run).expect("an accepted run is never lost");
                    let records = self.book.run(*run).map_or(0, crate::book::RunBook::len);
                    let items = (0..self.rng.below(4))
                        .map(|_| ItemIx(u32::try_from(self.rng.below(records)).expect("few")));
                    let items = items.collect();
                    let (snapshot, history) = (Box::new(snapshot), Arc::new(self.truth));
                    let (replanned, more) = (None, Vec::new());
                    inputs.push(Input::ReopenRun { snapshot, items, replanned, more, history });
                }
            }
        }
        if self.quiet {
            for device in &devices {
                let device = device.id;
                inputs.push(Input::Hold { device, hold: None });
                inputs.push(Input::Quarantine { device, by: "ana".to_owned(), put: None });
            }
            // A person does not wait for the lab to look again at what it takes for bad.
            let doubted = devices.iter().filter(|d| ["suspect", "failing"].contains(&d.health.word.as_str()));
            inputs.extend(doubted.map(|d| Input::CheckNow { device: d.id, by: "ana".to_owned() }));
        }
        inputs.extend(self.checks(shell.lab()));
        let released = inputs.iter().filter_map(|input| match input {
            Input::Quarantine { device, put: None, .. } => Some(*device),
            _ => None,
        });
        self.book.begin_turn(self.now, released.collect());
        let said: Vec<(usize, AgentId, Vec<DeviceOffer>)> = (0..)
            .zip(&inputs)
            .filter_map(|(place, input)| match input {
                Input::Exchange(said) => Some((place, said.agent, said.devices.clone())),
                _ => None,
            })
            .collect();
        for (_, agent, devices) in &said {
            self.book.said(*agent, devices);
        }
        if self.rng.permille(self.weather.commit_refused) {
            self.journal.next(Next::Refuses);
        } else if self.rng.permille(self.weather.commit_unanswered) {
            self.journal.next(Next::RecordsAndFails);
        }
        let turn = shell.turn(self.now, inputs);
        self.journal.next(Next::Works);
        let recorded = self.journal.take();
        self.book.record(&recorded);
        if !recorded.is_empty() {
            self.progress = self.now;
        }
        for change in &recorded {
            say!(self, "  recorded {change:?}");
        }
        let turn = match turn {
            Ok(turn) => turn,
            Err(error) => {
                say!(self, "the shell is lost: {error:?}");
                self.shell_down();
                return;
            }
        };
        for (_, agent, devices) in said.iter().filter(|(at, ..)| !turn.rejected.iter().any(|(r, _)| r == at))
        {
            self.book.heard(*agent, devices);
        }
        shell.lab().check();
        let stored = shell.store().load_snapshot().expect("memory can be read");
        assert_eq!(stored, shell.lab().snapshot(), "the record is what the lab knows");
        if self.rng.permille(self.weather.crash_before_acting) {
            say!(self, "the shell is lost before it acts");
            self.shell_down();
            return;
        }
        self.book.told(&turn.told, &recorded);
        for (place, rejected) in &turn.rejected {
            match rejected {
                Rejected::Replaced { .. }
                | Rejected::Stale { .. }
                | Rejected::NoSuchRun(_)
                | Rejected::RunExists(_)
                // Its agent has begun without it in the same turn.
                | Rejected::NoSuchDevice(_)
                // The same, or what the device is like has changed in that turn.
                | Rejected::NoCheckDue(_)
                // People do not look which devices can be checked.
                | Rejected::NoVerifier(_) => {}
                Rejected::BeforeItself(_)
                | Rejected::Plan(_)
                | Rejected::Selector { .. }
                | Rejected::TooManyDevices(_)
                | Rejected::NotRegistered { .. }
                | Rejected::TooManyProposals(_)
                | Rejected::ReservationOver { .. }
                | Rejected::Held { .. } => {
                    panic!("input {place} was made well, but {rejected}")
                }
            }
        }
        for wish in std::mem::take(&mut self.wishes) {
            if let Wish::Create(record) = wish {
                self.accepted.insert(record.id);
            }
        }
        for run in &self.accepted {
            assert!(self.book.run(*run).is_some(), "{run} was accepted and is not recorded");
        }
        for (agent, orders) in turn.orders {
            say!(
                self,
                "orders to {agent} #{} acked {} units {:?} new {:?} kill {}",
                orders.seq,
                orders.acked,
                orders.units.iter().map(|w| (w.unit.0, w.give_back)).collect::<Vec<_>>(),
                orders.new.iter().map(|u| u.id.0).collect::<Vec<_>>(),
                orders.kill
            );
            self.send(agent, || Event::ToAgent(agent, orders.clone()));
        }
        let (wake, checks) = (shell.wake_at(), !shell.lab().checks_wanted().is_empty());
        self.shell = Some(shell);
        if checks {
            self.turn_soon();
        }
        if let Some(wake) = wake {
            self.turn_by(wake.max(self.now + Duration::from_micros(1)));
        }
    }

    pub(super) fn shell_down(&mut self) {
        self.shell = None;
        self.journal.crash();
        self.inbox.clear();
        self.turn_at = None;
        let most = if self.rng.permille(100) { self.policy.lease * 2 } else { Duration::from_secs(1) };
        let after = self.rng.duration(Duration::from_millis(1), most);
        self.at(after, Event::ShellUp);
    }

    pub(super) fn shell_up(&mut self) {
        if self.shell.is_some() {
            return;
        }
        let truth = self.truth;
        let history = move |_: &RunRecord| -> Arc<dyn History + Send + Sync> { Arc::new(truth) };
        let store = Shaky::new(self.mem.handle(KEY), self.journal.clone());
        let mut shell =
            Shell::restore(store, self.policy, self.now, &history).expect("the record can be used");
        shell.lab().check();
        let stored = shell.store().load_snapshot().expect("memory can be read");
        assert_eq!(stored, shell.lab().snapshot(), "what is restored is what was recorded");
        for run in &self.accepted {
            let lost = shell.store().load_run_snapshot(*run).is_err();
            assert!(!lost, "{run} was accepted and is lost");
        }
        shell.set_pools(self.pools.clone());
        say!(self, "the shell is up");
        self.shell = Some(shell);
        self.inbox.push(Input::Kinds(Arc::clone(&self.kinds)));
        self.turn_soon();
    }
}
