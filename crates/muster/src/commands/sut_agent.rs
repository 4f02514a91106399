//! `muster sut-agent`: serves this device to clients of the SUT agent protocol.

use super::typed::duration;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::signals::Signals;
use crate::settings::state_dir;
use crate::terminal::style::{WARN, paint};
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_device::sut::agent::StartError;
use muster_device::sut::{Agent, AgentConfig, COMMAND_PORT, DATA_PORT, REGISTRATION_PORT};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `muster sut-agent`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The protocol has no authentication and no encryption: whoever reaches the port reads and writes files and runs
programs with the rights of this agent. It listens on this host alone unless `--bind` and `--insecure` say
otherwise; do that on a network of the lab's own.

Commands in `--reboot`, `--install` and `--uninstall` are split at blanks; no shell reads them.")]
pub(crate) struct SutAgentArgs {
    /// The command port; 0 for any that is free
    #[arg(long, value_name = "PORT", default_value_t = COMMAND_PORT)]
    port: u16,
    /// The data port, for heartbeats; 0 for any that is free
    #[arg(long, value_name = "PORT", default_value_t = DATA_PORT)]
    data_port: u16,
    /// The address to listen at
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Listen also where other hosts can reach it
    #[arg(long)]
    insecure: bool,
    /// Let commands about files touch only what is in this directory; programs are not held by it
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The directory that tests may write to [default: DIR of `--root`, or one in the state directory]
    #[arg(long, value_name = "DIR")]
    test_root: Option<PathBuf>,
    /// Where to keep whom to call after a reboot [default: $XDG_STATE_HOME/muster/sut-agent-PORT]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The device's unique name [default: made from the host]
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// Tell this server that the device is there, until it says OK
    #[arg(long, value_name = "HOST[:PORT]", value_parser = server)]
    register: Option<(String, u16)>,
    /// What kind of device it is, for the server
    #[arg(long, value_name = "TEXT", default_value = std::env::consts::ARCH)]
    hardware: String,
    /// Which pool it belongs to, for the server
    #[arg(long, value_name = "TEXT", default_value = "")]
    pool: String,
    /// Between two heartbeats
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    heartbeat: Duration,
    /// Between the start and the call to whoever had the device rebooted
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    settle: Duration,
    /// Run what is to run as root all the same, where the agent is not root
    #[arg(long)]
    root_is_anyone: bool,
    /// Write commands to DATE-sutcommands.txt in the directory for tests
    #[arg(long)]
    log_commands: bool,
    /// The command that reboots the device
    #[arg(long, value_name = "COMMAND", default_value = "reboot")]
    reboot: String,
    /// The command that installs the package `{file}`
    #[arg(long, value_name = "COMMAND", default_value = "dpkg --install {file}")]
    install: String,
    /// The command that removes the package `{name}`
    #[arg(long, value_name = "COMMAND", default_value = "dpkg --remove {name}")]
    uninstall: String,
}

fn server(text: &str) -> Result<(String, u16), String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| format!("`{port}` is no port"))?),
        None => (text, REGISTRATION_PORT),
    };
    if host.is_empty() { Err("a server is `HOST[:PORT]`".to_owned()) } else { Ok((host.to_owned(), port)) }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Serves until it is told to end.
pub(crate) fn run(args: SutAgentArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let state = match args.state {
        Some(dir) => context.dir.join(dir),
        // Agents on one host share nothing by accident.
        None => state_dir(&format!("sut-agent-{}", args.port))?,
    };
    let root = args.root.map(|root| context.dir.join(root));
    let test_root = args.test_root.map(|dir| context.dir.join(dir));
    let test_root = test_root.or_else(|| root.clone()).unwrap_or_else(|| state.join("root"));
    let mut config = AgentConfig::new(test_root, state);
    config.bind = args.bind;
    config.insecure = args.insecure;
    config.command_port = args.port;
    config.data_port = args.data_port;
    config.root = root;
    config.id = args.id;
    config.hardware = args.hardware;
    config.pool = args.pool;
    config.register = args.register;
    config.heartbeat = args.heartbeat.max(Duration::from_millis(10));
    config.settle = args.settle;
    config.root_is_anyone = args.root_is_anyone;
    config.log_commands = args.log_commands;
    config.reboot = words(&args.reboot);
    config.install = words(&args.install);
    config.uninstall = words(&args.uninstall);
    let mut signals = Signals::any()?;
    let agent = Agent::start(config).map_err(|error| match &error {
        StartError::Exposed { .. } => Complaint::usage(error.to_string())
            .hint("`--insecure` does so all the same; do it on a network of the lab's own"),
        StartError::Listen { .. } => Complaint::lab("the agent cannot be started")
            .because(error)
            .hint("another agent may have the port: choose others with `--port` and `--data-port`"),
        _ => Complaint::lab("the agent cannot be started").because(error),
    })?;
    let mut err = context.stderr();
    if !args.bind.is_loopback() {
        let warning = "anybody who reaches this port owns this device: the protocol asks nobody who they are";
        writeln!(err, "{} {warning}", paint(WARN, "warning:"))?;
    }
    drop(err);
    let mut out = context.stdout();
    writeln!(out, "commands at {}, heartbeat at {}", agent.command_addr(), agent.data_addr())?;
    out.flush()?;
    drop(out);
    let stop = agent.stop_handle();
    // It ends with the program; there is nothing to be waited for.
    std::thread::spawn(move || {
        if signals.read(&mut [0]).is_ok_and(|n| n > 0) {
            stop.cancel();
        }
    });
    agent.wait();
    Ok(ExitCode::Passed)
}
