//! `muster server`: the lab that agents pull their work from, and who may use it.

mod agent;
mod audit;
mod file;
mod init;
mod join_token;
mod office;
mod serve;
mod user;

use crate::context::Context;
use crate::error::Complaint;
use crate::settings::state_dir;
use clap::{Args, Subcommand};
use muster_core::outcome::ExitCode;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Arguments of `muster server`.
#[derive(Args, Clone, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  muster server                                a lab on this host, open to all of its users
  muster agent --server http://127.0.0.1:7117  an agent for it, in another terminal
  muster --server http://127.0.0.1:7117 run    runs the tests of this area on the lab

Beyond loopback:
  muster server init --host lab.example        once: keys, an admin, what to type next
  muster server --listen 0.0.0.0:7117          speaks TLS and answers only those it knows

The other commands are about who may use an initialised lab. They work on the data directory of this host, also
beside the server that uses it; with `--server URL` and an admin's token file, from anywhere."
)]
pub(crate) struct ServerArgs {
    #[command(subcommand)]
    command: Option<ServerCommand>,
    #[command(flatten)]
    serve: serve::ServeArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum ServerCommand {
    /// Set up keys and an admin, so that the server can be reached from other hosts
    Init(init::InitArgs),
    /// Say who may use the lab
    User(user::UserArgs),
    /// Make a token that agents join with
    JoinToken(join_token::JoinTokenArgs),
    /// List the agents that have joined, and take identities away
    Agent(agent::AgentArgs),
    /// List what people did
    Audit(audit::AuditArgs),
}

/// Where the records of a server are.
#[derive(Args, Clone, Debug)]
struct DataArgs {
    /// Where records and blobs are kept [default: $XDG_STATE_HOME/muster/server]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl DataArgs {
    fn dir(&self, context: &Context) -> Result<PathBuf, anyhow::Error> {
        match &self.data {
            Some(dir) => Ok(context.dir.join(dir)),
            None => state_dir("server"),
        }
    }
}

/// Serves, or does what one of the other commands says.
pub(crate) fn run(args: ServerArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    match args.command {
        None => serve::run(&args.serve, context),
        Some(ServerCommand::Init(args)) => init::run(&args, context),
        Some(ServerCommand::User(args)) => user::run(args, context),
        Some(ServerCommand::JoinToken(args)) => join_token::run(&args, context),
        Some(ServerCommand::Agent(args)) => agent::run(args, context),
        Some(ServerCommand::Audit(args)) => audit::run(&args, context),
    }
}

/// Where a secret goes: into a file that nobody else may read, or to standard output, if that is asked for.
#[derive(Args, Clone, Debug)]
struct OutArgs {
    /// The file to write it to; it must not be there yet
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    out: Option<PathBuf>,
    /// Print it to standard output instead
    #[arg(long)]
    print: bool,
}

impl OutArgs {
    /// Where it was written; `None`: it was printed.
    fn write(&self, default: &str, text: &str, context: &Context) -> Result<Option<PathBuf>, anyhow::Error> {
        if self.print {
            write!(context.stdout(), "{text}")?;
            return Ok(None);
        }
        let path = context.dir.join(self.out.as_deref().unwrap_or(Path::new(default)));
        write_secret(&path, text)?;
        Ok(Some(path))
    }
}

/// Writes a file that nobody else may read.
fn write_secret(path: &Path, text: &str) -> Result<(), anyhow::Error> {
    let written = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    written().map_err(|e| {
        let hint = "name another file with `--out FILE`, or remove that one";
        Complaint::usage(format!("`{}` cannot be written", path.display())).because(e).hint(hint).into()
    })
}
