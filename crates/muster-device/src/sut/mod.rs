//! The SUT agent protocol ("system under test"), Mozilla's way to reach devices over two TCP ports: a
//! [`Client`] for all agents that are known, and an [`Agent`] for devices that run Linux.
//!
//! The protocol is lines of text. The agent ends each answer with a prompt of three bytes, which nothing
//! keeps out of a program's output; errors are told by how an answer begins. Between this client and this
//! agent a few commands of their own ([`extension`]) avoid all that.
//!
//! The protocol knows no authentication and no encryption. Whoever reaches the port owns the device.

pub mod agent;
pub mod announce;
mod client;
mod extension;
pub(crate) mod words;

pub use agent::{Agent, AgentConfig};
pub use client::{Client, Variant};

use crate::address::{Options, bracketed, host_and_port};
use crate::device::Device;
use crate::drivers::{Driver, Place};

pub(crate) const DRIVER: Driver =
    Driver { scheme: "sut", syntax: "sut://HOST[:PORT]", about: "an agent of the SUT protocol", read };

/// Where an agent listens.
struct At {
    host: String,
    port: u16,
}

fn read(rest: &str) -> Result<Box<dyn Place>, String> {
    let (place, options) = Options::split(rest)?;
    options.finish()?;
    let place = place.strip_prefix("//").ok_or("write `sut://HOST[:PORT]`")?;
    let (host, port) = host_and_port(place.strip_suffix('/').unwrap_or(place))
        .ok_or("after `sut://` comes a host, then perhaps `:` and a port from 1 to 65535")?;
    Ok(Box::new(At { host, port: port.unwrap_or(COMMAND_PORT) }))
}

impl Place for At {
    fn written(&self) -> String {
        format!("sut://{}:{}", bracketed(&self.host), self.port)
    }

    fn open(&self) -> std::io::Result<Box<dyn Device>> {
        Ok(Box::new(Client::new(&self.host, self.port)))
    }
}

/// The port of the command channel.
pub const COMMAND_PORT: u16 = 20701;
/// The port of the data channel: heartbeats and traces.
pub const DATA_PORT: u16 = 20700;
/// The port on which a server waits for devices that register.
pub const REGISTRATION_PORT: u16 = 28001;

/// What ends an answer.
const PROMPT: &[u8] = b"$>\0";
/// How an answer begins that means no.
const WARNING: &str = "##AGENT-WARNING## ";
/// Where clients put whom to call after a reboot, on every agent.
const CALL_BACK_FILE: &str = "/data/data/com.mozilla.SUTAgentAndroid/files/update.info";
