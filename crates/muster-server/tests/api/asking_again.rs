//! Asking for the same thing twice does it once.

use crate::site::{Site, run_id};
use muster_api::trust::Trust;
use muster_api::{Client, Submit};
use muster_core::change::{Placement, RunSpec};
use muster_core::inputs::Inputs;
use muster_store::contract::record;

pub(crate) fn submit(area: &str) -> Submit {
    let known = record(1, area, 1);
    // What is fetched would have to be among the blobs.
    let (placement, inputs) = (Placement::default(), Inputs::default());
    let spec = RunSpec { placement, inputs, ..(*known.spec).clone() };
    // How long items take the server fills in itself: that makes no other run of it.
    Submit { spec, plan: (*known.plan).clone(), made_of: String::new() }
}

#[test]
fn a_run_asked_for_twice_is_one_run_and_another_under_its_id_is_refused() {
    let site = Site::with_runs(0);
    let client = Client::new(&site.url(), &Trust::default()).unwrap();
    let first = client.submit(run_id(1), &submit("area")).unwrap();
    assert_eq!(client.submit(run_id(1), &submit("area")).unwrap(), first);
    let mut other = submit("area");
    other.plan.tests.pop();
    let refused = client.submit(run_id(1), &other).unwrap_err();
    assert_eq!(refused.code(), Some("run-exists"), "{refused}");
    let queue = site.list("/api/v1/queue", 1);
    assert_eq!(queue.len(), 1, "{queue:?}");
    assert!(queue[0]["waits"].as_str().is_some(), "there is no device: {queue:?}");
}

#[test]
fn many_who_ask_for_the_same_run_at_once_get_one_answer() {
    let site = Site::with_runs(0);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            Client::new(&site.url(), &Trust::default()).unwrap().submit(run_id(1), &submit("area")).unwrap()
        };
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(site.list("/api/v1/runs", 1).len(), 1);
}
