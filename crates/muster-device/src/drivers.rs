//! The drivers there are, and what each needs to be named in an address.
//!
//! A new driver is a module with a [`Driver`] of its own and a line here.

use crate::device::Device;
use crate::{adb, container, described, ext, fake, local, qemu, ssh, sut};
use std::fmt;
use std::io;

/// Every driver, in the order they are listed to people.
pub static DRIVERS: &[Driver] = &[
    local::DRIVER,
    container::DRIVER,
    adb::DRIVER,
    qemu::DRIVER,
    ssh::DRIVER,
    sut::DRIVER,
    fake::DRIVER,
    ext::DRIVER,
    ext::SOCKET,
    described::DRIVER,
];

/// A driver, as it is named in addresses.
pub struct Driver {
    /// What an address begins with, before the colon.
    pub scheme: &'static str,
    /// How its addresses are written: `sut://HOST[:PORT]`.
    pub syntax: &'static str,
    /// What it reaches, in a few words for people.
    pub about: &'static str,
    /// Reads what follows the scheme and its colon, or says why that is no address.
    pub(crate) read: fn(&str) -> Result<Box<dyn Place>, String>,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme)
    }
}

/// Where a device is, as its driver understands the address.
pub(crate) trait Place: Send + Sync {
    /// The address as it is printed, with its scheme. It is read again as the same place.
    fn written(&self) -> String;

    /// A device there. Nothing is sent yet.
    fn open(&self) -> io::Result<Box<dyn Device>>;
}
