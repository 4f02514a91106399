//! After a reboot: calls back whoever asked for it.
//!
//! The file that tells whom is written by the client before the reboot and by the agent when it reboots;
//! its first line is `IP,PORT`, the rest is what to say.

use super::{Shared, register, system};
use crate::stream::Stream;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(30);
/// Between two calls.
const PAUSE: Duration = Duration::from_secs(2);
// Limit: calls. The network may come up later than the agent; whoever asked waits ten minutes.
const CALLS_MAX: u32 = 120;

/// Calls back, if there is anybody.
pub(super) fn call(shared: &Arc<Shared>) {
    let file = system::call_back_file(shared);
    let Ok(text) = std::fs::read(&file) else { return };
    let Some((address, text)) = parse(&text) else {
        drop(std::fs::remove_file(&file));
        return;
    };
    if shared.forever().sleep(shared.config.settle).is_err() {
        // Stopped before it was time: the file stays for the next start.
        return;
    }
    for _ in 0..CALLS_MAX {
        if tell(shared, address, &text) {
            break;
        }
        if shared.forever().sleep(PAUSE).is_err() {
            return;
        }
    }
    drop(std::fs::remove_file(&file));
}

fn tell(shared: &Arc<Shared>, address: SocketAddr, text: &[u8]) -> bool {
    let until = shared.within(CALL_MAX);
    let Ok(mut stream) = Stream::connect(&address.ip().to_string(), address.port(), &until) else {
        return false;
    };
    let mut text = text.to_vec();
    text.extend_from_slice(b"\r\n");
    stream.send_all(&text, &until).is_ok() && register::says_ok(&mut stream, &until)
}

/// `IP,PORT`, the end of a line, and what to say.
fn parse(text: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
    let end = text.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(text.len());
    let (ip, port) = std::str::from_utf8(&text[..end]).ok()?.split_once(',')?;
    let (ip, port): (IpAddr, u16) = (ip.trim().parse().ok()?, port.trim().parse().ok()?);
    let rest = text[end..].trim_ascii();
    Some((SocketAddr::new(ip, port), if rest.is_empty() { b"rebooted".to_vec() } else { rest.to_vec() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_tells_whom_to_call_and_what_to_say() {
        let parsed = parse(b"10.0.0.1,4242\rrebooting\r").unwrap();
        assert_eq!(parsed, ("10.0.0.1:4242".parse().unwrap(), b"rebooting".to_vec()));
        assert_eq!(parse(b"10.0.0.1,4242").unwrap().1, b"rebooted");
        for text in [&b""[..], b"x", b"host,1\r", b"10.0.0.1\r", b"10.0.0.1,99999\r", b"\xff,1"] {
            assert_eq!(parse(text), None);
        }
    }
}
