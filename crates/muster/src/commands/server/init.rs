//! `muster server init`: keys and an admin, so that the server can be reached from other hosts.

use super::{DataArgs, file, write_secret};
use crate::context::Context;
use crate::error::Complaint;
use crate::local::area::hostname;
use crate::local::session::now;
use clap::Args;
use muster_api::trust::Trust;
use muster_core::outcome::ExitCode;
use muster_server::AccessError;
use std::io::Write as _;
use std::path::PathBuf;

/// Arguments of `muster server init`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Makes the lab's own authority, a user `admin`, a token file for it, and a `server.toml` with the names of the
server. From then on the server speaks TLS, answers only those it knows, also on loopback, and may listen elsewhere.

  muster server init --host lab.example --host 10.0.0.2")]
pub(super) struct InitArgs {
    #[command(flatten)]
    data: DataArgs,
    /// A name or address by which agents and people ask for it; may be given several times [default: this host's name]
    #[arg(long = "host", value_name = "NAME|IP", value_parser = host)]
    hosts: Vec<String>,
    /// What the admin is called
    #[arg(long, value_name = "NAME", default_value = "admin", value_parser = user_name)]
    admin: String,
    /// The file for the admin's token [default: NAME.token in the data directory]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the admin's token file as well
    #[arg(long)]
    print: bool,
}

fn host(text: &str) -> Result<String, String> {
    if file::is_host(text) { Ok(text.to_owned()) } else { Err("this is no name and no address".to_owned()) }
}

/// The name of a user.
pub(super) fn user_name(text: &str) -> Result<String, String> {
    if muster_api::access::is_user_name(text) {
        return Ok(text.to_owned());
    }
    Err("a name has 1 to 64 letters, digits and `.`, `_`, `-`, `@`, and begins with a letter or digit"
        .to_owned())
}

/// Sets a server up.
pub(super) fn run(args: &InitArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let InitArgs { data, hosts, admin, out, print } = args;
    let dir = data.dir(context)?;
    let mut hosts = if hosts.is_empty() { vec![hostname()] } else { hosts.clone() };
    for here in ["localhost", "127.0.0.1", "::1"] {
        if !hosts.iter().any(|h| h == here) {
            hosts.push(here.to_owned());
        }
    }
    let token = muster_server::init(&dir, admin, now()).map_err(complain)?;
    let (_, ca) = muster_server::open_book(&dir).map_err(complain)?;
    let settings = dir.join(file::NAME);
    if settings.exists() {
        writeln!(
            context.stderr(),
            "`{}` is there and stays as it is; its `hosts` are in the certificate",
            settings.display()
        )?;
    } else {
        let written = std::fs::write(&settings, settings_text(&hosts));
        written
            .map_err(|e| Complaint::lab(format!("`{}` cannot be written", settings.display())).because(e))?;
    }
    let path = out.as_ref().map_or_else(|| dir.join(format!("{admin}.token")), |o| context.dir.join(o));
    let text = Trust::token_file(&format!("muster: user {admin}"), &token, &ca);
    write_secret(&path, &text)?;
    if *print {
        write!(context.stdout(), "{text}")?;
    }
    let (dir, path) = (dir.display(), path.display());
    let with = if data.data.is_some() { format!(" --data {dir}") } else { String::new() };
    let url = format!("https://{}:{}", hosts[0], muster_api::DEFAULT_PORT);
    write!(
        context.stderr(),
        "the server in {dir} is initialised; the token of {admin} is in {path}\n\n\
         \x20 serve muster server{with} --listen 0.0.0.0:{}\n\
         \x20   ask muster --server {url} --token-file {path} device list\n\
         \x20  user muster server user add{with} ana --grant submitter && muster server user token{with} ana\n\
         \x20 agent muster server join-token{with}, then on its host\n\
         \x20       muster agent --server {url} --join-token-file join.token\n",
        muster_api::DEFAULT_PORT
    )?;
    Ok(ExitCode::Passed)
}

fn settings_text(hosts: &[String]) -> String {
    let hosts: Vec<String> = hosts.iter().map(|h| format!("\"{h}\"")).collect();
    format!(
        "# The settings of this server; it reads them when it starts.\n\n\
         # Names and addresses by which agents and people ask for it: they are in its certificate.\n\
         hosts = [{}]\n\n\
         # How long an agent's certificate lasts. It is renewed in time; an agent that was away for longer joins again.\n\
         #agent-certificate = \"30d\"\n\n\
         # Pools: a device is in the first whose `devices` it matches, else in the pool `default`. A run has only\n\
         # devices of pools that grants of its user are for (`submitter:AREA@POOL`), and `users`, if they are named.\n\
         #[pool.phones]\n\
         #devices = 'labels.kind == \"phone\"'\n\
         #users = [\"ana\", \"ci-*\"]\n",
        hosts.join(", ")
    )
}

/// What stands in the way of setting up or opening the access.
pub(super) fn complain(error: AccessError) -> anyhow::Error {
    match &error {
        AccessError::Initialised(_) => {
            Complaint::usage(error.to_string()).hint("`muster server user token NAME` makes further tokens").into()
        }
        AccessError::NotInitialised(_) => Complaint::usage(error.to_string())
            .hint("`muster server init` does that; or name the data directory with `--data DIR`, a server with `--server URL`")
            .into(),
        AccessError::File { .. } | AccessError::Authority(_) | AccessError::Book(_) => {
            Complaint::lab("who may use the lab cannot be told").because(error).into()
        }
    }
}
