//! Deliberate mistakes. Each breaks one promise, and the simulator must find every one: that proves that
//! its checkers look.

use muster_core::lab;

/// Something done wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mistake {
    /// Nothing: the world as it is meant.
    #[default]
    None,
    /// The lab decides wrongly.
    Lab(lab::Mistake),
    /// The store says that changes are recorded before they are: the shell acts, then commits.
    ActBeforeCommit,
    /// An agent that has lost the lab goes on with what it has.
    GoOnWithoutLab,
    /// An agent that begins again says that it is the session it was before.
    SessionUsedAgain,
    /// An agent forgets results when it has sent them, not when they are acknowledged.
    ForgetUnacknowledged,
    /// A host that stood still goes on without looking for how long.
    GoOnAfterSleep,
}

impl Mistake {
    /// Every mistake that many worlds show, with the name the simulator's command line has for it.
    /// [`lab::Mistake::TakeBackUnheard`] needs four messages in one order, and is left to the exhaustive
    /// small worlds.
    pub const ALL: [(&str, Self); 22] = [
        ("ignore-fence", Self::Lab(lab::Mistake::IgnoreFence)),
        ("ack-unseen", Self::Lab(lab::Mistake::AckUnseen)),
        ("forget-lost-units", Self::Lab(lab::Mistake::ForgetLostUnits)),
        ("count-twice", Self::Lab(lab::Mistake::CountTwice)),
        ("start-dependents-early", Self::Lab(lab::Mistake::StartDependentsEarly)),
        ("ignore-limits", Self::Lab(lab::Mistake::IgnoreLimits)),
        ("expire-early", Self::Lab(lab::Mistake::ExpireEarly)),
        ("never-expire", Self::Lab(lab::Mistake::NeverExpire)),
        ("send-once", Self::Lab(lab::Mistake::SendOnce)),
        ("act-before-commit", Self::ActBeforeCommit),
        ("go-on-without-lab", Self::GoOnWithoutLab),
        ("session-used-again", Self::SessionUsedAgain),
        ("forget-unacknowledged", Self::ForgetUnacknowledged),
        ("go-on-after-sleep", Self::GoOnAfterSleep),
        ("ignore-holds", Self::Lab(lab::Mistake::IgnoreHolds)),
        ("ignore-quarantine", Self::Lab(lab::Mistake::IgnoreQuarantine)),
        ("stale-labels", Self::Lab(lab::Mistake::StaleLabels)),
        ("half-gang", Self::Lab(lab::Mistake::HalfGang)),
        ("free-broken-gang", Self::Lab(lab::Mistake::FreeBrokenGang)),
        ("work-beside-checks", Self::Lab(lab::Mistake::WorkBesideChecks)),
        ("end-any-quarantine", Self::Lab(lab::Mistake::EndAnyQuarantine)),
        ("ignore-cool-down", Self::Lab(lab::Mistake::IgnoreCoolDown)),
    ];

    /// What of it the lab does.
    pub fn of_lab(self) -> lab::Mistake {
        match self {
            Self::Lab(mistake) => mistake,
            Self::None
            | Self::ActBeforeCommit
            | Self::GoOnWithoutLab
            | Self::SessionUsedAgain
            | Self::ForgetUnacknowledged
            | Self::GoOnAfterSleep => lab::Mistake::None,
        }
    }
}
