//! The SUT protocol from both sides: our client and our agent with each other, our agent against raw
//! bytes, our client against agents of other kinds.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod both;
mod confined;
mod data_channel;
mod harness;
mod hostile;
mod old_agents;
mod raw;
mod reboot;
