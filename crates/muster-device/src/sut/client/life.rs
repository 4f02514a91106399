//! Facts, packages, the screen, and the reboot.

use super::link::Link;
use super::{Client, Wrong};
use crate::device::{Captured, Command, Exec as _, Exit, Files as _};
use crate::error::DeviceError;
use crate::stream::Stream;
use crate::sut::CALL_BACK_FILE;
use crate::until::{Ended, Until};
use rustix::event::{PollFd, PollFlags};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// What every agent is asked for, in this order.
const FACTS: [&str; 13] = [
    "os",
    "id",
    "uptime",
    "uptimemillis",
    "systime",
    "screen",
    "rotation",
    "memory",
    "disk",
    "power",
    "temperature",
    "sutuserinfo",
    "arch",
];

pub(super) fn info_all(link: &mut Link, until: &Until) -> Result<Vec<(String, String)>, Wrong> {
    let version = link.text("ver", until)?;
    let mut all = vec![("agent".to_owned(), version)];
    for name in FACTS {
        match link.text(&format!("info {name}"), until) {
            Ok(value) if value.is_empty() => {}
            Ok(value) => all.push((name.to_owned(), value)),
            Err(Wrong::Warning(_)) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(all)
}

pub(super) fn info_one(link: &mut Link, name: &str, until: &Until) -> Result<String, Wrong> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(DeviceError::Senseless { what: format!("`{name}` is no name of a fact") }.into());
    }
    let line = if name == "agent" { "ver".to_owned() } else { format!("info {name}") };
    match link.text(&line, until)? {
        value if value.is_empty() => Err(Wrong::Warning("it knows nothing under this name".to_owned())),
        value => Ok(value),
    }
}

/// How long a device may take between the order to reboot and the beginning of it.
const GOING_DOWN_MAX: Duration = Duration::from_secs(120);
/// Between two looks whether it is back.
const LOOK: Duration = Duration::from_millis(500);

/// How it is known that a device has been restarted.
struct Watch {
    listener: Option<TcpListener>,
    /// How long it had been up before, in milliseconds.
    uptime: Option<u64>,
    began: std::time::Instant,
}

impl Client {
    pub(super) fn reboot_and_wait(&self, until: &Until) -> Result<(), DeviceError> {
        let mut watch = self.with("rebooting", until, |link| {
            let uptime = uptime(link, until)?;
            let ip = self.call_back_ip.or_else(|| link.local_ip().ok());
            let listener = ip.and_then(|ip| TcpListener::bind(SocketAddr::new(ip, 0)).ok());
            let address = listener.as_ref().and_then(|l| l.local_addr().ok());
            let mut line = "rebt".to_owned();
            if let Some(address) = address {
                let text = format!("{},{}\rrebooting\r", address.ip(), address.port());
                link.say(&format!("push {CALL_BACK_FILE} {}", text.len()), until)?;
                link.begin();
                link.stream.send_all(text.as_bytes(), until)?;
                match link.answer(until) {
                    Ok(_) => line = format!("rebt {} {}", address.ip(), address.port()),
                    // It cannot call back. It is still seen when it comes back.
                    Err(Wrong::Warning(_)) => {}
                    Err(other) => return Err(other),
                }
            }
            link.last_words(&line, until)?;
            Ok(Watch { listener, uptime, began: std::time::Instant::now() })
        })?;
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        idle.clear();
        drop(idle);
        let told = |wrong| self.told("waiting for it after a reboot", until, wrong);
        self.wait_for_restart(&mut watch, until).map_err(told)
    }

    /// Waits for the first sign of a restart, and then until it answers.
    fn wait_for_restart(&self, watch: &mut Watch, until: &Until) -> Result<(), Wrong> {
        let mut restarted = false;
        loop {
            if let Some(listener) = &watch.listener
                && called_back(listener, until)?
            {
                restarted = true;
            }
            match Link::open(&self.host, self.port, &until.at_most(Duration::from_secs(10))) {
                Ok(mut link) => {
                    let now = uptime(&mut link, until).unwrap_or(None);
                    let since = u64::try_from(watch.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                    let younger = watch
                        .uptime
                        .zip(now)
                        .is_some_and(|(before, now)| now < before.saturating_add(since) / 2);
                    if restarted || younger {
                        return Ok(());
                    }
                    if watch.began.elapsed() > GOING_DOWN_MAX {
                        let why = "it was told to reboot and goes on as before";
                        return Err(Wrong::Warning(why.to_owned()));
                    }
                }
                // It is down: whoever answers next has been restarted.
                Err(_) => restarted = true,
            }
            until.check()?;
            let mut fds: Vec<PollFd<'_>> =
                watch.listener.iter().map(|l| PollFd::new(l, PollFlags::IN)).collect();
            match until.at_most(LOOK).poll(&mut fds) {
                Ok(()) | Err(Ended::Deadline) => {}
                Err(other) => return Err(other.into()),
            }
        }
    }

    pub(super) fn take_screenshot(&self, until: &Until) -> Result<Vec<u8>, DeviceError> {
        let root = self.test_root(until)?;
        let file = format!("{root}/.muster-screen-{}.png", std::process::id());
        let line = format!(
            "if [ -x /system/bin/screencap ]; then exec /system/bin/screencap -p {file}; fi
             if command -v grim >/dev/null; then exec grim {file}; fi
             if command -v import >/dev/null; then exec import -window root png:{file}; fi
             if command -v scrot >/dev/null; then exec scrot -o {file}; fi
             exit 97"
        );
        let mut said = Captured::default();
        let exit = self.run(&Command::shell(&line), &mut said, until)?;
        match exit {
            Exit::Code(0) => {}
            Exit::Code(97) => {
                let why = "it has none of `screencap`, `grim`, `import` and `scrot`";
                return Err(self.unsupported("take a screenshot", why));
            }
            _ => {
                let said = [said.stdout, said.stderr].concat();
                let said = String::from_utf8_lossy(&said).trim().to_owned();
                let doing = "taking a screenshot".to_owned();
                return Err(DeviceError::Refused { device: self.address.clone(), doing, said });
            }
        }
        let mut png = Vec::new();
        let pulled = self.pull(&file, 0, &mut png, until);
        // It is overwritten by the next one.
        drop(self.remove(&file, until));
        pulled?;
        if png.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Ok(png);
        }
        let (doing, what) = ("taking a screenshot".to_owned(), "the picture is no PNG file".to_owned());
        Err(DeviceError::Protocol { device: self.address.clone(), doing, what })
    }

    pub(super) fn install_by(&self, link: &mut Link, path: &str, until: &Until) -> Result<(), Wrong> {
        let text = link.text(&format!("inst {}", self.one_word(link, path)?), until)?;
        if text.contains("installation complete [0]") { Ok(()) } else { Err(Wrong::Warning(short(&text))) }
    }

    pub(super) fn uninstall_by(&self, link: &mut Link, name: &str, until: &Until) -> Result<(), Wrong> {
        let text = link.text(&format!("uninstall {}", self.one_word(link, name)?), until)?;
        let first = text.lines().next().unwrap_or_default().trim();
        if first == "Success" { Ok(()) } else { Err(Wrong::Warning(short(&text))) }
    }

    fn one_word(&self, link: &Link, word: &str) -> Result<String, Wrong> {
        let plain = !word.is_empty()
            && !word.contains(|c: char| c.is_whitespace() || c.is_control() || "'\"\\".contains(c));
        if plain {
            return Ok(word.to_owned());
        }
        let quoted = link.variant().knows_quotes().then(|| crate::sut::words::quote(word)).flatten();
        let quoted = quoted.filter(|_| !word.contains('\\'));
        quoted.ok_or_else(|| {
            let why = "its agent takes no blanks, quotes or backslashes there";
            self.unsupported(format!("take `{word}`"), why).into()
        })
    }
}

/// What a package manager said, in a line.
fn short(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let mut lines: Vec<&str> = lines.into_iter().take(6).collect();
    lines.dedup();
    lines.join("; ")
}

fn uptime(link: &mut Link, until: &Until) -> Result<Option<u64>, Wrong> {
    match link.text("info uptimemillis", until) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(Wrong::Warning(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Whether the device has called, and if so, an answer for it.
fn called_back(listener: &TcpListener, until: &Until) -> Result<bool, Wrong> {
    let mut fds = vec![PollFd::new(listener, PollFlags::IN)];
    match until.at_most(Duration::ZERO).poll(&mut fds) {
        Ok(()) => {}
        Err(Ended::Deadline) if !until.left().is_zero() => return Ok(false),
        Err(other) => return Err(other.into()),
    }
    let Ok((tcp, _)) = listener.accept() else { return Ok(false) };
    let Ok(mut stream) = Stream::new(tcp) else { return Ok(false) };
    let short = until.at_most(Duration::from_secs(10));
    // Whatever it says is good enough; silence is somebody else.
    if matches!(stream.fill(&short), Ok(n) if n > 0) {
        drop(stream.send_all(b"OK\r\n", &short));
        stream.finish();
        return Ok(true);
    }
    Ok(false)
}
