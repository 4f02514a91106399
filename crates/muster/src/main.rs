//! The one binary: command line, configuration layers, terminal output, wiring.
//!
//! Only this crate prints, reads the environment and reads configuration files. It decides nothing about
//! tests: that is the lab's business, and what is shown here are the view types that everybody shows.

mod cli;
mod commands;
mod context;
mod doctor;
mod error;
mod local;
mod records;
mod remote;
mod settings;
mod terminal;
mod verdict;
mod wiring;

fn main() -> std::process::ExitCode {
    if std::env::args_os().nth(1).is_some_and(|a| a == local::agent::AGENT_COMMAND) {
        return error::catch(local::agent::be_agent);
    }
    error::catch(cli::main)
}
