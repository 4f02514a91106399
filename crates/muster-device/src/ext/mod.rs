//! The driver protocol: JSON Lines between Muster and what has a device, from both sides.
//!
//! ```text
//! Ext ──► Link (a process of a program, or a connection) ── a line for each request ──► a driver of the lab's own
//!   ▲         │                                          ◄── output, then one answer ──  or serve ──► any Device
//!   └─ idle ◄─┘ given back only when both are known to be in step
//! ```
//!
//! The `ext` driver starts a program of the lab's own, in any language; the `unix` driver connects to one that
//! listens at a socket. A conversation has one request at a time; while it is busy another is begun, so that a
//! driver needs no threads. A driver that hangs, talks nonsense or dies is the lab's fault, and is killed. What
//! is said is in `docs/reference/driver-protocol.md`.

mod device;
mod inbox;
mod lines;
mod link;
mod serve;
mod words;

use crate::address::Options;
use crate::device::Device;
use crate::drivers::{Driver, Place};
pub use device::{Ext, Way};
pub(crate) use serve::serve;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

pub(crate) const DRIVER: Driver = Driver {
    scheme: "ext",
    syntax: "ext:PROGRAM",
    about: "a driver of your own, in any language",
    read: |rest| {
        let way = |text: &str| (!text.is_empty()).then(|| Way::Program(text.to_owned()));
        At::read("ext", rest, way, "a program, by its path or name")
    },
};

pub(crate) const SOCKET: Driver = Driver {
    scheme: "unix",
    syntax: "unix:PATH",
    about: "a driver of your own that listens at a socket of this host",
    read: |rest| {
        let way = |text: &str| text.starts_with('/').then(|| Way::Socket(PathBuf::from(text)));
        At::read("unix", rest, way, "the whole path of a socket")
    },
};

/// A driver, and what it is told of the device.
#[derive(Clone, Debug)]
struct At {
    scheme: &'static str,
    way: Way,
    options: BTreeMap<String, String>,
}

impl At {
    fn read(
        scheme: &'static str,
        rest: &str,
        way: impl FnOnce(&str) -> Option<Way>,
        what: &str,
    ) -> Result<Box<dyn Place>, String> {
        let (place, options) = Options::split(rest)?;
        let way = way(place).filter(|_| !place.contains(char::is_control));
        let way = way.ok_or_else(|| format!("after `{scheme}:` comes {what}"))?;
        Ok(Box::new(Self { scheme, way, options: options.rest().into_iter().collect() }))
    }
}

impl Place for At {
    fn written(&self) -> String {
        let options = self.options.iter().map(|(name, value)| (name.as_str(), Some(value.clone())));
        let place = match &self.way {
            Way::Program(program) => program.clone(),
            Way::Socket(socket) => socket.display().to_string(),
        };
        format!("{}:{place}{}", self.scheme, Options::written(options))
    }

    fn open(&self) -> io::Result<Box<dyn Device>> {
        Ok(Box::new(Ext::new(self.way.clone(), self.options.clone(), self.scheme, &self.written())))
    }
}
