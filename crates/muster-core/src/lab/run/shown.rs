//! How a run looks to whoever debugs the lab.

use super::{Run, Test};
use std::fmt;

/// What changes of a run; its record and what is drawn from it alone would drown that.
impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            record,
            phase,
            expansions,
            found_again,
            tests,
            items,
            selector: _,
            reach,
            history: _,
            user,
            waits_since: _,
            was_started,
            // Nothing durable: whoever kills waits for what comes of it.
            killing: _,
            killed: _,
            moves,
            gangs: _,
            gates: _,
            shut: _,
            opens_at: _,
            waiting: _,
            gate_of: _,
            failed_on: _,
            ready,
            backoff,
            edges,
            counts: _,
            open: _,
            out: _,
            stop,
            failed_before,
            deadline,
            mean,
            context: _,
        } = self;
        f.debug_struct("Run")
            .field("id", &record.id)
            .field("phase", phase)
            .field("reach", reach)
            .field("user", user)
            .field("was_started", was_started)
            .field("moves", moves)
            .field("expansions", expansions)
            .field("found_again", found_again)
            .field("tests", tests)
            .field("items", items)
            .field("ready", ready)
            .field("backoff", backoff)
            .field("edges", edges)
            .field("stop", stop)
            .field("failed_before", failed_before)
            .field("deadline", deadline)
            .field("mean", mean)
            .finish_non_exhaustive()
    }
}

/// As above.
impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, open, unmet, gate, mean, out, told, .. } = self;
        f.debug_struct("Test")
            .field("name", name)
            .field("open", open)
            .field("unmet", unmet)
            .field("gate", gate)
            .field("mean", mean)
            .field("out", out)
            .field("told", told)
            .finish_non_exhaustive()
    }
}
