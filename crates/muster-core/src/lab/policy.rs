//! The numbers the lab decides by.

use std::time::Duration;

/// Numbers the lab decides by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// An agent not heard of for this long has lost its devices. One that holds units is answered at
    /// least every quarter of this, so that it can tell in time that the lab may have lost it.
    pub lease: Duration,
    /// An agent not heard of for this long is suspected to be lost: nothing new is given to it, and nothing is
    /// taken from it.
    pub suspect: Duration,
    /// Attempts that fail by the lab's fault before an item is given up.
    pub lab_errors_max: u16,
    /// Agents that may be lost while they run an item, before it is given up: it may be what ends them.
    /// `None`: they are not counted.
    pub losses_max: Option<u16>,
    /// A device is given more while the work it has is expected to last less than this.
    pub low_water: Duration,
    /// A device is given one more behind a running one that is expected to last less than this.
    pub look_ahead: Duration,
    /// Units one device may have at once.
    pub units_max: usize,
    /// Device time that users have had counts half after this.
    pub share_half_life: Duration,
    /// A run that waits for so long counts as one priority higher, and one more for each such time. Zero: it
    /// does not age.
    pub ageing: Duration,
    /// Whether what happens in the lab as a whole is recorded for those who watch it.
    pub chronicle: bool,
    /// No devices will come beside those that are there: what needs others ends at once, as the lab's fault.
    pub closed: bool,
    /// Deliberate mistakes, to prove that the simulator finds them. [`Mistake::None`] outside its tests.
    pub mistake: Mistake,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            suspect: Duration::from_secs(6),
            lab_errors_max: 2,
            losses_max: Some(3),
            low_water: Duration::from_millis(30),
            look_ahead: Duration::from_millis(500),
            units_max: 256,
            share_half_life: Duration::from_secs(3600),
            ageing: Duration::from_secs(600),
            chronicle: false,
            closed: false,
            mistake: Mistake::None,
        }
    }
}

/// A deliberate mistake. Each breaks one promise; the simulator must find every one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mistake {
    /// None: the lab as it is meant.
    #[default]
    None,
    /// Results are taken whatever lease they come under.
    IgnoreFence,
    /// Results are acknowledged to an agent although they were not taken in.
    AckUnseen,
    /// Units of an agent that died are forgotten instead of being given out again.
    ForgetLostUnits,
    /// A result that was repeated counts again.
    CountTwice,
    /// A dependent starts when its prerequisite has begun, not ended.
    StartDependentsEarly,
    /// Groups, exclusive tests and jobs at once are not minded.
    IgnoreLimits,
    /// Devices are given away long before the agent that has them knows that it lost them.
    ExpireEarly,
    /// The devices of an agent that fell silent stay its own for ever.
    NeverExpire,
    /// Units asked back are given to others before the agent has heard that they were.
    TakeBackUnheard,
    /// A unit whose orders were lost is not sent again.
    SendOnce,
    /// Devices that people hold are given away.
    IgnoreHolds,
    /// Devices in quarantine are given away.
    IgnoreQuarantine,
    /// What devices are like is looked at once, and not again when it changes.
    StaleLabels,
    /// A gang gets what is free of its devices.
    HalfGang,
    /// The other devices of a gang that lost one are given away before its leader has let go.
    FreeBrokenGang,
    /// Devices that are being checked are given other work beside.
    WorkBesideChecks,
    /// A check that is passed ends a quarantine that only a person may end.
    EndAnyQuarantine,
    /// Repairs are tried again before they have cooled down.
    IgnoreCoolDown,
}
