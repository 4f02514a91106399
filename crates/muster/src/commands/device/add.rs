//! `muster device add`, `adopt` and `remove`: which devices the agents of a lab have beside their own.

use crate::context::Context;
use crate::error::Complaint;
use crate::local::area::hostname;
use crate::remote::{client, complain, lab_view, need_server, whoever};
use clap::Args;
use muster_api::{Adopt, Announce};
use muster_core::change::Registration;
use muster_core::outcome::ExitCode;
use muster_device::DeviceAddress;
use muster_formats::area::agent_file;
use std::io::Write as _;

/// Arguments of `muster device add`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The agent of the host takes it up within seconds, as soon as what it runs has ended, and has it after each of its
restarts. Devices in the agent's own file or flags win over one of the same name.

  muster device add board-1 --address sut://10.0.0.7 --label kind=board
  muster device add board-2 --address sut://10.0.0.8 --host east-3")]
pub(crate) struct AddArgs {
    /// The device's name, unique on its host
    #[arg(value_name = "DEVICE")]
    name: String,
    /// Where its driver finds it, as seen from the host
    #[arg(long, value_name = "ADDRESS")]
    address: DeviceAddress,
    /// The host whose agent is to have it [default: this one]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// What selectors look at; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

/// Arguments of `muster device adopt`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "`muster device list --proposed` lists what has announced itself.")]
pub(crate) struct AdoptArgs {
    /// The device's name
    #[arg(value_name = "DEVICE")]
    name: String,
    /// The host whose agent is to have it [default: the one it was proposed for]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

/// Arguments of `muster device remove`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Its agent goes on without it as soon as what it runs has ended. Devices of an agent's own file or flags are
removed there.")]
pub(crate) struct RemoveArgs {
    /// The device's name
    #[arg(value_name = "DEVICE")]
    name: String,
    /// Its host, where several have a device of this name
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not `KEY=VALUE`"))?;
    agent_file::label(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Adds it.
pub(super) fn add(args: AddArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let AddArgs { name, address, host, labels } = args;
    agent_file::device_name(&name).map_err(Complaint::usage)?;
    let host = host.unwrap_or_else(hostname);
    let labels = labels.into_iter().collect();
    let device = Announce { name, address: address.to_string(), host, labels, by: whoever() };
    let server = need_server("device add", context)?;
    client(server, context)?.add_device(&device).map_err(complain)?;
    let mut out = context.stdout();
    writeln!(out, "{} is a device of {}", device.name, device.host)?;
    let there = lab_view("device add", context)?.devices.iter().any(|d| d.host == device.host);
    if !there {
        writeln!(
            out,
            "no agent of {} is known yet: `muster agent --server {server}` there starts one",
            device.host
        )?;
    }
    Ok(ExitCode::Passed)
}

/// Has it used.
pub(super) fn adopt(args: AdoptArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let AdoptArgs { name, host } = args;
    let known = find("device adopt", &name, None, context)?;
    let to = match host {
        Some(host) => host,
        None if known.host.is_empty() => {
            return Err(Complaint::usage(format!("`{name}` was proposed for no host"))
                .hint("say whose agent is to have it with `--host HOST`")
                .into());
        }
        None => known.host.clone(),
    };
    let adopt = Adopt { host: known.host, name, to, by: whoever() };
    client(need_server("device adopt", context)?, context)?.adopt(&adopt).map_err(complain)?;
    writeln!(context.stdout(), "{} is a device of {}", adopt.name, adopt.to)?;
    Ok(ExitCode::Passed)
}

/// Forgets it.
pub(super) fn remove(args: RemoveArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let RemoveArgs { name, host } = args;
    let known = find("device remove", &name, host.as_deref(), context)?;
    let what = Adopt { host: known.host, name, to: String::new(), by: whoever() };
    client(need_server("device remove", context)?, context)?.remove_device(&what).map_err(complain)?;
    writeln!(context.stdout(), "{} is forgotten", what.name)?;
    Ok(ExitCode::Passed)
}

fn find(
    command: &str,
    name: &str,
    host: Option<&str>,
    context: &Context,
) -> Result<Registration, anyhow::Error> {
    let all = lab_view(command, context)?.registered;
    let mut found: Vec<Registration> =
        all.into_iter().filter(|r| r.name == name && host.is_none_or(|h| r.host == h)).collect();
    match (found.pop(), found.pop()) {
        (Some(one), None) => Ok(one),
        (Some(one), Some(other)) => {
            let (one, other) = (one.host, other.host);
            Err(Complaint::usage(format!("`{name}` is known for `{one}` and for `{other}`"))
                .hint("say which with `--host HOST`")
                .into())
        }
        (None, _) => Err(Complaint::usage(format!("no device `{name}` was added or proposed"))
            .hint(format!("`{} device list --proposed` lists them", context.program()))
            .into()),
    }
}
