//! The agent process by itself, for this crate's own tests. The `muster` program does the same in a hidden
//! command.

use muster_agent::process::{run, socket_from_stdin};
use muster_agent::tasks::inherited;
use std::process::ExitCode;

fn main() -> ExitCode {
    let ended = socket_from_stdin()
        .map_err(Into::into)
        .and_then(|socket| run(socket, inherited(std::env::vars_os())));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
