//! Inputs that cannot be taken, and why.

use crate::definition::NeededDevices;
use crate::expr::ExprError;
use crate::id::{DeviceId, RunId, SessionId};
use crate::plan::PlanError;

/// An input that cannot be taken. The lab is as it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Rejected {
    /// No such run is active.
    #[error("no run `{0}` is active")]
    NoSuchRun(RunId),
    /// A run cannot be put before itself.
    #[error("run `{0}` cannot be put before itself")]
    BeforeItself(RunId),
    /// The run exists already; asking twice changes nothing.
    #[error("run `{0}` exists already")]
    RunExists(RunId),
    /// The run's plan cannot be used.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No such device is known.
    #[error("no device `{0}` is known")]
    NoSuchDevice(DeviceId),
    /// Somebody else has the device.
    #[error("`{device}` is held by {by}: {reason}")]
    Held {
        /// Its name.
        device: String,
        /// Who has it.
        by: String,
        /// Why.
        reason: String,
    },
    /// A reservation has ended, or was taken away.
    #[error("the reservation of {device} is over: {}", .by.as_deref().map_or("nobody has it".to_owned(), |by| format!("{by} has it")))]
    ReservationOver {
        /// The device's name.
        device: String,
        /// Who has it now.
        by: Option<String>,
    },
    /// The check is not wanted (any more).
    #[error("no check of `{0}` is due")]
    NoCheckDue(String),
    /// No such device was added or proposed.
    #[error("no device `{name}` was added to or proposed for `{host}`")]
    NotRegistered {
        /// The host.
        host: String,
        /// The name.
        name: String,
    },
    /// More devices were proposed than are kept.
    #[error("{0} devices are proposed already")]
    TooManyProposals(usize),
    /// Nobody has said how to check it.
    #[error("`{0}` is of no kind that has a verifier")]
    NoVerifier(String),
    /// The run's selector is none.
    #[error("the selector `{selector}` cannot be used: {error}")]
    Selector {
        /// As it was given.
        selector: String,
        /// What is wrong with it.
        error: ExprError,
    },
    /// A test needs more devices at once than can be given.
    #[error("a test needs {0} devices at once, more than the {max} allowed", max = NeededDevices::MAX)]
    TooManyDevices(usize),
    /// An exchange of a session that is over: a later one of the agent has spoken, or this one said goodbye.
    #[error("session `{session}` of this agent is over")]
    Replaced {
        /// The session.
        session: SessionId,
    },
    /// An exchange that was heard before, or one older than what was heard since.
    #[error("stale exchange {seq} of session `{session}`")]
    Stale {
        /// Its session.
        session: SessionId,
        /// Its number.
        seq: u64,
    },
}

impl Rejected {
    /// The stable code of this rejection.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchRun(_) => "no-such-run",
            Self::BeforeItself(_) => "before-itself",
            Self::RunExists(_) => "run-exists",
            Self::Plan(_) | Self::TooManyDevices(_) => "bad-plan",
            Self::NoSuchDevice(_) => "no-such-device",
            Self::Held { .. } => "held",
            Self::ReservationOver { .. } => "reservation-over",
            Self::NoCheckDue(_) => "no-check-due",
            Self::NoVerifier(_) => "no-verifier",
            Self::NotRegistered { .. } => "not-registered",
            Self::TooManyProposals(_) => "too-many-proposals",
            Self::Selector { .. } => "bad-selector",

            Self::Replaced { .. } => "agent-replaced",
            Self::Stale { .. } => "stale-exchange",
        }
    }
}
