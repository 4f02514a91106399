//! What goes over the wire between command line, server and agents, and the client that sends it.
//!
//! Two languages. *JSON* for people and other programs: what a path under [`PREFIX`] answers, problem
//! documents, events. *CBOR* (RFC 8949) between Muster's own parts: the exchange, plans, the watch of a run;
//! it names its fields as JSON does, so that both sides may know more than the other, and holds bytes as they
//! are. A change that the other side of two versions ago cannot read gets another path.

mod about;
pub mod access;
mod client;
mod connect;
mod device;
mod keep;
mod lab_events;
mod package;
mod peer;
mod problem;
pub mod records;
mod run;
pub mod trust;

pub use about::About;
pub use client::{Client, ClientError, Heard, LivePiece, Watch};
pub use device::{Adopt, Announce, By, HoldDevice, RenewHold};
pub use keep::{CommentRun, ItemName, KillItems, LockRun, RemoveRun, SetResults};
pub use lab_events::{LabEvents, LabNews};
pub use package::{PackageName, PackagePublished, PackagesCollected, PackagesRemoved, PrunePackages};
pub use peer::{LENDERS_MAX, LENT_MAX, Lender, LenderAddress, Lends, LendsHeard, Needs, Peer, PeerError};
pub use problem::Problem;
pub use run::{
    Accepted, MoveRun, Outlook, PartOf, QueuePlace, Reopen, Reopened, Seen, SeenWhat, Stop, Submit, Why,
};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The header that says whether there is an output behind the one that was asked for.
pub const NEXT_PART: &str = "muster-next-part";
/// The header of an exchange's answer that lists the units whose outputs somebody looks at.
pub const WANTED: &str = "muster-wanted";
/// Where the interface begins.
pub const PREFIX: &str = "/api/v1";
/// What CBOR is called in headers.
pub const CBOR: &str = "application/cbor";
/// A sequence of CBOR items (RFC 8742).
pub const CBOR_SEQ: &str = "application/cbor-seq";
/// Where a server listens, and a client asks, if they are not told otherwise.
pub const DEFAULT_PORT: u16 = 7117;

/// Writes a message.
pub fn to_cbor<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("memory takes all, and our types have a form in CBOR");
    bytes
}

/// Reads a message.
///
/// # Errors
/// It is no such message.
pub fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    // Limit: depth, against a message that only nests.
    ciborium::de::from_reader_with_recursion_limit(bytes, 64).map_err(|e| e.to_string())
}
