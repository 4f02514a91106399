//! Why is this not running? The structured answer for any item.

use super::dispatch::Held;
use super::eta::Eta;
use super::places::Counted;
use super::run::{Phase, Run};
use super::{Device, Lab, Lacking, Member};
use crate::id::{DeviceId, ItemIx, RunId};
use crate::outcome::Verdict;
use crate::time::Time;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Where an item stands, and why.
#[derive(Clone, Debug, PartialEq)]
pub enum Explanation {
    /// The lab does not have the run or the item: it is over, or never was.
    Unknown,
    /// It has its verdict.
    Ended {
        /// The judgement.
        verdict: Verdict,
        /// Why, where it is not plain from the last attempt.
        reason: String,
    },
    /// It runs.
    Running {
        /// Where.
        device: Arc<str>,
    },
    /// It is next on a device that is busy.
    Next {
        /// Where.
        device: Arc<str>,
        /// Units before it there.
        before: usize,
    },
    /// It waits for these tests or items.
    After(Vec<String>),
    /// It pauses before its next try.
    Pause {
        /// Until when.
        until: Time,
    },
    /// Nothing more of its run is started.
    Stopped(String),
    /// It could start, but for this.
    Held(Gate),
    /// Every device is busy, and these many items are before it.
    Queued {
        /// Items that will be started earlier.
        before: usize,
    },
    /// It needs several devices at once, and these are kept for it or will be.
    Gathering(Vec<Member>),
    /// The devices that are there will not do for what it needs at once.
    Lacks(Lacking),
    /// As above, for a test of a run that is asked about as a whole.
    LacksFor(Arc<str>, Lacking),
    /// Too few of the devices that it needs at once are in order: name and reason of those that are not.
    TooFewFit(Vec<(Arc<str>, String)>),
    /// No agent is there.
    NoAgent,
    /// The agent of every device that it may have is away: name and host.
    AllAway(Vec<(Arc<str>, String)>),
    /// Every device that it may have is held: name, by whom, why.
    AllHeld(Vec<(Arc<str>, String, String)>),
    /// Every device that it may have is out of order, or its host is: name, why.
    NoneFit(Vec<(Arc<str>, String)>),
    /// No device that is there matches the run's selector.
    NoDevice {
        /// The selector.
        selector: String,
        /// Devices that are there.
        there: usize,
    },
    /// Devices that are there would do, but are in pools that whoever asked may not use.
    OtherPools {
        /// Who asked.
        user: String,
        /// The pools, each once.
        pools: Vec<String>,
    },
}

/// What keeps an item that could start from starting.
#[derive(Clone, Debug, PartialEq)]
pub enum Gate {
    /// All places of a group are taken.
    Group {
        /// The group.
        group: String,
        /// Its places.
        max: u32,
    },
    /// A test it must not run beside.
    ApartFrom(String),
    /// The host is loaded.
    Load {
        /// Load per core.
        now: f64,
        /// Its limit.
        max: f64,
    },
    /// The disk is full.
    Disk {
        /// Free bytes.
        free: u64,
        /// Their limit.
        min: u64,
    },
    /// The area's jobs at once.
    Jobs {
        /// Their limit.
        max: u32,
    },
    /// It failed there, and is to be tried on another device.
    Elsewhere {
        /// The devices it failed on, for people.
        failed_on: String,
    },
    /// Too few tokens are left.
    Tokens {
        /// Their name.
        token: String,
        /// How many it takes.
        takes: u32,
        /// How many are taken.
        used: u32,
        /// How many there are.
        max: u32,
    },
    /// Other runs have them, which are none of this lab's.
    OtherRuns {
        /// What.
        what: Counted,
    },
    /// It is not the time.
    Hours {
        /// The hours it may start in, and where.
        hours: String,
        /// When they begin there, by day and hour.
        opens: Option<String>,
    },
    /// Its host does not let it start.
    Shut {
        /// The host.
        host: String,
        /// Why.
        why: String,
    },
}

/// When a run that was just asked for may start.
#[derive(Clone, Debug, PartialEq)]
pub enum Outlook {
    /// Something of it has been given to a device.
    Now,
    /// Later: why, and when as far as is known.
    Later(Explanation, Option<Eta>),
    /// Not as the lab is, and why.
    Never(Explanation),
}

impl From<Held> for Gate {
    fn from(held: Held) -> Self {
        match held {
            Held::Group { group, max } => Self::Group { group, max },
            Held::ApartFrom(test) => Self::ApartFrom(test),
            Held::Load { now, max } => Self::Load { now, max },
            Held::Disk { free, min } => Self::Disk { free, min },
            Held::Jobs { max } => Self::Jobs { max },
            Held::Elsewhere { failed_on } => Self::Elsewhere { failed_on },
            Held::Tokens { token, takes, used, max } => Self::Tokens { token, takes, used, max },
            Held::OtherRuns { what } => Self::OtherRuns { what },
            Held::Hours { hours, opens } => Self::Hours { hours, opens },
            Held::Shut { host, why } => Self::Shut { host, why },
        }
    }
}

impl Lab {
    /// When a run may start.
    pub fn outlook(&self, now: Time, run: RunId) -> Outlook {
        let Some(of) = self.runs.get(&run) else { return Outlook::Later(Explanation::Unknown, None) };
        if self.is_over(run) {
            return Outlook::Now;
        }
        if let Some((ix, lacking)) = self.first_lacking(of) {
            // The rest of it may well run, and what is away may come back.
            let alone = of.out() == 0
                && of.ready().heads().all(|(_, class)| self.lacking_ever(of, class.gate).is_some());
            let test = &of.test(of.item(ix).test).name;
            let why = Explanation::LacksFor(Arc::clone(test), lacking);
            return if alone { Outlook::Never(why) } else { Outlook::Later(why, None) };
        }
        if of.out() > 0 {
            return Outlook::Now;
        }
        let ready =
            of.items().iter().position(|i| i.phase == Phase::Ready).and_then(|ix| u32::try_from(ix).ok());
        let why = ready.map_or(Explanation::Unknown, |ix| self.explain(run, ItemIx(ix)));
        match why {
            Explanation::NoDevice { .. } | Explanation::OtherPools { .. } => Outlook::Never(why),
            // Its agent is between two words.
            Explanation::Queued { .. }
                if self.reachable(of).any(|d| {
                    d.units.is_empty() && self.is_usable(d, of) && self.kept_for(d.id).is_none()
                }) =>
            {
                Outlook::Now
            }
            Explanation::Gathering(ref members) if members.iter().all(|m| m.busy_with.is_none()) => {
                Outlook::Now
            }
            _ => Outlook::Later(why, self.eta(now, run)),
        }
    }

    /// Devices that are there and that a run may have.
    pub(super) fn reachable<'a>(&'a self, run: &'a Run) -> impl Iterator<Item = &'a Device> + 'a {
        self.known_to(run).filter(|d| self.agents[&d.agent].is_there())
    }

    /// What is ready of a run and cannot start with the devices that are there, whatever they do: the first.
    fn first_lacking(&self, run: &Run) -> Option<(ItemIx, Lacking)> {
        if run.gangs().is_empty() || !self.agents.values().any(super::Agent::is_there) {
            return None;
        }
        run.ready().heads().find_map(|(rank, class)| Some((rank.item, self.lacking(run, class.gate)?)))
    }

    /// Why no device is there that a run may have.
    fn explain_unreachable(&self, run: &Run) -> Explanation {
        let named = |d: &Device| (Arc::clone(&d.name), self.agents[&d.agent].host.clone());
        let mut away: Vec<(Arc<str>, String)> = self.known_to(run).map(named).collect();
        if away.is_empty() {
            // What these are like is said by their agent, which has not been heard since the server was started.
            away = self.devices.values().filter(|d| self.is_unheard(d)).map(named).collect();
        }
        if !away.is_empty() {
            return Explanation::AllAway(away);
        }
        let pools = self.pools_elsewhere(run);
        if !pools.is_empty() {
            return Explanation::OtherPools { user: run.record().spec.placement.user.clone(), pools };
        }
        Explanation::NoDevice { selector: run.reach.text().to_owned(), there: self.devices_there().count() }
    }

    /// Whether nobody has said yet what a device is like.
    fn is_unheard(&self, device: &Device) -> bool {
        device.labels.is_empty() && !self.agents[&device.agent].is_there()
    }

    /// Why what needs several devices at once has them not.
    fn explain_gang(&self, run: &Run, item: ItemIx) -> Explanation {
        let gate = run.test(run.item(item).test).gate();
        if let Some(lacking) = self.lacking(run, gate) {
            return Explanation::Lacks(lacking);
        }
        if !self.has_gang(run, gate) {
            let wanted = |d: &&Device| run.gang_of(gate).is_some_and(|gang| gang.wants(d.id));
            let unfit = self.reachable(run).filter(wanted).filter(|d| !self.is_usable(d, run));
            return Explanation::TooFewFit(unfit.map(|d| (Arc::clone(&d.name), self.unusable(d))).collect());
        }
        if let Some(gathering) = self.gathering_of(run.id(), item) {
            return Explanation::Gathering(self.members(gathering));
        }
        match self.held_up_everywhere(run, item) {
            Some(held) => Explanation::Held(held.into()),
            None => Explanation::Queued { before: run.ready_before(item) },
        }
    }

    /// Whether a device that is there may be given something of a run.
    pub(super) fn is_usable(&self, device: &Device, run: &Run) -> bool {
        let trouble = &self.agents[&device.agent].trouble;
        !self.is_held(device) && trouble.is_empty() && self.is_fit_for(device, run.id())
    }

    /// Why it is not.
    pub(super) fn unusable(&self, device: &Device) -> String {
        let agent = &self.agents[&device.agent];
        if let Some(hold) = &device.hold {
            return format!("it is held by {}: {}", hold.by, hold.reason);
        }
        if let Some(trouble) = agent.trouble.first() {
            return format!("self-check of {}: {trouble}", agent.host);
        }
        self.unfit(device).unwrap_or_default()
    }

    /// The pools of the devices that a run could have if it might use them.
    fn pools_elsewhere(&self, run: &Run) -> Vec<String> {
        let elsewhere = self.devices_there().filter(|d| run.reach.is_elsewhere(*d));
        let pools: BTreeSet<String> = elsewhere
            .map(|d| {
                let device = &self.devices[&d];
                self.pools.of(&device.name, &self.agents[&device.agent].host, &device.labels).to_owned()
            })
            .collect();
        pools.into_iter().collect()
    }

    /// Devices of agents that are there.
    fn devices_there(&self) -> impl Iterator<Item = DeviceId> {
        self.agents.values().filter(|a| a.is_there()).flat_map(|a| a.devices.iter().copied())
    }

    /// Why an item is not running, or that it is.
    pub fn explain(&self, run: RunId, item: ItemIx) -> Explanation {
        let Some(run) = self.runs.get(&run) else { return Explanation::Unknown };
        let Some(it) = run.items().get(item.0 as usize) else { return Explanation::Unknown };
        match it.phase {
            Phase::Ended => Explanation::Ended {
                verdict: it.record.verdict.unwrap_or(Verdict::Error),
                reason: it.record.reason.clone(),
            },
            Phase::Out { unit } => {
                let unit_state = &self.units[&unit];
                let device = &self.devices[&unit_state.device];
                let name = self.place_of(unit_state);
                match device.units.iter().position(|u| *u == unit) {
                    Some(before) if before > 0 && !unit_state.running => {
                        Explanation::Next { device: name, before }
                    }
                    _ => Explanation::Running { device: name },
                }
            }
            Phase::Backoff { until } => Explanation::Pause { until },
            Phase::Blocked if run.stop().is_some() => {
                Explanation::Stopped(run.stop().map(|s| s.reason.clone()).unwrap_or_default())
            }
            Phase::Blocked => Explanation::After(run.waits_for(item)),
            Phase::Ready if !self.agents.values().any(super::Agent::is_there) => Explanation::NoAgent,
            Phase::Ready if run.gang_of(run.test(it.test).gate()).is_some() => self.explain_gang(run, item),
            Phase::Ready if self.reachable(run).next().is_none() => self.explain_unreachable(run),
            Phase::Ready if !self.reachable(run).any(|d| d.hold.is_none()) => Explanation::AllHeld(
                self.reachable(run)
                    .filter_map(|d| Some((Arc::clone(&d.name), d.hold.clone()?)))
                    .map(|(name, hold)| (name, hold.by, hold.reason))
                    .collect(),
            ),
            Phase::Ready if !self.reachable(run).any(|d| self.is_usable(d, run)) => Explanation::NoneFit(
                self.reachable(run).map(|d| (Arc::clone(&d.name), self.unusable(d))).collect(),
            ),
            Phase::Ready => match self.held_up_everywhere(run, item) {
                Some(held) => Explanation::Held(held.into()),
                None => Explanation::Queued { before: run.ready_before(item) },
            },
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the lab does not have it"),
            Self::Ended { verdict, reason } if reason.is_empty() => write!(f, "it ended: {verdict}"),
            Self::Ended { verdict, reason } => write!(f, "it ended: {verdict} ({reason})"),
            Self::Running { device } => write!(f, "it runs on `{device}`"),
            Self::Next { device, before } => write!(f, "it is next on `{device}`, behind {before}"),
            Self::After(what) => write!(f, "it comes after {}", what.join(", ")),
            Self::Pause { .. } => f.write_str("it pauses before its next try"),
            Self::Stopped(why) => write!(f, "its run was stopped: {why}"),
            Self::Held(gate) => gate.fmt(f),
            Self::Queued { before: 0 } => f.write_str("every device is busy, and it is the next item"),
            Self::Queued { before: 1 } => f.write_str("every device is busy, and one item is before it"),
            Self::Queued { before } => write!(f, "every device is busy, and {before} items are before it"),
            Self::NoAgent => f.write_str("no agent is there to run it"),
            Self::AllAway(away) => {
                f.write_str("every device that it may have is away: ")?;
                write_some(f, away.iter().map(|(device, host)| format!("`{device}` of {host}")), ", ")
            }
            Self::Gathering(members) => {
                write!(f, "it needs {} devices at once", members.len())?;
                for (place, Member { role, device, busy_with }) in members.iter().enumerate() {
                    let comma = if place > 0 { "," } else { ":" };
                    match busy_with {
                        None => write!(f, "{comma} `{device}` is kept for it as `{role}`")?,
                        Some(with) => write!(f, "{comma} `{device}` will be its `{role}` after {with}")?,
                    }
                }
                Ok(())
            }
            Self::Lacks(lacking) => lacking.fmt(f),
            Self::LacksFor(test, lacking) => write!(f, "`{test}` cannot start: {lacking}"),
            Self::TooFewFit(unfit) => {
                f.write_str("too few of the devices it needs at once can be used: ")?;
                write_some(f, unfit.iter().map(|(device, why)| format!("`{device}`: {why}")), "; ")
            }
            Self::AllHeld(held) => {
                f.write_str("every device it may have is held: ")?;
                let each = held.iter().map(|(device, by, reason)| format!("`{device}` by {by} ({reason})"));
                write_some(f, each, ", ")
            }
            Self::NoneFit(unfit) => {
                f.write_str("no device it may have can be used: ")?;
                write_some(f, unfit.iter().map(|(device, why)| format!("`{device}`: {why}")), "; ")
            }
            Self::OtherPools { user, pools } => {
                let (s, pools) = (if pools.len() == 1 { "" } else { "s" }, pools.join("`, `"));
                write!(f, "every device that would do is in the pool{s} `{pools}`, which {user} may not use")
            }
            Self::NoDevice { selector, there } => {
                write!(f, "none of the {there} devices that are there matches `{selector}`")
            }
        }
    }
}

/// The first of a list, and how many there are beside.
fn write_some(
    f: &mut fmt::Formatter<'_>,
    all: impl ExactSizeIterator<Item = String>,
    between: &str,
) -> fmt::Result {
    let more = all.len().saturating_sub(3);
    f.write_str(&all.take(3).collect::<Vec<_>>().join(between))?;
    let between = if between == ", " { "" } else { between.trim_end() };
    if more > 0 { write!(f, "{between} and {more} more") } else { Ok(()) }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group { group, max } => write!(f, "all {max} places of group `{group}` are taken"),
            Self::ApartFrom(test) => write!(f, "it must not run beside `{test}`, which is running"),
            Self::Load { now, max } => write!(f, "the load per core is {now:.2}, above {max:.2}"),
            Self::Disk { free, min } => write!(f, "{free} bytes are free on the disk, {min} are needed"),
            Self::Jobs { max } => write!(f, "the area runs {max} at once already"),
            Self::Elsewhere { failed_on } => {
                write!(f, "it failed on {failed_on} and waits for another device")
            }
            Self::Tokens { token, takes, used, max } => {
                write!(f, "it takes {takes} of the {max} tokens `{token}`, of which {used} are taken")
            }
            Self::OtherRuns { what: Counted::Group(group) } => {
                write!(f, "other runs have the places of group `{group}`")
            }
            Self::OtherRuns { what: Counted::Token(token) } => {
                write!(f, "other runs have the tokens `{token}`")
            }
            Self::OtherRuns { what: Counted::Alone(test) } => {
                write!(f, "it must not run beside `{test}`, which runs in another run")
            }
            Self::OtherRuns { what: Counted::Jobs } => {
                write!(f, "other runs have the places of the area's jobs at once")
            }
            Self::Hours { hours, opens: Some(opens) } => {
                write!(f, "it starts only at these hours: {hours}; they begin {opens}")
            }
            Self::Hours { hours, opens: None } => write!(f, "it starts only at these hours: {hours}"),
            Self::Shut { host, why } if host.is_empty() => f.write_str(why),
            Self::Shut { host, why } => write!(f, "{host} does not let it start: {why}"),
        }
    }
}
