//! Devices that call the agent's host and say that they are there: they are proposed to the lab.
//!
//! What comes is hostile: nothing of it is run or used before a person has adopted it (unless `--adopt`), and a
//! device is looked for where it called from, wherever it says it is.

use crate::context::Context;
use crate::error::Complaint;
use crate::local::area::hostname;
use muster_api::{Announce, Client, ClientError};
use muster_core::exchange::Labels;
use muster_device::Until;
use muster_device::sut::announce::{Announcement, Announcements};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long one wait for a device is; then it is waited again.
const WAIT: Duration = Duration::from_secs(3600);
/// Complaints that are said.
// Limit: names of devices come from anybody.
const COMPLAINTS_MAX: usize = 100;

/// Listens on a thread of its own, as long as the agent lives.
///
/// # Errors
/// The address is taken, or is not this host's.
pub(super) fn listen(
    address: SocketAddr,
    client: Client,
    adopt: bool,
    context: &Context,
) -> Result<(), anyhow::Error> {
    let refused = |e| {
        Complaint::lab(format!("devices cannot be listened for at {address}"))
            .because(e)
            .hint("choose another port with `--announce`")
    };
    let listener = Announcements::listen(address).map_err(refused)?;
    let at = listener.address().map_err(refused)?;
    // Whoever started it may have gone away.
    drop(writeln!(context.stderr(), "devices may announce themselves at {at}"));
    let work = move || {
        let mut complaints = BTreeSet::new();
        // It ends only if the socket does.
        while let Ok(heard) = listener.next(&Until::within(WAIT)) {
            let Some((announcement, from)) = heard else { continue };
            let device = announce(&announcement, from.ip());
            let Some(said) = tell(&client, &device, adopt) else { continue };
            // A device announces itself again and again; what is wrong is said once.
            if complaints.insert((device.name.clone(), said.clone())) && complaints.len() <= COMPLAINTS_MAX {
                drop(writeln!(std::io::stderr(), "{said}"));
            }
        }
    };
    std::thread::Builder::new().name("announced".into()).spawn(work).map(drop).map_err(refused)?;
    Ok(())
}

/// Tells the server of a device; what a person has to know of what came of it.
fn tell(client: &Client, device: &Announce, adopt: bool) -> Option<String> {
    let name = &device.name;
    let refused = |e: &ClientError| match e {
        ClientError::Refused(problem) if problem.next.is_empty() => problem.detail.clone(),
        ClientError::Refused(problem) => format!("{}; {}", problem.detail, problem.next),
        other => other.to_string(),
    };
    if adopt {
        match client.add_device(device) {
            Ok(()) => return None,
            // On a server that knows its users only a person may decide what the lab uses.
            Err(e) if e.code() == Some("missing-role") => {
                return Some(match client.announce(device) {
                    Ok(()) => format!(
                        "`{name}` is proposed and not used, since this server lets only its operators adopt devices: an \
                         operator types `muster --server {} device adopt {name}`",
                        client.server()
                    ),
                    Err(e) => format!("`{name}` announced itself and cannot be proposed: {}", refused(&e)),
                });
            }
            Err(e) => {
                return Some(format!("`{name}` announced itself and cannot be adopted: {}", refused(&e)));
            }
        }
    }
    // A server that is away is told when the device announces itself again, as it does at each start.
    let e = client.announce(device).err()?;
    Some(format!("`{name}` announced itself and cannot be proposed: {}", refused(&e)))
}

fn announce(said: &Announcement, from: IpAddr) -> Announce {
    let mut labels = Labels::new();
    for (key, value) in [("os", &said.os), ("hardware", &said.hardware), ("pool", &said.pool)] {
        let value: String = value.chars().filter(|c| !c.is_control()).take(100).collect();
        if !value.is_empty() {
            labels.insert(key.to_owned(), value);
        }
    }
    // A name is a word.
    let word = |c: char| if c.is_whitespace() || c.is_control() { '-' } else { c };
    Announce {
        name: said.name.chars().map(word).take(100).collect(),
        address: format!("sut://{}", SocketAddr::new(from, said.command_port)),
        host: hostname(),
        labels,
        by: format!("announced from {from}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_where_it_called_from_and_its_words_are_made_harmless() {
        let said: Announcement =
            "register NAME=my%20phone&IPADDR=10.9.9.9&CMDPORT=20701&OS=Android%0A4&HARDWARE=&POOL=a"
                .parse()
                .unwrap();
        let device = announce(&said, "127.0.0.5".parse().unwrap());
        assert_eq!((device.name.as_str(), device.address.as_str()), ("my-phone", "sut://127.0.0.5:20701"));
        assert_eq!(device.labels["os"], "Android4");
        assert!(!device.labels.contains_key("hardware"));
    }
}
