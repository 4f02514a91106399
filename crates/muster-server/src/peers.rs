//! Agents that give others what they have installed: who told what, for as long as they tell it. It is kept in
//! memory alone; agents say it again.

use muster_api::{LENDERS_MAX, LENT_MAX, Lender, Lends, Needs};
use muster_core::id::AgentId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long what an agent told holds. It tells it each minute.
const TOLD_MAX: Duration = Duration::from_secs(150);
/// Agents of which this is kept.
// Limit: memory; each has told some tens of kilobytes at most.
const AGENTS_MAX: usize = 4_096;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    all: HashMap<AgentId, (Instant, Lends)>,
    /// Grows with each question, so that not all go to the same.
    asked: usize,
}

impl Peers {
    /// An agent says what it has. What it said before is forgotten.
    pub(crate) fn tell(&self, agent: AgentId, mut lends: Lends, now: Instant) {
        lends.packages.truncate(LENT_MAX);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.all.retain(|_, (at, _)| now.saturating_duration_since(*at) < TOLD_MAX);
        if told.all.len() < AGENTS_MAX || told.all.contains_key(&agent) {
            told.all.insert(agent, (now, lends));
        }
    }

    /// What an agent said holds no longer.
    pub(crate) fn forget(&self, agent: AgentId) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).all.remove(&agent);
    }

    /// Some that have what an agent needs, and that it can reach.
    pub(crate) fn find(&self, agent: AgentId, needs: &Needs, now: Instant) -> Vec<Lender> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.asked = told.asked.wrapping_add(1);
        let mut have: Vec<(AgentId, Lender)> = told
            .all
            .iter()
            .filter(|(other, (at, lends))| {
                let is_near = !lends.address.listen.ip().is_loopback() || lends.boot == needs.boot;
                **other != agent && is_near && now.saturating_duration_since(*at) < TOLD_MAX
            })
            .filter_map(|(other, (_, lends))| {
                let has = |digest: &&_| lends.packages.contains(digest);
                let packages: Vec<_> = needs.packages.iter().filter(has).copied().collect();
                let lender = Lender { address: lends.address.clone(), packages };
                (!lender.packages.is_empty()).then_some((*other, lender))
            })
            .collect();
        have.sort_by_key(|(other, _)| *other);
        let first = if have.is_empty() { 0 } else { told.asked % have.len() };
        have.rotate_left(first);
        // Who is of the same host is nearest.
        have.sort_by_key(|(_, lender)| !lender.address.listen.ip().is_loopback());
        have.into_iter().map(|(_, lender)| lender).take(LENDERS_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_api::LenderAddress;
    use muster_core::digest::Digest;

    fn lends(listen: &str, boot: &str, packages: &[u8]) -> Lends {
        let address = LenderAddress {
            listen: listen.parse().unwrap(),
            token: "t".to_owned(),
            certificate: String::new(),
        };
        let packages = packages.iter().map(|n| Digest([*n; 32])).collect();
        Lends { address, boot: boot.to_owned(), packages }
    }

    #[test]
    fn some_are_found_that_have_it_and_can_be_reached_and_tell_so_still() {
        let (peers, now) = (Peers::default(), Instant::now());
        peers.tell(AgentId(1), lends("127.0.0.1:1", "here", &[1, 2]), now);
        peers.tell(AgentId(2), lends("127.0.0.1:2", "there", &[1, 2]), now);
        for other in 3..10 {
            peers.tell(AgentId(other), lends(&format!("10.0.0.{other}:1"), "there", &[2]), now);
        }
        let needs =
            |boot: &str, package: u8| Needs { boot: boot.to_owned(), packages: vec![Digest([package; 32])] };
        let ports = |agent, needs: &Needs, now| -> Vec<u16> {
            peers.find(AgentId(agent), needs, now).iter().map(|l| l.address.listen.port()).collect()
        };
        assert_eq!(ports(9, &needs("here", 1), now), [1], "loopback of another host is not there");
        assert_eq!(ports(1, &needs("here", 1), now), [0_u16; 0], "not itself");
        assert_eq!(ports(9, &needs("here", 3), now), [0_u16; 0]);
        let near = ports(1, &needs("there", 2), now);
        assert_eq!((near[0], near.len()), (2, LENDERS_MAX), "the nearest first, and not all");
        let far = |_| peers.find(AgentId(1), &needs("x", 2), now)[0].address.listen;
        let firsts: std::collections::BTreeSet<_> = (0..20).map(far).collect();
        assert!(firsts.len() > 3, "not always the same: {firsts:?}");
        assert_eq!(ports(9, &needs("here", 1), now + TOLD_MAX), [0_u16; 0]);
        peers.forget(AgentId(1));
        assert_eq!(ports(9, &needs("here", 1), now), [0_u16; 0]);
    }
}
