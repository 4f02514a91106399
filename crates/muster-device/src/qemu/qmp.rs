//! What is said to a running QEMU, over its monitor.

use crate::until::Until;
use qapi::{Command, Qmp, Stream, qmp};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take; what is asked for is done at once.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Says one thing and returns the answer. QEMU hears one at a time.
pub(super) fn say<C: Command>(socket: &Path, command: &C, until: &Until) -> io::Result<C::Ok> {
    let stream = UnixStream::connect(socket)?;
    let limit = until.left().min(ANSWER_MAX).max(Duration::from_millis(1));
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    if reader.fill_buf()?.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "QEMU closed its monitor"));
    }
    let mut monitor = Qmp::new(Stream::new(reader, stream));
    monitor.handshake()?;
    Ok(monitor.execute(command)?)
}

/// A line of the monitor for people, and what it prints. For the few things that have no other way.
pub(super) fn line(socket: &Path, line: &str, until: &Until) -> io::Result<String> {
    say(socket, &qmp::human_monitor_command { cpu_index: None, command_line: line.to_owned() }, until)
}

/// The port of this host that leads into the guest, as `info usernet` tells it.
pub(super) fn forwarded_port(text: &str) -> Option<u16> {
    let line = text.lines().find(|line| line.contains("HOST_FORWARD"))?;
    line.split_whitespace().nth(3)?.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_found_in_what_the_monitor_prints() {
        let text = "Hub -1 (#net046):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  \
                    TCP[HOST_FORWARD]  11       127.0.0.1 35143       10.0.2.15 20701     0     0\r\n";
        assert_eq!(forwarded_port(text), Some(35143));
        assert_eq!(forwarded_port("Hub -1"), None);
    }
}
