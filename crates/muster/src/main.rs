//! The one binary: command line, configuration layers, terminal output, wiring.
//!
//! Only this crate prints, reads the environment and reads configuration files. It decides nothing about
//! tests: that is the lab's business, and what is shown here are the view types that everybody shows.

mod bridge;
mod cli;
mod commands;
mod context;
mod device_list;
mod device_step;
mod device_worker;
mod doctor;
mod error;
mod far;
mod keeper;
mod local;
mod profile;
mod records;
mod remote;
mod service;
mod settings;
mod terminal;
mod verdict;
mod whole_file;
mod wiring;

fn main() -> std::process::ExitCode {
    let hidden = std::env::args_os().nth(1).unwrap_or_default();
    if hidden == local::agent::AGENT_COMMAND {
        return error::catch(local::agent::be_agent);
    }
    if hidden == muster_agent::tasks::DEVICE_COMMAND {
        return error::catch(device_step::run);
    }
    if hidden == muster_agent::tasks::WORKER_COMMAND {
        return error::catch(device_worker::run);
    }
    if hidden == muster_agent::tasks::PROFILE_COMMAND {
        return error::catch(profile::run);
    }
    // Only now: a copy of the program may have that name, and be its own agent.
    if commands::megatest::is_called(&std::env::args_os().next().unwrap_or_default()) {
        return commands::megatest::main();
    }
    error::catch(cli::main)
}
