//! `muster server`: the lab that agents pull their work from.

use super::typed::duration;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::area::tell;
use crate::local::signals::Signals;
use crate::service;
use crate::settings::state_dir;
use clap::Args;
use muster_api::Client;
use muster_core::outcome::ExitCode;
use muster_server::{ChecksError, Server, ServerConfig, ServerError};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `muster server`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muster server                                a lab on this host
  muster agent --server http://127.0.0.1:7117  an agent for it, in another terminal
  muster --server http://127.0.0.1:7117 run    runs the tests of this area on the lab

It listens on loopback only: who may do what on it is not told apart yet.")]
pub(crate) struct ServerArgs {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", default_value_t = default_listen())]
    listen: SocketAddr,
    /// Where records and blobs are kept [default: $XDG_STATE_HOME/muster/server]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How long an agent may be silent before its devices are given to others
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    lease: Duration,
}

fn default_listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), muster_api::DEFAULT_PORT)
}

/// Serves until it is told to end.
pub(crate) fn run(args: ServerArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let ServerArgs { listen, data, lease } = args;
    if lease < LEASE_MIN {
        return Err(Complaint::usage("a lease lasts at least 5s").hint("agents speak every 2s").into());
    }
    let data_dir = match data {
        Some(dir) => context.dir.join(dir),
        None => state_dir("server")?,
    };
    let mut signals = Signals::any()?;
    let server = Server::start(ServerConfig { listen, data_dir: data_dir.clone(), lease })
        .map_err(|e| complain(e, context))?;
    let address = server.address();
    // Whoever started it may have gone away.
    drop(writeln!(
        context.stderr(),
        "the lab is at http://{address}, its records in {}\n\n  agent muster agent --server http://{address}\n    run muster --server http://{address} run",
        data_dir.display()
    ));
    // One that does not answer itself answers nobody.
    let own = Client::new(&format!("http://{address}")).map_err(Complaint::usage)?;
    service::ready(move || own.about().is_ok());
    drop(signals.read(&mut [0]));
    service::stopping();
    server.end();
    Ok(ExitCode::Passed)
}

/// Shorter leases would end between two words of an agent that is well.
const LEASE_MIN: Duration = Duration::from_secs(5);

fn complain(error: ServerError, context: &Context) -> anyhow::Error {
    match &error {
        ServerError::NotLoopback(_) => Complaint::usage(error.to_string())
            .hint("listen on 127.0.0.1, and reach it from elsewhere by a tunnel: `ssh -L`")
            .into(),
        ServerError::Listen { .. } => Complaint::lab(error.to_string())
            .hint("choose another port with `--listen`, e.g. `--listen 127.0.0.1:0`")
            .into(),
        ServerError::InUse { .. } => {
            Complaint::usage(error.to_string()).hint("give each server its own `--data DIR`").into()
        }
        ServerError::Dir { .. } => {
            Complaint::lab(error.to_string()).hint("choose another directory with `--data DIR`").into()
        }
        ServerError::Checks(ChecksError::Kinds { errors, .. }) => {
            tell(context, errors);
            Complaint::said(ExitCode::Usage).into()
        }
        ServerError::Checks(ChecksError::Io { .. } | ChecksError::Blob(_)) => {
            Complaint::lab(error.to_string()).into()
        }
        ServerError::Lab(_) | ServerError::Store(_) | ServerError::Blobs(_) | ServerError::Start(_) => {
            Complaint::lab("the server cannot be started").because(error).into()
        }
    }
}
