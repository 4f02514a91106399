//! What can go wrong with a device, and whose fault it is.

use crate::until::{Ended, Until};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Whose fault an error is. The lab's says nothing about what was tested, and is worth another try,
/// perhaps on another device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device, the way to it, or this host.
    Lab,
    /// Of whoever asked: a file that is not there, a word the device does not know.
    Asker,
}

/// A call that did not do what it should. Each names the device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// Nobody answers there.
    #[error("device `{device}` cannot be reached")]
    Unreachable {
        /// The device's address.
        device: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The connection ended in the middle of a call.
    #[error("device `{device}` went away while {doing}")]
    Lost {
        /// The device's address.
        device: String,
        /// What was being done, as in "listing `/tmp`".
        doing: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The device answered what it should not.
    #[error("device `{device}` answered something else than expected while {doing}: {what}")]
    Protocol {
        /// The device's address.
        device: String,
        /// What was being done.
        doing: String,
        /// What was wrong with the answer.
        what: String,
    },
    /// The device took longer than it was given. Not the time limit of a command, which is a
    /// [`Limit`](crate::Exit::TimeLimit).
    #[error("device `{device}` was not done within {} while {doing}", human(*.given))]
    Timeout {
        /// The device's address.
        device: String,
        /// What was being done.
        doing: String,
        /// How long it was given.
        given: Duration,
    },
    /// The call was cancelled.
    #[error("{doing} on device `{device}` was cancelled")]
    Cancelled {
        /// The device's address.
        device: String,
        /// What was being done.
        doing: String,
    },
    /// No room is left on the device.
    #[error("no space is left on device `{device}` for `{path}`")]
    Full {
        /// The device's address.
        device: String,
        /// The path there.
        path: String,
    },
    /// What arrived is not what was sent.
    #[error("`{path}` was damaged on its way to or from device `{device}`: {what}")]
    Damaged {
        /// The device's address.
        device: String,
        /// The path on the device.
        path: String,
        /// Both digests or sizes.
        what: String,
    },
    /// A file of this host.
    #[error("cannot {doing} `{}`", .path.display())]
    Here {
        /// What was being done: `read`, `create`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Whoever takes the output does so no more.
    #[error("what device `{device}` said could not be passed on")]
    Output {
        /// The device's address.
        device: String,
        /// The sink's answer.
        source: io::Error,
    },
    /// There is no such file or directory on the device.
    #[error("there is no `{path}` on device `{device}`")]
    NotFound {
        /// The device's address.
        device: String,
        /// The path there.
        path: String,
    },
    /// The device understood and said no.
    #[error("device `{device}` refused {doing}: {said}")]
    Refused {
        /// The device's address.
        device: String,
        /// What was being done.
        doing: String,
        /// The device's words.
        said: String,
    },
    /// The driver, or this device by it, cannot do this at all.
    #[error("the `{driver}` driver cannot {what} on device `{device}`: {why}")]
    Unsupported {
        /// The driver.
        driver: &'static str,
        /// The device's address.
        device: String,
        /// What it cannot do, as in "reboot".
        what: String,
        /// Why not.
        why: String,
    },
    /// What was asked makes no sense on any device, or not on one of this kind: a path with a line break.
    #[error("{what}")]
    Senseless {
        /// What, and why not.
        what: String,
    },
}

impl DeviceError {
    /// A call that was ended, or whose connection was.
    pub(crate) fn ended(device: &str, doing: &str, ended: Ended, until: &Until) -> Self {
        let (device, doing) = (device.to_owned(), doing.to_owned());
        match ended {
            Ended::Deadline => Self::Timeout { device, doing, given: until.given() },
            Ended::Cancelled => Self::Cancelled { device, doing },
            Ended::Io(source) => Self::Lost { device, doing, source },
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::Protocol { .. }
            | Self::Timeout { .. }
            | Self::Cancelled { .. }
            | Self::Full { .. }
            | Self::Damaged { .. }
            | Self::Output { .. } => Fault::Lab,
            Self::Here { .. }
            | Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::Unsupported { .. }
            | Self::Senseless { .. } => Fault::Asker,
        }
    }

    /// A word that does not change, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Lost { .. } => "lost",
            Self::Protocol { .. } => "protocol",
            Self::Timeout { .. } => "timeout",
            Self::Cancelled { .. } => "cancelled",
            Self::Full { .. } => "full",
            Self::Damaged { .. } => "damaged",
            Self::Here { .. } => "here",
            Self::Output { .. } => "output",
            Self::NotFound { .. } => "not-found",
            Self::Refused { .. } => "refused",
            Self::Unsupported { .. } => "unsupported",
            Self::Senseless { .. } => "senseless",
        }
    }
}

fn human(duration: Duration) -> String {
    if duration.subsec_millis() == 0 || duration.as_secs() >= 10 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
