//! `megatest -run-wait`: waits until nothing of the runs that are meant is under way, whoever executes them.

use super::args::Args;
use super::list_runs::Wanted;
use crate::context::Context;
use muster_core::outcome::ExitCode;
use muster_core::view::RunState;
use muster_store::RunLock;
use std::time::Duration;

/// How often it is looked.
// Limit: who executes a run tells nobody that it has ended; a person or a script waits.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Waits.
pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let wanted = Wanted::of(args);
    loop {
        let (mut store, filter) = match crate::wiring::open_at_hand(context) {
            Ok(opened) => opened,
            // Where nothing was run, there is nothing to wait for.
            Err(_) if context.server.is_none() => return Ok(ExitCode::Passed),
            Err(error) => return Err(error),
        };
        let runs = wanted.find(store.as_mut(), &filter)?;
        let under_way = runs.iter().filter(|run| run.head.state == RunState::Active).any(|run| {
            // A run that was left behind is not under way. A lab knows that itself.
            store.run_dir(run.head.number).is_none_or(|dir| RunLock::holder(&dir).is_some())
        });
        if !under_way {
            return Ok(ExitCode::Passed);
        }
        drop(store);
        std::thread::sleep(LOOK_EVERY);
    }
}
