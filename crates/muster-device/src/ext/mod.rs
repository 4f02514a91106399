//! The `ext` driver: a program of the lab's own, in any language, that speaks JSON Lines.
//!
//! ```text
//! Ext ──► Link (a process of the program) ── a line for each request ──► the driver ──► the device
//!   ▲         │                          ◄── output, then one answer ──
//!   └─ idle ◄─┘ given back only when both are known to be in step
//! ```
//!
//! A process has one request at a time; while it is busy another is started, so that a driver needs no
//! threads. A driver that hangs, talks nonsense or dies is the lab's fault, and is killed. What is said is
//! in `docs/reference/driver-protocol.md`.

mod device;
mod link;

use crate::address::Options;
use crate::device::Device;
use crate::drivers::{Driver, Place};
pub use device::Ext;
use std::io;

pub(crate) const DRIVER: Driver =
    Driver { scheme: "ext", syntax: "ext:PROGRAM", about: "a driver of your own, in any language", read };

/// A program, and what it is told when it is started.
#[derive(Clone, Debug)]
struct At {
    program: String,
    options: Vec<(String, String)>,
}

fn read(rest: &str) -> Result<Box<dyn Place>, String> {
    let (program, options) = Options::split(rest)?;
    if program.is_empty() || program.contains(char::is_control) {
        return Err("after `ext:` comes a program, by its path or name".to_owned());
    }
    Ok(Box::new(At { program: program.to_owned(), options: options.rest() }))
}

impl Place for At {
    fn written(&self) -> String {
        let options = self.options.iter().map(|(name, value)| (name.as_str(), Some(value.clone())));
        format!("ext:{}{}", self.program, Options::written(options))
    }

    fn open(&self) -> io::Result<Box<dyn Device>> {
        Ok(Box::new(Ext::new(&self.program, self.options.clone(), &self.written())))
    }
}
