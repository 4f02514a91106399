//! `muster server` itself: serves until it is told to end.

use super::{DataArgs, file};
use crate::commands::typed::duration;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::area::tell;
use crate::local::signals::Signals;
use crate::service;
use clap::Args;
use muster_core::outcome::ExitCode;
use muster_server::{AccessConfig, ChecksError, Server, ServerConfig, ServerError};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How to serve.
#[derive(Args, Clone, Debug)]
pub(super) struct ServeArgs {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "IP:PORT", default_value_t = default_listen())]
    listen: SocketAddr,
    #[command(flatten)]
    data: DataArgs,
    /// How long an agent may be silent before its devices are given to others
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    lease: Duration,
}

fn default_listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), muster_api::DEFAULT_PORT)
}

/// Serves until it is told to end.
pub(super) fn run(args: &ServeArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let ServeArgs { listen, data, lease } = args;
    if *lease < LEASE_MIN {
        return Err(Complaint::usage("a lease lasts at least 5s").hint("agents speak every 2s").into());
    }
    let data_dir = data.dir(context)?;
    let file::ServerFile { hosts, agent_certificate, retention, hot, pools, tokens } = file::load(&data_dir)?;
    let signals = Signals::of_service()?;
    let at_terminal = std::io::stderr().is_terminal();
    let config = ServerConfig {
        listen: *listen,
        data_dir: data_dir.clone(),
        lease: *lease,
        access: AccessConfig { hosts: hosts.clone(), agent_certificate, pools },
        tokens,
    };
    let server = Server::start(config).map_err(|e| complain(e, &data_dir, context))?;
    if let Some(retention) = retention {
        server.keep_only(retention);
    }
    server.keep_hot(hot);
    let (address, dir) = (server.address(), data_dir.display());
    let said = if server.has_access() {
        let url = file::url(&hosts, address);
        format!(
            "the lab is at {url}, its records in {dir}\n\n  agent muster agent --server {url} --join-token-file FILE\n    run muster --server {url} --token-file FILE run"
        )
    } else {
        format!(
            "the lab is at http://{address}, its records in {dir}; it is open to all users of this host\n\n  agent muster agent --server http://{address}\n    run muster --server http://{address} run"
        )
    };
    // Whoever started it may have gone away.
    drop(writeln!(context.stderr(), "{said}"));
    // One that does not answer itself answers nobody.
    service::ready(move || answers(address));
    while let Signal::ReadAgain = wait(&signals, at_terminal) {
        read_again(&server, context);
    }
    service::stopping();
    server.end();
    Ok(ExitCode::Passed)
}

/// What a server is told by a signal.
enum Signal {
    End,
    ReadAgain,
}

/// Waits for a signal. A terminal that goes away ends a server that was started there.
fn wait([end, again]: &[UnixStream; 2], at_terminal: bool) -> Signal {
    loop {
        let mut fds = [end, again].map(|stream| PollFd::new(stream, PollFlags::IN));
        // Interrupted by the signal itself: it can be read now.
        let _polled = poll(&mut fds, None);
        let [ended, hung_up] = fds.map(|fd| !fd.revents().is_empty());
        if ended {
            return Signal::End;
        }
        if hung_up {
            let (mut again, mut bytes) = (again, [0; 16]);
            // Several at once are one.
            drop(again.read(&mut bytes));
            let terminal_is_gone = at_terminal && File::open("/dev/tty").is_err();
            return if terminal_is_gone { Signal::End } else { Signal::ReadAgain };
        }
    }
}

/// Reads what may change while the server runs. What is wrong with it is told, and changes nothing.
fn read_again(server: &Server, context: &Context) {
    let said = match server.read_kinds_again() {
        Ok(1) => "`kinds.toml` was read again: there is one kind of devices".to_owned(),
        Ok(kinds) => format!("`kinds.toml` was read again: there are {kinds} kinds of devices"),
        Err(error) => {
            if let ServerError::Checks(ChecksError::Kinds { errors, .. }) = &error {
                tell(context, errors);
            }
            format!("{error}: devices are checked as before")
        }
    };
    // Whoever started it may have gone away.
    drop(writeln!(context.stderr(), "{said}"));
}

/// Whether a server says anything at all; that it wants to know who asks is an answer too.
fn answers(mut address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    let asked = || {
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
        stream.read_exact(&mut [0])
    };
    asked().is_ok()
}

/// How long a server may take to answer itself.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Shorter leases would end between two words of an agent that is well.
const LEASE_MIN: Duration = Duration::from_secs(5);

fn complain(error: ServerError, data_dir: &Path, context: &Context) -> anyhow::Error {
    match &error {
        ServerError::NotLoopback(_) => Complaint::usage(error.to_string())
            .hint(format!(
                "`muster server init --data {} --host NAME` makes keys and an admin, so that it can say who may do what",
                data_dir.display()
            ))
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
        ServerError::Access(_)
        | ServerError::NotNow(_)
        | ServerError::Lab(_)
        | ServerError::Store(_)
        | ServerError::Blobs(_)
        | ServerError::Packages(_)
        | ServerError::Start(_) => {
            Complaint::lab("the server cannot be started").because(error).into()
        }
    }
}
