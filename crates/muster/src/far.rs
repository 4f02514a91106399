//! A device as the installer of packages needs it: programs and files, through its driver.

use crate::local::signals::Signals;
use anyhow::Context as _;
use muster_device::{Captured, Command, Device, DeviceAddress, Exit, Until};
use muster_package::own::{Far, FarError, Said};
use std::io::{Read, Write};
use std::time::Duration;

/// How long a device may take to answer at all.
// Limit: a virtual machine boots in it.
const PROBE: Duration = Duration::from_secs(600);

/// A device that was opened.
pub(crate) struct Reached<'a> {
    pub(crate) device: &'a dyn Device,
    pub(crate) until: &'a Until,
}

impl Far for Reached<'_> {
    fn shown(&self) -> String {
        self.device.address().to_owned()
    }

    fn root(&self) -> Result<String, FarError> {
        Ok(self.device.files()?.test_root(self.until)?)
    }

    fn run(&self, words: &[&str]) -> Result<Said, FarError> {
        let mut said = Captured::default();
        let command = Command::new(words.iter().copied());
        let code = match self.device.exec()?.run(&command, &mut said, self.until)? {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
            Exit::TimeLimit => return Err("it was ended for a time that nobody had set".into()),
        };
        Ok(Said { code, out: said.stdout, err: said.stderr })
    }

    fn push(&self, from: &mut dyn Read, bytes: u64, to: &str) -> Result<(), FarError> {
        Ok(self.device.files()?.push(from, bytes, to, self.until)?)
    }

    fn pull(&self, from: &str, to: &mut dyn Write) -> Result<(), FarError> {
        self.device.files()?.pull(from, 0, to, self.until)?;
        Ok(())
    }
}

/// Opens the device at an address for what is to be done with its packages. A signal ends that.
///
/// # Errors
/// There is none, it does not answer, or what was done there failed.
pub(crate) fn with<T>(
    address: &DeviceAddress,
    what: impl FnOnce(&Reached<'_>) -> Result<T, anyhow::Error>,
) -> Result<T, anyhow::Error> {
    let device = address.open().with_context(|| format!("cannot use `{address}`"))?;
    let cancel = Signals::cancelling()?;
    let until = Until::within(Duration::MAX).or(&cancel);
    device.probe(&until.at_most(PROBE))?;
    what(&Reached { device: &*device, until: &until })
}
