//! What is to be done so that a package is installed where it is wanted: a value, for every format.
//!
//! ```text
//! look ──► Have ──┐
//!                 ├─► plan ──► actions ──► carried out ──► look again, until there is nothing to do
//! ask  ──► Want ──┘
//! ```
//!
//! Two questions that are easily mixed are kept apart: are the bytes here that were published (fetch), and is
//! what they hold installed (put in place)? Nothing is believed that was not measured: a record of what is
//! installed says what to compare with, and who looks compares.
//!
//! What names bytes is the format's business (`D`): the digest of a manifest, the MD5 in `packages.checksum`.
//! Deliberately absent: where packages come from, how they are packed, locks.
//!
//! This is for packages that are one archive. Those whose files are known one by one are planned in [`files`], and how a
//! long file is made of the one that it takes the place of in [`ranges`].

pub mod files;
pub mod ranges;

/// A package that is to be installed at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want<D> {
    /// What it is, where a repository or the caller says so. Where nobody does, only fetching it can tell.
    pub digest: Option<D>,
    /// How it gets into its place.
    pub place: Place,
    /// What is done where it cannot be had.
    pub otherwise: Otherwise,
    /// How many bytes it is to be fetched, as far as known.
    pub packed_bytes: u64,
    /// How many bytes it is when it is unpacked, as far as known.
    pub unpacked_bytes: u64,
}

/// How a package gets into its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Only where something else is there, or nothing.
    WhenOther,
    /// Each time, as Autotest does with its client.
    Always,
}

/// What is done where a package cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// Nothing is installed, and whoever wants it is told.
    Fail,
    /// The version that was installed and is still whole stays in use, and whoever wants it is told which.
    KeepLastGood,
}

/// What there is, as it was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Have<D> {
    /// What the cache has under this name.
    pub cached: Option<D>,
    /// What is in the place.
    pub installed: Installed<D>,
    /// Bytes that may be written, where that is known.
    pub free_bytes: Option<u64>,
}

/// What is in the place where a package belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed<D> {
    /// Nothing.
    Absent,
    /// Something, with no record of what it is.
    Unrecorded,
    /// This version, each file as it was installed.
    Whole(D),
    /// What was this version: files were changed, added or taken away since.
    Altered(D),
}

/// One thing to do. They are done in order; where one fails, what is in the place is as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<D> {
    /// Free so many bytes, of what nobody refers to, or give up before anything is touched.
    MakeRoom {
        /// What is lacking.
        bytes: u64,
    },
    /// Get it into the cache. Bytes that are not what was asked for do not get there.
    Fetch {
        /// What they must be. `None`: what they are is found out, and the plan is made again with it.
        digest: Option<D>,
    },
    /// Unpack what the cache has beside the place.
    Unpack {
        /// What it is.
        digest: D,
    },
    /// Put what was unpacked into the place, in one step, with a record of what it is. What was there
    /// before is removed when this has happened, not sooner.
    Swap {
        /// What it is.
        digest: D,
    },
}

/// What comes next. Nothing where what is wanted is installed.
///
/// After the actions were carried out, what was found out is put into `want` and `have`, and the plan is made
/// again: it is empty then, or goes on behind a fetch of which nobody could say what it would bring.
pub fn plan<D: Clone + Eq>(want: &Want<D>, have: &Have<D>) -> Vec<Action<D>> {
    let Some(digest) = &want.digest else {
        let mut actions = room(want.packed_bytes.saturating_add(want.unpacked_bytes), have);
        actions.push(Action::Fetch { digest: None });
        return actions;
    };
    if is_installed(digest, want.place, &have.installed) {
        return Vec::new();
    }
    let is_cached = have.cached.as_ref() == Some(digest);
    let fetched_bytes = if is_cached { 0 } else { want.packed_bytes };
    let mut actions = room(fetched_bytes.saturating_add(want.unpacked_bytes), have);
    if !is_cached {
        actions.push(Action::Fetch { digest: Some(digest.clone()) });
    }
    actions.push(Action::Unpack { digest: digest.clone() });
    actions.push(Action::Swap { digest: digest.clone() });
    actions
}

/// What may be used where a package cannot be had: the version that stays, if one may.
pub fn last_good<'a, D>(want: &Want<D>, have: &'a Have<D>) -> Option<&'a D> {
    match (want.otherwise, &have.installed) {
        (Otherwise::KeepLastGood, Installed::Whole(digest)) => Some(digest),
        (Otherwise::KeepLastGood, Installed::Absent | Installed::Unrecorded | Installed::Altered(_))
        | (Otherwise::Fail, _) => None,
    }
}

fn is_installed<D: Eq>(digest: &D, place: Place, installed: &Installed<D>) -> bool {
    match (place, installed) {
        (Place::WhenOther, Installed::Whole(is)) => is == digest,
        (Place::WhenOther, Installed::Absent | Installed::Unrecorded | Installed::Altered(_))
        | (Place::Always, _) => false,
    }
}

fn room<D>(bytes: u64, have: &Have<D>) -> Vec<Action<D>> {
    let lacking = have.free_bytes.map_or(0, |free| bytes.saturating_sub(free));
    if lacking == 0 { Vec::new() } else { vec![Action::MakeRoom { bytes: lacking }] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: u8 = 1;
    const NEW: u8 = 2;

    fn want(digest: Option<u8>) -> Want<u8> {
        Want {
            digest,
            place: Place::WhenOther,
            otherwise: Otherwise::KeepLastGood,
            packed_bytes: 10,
            unpacked_bytes: 100,
        }
    }

    /// Everything that can be found, for every digest that matters.
    fn everything_there_can_be() -> Vec<Have<u8>> {
        let mut all = Vec::new();
        for cached in [None, Some(OLD), Some(NEW)] {
            for installed in [
                Installed::Absent,
                Installed::Unrecorded,
                Installed::Whole(OLD),
                Installed::Whole(NEW),
                Installed::Altered(OLD),
                Installed::Altered(NEW),
            ] {
                for free_bytes in [None, Some(0), Some(99), Some(100), Some(109), Some(110)] {
                    all.push(Have { cached, installed, free_bytes });
                }
            }
        }
        all
    }

    fn everything_there_can_be_wanted() -> Vec<Want<u8>> {
        let mut all = Vec::new();
        for digest in [None, Some(NEW)] {
            for place in [Place::WhenOther, Place::Always] {
                for otherwise in [Otherwise::Fail, Otherwise::KeepLastGood] {
                    all.push(Want { place, otherwise, ..want(digest) });
                }
            }
        }
        all
    }

    /// One line for each row of the two tables that Autotest's clients go by.
    #[test]
    fn each_row_of_the_tables_is_decided_as_it_says() {
        use Action::{Fetch, Swap, Unpack};
        let absent = |cached| Have { cached, installed: Installed::Absent, free_bytes: None };
        let fetch = |digest| Fetch { digest };
        let place = |digest| [Unpack { digest }, Swap { digest }];
        let then = |first, rest: [Action<u8>; 2]| [vec![first], rest.to_vec()].concat();

        // Nothing cached; no entry: what it is must be found out.
        assert_eq!(plan(&want(None), &absent(None)), [fetch(None)]);
        // Nothing cached; an entry.
        assert_eq!(plan(&want(Some(NEW)), &absent(None)), then(fetch(Some(NEW)), place(NEW)));
        // Cached; no entry: the cache may be old.
        assert_eq!(plan(&want(None), &absent(Some(NEW))), [fetch(None)]);
        // Cached; an entry for something else.
        assert_eq!(plan(&want(Some(NEW)), &absent(Some(OLD))), then(fetch(Some(NEW)), place(NEW)));
        // Cached; an entry for it.
        assert_eq!(plan(&want(Some(NEW)), &absent(Some(NEW))), place(NEW));

        let there = |installed| Have { cached: Some(NEW), installed, free_bytes: None };
        assert_eq!(plan(&want(Some(NEW)), &there(Installed::Unrecorded)), place(NEW), "no stamp");
        assert_eq!(plan(&want(Some(NEW)), &there(Installed::Whole(OLD))), place(NEW), "another stamp");
        assert_eq!(plan(&want(Some(NEW)), &there(Installed::Whole(NEW))), [], "the same stamp");
        // Here the field's own answer is "nothing"; files that somebody edited are not the package.
        assert_eq!(plan(&want(Some(NEW)), &there(Installed::Altered(NEW))), place(NEW), "edited");
    }

    #[test]
    fn what_is_planned_makes_what_is_wanted_from_everything_there_can_be() {
        for want in everything_there_can_be_wanted() {
            for mut have in everything_there_can_be() {
                let (mut want, mut done, mut unpacked, mut rounds) = (want.clone(), Vec::new(), None, 0);
                loop {
                    let actions = plan(&want, &have);
                    // The client is put in its place each time somebody asks; here somebody asks once.
                    let is_done =
                        want.place == Place::Always && matches!(done.last(), Some(Action::Swap { .. }));
                    if actions.is_empty() || is_done {
                        break;
                    }
                    rounds += 1;
                    assert!(rounds <= 2, "it never ends: {want:?} {have:?}");
                    for action in actions {
                        match action.clone() {
                            Action::MakeRoom { bytes } => {
                                have.free_bytes = have.free_bytes.map(|free| free + bytes);
                            }
                            Action::Fetch { digest } => {
                                assert!(digest.is_none() || digest == want.digest);
                                have.cached = Some(NEW);
                                have.free_bytes = have.free_bytes.map(|f| f.checked_sub(10).expect("room"));
                                want.digest = Some(NEW);
                                want.packed_bytes = 0;
                            }
                            Action::Unpack { digest } => {
                                assert_eq!(have.cached, Some(digest), "only what is there is unpacked");
                                have.free_bytes = have.free_bytes.map(|f| f.checked_sub(100).expect("room"));
                                unpacked = Some(digest);
                            }
                            Action::Swap { digest } => {
                                assert_eq!(
                                    unpacked.take(),
                                    Some(digest),
                                    "only what was unpacked is put there"
                                );
                                have.installed = Installed::Whole(digest);
                            }
                        }
                        done.push(action);
                    }
                }
                assert_eq!(have.installed, Installed::Whole(NEW), "{want:?}");
                assert_eq!(unpacked, None, "nothing is left beside the place");
            }
        }
    }

    #[test]
    fn nothing_moves_where_what_is_wanted_is_there() {
        for have in everything_there_can_be() {
            let is_there = have.installed == Installed::Whole(NEW);
            assert_eq!(plan(&want(Some(NEW)), &have).is_empty(), is_there, "{have:?}");
            let fetches = plan(&want(Some(NEW)), &have).iter().any(|a| matches!(a, Action::Fetch { .. }));
            assert_eq!(fetches, !is_there && have.cached != Some(NEW), "{have:?}");
        }
    }

    #[test]
    fn room_is_made_before_anything_is_touched_and_no_more_than_is_lacking() {
        for have in everything_there_can_be() {
            let actions = plan(&want(Some(NEW)), &have);
            let needed = match (actions.is_empty(), have.cached) {
                (true, _) => 0,
                (false, Some(NEW)) => 100,
                (false, _) => 110,
            };
            let lacking = have.free_bytes.map_or(0, |free| needed - free.min(needed));
            let asked = actions.iter().position(|a| matches!(a, Action::MakeRoom { .. }));
            assert_eq!(asked, (lacking > 0).then_some(0), "{have:?}");
            if lacking > 0 {
                assert_eq!(actions[0], Action::MakeRoom { bytes: lacking });
            }
        }
    }

    #[test]
    fn only_a_version_that_is_whole_stays_in_use_and_only_where_that_is_wanted() {
        for want in everything_there_can_be_wanted() {
            for have in everything_there_can_be() {
                let stays = match (want.otherwise, have.installed) {
                    (Otherwise::KeepLastGood, Installed::Whole(digest)) => Some(digest),
                    _ => None,
                };
                assert_eq!(last_good(&want, &have).copied(), stays);
            }
        }
    }
}
