//! How a device is named without a server: `SCHEME:` and what the driver of that scheme makes of the rest.
//!
//! Which drivers there are is in [`drivers`](crate::drivers). Here is only what several of them need to
//! read theirs: hosts with ports, and options behind a `?`.

use crate::device::Device;
use crate::drivers::{DRIVERS, Driver, Place};
use crate::ext::{Ext, Way};
use crate::worker::Job;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::fmt::{self, Write as _};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Where a device is and who talks to it.
#[derive(Clone)]
pub struct DeviceAddress {
    text: String,
    driver: &'static Driver,
    place: Arc<dyn Place>,
}

/// A text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no address of a device: {why}")]
pub struct AddressError {
    text: String,
    why: String,
}

impl DeviceAddress {
    /// A driver for the device. Nothing is sent yet.
    ///
    /// # Errors
    /// This host has no descriptor left, or lacks what the driver needs to begin at all.
    pub fn open(&self) -> std::io::Result<Box<dyn Device>> {
        self.place.open()
    }

    /// The same device where a [`Worker`](crate::Worker) has it open, for a step of a job.
    pub fn open_at(&self, socket: &Path, job: &Job) -> Box<dyn Device> {
        let way = Way::Socket(socket.to_owned());
        Box::new(Ext::new(way, job.options(), self.driver.scheme, &self.text))
    }

    /// Who talks to it.
    pub fn driver(&self) -> &'static Driver {
        self.driver
    }
}

impl FromStr for DeviceAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |why: String| AddressError { text: text.to_owned(), why };
        // `local` without a colon is a habit of people.
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        let driver = DRIVERS.iter().find(|d| d.scheme == scheme).ok_or_else(|| {
            if text.contains(':') {
                let known: Vec<&str> = DRIVERS.iter().map(|d| d.scheme).collect();
                wrong(format!("there is no driver `{scheme}`; there are {}", list(&known)))
            } else {
                let known: Vec<&str> = DRIVERS.iter().map(|d| d.syntax).collect();
                wrong(format!("write one of {}", list(&known)))
            }
        })?;
        let place = (driver.read)(rest).map_err(wrong)?;
        Ok(Self { text: place.written(), driver, place: place.into() })
    }
}

impl fmt::Display for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceAddress({})", self.text)
    }
}

impl PartialEq for DeviceAddress {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for DeviceAddress {}

/// `a`, `b` and `c`, each in backticks.
fn list(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// `HOST[:PORT]` or `[IPV6][:PORT]`.
pub(crate) fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        match after {
            "" => (host, None),
            _ => (host, Some(after.strip_prefix(':')?)),
        }
    } else {
        match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && !"/@?#[]".contains(c);
    if host.is_empty() || !host.chars().all(fits) || (host.contains(':') && !text.starts_with('[')) {
        return None;
    }
    let port = match port {
        None => None,
        Some(port) => Some(port.parse().ok().filter(|p| *p != 0)?),
    };
    Some((host.to_owned(), port))
}

/// A host as it is written before a port.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// What is written as it is in the value of an option; all else is `%XX`.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'&').add(b'#').add(b'"').add(b'\'').add(b'`');

/// The options of an address, `?NAME=VALUE&NAME=VALUE`, taken one by one by the driver that knows them.
#[derive(Debug)]
pub(crate) struct Options {
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Options {
    /// What is before the `?`, and the options behind it.
    pub(crate) fn split(rest: &str) -> Result<(&str, Self), String> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut left: Vec<(String, String)> = Vec::new();
        for option in query.split('&').filter(|o| !o.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value =
                percent_decode_str(value).decode_utf8().map_err(|_| format!("`{option}` is no text"))?;
            if left.iter().any(|(n, _)| n == name) {
                return Err(format!("`{name}` is given twice"));
            }
            left.push((name.to_owned(), value.into_owned()));
        }
        Ok((place, Self { left, known: Vec::new() }))
    }

    /// The value of an option, if it is given.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let at = self.left.iter().position(|(n, _)| n == name)?;
        Some(self.left.remove(at).1)
    }

    /// The same as something that can be read from text.
    pub(crate) fn parse<T: FromStr>(&mut self, name: &'static str, what: &str) -> Result<Option<T>, String> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| format!("`{name}={value}` is no {what}"))
    }

    /// The same as a duration, like `1.5s` or `200ms`.
    pub(crate) fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, String> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let read = value.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
        read.map(Some).ok_or_else(|| format!("`{name}={value}` is no duration; write e.g. `1.5s`"))
    }

    /// Those that are left, for a driver that passes them on.
    pub(crate) fn rest(self) -> Vec<(String, String)> {
        self.left
    }

    /// All have been taken.
    pub(crate) fn finish(self) -> Result<(), String> {
        let Some((name, _)) = self.left.first() else { return Ok(()) };
        Err(match &*self.known {
            [] => format!("`{name}`: this driver has no options"),
            known => format!("there is no option `{name}`; there are {}", list(known)),
        })
    }

    /// Options as they are written behind a place; nothing if there are none.
    pub(crate) fn written<'a>(options: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
        let mut text = String::new();
        for (name, value) in options {
            if let Some(value) = value {
                let mark = if text.is_empty() { '?' } else { '&' };
                // A string takes all that is written to it.
                let _ = write!(text, "{mark}{name}={}", utf8_percent_encode(&value, VALUE));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let check = |text: &str, written: &str| {
            let address: DeviceAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse(), Ok(address));
        };
        check("local", "local:");
        check("local:", "local:");
        check("sut://tegra-031", "sut://tegra-031:20701");
        check("sut://10.0.0.7:4000", "sut://10.0.0.7:4000");
        check("sut://[::1]:4000/", "sut://[::1]:4000");
        check("sut://[fe80::1]", "sut://[fe80::1]:20701");
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for text in [
            "",
            "pixel-7",
            "local:x",
            "sut",
            "sut:",
            "sut:/x",
            "sut://",
            "sut://:1",
            "sut://h:0",
            "sut://h:65536",
            "sut://::1",
            "sut://h?x=1",
        ] {
            assert!(text.parse::<DeviceAddress>().is_err(), "{text}");
        }
        let error = "telnet://x".parse::<DeviceAddress>().unwrap_err().to_string();
        assert!(
            error.starts_with(
                "`telnet://x` is no address of a device: there is no driver `telnet`; there are `local`"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_driver_is_named_by_the_scheme_of_its_syntax() {
        for driver in DRIVERS {
            assert!(driver.syntax.starts_with(&format!("{}:", driver.scheme)), "{driver:?}");
            assert_eq!(DRIVERS.iter().filter(|d| d.scheme == driver.scheme).count(), 1);
        }
    }

    #[test]
    fn options_are_taken_one_by_one() {
        let (place, mut options) = Options::split("x?a=1&b=a%20b%26c&wait=1.5s").unwrap();
        assert_eq!((place, options.parse("a", "number")), ("x", Ok(Some(1u8))));
        assert_eq!(options.take("b").as_deref(), Some("a b&c"));
        assert_eq!(options.duration("wait"), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(options.take("c"), None);
        options.finish().unwrap();
        assert_eq!(Options::written([("b", Some("a b&c".to_owned())), ("c", None)]), "?b=a%20b%26c");
        let (_, mut options) = Options::split("x?nope=1").unwrap();
        assert_eq!(options.take("a"), None);
        assert_eq!(options.finish(), Err("there is no option `nope`; there are `a`".to_owned()));
        assert!(Options::split("x?a=1&a=2").is_err());
    }
}
