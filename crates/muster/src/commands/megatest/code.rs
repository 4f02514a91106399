//! Megatest's own exit codes, where they are asked for: 0 for `-run`, whatever the tests came to, and for what cannot be
//! done 1 (target, set-up), 2 (run name, no area), 5 (not in a test), 6 (state or status missing).

use super::args::Args;
use crate::context::Context;
use muster_core::outcome::ExitCode;
use std::error::Error;
use std::fmt;

/// The variable that asks for them, by `megatest`.
const EXIT_CODES: &str = "MUSTER_MEGATEST_EXIT_CODES";

/// Whether Megatest's exit codes are wanted.
pub(super) fn are_asked_for() -> bool {
    std::env::var(EXIT_CODES).is_ok_and(|v| v == "megatest")
}

/// What Megatest ends with in place of Muster's code for an error. It is a cause of the error that says nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code(u8);

impl Code {
    pub(super) const NO_TARGET: Self = Self(1);
    pub(super) const NO_RUN_NAME: Self = Self(2);
    pub(super) const OUTSIDE_A_TEST: Self = Self(5);
    pub(super) const NO_STATUS: Self = Self(6);
    /// Whatever else is wrong with what was asked for.
    const SET_UP: Self = Self(1);
    const NO_AREA: Self = Self(2);
}

impl fmt::Display for Code {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl Error for Code {}

/// What was done, unless it went wrong and Megatest's code for that is wanted: then the program ends here.
pub(super) fn of(
    done: Result<ExitCode, anyhow::Error>,
    args: Option<&Args>,
    context: Option<&Context>,
) -> Result<ExitCode, anyhow::Error> {
    let error = match done {
        Err(error) if are_asked_for() => error,
        done => return done,
    };
    let inside = args.is_some_and(|a| a.has("step") || a.has("test-status"));
    let code = error.chain().find_map(|e| e.downcast_ref::<Code>()).copied().unwrap_or_else(|| match context
        .filter(|_| !inside)
        .is_some_and(|c| c.area_dir().is_err())
    {
        true => Code::NO_AREA,
        false => Code::SET_UP,
    });
    crate::error::say(&error);
    std::process::exit(i32::from(code.0));
}
