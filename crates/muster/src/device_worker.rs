//! What has a device open for an agent: started by it with a socket on standard input and its control on
//! standard output, and there until that ends.

use anyhow::Context as _;
use muster_core::outcome::ExitCode;
use muster_device::{DeviceAddress, Worker};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};

/// Has the device open that the command line names.
///
/// # Errors
/// It was not started by an agent, or the system has no resources.
pub(crate) fn run() -> Result<ExitCode, anyhow::Error> {
    let address = std::env::args().nth(2).context("this is for agents, who name a device")?;
    let address: DeviceAddress = address.parse()?;
    let ours = "this is for agents, who give it a socket and its control";
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned().context(ours)?);
    let control = UnixStream::from(io::stdout().as_fd().try_clone_to_owned().context(ours)?);
    listener.local_addr().context(ours)?;
    // What drivers leave running ends with this process, and is not taken for a test's.
    muster_agent::exec::become_subreaper()?;
    let served = Worker::new(address).run(&listener, control);
    muster_agent::exec::kill_descendants();
    served?;
    Ok(ExitCode::Passed)
}
