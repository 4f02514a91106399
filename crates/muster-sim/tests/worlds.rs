//! The simulator over many seeds, and the proof that it looks.

use muster_sim::mistake::Mistake;
use muster_sim::sweep::{history, live, sweep};

/// How many seeds are lived: `MUSTER_SIM_SEEDS`, or a thousand.
fn seeds() -> u64 {
    std::env::var("MUSTER_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000)
}

#[test]
fn every_world_keeps_every_promise() {
    if let Some(broken) = sweep(0, seeds(), Mistake::None) {
        panic!("{}", broken.text(60));
    }
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 0..20 {
        assert_eq!(live(seed, Mistake::None).ok(), live(seed, Mistake::None).ok());
        assert_eq!(history(seed, Mistake::None), history(seed, Mistake::None));
    }
    assert_ne!(live(1, Mistake::None).ok(), live(2, Mistake::None).ok());
}

/// Seeds within which each mistake must be found.
const BOUND: u64 = 2000;

fn finds(name: &str) {
    let (_, mistake) = Mistake::ALL.into_iter().find(|(n, _)| *n == name).expect("it has that name");
    let found = sweep(0, BOUND, mistake);
    assert!(found.is_some(), "`{name}` goes unnoticed in {BOUND} worlds");
}

macro_rules! mistakes_are_found {
    ($($test:ident $name:literal,)*) => {
        $(#[test]
        fn $test() {
            finds($name);
        })*

        #[test]
        fn every_mistake_is_looked_for() {
            let tested = [$($name),*];
            assert_eq!(Mistake::ALL.map(|(name, _)| name).to_vec(), tested);
        }
    };
}

mistakes_are_found! {
    it_notices_results_taken_whatever_lease_they_come_under "ignore-fence",
    it_notices_results_acknowledged_but_not_taken_in "ack-unseen",
    it_notices_units_of_dead_agents_forgotten "forget-lost-units",
    it_notices_repetitions_counted "count-twice",
    it_notices_dependents_started_early "start-dependents-early",
    it_notices_limits_ignored "ignore-limits",
    it_notices_devices_given_away_early "expire-early",
    it_notices_devices_of_silent_agents_kept_for_ever "never-expire",
    it_notices_lost_orders_not_repeated "send-once",
    it_notices_acting_before_committing "act-before-commit",
    it_notices_agents_that_go_on_without_the_lab "go-on-without-lab",
    it_notices_sessions_used_again "session-used-again",
    it_notices_results_forgotten_before_they_are_acknowledged "forget-unacknowledged",
    it_notices_hosts_that_go_on_after_a_sleep_as_if_nothing_was "go-on-after-sleep",
    it_notices_held_devices_given_away "ignore-holds",
    it_notices_devices_in_quarantine_given_away "ignore-quarantine",
    it_notices_what_devices_were_like_taken_for_what_they_are "stale-labels",
    it_notices_gangs_that_are_given_in_part "half-gang",
    it_notices_devices_of_a_broken_gang_given_away_while_it_runs "free-broken-gang",
    it_notices_work_given_to_devices_that_are_being_checked "work-beside-checks",
    it_notices_quarantines_forgotten "end-any-quarantine",
    it_notices_repairs_that_did_not_cool_down "ignore-cool-down",
}
