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
mod stream;
mod words;

pub use agent::{Agent, AgentConfig};
pub use client::{Client, Variant};

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
