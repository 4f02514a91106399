//! One file for each command: what it is told, its help, and what it does.

pub(crate) mod agent;
pub(crate) mod artifacts;
pub(crate) mod autoserv;
pub(crate) mod bridge;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod device;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod driver;
mod durations;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod logpro;
pub(crate) mod man;
pub(crate) mod megatest;
pub(crate) mod package;
pub(crate) mod plan;
pub(crate) mod queue;
pub(crate) mod records;
pub(crate) mod rerun;
pub(crate) mod reserve;
pub(crate) mod results;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod server;
pub(crate) mod sut_agent;
pub(crate) mod typed;
pub(crate) mod why;

pub(crate) use records::area_name;
