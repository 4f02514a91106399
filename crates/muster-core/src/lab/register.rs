//! Devices that people add to the lab, and devices that say themselves that they are there.
//!
//! An agent has devices of its own (its flags, its file) and those that were added here for its host. What only
//! announced itself is a proposal: nothing is run on it until a person adopts it.

use super::{Lab, Rejected};
use crate::change::{Change, Registration};
use crate::exchange::DeviceOffer;

/// Proposals that are kept.
// Limit: whoever can reach the port can announce anything.
const PROPOSALS_MAX: usize = 1_000;

/// What is said of a device that is to be the lab's.
#[derive(Clone, Debug)]
pub enum Registering {
    /// It is added to a host's devices, or announces itself.
    Add(Box<Registration>),
    /// It was proposed and is to be used.
    Adopt {
        /// The host it was proposed for.
        host: String,
        /// Its name.
        name: String,
        /// The host whose agent is to have it.
        to: String,
        /// Who wants that.
        by: String,
    },
    /// It is forgotten.
    Remove {
        /// Its host.
        host: String,
        /// Its name.
        name: String,
    },
}

impl Lab {
    pub(super) fn register(&mut self, what: Registering) -> Result<(), Rejected> {
        match what {
            Registering::Add(registration) => self.add(*registration),
            Registering::Adopt { host, name, to, by } => self.adopt(host, name, to, by),
            Registering::Remove { host, name } => self.unregister(host, name),
        }
    }

    /// Takes in a device. One that is known already and says the same is ignored; one that says something else
    /// is changed, and stays what it was: in use or proposed.
    fn add(&mut self, new: Registration) -> Result<(), Rejected> {
        let place = (new.host.clone(), new.name.clone());
        let mut new = new;
        if let Some(known) = self.registered.get(&place) {
            if new.adopted.is_none() {
                new.adopted.clone_from(&known.adopted);
            }
            if (&new.address, &new.labels, &new.adopted) == (&known.address, &known.labels, &known.adopted) {
                return Ok(());
            }
        } else if new.adopted.is_none() {
            let proposals = self.registered.values().filter(|r| r.adopted.is_none()).count();
            if proposals >= PROPOSALS_MAX {
                return Err(Rejected::TooManyProposals(proposals));
            }
        }
        self.keep_registration(new);
        Ok(())
    }

    /// A proposed device is to be used.
    fn adopt(&mut self, host: String, name: String, to: String, by: String) -> Result<(), Rejected> {
        let Some(mut known) = self.registered.remove(&(host.clone(), name.clone())) else {
            return Err(Rejected::NotRegistered { host, name });
        };
        if host != to {
            self.save(Change::Registered { host, name, registration: None });
        }
        known.host = to;
        known.adopted = Some(by);
        self.keep_registration(known);
        Ok(())
    }

    /// A device is forgotten. Its agent goes on with what it runs there, and then without it.
    fn unregister(&mut self, host: String, name: String) -> Result<(), Rejected> {
        if self.registered.remove(&(host.clone(), name.clone())).is_none() {
            return Err(Rejected::NotRegistered { host, name });
        }
        self.save(Change::Registered { host, name, registration: None });
        Ok(())
    }

    fn keep_registration(&mut self, new: Registration) {
        let (host, name) = (new.host.clone(), new.name.clone());
        let registration = Some(Box::new(new.clone()));
        self.save(Change::Registered { host: host.clone(), name: name.clone(), registration });
        self.registered.insert((host, name), new);
    }

    /// The devices that the agent of a host is to have beside its own.
    pub fn added_to(&self, host: &str) -> Vec<DeviceOffer> {
        let of_host = self.registered.values().filter(|r| r.host == host && r.adopted.is_some());
        of_host
            .map(|r| {
                let mut labels = r.labels.clone();
                labels.insert("address".to_owned(), r.address.clone());
                DeviceOffer { name: r.name.clone(), labels }
            })
            .collect()
    }
}
