//! `muster agent`: an agent of a lab.

mod agent_file;
mod announced;

use crate::commands::package::size;
use crate::context::Context;
use crate::error::Complaint;
use crate::local::agent::AGENT_COMMAND;
use crate::local::area::{cores, hostname};
use crate::local::signals::Signals;
use crate::remote::client_with;
use crate::remote::trust::Member;
use crate::settings::state_dir;
use clap::Args;
use muster_agent::process::{Found, Keeper};
use muster_agent::remote::{Notice, Pulse, RemoteConfig, RemoteError, SelfCheck, Stops};
use muster_api::trust::Trust;
use muster_api::{Client, ClientError};
use muster_core::exchange::{DeviceOffer, Labels};
use muster_core::id::AgentId;
use muster_core::outcome::ExitCode;
use muster_device::DeviceAddress;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

/// Arguments of `muster agent`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muster agent --server http://127.0.0.1:7117
  muster agent --server http://127.0.0.1:7117 --slots 4 --label kind=builder
  muster agent --server https://lab.example:7117 --join-token-file join.token
  muster agent --server http://127.0.0.1:7117 --device board-1:kind=board,address=sut://10.0.0.7 \\
                                              --device board-2:kind=board,address=sut://10.0.0.8

Every device has the labels `os`, `arch`, `host` and `cores` of this host. Tests find the label `address` of
their device in MUSTER_DEVICE_ADDRESS.

What runs is kept by a process of its own and outlives the agent: an agent that is killed, or ended with
SIGTERM as a service manager does to restart it, is to be started again with the same --state within the
lease, and goes on with it. Ctrl-C, and `muster agent --stop`, end the agent with everything it runs.")]
pub(crate) struct AgentArgs {
    /// Slots of this host: as many tests run at once [default: one a core, none where devices are named]
    #[arg(long, value_name = "N", conflicts_with = "devices")]
    slots: Option<NonZeroU32>,
    /// A device: its name and labels; may be given several times
    #[arg(long = "device", value_name = "NAME[:KEY=VALUE,…]", value_parser = device)]
    devices: Vec<DeviceOffer>,
    /// A label of all its devices; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Where it keeps what it fetches, and its identity; one agent each [default: $XDG_STATE_HOME/muster/agent]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Its devices and all else that the flags say, which win over it [default: $XDG_CONFIG_HOME/muster/agent.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen here for devices that announce themselves by the SUT protocol, and propose them to the lab
    #[arg(long, value_name = "IP:PORT")]
    announce: Option<SocketAddr>,
    /// Use devices that announce themselves without asking a person
    #[arg(long, requires = "announce")]
    adopt: bool,
    /// Where it gives other agents of the lab what packages it has installed: on loopback to those of this host, elsewhere with
    /// TLS; each wants the secret that the server gives to agents of the lab alone. `off`: nowhere
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0", value_parser = share)]
    share: Share,
    /// What it joins the lab with, the first time: a file made by `muster server join-token`
    #[arg(long, value_name = "FILE", env = "MUSTER_JOIN_TOKEN_FILE", hide_env_values = true)]
    join_token_file: Option<PathBuf>,
    /// End the agent of this --state with everything it runs, or what one that was killed left running
    #[arg(long, conflicts_with_all = ["slots", "devices", "labels", "join_token_file"])]
    stop: bool,
}

/// Where an agent shares what it has.
#[derive(Clone, Copy, Debug)]
enum Share {
    Off,
    At(SocketAddr),
}

fn share(text: &str) -> Result<Share, String> {
    if text == "off" {
        return Ok(Share::Off);
    }
    let address: SocketAddr = text.parse().map_err(|_| format!("`{text}` is not IP:PORT, and not `off`"))?;
    if address.ip().is_unspecified() {
        return Err("name the address by which others reach this host".to_owned());
    }
    Ok(Share::At(address))
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not `KEY=VALUE`"))?;
    muster_formats::area::agent_file::label(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

fn device(text: &str) -> Result<DeviceOffer, String> {
    let (name, labels) = text.split_once(':').unwrap_or((text, ""));
    muster_formats::area::agent_file::device_name(name)?;
    let labels = labels.split(',').filter(|l| !l.is_empty()).map(label).collect::<Result<Labels, _>>()?;
    Ok(DeviceOffer { name: name.to_owned(), labels })
}

/// Runs until it is told to end.
pub(crate) fn run(args: AgentArgs, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let AgentArgs { slots, devices, labels, state, config, announce, adopt, share, join_token_file, stop } =
        args;
    let file = agent_file::read(config, context)?;
    let state_dir = match state.or(file.state.map(PathBuf::from)) {
        Some(dir) => context.dir.join(dir),
        None => state_dir("agent")?,
    };
    let named = context.server.clone().or(file.server);
    let server = named.as_ref();
    if stop {
        let client = match server {
            Some(server) if is_safe(server) => Member::find(server, &state_dir)?,
            Some(server) => Some(client_with(server, &Trust::default())?),
            None => None,
        };
        return end(&state_dir, client, context);
    }
    let Some(server) = server else {
        return Err(Complaint::usage("an agent needs a server")
            .hint("name it with `--server http://HOST:PORT` or in `agent.toml`; `muster server` starts one")
            .into());
    };
    let (agent, lock) = identity(&state_dir)?;
    let (devices, slots) = match (devices.is_empty(), slots) {
        (false, _) | (true, Some(_)) => (devices, slots),
        (true, None) => (file.devices, file.slots.and_then(NonZeroU32::new)),
    };
    let labels: Vec<_> = file.labels.into_iter().chain(labels).collect();
    let labels = common_labels(&labels);
    let devices = offers(devices, slots, &labels)?;
    let client = if is_safe(server) {
        let join = join_token_file.as_deref();
        let member = Member::enter(server, agent, hostname(), &state_dir, join, context)?;
        let client = member.client.clone();
        member.renew_in_time()?;
        client
    } else {
        client_with(server, &Trust::default())?
    };
    let minds = SelfCheck::default();
    let self_check = SelfCheck {
        disk_free_bytes_min: file.self_check.disk_free_bytes_min.unwrap_or(minds.disk_free_bytes_min),
        load_max: file.self_check.load_max.unwrap_or(minds.load_max),
        clock_max: file.self_check.clock_max.unwrap_or(minds.clock_max),
    };
    let exe = std::env::current_exe()
        .map_err(|e| Complaint::lab("cannot find this program's own file to start the agent").because(e))?;
    let keeper = (exe, vec![AGENT_COMMAND.into()]);
    let pulse = Pulse::default();
    let config = RemoteConfig {
        agent,
        host: hostname(),
        devices,
        labels,
        state_dir,
        share: match share {
            Share::Off => None,
            Share::At(address) => Some(address),
        },
        self_check,
        fetch_ca: context.fetch_ca(None),
        pulse: pulse.clone(),
        keeper,
    };
    if let Some(address) = announce {
        announced::listen(address, client.clone(), adopt, context)?;
    }
    let signals = Signals::catch()?;
    // A server that is away is no reason to start it again, and what runs is looked after by its keeper.
    crate::service::ready(move || pulse.is_felt());
    let [end, leave] = signals.streams().map(|s| s.as_fd());
    let mut say = |notice: Notice| {
        let text = match notice {
            Notice::Connected => format!("connected to {server} with {}", counted(config.devices.len())),
            Notice::Lost(why) => format!("{why}; what runs goes on, and is told when the server is back"),
            Notice::TakenOver(units, results, replace) => {
                let then =
                    if replace { "; when that has ended it begins anew, as it is set up now" } else { "" };
                format!("goes on with what runs here ({units} under way, {results} to be told){then}")
            }
            Notice::Stranger(why) => format!("what an earlier agent left running was killed: {why}"),
            Notice::KeeperLost(why) => {
                format!("the process that runs the tests is gone ({why}); another takes its place")
            }
            Notice::Left => format!(
                "what runs goes on until the lease is about to end; start the agent again, or end it with \
                 `{} agent --stop --state {}`",
                context.program(),
                config.state_dir.display()
            ),
            Notice::Devices(n) => format!("has {} now", counted(n)),
            Notice::Trouble(what) if what.is_empty() => {
                "this host is well again, and takes new work".to_owned()
            }
            Notice::Trouble(what) => format!("nothing new is taken: {}", what.join("; ")),
            Notice::Installed(package, from) => {
                let from: Vec<String> =
                    from.iter().map(|(place, bytes)| format!("{} from {place}", size(*bytes))).collect();
                format!("{package} is installed: {}", from.join(", "))
            }
            Notice::Fetched(_, Ok(())) => return,
            Notice::Fetched(_, Err(why)) => format!("an area cannot be had: {why}"),
        };
        // Whoever started it may have gone away.
        drop(writeln!(context.stderr(), "{text}"));
    };
    let ended = muster_agent::remote::run(&config, &client, Stops { end, leave }, &mut say);
    drop(lock);
    ended.map(|()| ExitCode::Passed).map_err(|error| {
        let hint = match &error {
            RemoteError::Replaced => "give each agent on this host its own `--state DIR`",
            RemoteError::Keeper(_) | RemoteError::Start(_) => {
                "what it ran is given to others; start it again"
            }
            RemoteError::Refused(e) if e.code() == Some("agent-unknown") => {
                "`muster server join-token` lets it join again, with a new `--state DIR`"
            }
            RemoteError::Refused(ClientError::Untrusted { .. }) => {
                "is the address right? an agent that was away for long joins again: `--join-token-file FILE`"
            }
            RemoteError::Refused(_) => "is the server of a version that knows this agent's?",
            RemoteError::State { .. } => "choose another directory with `--state DIR`",
        };
        Complaint::lab("the agent has ended").because(error).hint(hint).into()
    })
}

/// Whether a server knows its agents.
fn is_safe(server: &str) -> bool {
    server.starts_with("https://")
}

/// Ends the agent of a directory, and what it runs or has left running.
fn end(state_dir: &Path, client: Option<Client>, context: &Context) -> Result<ExitCode, anyhow::Error> {
    let mut found = false;
    let path = state_dir.join("agent-id");
    if let Ok(file) = File::options().read(true).write(true).open(&path)
        && flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
    {
        found = true;
        let text = std::fs::read_to_string(state_dir.join("agent-pid")).unwrap_or_default();
        let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) else {
            return Err(Complaint::lab("the agent that runs there does not say which process it is").into());
        };
        // As by Ctrl-C. It may be ending already.
        let _told = kill_process(pid, Signal::INT);
        flock(&file, FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
    }
    let unusable = |e| Complaint::lab("what is left of the agent cannot be looked for").because(e);
    if !state_dir.is_dir() {
        return Err(Complaint::usage(format!("there is no agent in `{}`", state_dir.display())).into());
    }
    match Keeper::find(state_dir).map_err(unusable)? {
        Found::Keeper(keeper, life) => {
            found = true;
            keeper.end();
            if let Some(client) = client {
                // The lab finds out by itself, later.
                let _unheard = client.say_goodbye(life.agent, life.session);
            }
        }
        Found::Stranger(keeper, _) => {
            found = true;
            keeper.kill_rest();
        }
        Found::Nobody => {}
    }
    let said = if found { "ended" } else { "nothing runs" };
    writeln!(context.stdout(), "{said}")?;
    Ok(ExitCode::Passed)
}

fn counted(devices: usize) -> String {
    if devices == 1 { "one device".to_owned() } else { format!("{devices} devices") }
}

/// Who the agent is, kept in its directory; and the lock on that.
fn identity(dir: &Path) -> Result<(AgentId, File), anyhow::Error> {
    let unusable = |e: std::io::Error| {
        Complaint::lab(format!("`{}` cannot be used for the agent's state", dir.display()))
            .because(e)
            .hint("choose another directory with `--state DIR`")
    };
    std::fs::create_dir_all(dir).map_err(unusable)?;
    let path = dir.join("agent-id");
    let mut file = File::options().read(true).append(true).create(true).open(&path).map_err(unusable)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(Complaint::usage(format!("another agent uses `{}`", dir.display()))
            .hint("give each agent on this host its own `--state DIR`")
            .into());
    }
    std::fs::write(dir.join("agent-pid"), format!("{}\n", std::process::id())).map_err(unusable)?;
    let text = std::fs::read_to_string(&path).map_err(unusable)?;
    if let Ok(id) = text.trim().parse() {
        return Ok((AgentId(id), file));
    }
    // The random half of the id; the database keeps signed numbers.
    let id = uuid::Uuid::now_v7().as_u64_pair().1 >> 1;
    file.set_len(0).and_then(|()| writeln!(file, "{id}")).and_then(|()| file.sync_all()).map_err(unusable)?;
    Ok((AgentId(id), file))
}

/// The labels of all devices: those of the host, and what was said.
fn common_labels(labels: &[(String, String)]) -> Labels {
    let own = [
        ("os", std::env::consts::OS.to_owned()),
        ("arch", std::env::consts::ARCH.to_owned()),
        ("host", hostname()),
        ("cores", cores().to_string()),
    ];
    own.into_iter().map(|(k, v)| (k.to_owned(), v)).chain(labels.iter().cloned()).collect()
}

/// The devices with all their labels.
fn offers(
    devices: Vec<DeviceOffer>,
    slots: Option<NonZeroU32>,
    common: &Labels,
) -> Result<Vec<DeviceOffer>, anyhow::Error> {
    let cores = cores();
    let mut offers = devices;
    if offers.is_empty() {
        let slots = slots.map_or(cores, NonZeroU32::get);
        offers = (1..=slots).map(|n| DeviceOffer::named(format!("slot-{n}"))).collect();
    }
    for (at, offer) in offers.iter().enumerate() {
        if offers[..at].iter().any(|o| o.name == offer.name) {
            return Err(Complaint::usage(format!("two devices are called `{}`", offer.name)).into());
        }
    }
    for DeviceOffer { name, labels } in &offers {
        let address = labels.get("address").map(|a| a.parse::<DeviceAddress>());
        if let Some(Err(why)) = address {
            return Err(Complaint::usage(format!("`{name}` cannot be used as a device")).because(why).into());
        }
    }
    for offer in &mut offers {
        let mut all = common.clone();
        all.append(&mut offer.labels);
        offer.labels = all;
    }
    Ok(offers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_name_and_labels() {
        let board = device("board-1:kind=board,address=sut://10.0.0.7").unwrap();
        assert_eq!(board.name, "board-1");
        assert_eq!(board.labels["address"], "sut://10.0.0.7");
        assert_eq!(device("plain").unwrap(), DeviceOffer::named("plain"));
        for bad in ["", ":kind=x", "a b", "a:kind", "a:=x", "a:ki nd=x"] {
            assert!(device(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_device_s_own_label_wins_over_the_agent_s_and_the_host_s() {
        let named = vec![device("a:os=android,kind=phone").unwrap(), device("b").unwrap()];
        let offers = offers(named, None, &common_labels(&[("kind".into(), "board".into())])).unwrap();
        assert_eq!(
            (offers[0].labels["os"].as_str(), offers[0].labels["kind"].as_str()),
            ("android", "phone")
        );
        assert_eq!(offers[1].labels["kind"], "board");
        assert_eq!(offers[1].labels["os"], std::env::consts::OS);
        let wrong = vec![device("a:address=container:").unwrap()];
        let said = format!("{:#}", super::offers(wrong, None, &Labels::new()).unwrap_err());
        assert!(said.contains("`a` cannot be used as a device"), "{said}");
        let twice = vec![device("a").unwrap(), device("a").unwrap()];
        assert!(super::offers(twice, None, &Labels::new()).is_err());
    }
}
