//! How a device is named without a server: `sut://HOST[:PORT]`, `local:`.

use crate::device::Device;
use crate::local::Local;
use crate::sut;
use std::fmt;
use std::str::FromStr;

/// Where a device is and who talks to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceAddress {
    /// This host.
    Local,
    /// An agent of the SUT protocol.
    Sut {
        /// Name or number; an IPv6 number without its brackets.
        host: String,
        /// Of the command channel.
        port: u16,
    },
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
    /// This host has no descriptor left.
    pub fn open(&self) -> std::io::Result<Box<dyn Device>> {
        Ok(match self {
            Self::Local => Box::new(Local::new()?),
            Self::Sut { host, port } => Box::new(sut::Client::new(host, *port)),
        })
    }
}

impl FromStr for DeviceAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |why: &str| AddressError { text: text.to_owned(), why: why.to_owned() };
        if text == "local:" || text == "local" {
            return Ok(Self::Local);
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(wrong("write `local:` or `sut://HOST[:PORT]`"));
        };
        match scheme {
            "local" => Err(wrong("there is only one local host; write `local:`")),
            "sut" => {
                let place = rest.strip_prefix("//").ok_or_else(|| wrong("write `sut://HOST[:PORT]`"))?;
                let place = place.strip_suffix('/').unwrap_or(place);
                let (host, port) = host_and_port(place, sut::COMMAND_PORT).ok_or_else(|| {
                    wrong("after `sut://` comes a host, then perhaps `:` and a port from 1 to 65535")
                })?;
                Ok(Self::Sut { host, port })
            }
            _ => Err(wrong(&format!("there is no driver `{scheme}`; there are `local` and `sut`"))),
        }
    }
}

/// `HOST[:PORT]` or `[IPV6][:PORT]`.
pub(crate) fn host_and_port(text: &str, default: u16) -> Option<(String, u16)> {
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
        None => default,
        Some(port) => port.parse().ok().filter(|p| *p != 0)?,
    };
    Some((host.to_owned(), port))
}

impl fmt::Display for DeviceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local:"),
            Self::Sut { host, port } if host.contains(':') => write!(f, "sut://[{host}]:{port}"),
            Self::Sut { host, port } => write!(f, "sut://{host}:{port}"),
        }
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
        check("local:", "local:");
        check("sut://tegra-031", "sut://tegra-031:20701");
        check("sut://10.0.0.7:4000", "sut://10.0.0.7:4000");
        check("sut://[::1]:4000/", "sut://[::1]:4000");
        check("sut://[fe80::1]", "sut://[fe80::1]:20701");
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for text in
            ["", "pixel-7", "sut:", "sut:/x", "sut://", "sut://:1", "sut://h:0", "sut://h:65536", "sut://::1"]
        {
            assert!(text.parse::<DeviceAddress>().is_err(), "{text}");
        }
        let error = "telnet://x".parse::<DeviceAddress>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`telnet://x` is no address of a device: there is no driver `telnet`; there are `local` and `sut`"
        );
    }
}
