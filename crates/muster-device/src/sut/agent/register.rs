//! Tells a server that the device is there, until the server says so too.

use super::Shared;
use crate::host::facts::{self, Own};
use crate::stream::Stream;
use crate::sut::announce::Announcement;
use std::sync::Arc;
use std::time::Duration;

/// How long the server has for its answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Between two attempts, at first and at most.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
// Limit: bytes a server may say without "ok".
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Registers. A server that is not there yet is tried again: a device that was up first must not stay
/// unknown.
pub(super) fn register(shared: &Arc<Shared>) {
    let Some((host, port)) = &shared.config.register else { return };
    let mut pause = PAUSE;
    while !attempt(shared, host, *port) {
        if shared.forever().sleep(pause).is_err() {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn attempt(shared: &Arc<Shared>, host: &str, port: u16) -> bool {
    let until = shared.within(ANSWER_MAX);
    let Ok(mut stream) = Stream::connect(host, port, &until) else { return false };
    let Ok(address) = stream.local_addr() else { return false };
    let config = &shared.config;
    let own = Own { id: config.id.as_deref(), since: shared.since, test_root: &config.test_root };
    let fact = |name| facts::one(name, &own).unwrap_or_default();
    let (width, height) = facts::screen().unwrap_or((0, 0));
    let announcement = Announcement {
        name: fact("id"),
        ip: address.ip().to_string(),
        command_port: shared.command_port,
        data_port: shared.data_port,
        os: fact("os"),
        screen: Some((width, height)),
        memory: Some(facts::memory_total()),
        hardware: config.hardware.clone(),
        pool: config.pool.clone(),
        more: vec![("ABI".to_owned(), fact("arch"))],
    };
    let line = format!("{announcement}\r\n");
    stream.send_all(line.as_bytes(), &until).is_ok() && says_ok(&mut stream, &until)
}

/// Whether a line with "ok" comes, or the other side ends having said something.
pub(super) fn says_ok(stream: &mut Stream, until: &crate::until::Until) -> bool {
    loop {
        let input = stream.input().to_ascii_lowercase();
        if input.windows(2).any(|w| w == b"ok") {
            return true;
        }
        if input.len() > ANSWER_BYTES_MAX {
            return false;
        }
        match stream.fill(until) {
            Ok(0) => return !stream.input().is_empty(),
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}
