//! Plans that nobody's planner makes: whoever may ask for a run can send any. None may harm the lab, and each
//! that is taken ends.

use crate::kit::World;
use muster_core::change::RunRecord;
use muster_core::definition::{After, AfterMode};
use muster_core::id::TestIx;
use muster_core::lab::{Input, Rejected};
use muster_core::plan::{Plan, PlanError, PlannedItems, Why};
use std::sync::Arc;

/// Asks for the scenario's run with its plan changed, and lets the lab go on as far as it goes.
fn asked(scenario: &str, change: impl Fn(&mut Plan)) -> (World, Result<(), Rejected>) {
    let mut world = World::new(scenario);
    let mut plan = (*world.record.plan).clone();
    change(&mut plan);
    world.record = Arc::new(RunRecord { plan: Arc::new(plan), ..(*world.record).clone() });
    let record = Arc::clone(&world.record);
    let done = world.apply(Input::CreateRun { record, history: Arc::new(()) }).map(drop);
    if done.is_ok() {
        world.tick();
        world.go_on();
    }
    (world, done)
}

fn comes_after(plan: &mut Plan, test: usize, other: &str, mode: AfterMode) {
    let mut def = (*plan.tests[test].def).clone();
    def.after.push(After { test: other.to_owned(), mode });
    plan.tests[test].def = Arc::new(def);
}

/// Makes nonsense of a plan.
type Spoil<'a> = &'a dyn Fn(&mut Plan);

#[test]
fn tests_that_wait_for_each_other_or_themselves_are_refused() {
    for mode in [AfterMode::Passed, AfterMode::Ended, AfterMode::MatchingItem { map: vec![] }] {
        for other in ["a", "b", "c"] {
            let (_, done) =
                asked("a; b after a; c after b", |plan| comes_after(plan, 0, other, mode.clone()));
            assert!(
                matches!(done, Err(Rejected::Plan(PlanError::OutOfOrder { .. }))),
                "{other}, {mode:?}: {done:?}"
            );
        }
    }
}

#[test]
fn a_plan_that_names_a_test_twice_is_refused() {
    let (_, done) = asked("a; b", |plan| plan.tests[1] = plan.tests[0].clone());
    assert_eq!(done, Err(Rejected::Plan(PlanError::TwoOfOneName("a".into()))));
}

#[test]
fn other_nonsense_is_run_to_an_end() {
    let twice = |plan: &mut Plan| {
        let PlannedItems::Listed(items) = &mut plan.tests[0].items else { panic!("listed") };
        items.extend(items.clone());
    };
    let nothing = |plan: &mut Plan| plan.tests[0].items = PlannedItems::Listed(vec![]);
    let far = |plan: &mut Plan| plan.tests[0].why = Why::PrerequisiteOf(TestIx(4711));
    let group = |plan: &mut Plan| {
        let PlannedItems::Listed(items) = &mut plan.tests[0].items else { panic!("listed") };
        items[0].group = u32::MAX;
    };
    let nobody = |plan: &mut Plan| comes_after(plan, 0, "nobody", AfterMode::Passed);
    let itself = |plan: &mut Plan| comes_after(plan, 0, "a", AfterMode::Exclusive);
    let empty = |plan: &mut Plan| plan.tests.clear();
    let all: [(&str, Spoil<'_>); 7] = [
        ("twice", &twice),
        ("nothing", &nothing),
        ("far", &far),
        ("group", &group),
        ("nobody", &nobody),
        ("itself", &itself),
        ("empty", &empty),
    ];
    for (name, change) in all {
        let (world, done) = asked("a/x,y; b after a; c after-item a", change);
        assert_eq!(done, Ok(()), "{name}");
        assert!(world.lab.is_over(world.run()), "{name}:\n{}", world.story);
    }
}
