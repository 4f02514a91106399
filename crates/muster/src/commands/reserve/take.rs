//! Taking a device of a lab that will do, and giving it back.
//!
//! Of those that match, one that is free is taken, else one that runs something, and that is waited for; where all are
//! reserved by others, until one is not. Devices in quarantine are left alone as long as others match.

use crate::context::Context;
use crate::error::Complaint;
use crate::remote::{client, complain, need_server, whoever};
use muster_api::{Client, HoldDevice, RenewHold};
use muster_core::id::DeviceId;
use muster_core::lab::DeviceSelector;
use muster_core::outcome::ExitCode;
use muster_core::view::{DeviceState, DeviceView};
use std::fmt;
use std::io::Write as _;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How often it is looked whether a device is free.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is to be reserved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// The command that wants it, for what is said.
    pub(crate) command: &'a str,
    pub(crate) selector: &'a DeviceSelector,
    /// For how long from each use.
    pub(crate) long: Duration,
    /// Why, for those who wait for it.
    pub(crate) reason: &'a str,
    /// To be waited for.
    pub(crate) wait: bool,
}

/// A reservation, as it is told to those who use the device under it: `DEVICE:SECONDS:ID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reservation {
    pub(super) device: DeviceId,
    /// For how long each use keeps it.
    pub(super) seconds: u32,
    pub(super) id: String,
}

impl Reservation {
    fn new(device: DeviceId, long: Duration) -> Self {
        let seconds = u32::try_from(long.as_secs().max(1)).unwrap_or(u32::MAX);
        Self { device, seconds, id: uuid::Uuid::now_v7().simple().to_string() }
    }

    pub(super) fn long(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    pub(super) fn used(&self) -> RenewHold {
        RenewHold { id: self.id.clone(), seconds: self.seconds }
    }
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.device.0, self.seconds, self.id)
    }
}

impl FromStr for Reservation {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, ':');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).ok_or(());
        let (device, seconds) = (DeviceId(number()?), number()?);
        let id = parts.next().filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()));
        Ok(Self { device, seconds, id: id.ok_or(())?.to_owned() })
    }
}

/// A device that is reserved, and given back when this is dropped.
pub(crate) struct Held {
    pub(super) client: Client,
    pub(crate) device: DeviceView,
    pub(super) reservation: Reservation,
}

impl Held {
    /// What its driver is told.
    pub(crate) fn address(&self) -> &str {
        self.device.labels.get("address").map(String::as_str).unwrap_or_default()
    }

    /// It stays reserved.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It ends by itself, should this not arrive.
        let _unheard = self.client.give_back(self.device.id, &self.reservation.id);
    }
}

/// Reserves the best device that will do, and waits until nothing runs on it any more. `None` if that was stopped.
///
/// # Errors
/// There is none, or none that can be had.
pub(crate) fn take(
    wish: Wish<'_>,
    is_stopped: &mut dyn FnMut() -> bool,
    context: &Context,
) -> Result<Option<Held>, anyhow::Error> {
    let client = client(need_server(wish.command, context)?, context)?;
    let mut told = false;
    let held = loop {
        match try_take(wish, &client, context)? {
            Ok(held) => break held,
            Err(why) if !wish.wait => return Err(why.into()),
            Err(why) if !std::mem::replace(&mut told, true) => {
                // Whoever started it may have gone away.
                drop(writeln!(context.stderr(), "{why}; this waits until one is free"));
            }
            Err(_) => {}
        }
        if is_stopped() {
            return Ok(None);
        }
        std::thread::sleep(LOOK_EVERY);
    };
    if held.device.health.word == "quarantined" {
        drop(writeln!(context.stderr(), "{} is in quarantine, and nothing else matches", held.device.name));
    }
    let is_free = !wish.wait || wait_until_free(&held, is_stopped, context)?;
    Ok(is_free.then_some(held))
}

/// Reserves a device; the inner error says why none can be had before others give it back.
fn try_take(
    wish: Wish<'_>,
    client: &Client,
    context: &Context,
) -> Result<Result<Held, Complaint>, anyhow::Error> {
    let mut fitting = client.lab().map_err(complain)?.devices;
    let all = fitting.len();
    fitting.retain(|d| wish.selector.matches(&d.name, &d.host, &d.labels));
    let matching = fitting.len();
    if matching == 0 {
        let said = format!("none of the {all} devices of the lab matches `{}`", wish.selector.text());
        return Err(Complaint::new(ExitCode::Never, said)
            .hint(format!("`{} device list` shows them and their labels", context.program()))
            .into());
    }
    fitting.retain(|d| matches!(d.state, DeviceState::Idle | DeviceState::Busy));
    let cannot = |why: &str| format!("none of the {matching} devices that match can be had: {why}");
    if fitting.is_empty() {
        return Err(Complaint::lab(cannot("their agents are not there")).into());
    }
    let is_bad = |d: &DeviceView| d.health.word == "quarantined";
    if !fitting.iter().all(is_bad) {
        fitting.retain(|d| !is_bad(d));
    }
    fitting.sort_by_key(|d| (d.state != DeviceState::Idle, d.queued));
    // One that is held already, even by this person, is in use.
    for device in fitting.iter().filter(|d| d.hold.is_none()) {
        let reservation = Reservation::new(device.id, wish.long);
        let (reason, id) = (wish.reason.to_owned(), Some(reservation.id.clone()));
        let hold = HoldDevice { by: whoever(), reason, seconds: Some(reservation.seconds), id };
        // From now on it is given back whatever happens, also where only the answer was lost.
        let held = Held { client: client.clone(), device: device.clone(), reservation };
        match client.hold(device.id, Some(&hold)) {
            Ok(()) => return Ok(Ok(held)),
            // Somebody was faster.
            Err(e) if e.code() == Some("held") => {}
            Err(e) => return Err(complain(e)),
        }
    }
    let why = match fitting.iter().find_map(|d| Some((d, d.hold.as_ref()?))) {
        Some((device, hold)) => format!("`{}` is held by {}: {}", device.name, hold.by, hold.reason),
        None => "others were faster".to_owned(),
    };
    Ok(Err(Complaint::lab(cannot(&why))))
}

/// Waits until nothing runs on it any more; false if that was stopped.
fn wait_until_free(
    held: &Held,
    is_stopped: &mut dyn FnMut() -> bool,
    context: &Context,
) -> Result<bool, anyhow::Error> {
    let name = &held.device.name;
    let keep = || held.client.renew_hold(held.device.id, &held.reservation.used()).map_err(complain);
    let mut told = false;
    let mut kept = Instant::now();
    loop {
        let now = match held.client.device(held.device.id) {
            Ok(detail) => detail.device,
            Err(e) if e.code() == Some("no-such-device") => {
                return Err(Complaint::lab(format!("`{name}` has left the lab")).into());
            }
            Err(e) => return Err(complain(e)),
        };
        let Some(running) = now.running else {
            // Its time begins now.
            return if told { keep().map(|()| true) } else { Ok(true) };
        };
        if !std::mem::replace(&mut told, true) {
            drop(writeln!(context.stderr(), "{name} is yours when {running} has ended"));
        }
        if is_stopped() {
            return Ok(false);
        }
        // What is waited for may take longer than the reservation lasts.
        if kept.elapsed() >= held.reservation.long() / 3 {
            keep()?;
            kept = Instant::now();
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_told_to_those_who_use_it() {
        let made = Reservation::new(DeviceId(7), Duration::from_secs(90));
        assert_eq!(made.to_string().parse(), Ok(made.clone()));
        assert!(made.to_string().starts_with("7:90:"));
        for bad in ["", "7", "7:90", "7:90:", "x:90:a", "7:-1:a", "7:90:a/../b", "7:90:a?b"] {
            assert_eq!(bad.parse::<Reservation>(), Err(()), "{bad}");
        }
    }
}
