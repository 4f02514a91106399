//! The tree of commands, and the way from the command line to one of them.

use crate::commands;
use crate::commands::typed::mark_address;
use crate::context::{Context, OutputMode};
use crate::error::Complaint;
use crate::settings::ColorWhen;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use muster_core::outcome::ExitCode;
use std::path::PathBuf;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    about = "Runs tests on this machine, on trusted peers, or on a lab of devices: one command, one output, one record.",
    long_about = None,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Results go to standard output; progress, summaries and errors to standard error.\n\
                  Exit codes: 0 passed, 1 failed, 2 usage, 3 lab failed, 4 nothing ran, 5 failures outstanding."
)]
pub(crate) struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What holds for every command.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Work as if started in this directory
    // By its own id: a command that has a `dir` would share its value.
    #[arg(id = "directory", short = 'C', long = "directory", value_name = "DIR", global = true)]
    pub(crate) dir: Option<PathBuf>,
    /// How to print: for people, as JSON, or only what is wrong
    #[arg(long, value_name = "MODE", global = true, env = "MUSTER_OUTPUT", hide_env_values = true)]
    pub(crate) output: Option<OutputMode>,
    /// Work with the lab of this server, `http://HOST:PORT` or `https://…`, in place of this machine
    #[arg(long, value_name = "URL", global = true, env = "MUSTER_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,
    /// What a server is asked with: the token file that an admin of the lab made
    #[arg(long, value_name = "FILE", global = true, env = "MUSTER_TOKEN_FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// The certificate of the lab's authority, where the token file does not hold it
    #[arg(long = "ca", value_name = "FILE", global = true, env = "MUSTER_CA_FILE", hide_env_values = true)]
    pub(crate) ca_file: Option<PathBuf>,
    /// When to use colours; `auto` honours NO_COLOR, CLICOLOR_FORCE and TERM=dumb
    #[arg(long, value_name = "WHEN", global = true, env = "MUSTER_COLOR", hide_env_values = true)]
    pub(crate) color: Option<ColorWhen>,
    /// Read no configuration of the user's; the area's own `muster.toml` is still read
    #[arg(
        long,
        global = true,
        env = "MUSTER_NO_CONFIG",
        hide_env_values = true,
        value_parser = clap::builder::FalseyValueParser::new()
    )]
    pub(crate) no_config: bool,
}

impl Global {
    /// Nothing said but, perhaps, the directory.
    pub(crate) fn plain(dir: Option<PathBuf>) -> Self {
        Self {
            dir,
            output: None,
            server: None,
            token_file: None,
            ca_file: None,
            color: None,
            no_config: false,
        }
    }
}

/// The commands, in the order they are listed.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a `muster.toml` for what is found in this directory
    Init(commands::init::InitArgs),
    /// Begin an area, or add a test to one, by flags or by questions
    New(commands::new::NewArgs),
    /// Show a whole lab at work on this host, with simulated devices
    Demo(commands::demo::DemoArgs),
    /// Run tests of this area and record what they come to
    Run(Box<commands::run::RunArgs>),
    /// Print what `run` would do, in which order and why, and run nothing
    Plan(commands::plan::PlanArgs),
    /// Go on with a run that was stopped or killed
    Resume(commands::resume::ResumeArgs),
    /// Run items of a recorded run again, as new attempts in the same run
    Rerun(commands::rerun::RerunArgs),
    /// List recorded runs
    Runs(commands::runs::RunsArgs),
    /// Print what the items of a run came to
    Results(commands::results::ResultsArgs),
    /// Print what an attempt printed
    Log(commands::log::LogArgs),
    /// List, print or copy files that an attempt left
    Artifacts(commands::artifacts::ArtifactsArgs),
    /// Keep the files of runs in an archive, where what several have in common is there once
    Archive(commands::archive::ArchiveArgs),
    /// Say why an item is as it is
    Why(commands::why::WhyArgs),
    /// Compare two runs
    Diff(commands::diff::DiffArgs),
    /// Write records for others: tables (CSV, JSON, S-expressions, spreadsheets), a tree of pages, drawings
    Export(commands::export::ExportArgs),
    /// Show how a test did over time
    History(commands::history::HistoryArgs),
    /// List the runs that a lab has under way, and what they wait for (with --server)
    Queue(commands::queue::QueueArgs),
    /// Tell what happens in a lab: runs, agents, devices (with --server)
    Events(commands::events::EventsArgs),
    /// Take a device of a lab for yourself, for a while (with --server)
    Reserve(commands::reserve::ReserveArgs),
    /// Run the server of a lab: agents pull their work from it
    Server(commands::server::ServerArgs),
    /// Run an agent of a lab: it runs on this host what the server gives it
    Agent(commands::agent::AgentArgs),
    /// Run tests for what other programs announce
    Bridge(commands::bridge::BridgeArgs),
    /// Use one device directly: run programs, move files, ask about it
    Device(commands::device::DeviceArgs),
    /// Build, publish, fetch and install packages
    Package(commands::package::PackageArgs),
    /// Check a driver of your own
    Driver(commands::driver::DriverArgs),
    /// Serve this device to clients of the SUT agent protocol
    SutAgent(commands::sut_agent::SutAgentArgs),
    /// Run a job of an Autotest client on a device, as its server
    Autoserv(Box<commands::autoserv::AutoservArgs>),
    /// Judge a log by rule files, as logpro does it
    Logpro(commands::logpro::LogproArgs),
    /// Write a `muster.toml` out of what another program has
    Import(commands::import::ImportArgs),
    /// Do what Megatest's program does with an area of its kind: `muster megatest -run -target a/b -runname w1`
    Megatest(commands::megatest::MegatestArgs),
    /// Do what Megatest's `mtutil` does, in one or several areas: `muster mtutil run -area a,b -target x -run-name w1`
    Mtutil(commands::megatest::MegatestArgs),
    /// Check and show the configuration
    Config(commands::config::ConfigArgs),
    /// Look for what on this machine would make tests fail, and say how to mend it
    Doctor(commands::doctor::DoctorArgs),
    /// Print a completion script for a shell
    Completions(commands::completions::CompletionsArgs),
    /// Write the manual pages into a directory
    Man(commands::man::ManArgs),
}

/// Reads the command line and does what it says.
pub(crate) fn main() -> Result<ExitCode, anyhow::Error> {
    let matches = match Cli::command().try_get_matches_from(std::env::args_os().map(mark_address)) {
        Ok(matches) => matches,
        Err(error) => return clap_error(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return clap_error(&error),
    };
    let context = Context::new(&cli.global)?;
    crate::error::set_color(context.color);
    dispatch(cli.command, &context)
}

fn dispatch(command: Command, context: &Context) -> Result<ExitCode, anyhow::Error> {
    match command {
        Command::Init(args) => commands::init::run(&args, context),
        Command::New(args) => commands::new::run(args, context),
        Command::Demo(args) => commands::demo::run(&args, context),
        Command::Run(args) => commands::run::run(*args, context),
        Command::Plan(args) => commands::plan::run(args, context),
        Command::Resume(args) => commands::resume::run(args, context),
        Command::Rerun(args) => commands::rerun::run(args, context),
        Command::Runs(args) => commands::runs::run(&args, context),
        Command::Results(args) => commands::results::run(&args, context),
        Command::Log(args) => commands::log::run(&args, context),
        Command::Artifacts(args) => commands::artifacts::run(&args, context),
        Command::Archive(args) => commands::archive::run(&args, context),
        Command::Why(args) => commands::why::run(&args, context),
        Command::Diff(args) => commands::diff::run(&args, context),
        Command::Export(args) => commands::export::run(&args, context),
        Command::History(args) => commands::history::run(&args, context),
        Command::Queue(args) => commands::queue::run(&args, context),
        Command::Events(args) => commands::events::run(&args, context),
        Command::Reserve(args) => commands::reserve::run(&args, context),
        Command::Server(args) => commands::server::run(args, context),
        Command::Agent(args) => commands::agent::run(args, context),
        Command::Bridge(args) => commands::bridge::run(args, context),
        Command::Device(args) => commands::device::run(args, context),
        Command::Package(args) => commands::package::run(args, context),
        Command::Driver(args) => commands::driver::run(&args, context),
        Command::SutAgent(args) => commands::sut_agent::run(args, context),
        Command::Autoserv(args) => commands::autoserv::run(&args, context),
        Command::Logpro(args) => commands::logpro::run(&args, context),
        Command::Import(args) => commands::import::run(&args, context),
        Command::Megatest(args) => commands::megatest::run(args, context),
        Command::Mtutil(args) => commands::megatest::run_mtutil(args, context),
        Command::Config(args) => commands::config::run(&args, context),
        Command::Doctor(args) => commands::doctor::run(&args, context),
        Command::Completions(args) => commands::completions::run(&args, context),
        Command::Man(args) => commands::man::run(&args, context),
    }
}

/// Help and version are data; what clap has to complain about is printed as it prints it.
fn clap_error(error: &clap::Error) -> Result<ExitCode, anyhow::Error> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion => {
            error.print()?;
            Ok(ExitCode::Passed)
        }
        _ => {
            // If even this cannot be printed, the exit code still tells.
            drop(error.print());
            // Its small codes are verdicts about a log.
            if std::env::args_os().nth(1).is_some_and(|word| word == "logpro") {
                std::process::exit(commands::logpro::WRONG_ARGUMENTS);
            }
            Err(Complaint::said(ExitCode::Usage).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_commands_is_well_formed() {
        Cli::command().debug_assert();
    }
}
