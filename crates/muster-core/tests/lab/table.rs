//! Every state an item can be in, and everything that can happen to it there.

use crate::kit::{World, results_of};
use expect_test::expect;
use muster_core::exchange::{AttemptEnd, Exchange, Orders};
use muster_core::id::{AgentId, SessionId};
use muster_core::lab::{Explanation, Gone, Input};
use muster_core::outcome::Outcome;
use muster_core::time::Time;
use std::fmt::Write as _;

/// A world in which the item `x` is in the state, and the orders that went to the agent before.
fn state(name: &str) -> (World, Vec<Orders>) {
    let scenario = match name {
        "blocked" => "a takes 5s; x after a",
        "ready" => "a prio 9 takes 5s; x",
        "out, queued" => "a prio 9 takes 5s known 1ms; x known 1ms",
        "out, running" | "backoff" | "ended well" | "ended badly" => "x retries 1 delay 9s; a after-end x",
        "skipped" => "x expect-skip; a takes 5s",
        other => panic!("no state is called {other}"),
    };
    let mut world = World::new(scenario);
    world.create();
    let mut orders: Vec<Orders> = world.hears(crate::kit::exchange(1, 1, 1, 0)).into_iter().collect();
    let mut seq = 2;
    let mut bring = |world: &mut World, outcome| {
        let finished = results_of(orders.last().expect("it was sent"), outcome, seq - 1);
        let answer = world.hears(Exchange { finished, ..crate::kit::exchange(1, 1, seq, seq - 1) });
        orders.extend(answer);
        seq += 1;
    };
    match name {
        "backoff" => bring(&mut world, Outcome::Fail),
        "ended well" => bring(&mut world, Outcome::Pass),
        "ended badly" => bring(&mut world, Outcome::Abort),
        _ => {}
    }
    (world, orders)
}

fn happen(event: &str, world: &mut World, orders: &[Orders]) {
    let run = world.run();
    // As if nothing more came from the agent but this.
    let say = |finished| Exchange { finished, ..crate::kit::exchange(1, 1, 9, 8) };
    let last = orders.last().expect("every state was reached by orders");
    let end = |outcome| results_of(last, outcome, 9);
    match event {
        "tick" => {}
        "all passed" => drop(world.apply(Input::Exchange(Box::new(say(end(Outcome::Pass)))))),
        "all failed" => drop(world.apply(Input::Exchange(Box::new(say(end(Outcome::Fail)))))),
        "not reached" => {
            let mut finished = end(Outcome::Pass);
            finished.iter_mut().for_each(|f| f.end = AttemptEnd::NotReached);
            drop(world.apply(Input::Exchange(Box::new(say(finished)))));
        }
        "agent gone" => {
            drop(world.apply(Input::AgentGone { agent: AgentId(1), session: SessionId(1), how: Gone::Died }));
        }
        "lease over" => world.now = Time(60_000_000),
        "stop" => drop(world.apply(Input::StopRun { run, reason: "enough".to_owned(), kill: false })),
        "reopen" => {
            let x = world.item("x", "");
            world.reopen(vec![x]);
        }
        "restart" => world.restart(),
        other => panic!("nothing happens as {other}"),
    }
    world.decides();
}

#[test]
fn an_item_is_where_the_table_says_after_everything_that_can_happen() {
    let states = [
        "blocked",
        "ready",
        "out, queued",
        "out, running",
        "backoff",
        "ended well",
        "ended badly",
        "skipped",
    ];
    let events = [
        "tick",
        "all passed",
        "all failed",
        "not reached",
        "agent gone",
        "lease over",
        "stop",
        "reopen",
        "restart",
    ];
    let mut table = String::new();
    for state_name in states {
        writeln!(table, "{state_name}").unwrap();
        for event in events {
            let (mut world, orders) = state(state_name);
            happen(event, &mut world, &orders);
            let now = match world.why("x", "") {
                Explanation::Running { .. } => "is out, first on its device".to_owned(),
                other => other.to_string(),
            };
            writeln!(table, "    {event:<12} {now}").unwrap();
        }
    }
    expect![[r#"
        blocked
            tick         it comes after `a`
            all passed   is out, first on its device
            all failed   it ended: prerequisite-failed (`a` came to `fail`)
            not reached  it comes after `a`
            agent gone   it comes after `a`
            lease over   it comes after `a`
            stop         its run was stopped: enough
            reopen       it comes after `a`
            restart      it comes after `a`
        ready
            tick         every device is busy, and it is the next item
            all passed   is out, first on its device
            all failed   is out, first on its device
            not reached  every device is busy, and it is the next item
            agent gone   no agent is there to run it
            lease over   no agent is there to run it
            stop         its run was stopped: enough
            reopen       every device is busy, and it is the next item
            restart      no agent is there to run it
        out, queued
            tick         it is next on `d1`, behind 1
            all passed   it ended: pass
            all failed   it ended: fail
            not reached  it is next on `d1`, behind 1
            agent gone   no agent is there to run it
            lease over   no agent is there to run it
            stop         it is next on `d1`, behind 1
            reopen       it is next on `d1`, behind 1
            restart      it is next on `d1`, behind 1
        out, running
            tick         is out, first on its device
            all passed   it ended: pass
            all failed   it pauses before its next try
            not reached  is out, first on its device
            agent gone   no agent is there to run it
            lease over   no agent is there to run it
            stop         is out, first on its device
            reopen       is out, first on its device
            restart      is out, first on its device
        backoff
            tick         it pauses before its next try
            all passed   it pauses before its next try
            all failed   it pauses before its next try
            not reached  it pauses before its next try
            agent gone   it pauses before its next try
            lease over   no agent is there to run it
            stop         its run was stopped: enough
            reopen       every device is busy, and it is the next item
            restart      no agent is there to run it
        ended well
            tick         it ended: pass
            all passed   it ended: pass
            all failed   it ended: pass
            not reached  it ended: pass
            agent gone   it ended: pass
            lease over   it ended: pass
            stop         it ended: pass
            reopen       every device is busy, and it is the next item
            restart      it ended: pass
        ended badly
            tick         it ended: abort
            all passed   it ended: abort
            all failed   it ended: abort
            not reached  it ended: abort
            agent gone   it ended: abort
            lease over   it ended: abort
            stop         it ended: abort
            reopen       every device is busy, and it is the next item
            restart      the lab does not have it
        skipped
            tick         it ended: skip (expected to be skipped (expectations:1))
            all passed   it ended: skip (expected to be skipped (expectations:1))
            all failed   it ended: skip (expected to be skipped (expectations:1))
            not reached  it ended: skip (expected to be skipped (expectations:1))
            agent gone   it ended: skip (expected to be skipped (expectations:1))
            lease over   it ended: skip (expected to be skipped (expectations:1))
            stop         it ended: skip (expected to be skipped (expectations:1))
            reopen       it ended: skip (expected to be skipped (expectations:1))
            restart      it ended: skip (expected to be skipped (expectations:1))
    "#]]
    .assert_eq(&table);
}
