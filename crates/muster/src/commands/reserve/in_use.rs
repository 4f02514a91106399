//! A device while it is used under a reservation: each use keeps the reservation, and where that ends all the same
//! (a person gave the device back, or the server was not heard for too long), the use is cut off.
//!
//! A program that has a reserved device finds in `MUSTER_RESERVATION` which. The commands of `muster device` look there.

use super::lease::{ASK_EVERY, Lease};
use super::take::{Held, Reservation};
use crate::context::Context;
use crate::error::Complaint;
use crate::remote::{client, complain};
use muster_api::{Client, ClientError};
use muster_device::Cancel;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// The variable that tells of a reservation.
pub(super) const RESERVATION: &str = "MUSTER_RESERVATION";

/// A use, for as long as this lives.
pub(crate) struct InUse {
    name: String,
    over: Arc<OnceLock<&'static str>>,
    /// Its end is that of the thread that keeps the reservation.
    _until: Sender<()>,
    /// Given back when the use has ended, where it was reserved for this alone.
    _own: Option<Held>,
}

impl InUse {
    /// The use under the reservation that this process has been given, if it has.
    ///
    /// # Errors
    /// It is over.
    pub(crate) fn given(cancel: &Cancel, context: &Context) -> Result<Option<Self>, anyhow::Error> {
        let (Ok(said), Some(server)) = (std::env::var(RESERVATION), &context.server) else { return Ok(None) };
        let Ok(reservation) = said.parse::<Reservation>() else {
            return Err(
                Complaint::usage(format!("{RESERVATION} says `{said}`, which is no reservation")).into()
            );
        };
        let client = client(server, context)?;
        match client.renew_hold(reservation.device, &reservation.used()) {
            Err(ClientError::Refused(problem)) if problem.code == "reservation-over" => {
                return Err(Complaint::lab(problem.detail).hint(problem.next).into());
            }
            Err(e @ ClientError::Refused(_)) => return Err(complain(e)),
            // A server that is away takes nothing from anybody.
            Ok(()) | Err(_) => {}
        }
        let name = std::env::var("MUSTER_DEVICE").unwrap_or_else(|_| "the device".to_owned());
        Ok(Some(Self::begin(name, client, reservation, None, cancel)))
    }

    /// The use of a device that was reserved for it.
    pub(crate) fn own(held: Held, cancel: &Cancel) -> Self {
        let (name, client) = (held.device.name.clone(), held.client.clone());
        let reservation = held.reservation.clone();
        Self::begin(name, client, reservation, Some(held), cancel)
    }

    fn begin(
        name: String,
        client: Client,
        reservation: Reservation,
        own: Option<Held>,
        cancel: &Cancel,
    ) -> Self {
        let over = Arc::new(OnceLock::new());
        let (until, ended) = channel();
        let (said, cancel) = (Arc::clone(&over), cancel.clone());
        // It ends with the use, or with the program.
        std::thread::spawn(move || keep(&client, &reservation, &ended, &said, &cancel));
        Self { name, over, _until: until, _own: own }
    }

    /// What there is to say if the use was cut off because the reservation has ended.
    pub(crate) fn cut(&self) -> Option<Complaint> {
        let why = self.over.get()?;
        Some(Complaint::lab(format!("the reservation of {} is over: {why}", self.name)))
    }
}

/// Keeps the reservation until the use has ended, or ends the use with the reservation.
fn keep(
    client: &Client,
    reservation: &Reservation,
    ended: &Receiver<()>,
    said: &OnceLock<&'static str>,
    cancel: &Cancel,
) {
    let every = reservation.long() / 3;
    let mut lease = Lease::new(client, reservation);
    let mut kept = Instant::now();
    while ended.recv_timeout(ASK_EVERY.min(every)) == Err(RecvTimeoutError::Timeout) {
        if kept.elapsed() >= every && client.renew_hold(reservation.device, &reservation.used()).is_ok() {
            kept = Instant::now();
            lease.kept();
        }
        if let Some(why) = lease.over() {
            // Only this says it.
            let _said = said.set(why);
            cancel.cancel();
            return;
        }
    }
}
