//! What flags, the environment and the user's own file say, for areas that are not written in `muster.toml`.

use super::error::Complaints;
use super::gates::AreaGates;
use super::layers::{self, Read};
use super::limits::{LimitPlaces, merge};
use super::source::{Pos, Sources};
use super::test_defs::retries;
use super::{Layer, LoadContext};
use muster_core::definition::{AreaLimits, Retries};
use std::time::Duration;

/// What holds over, and where nothing is said under, what an area says itself.
pub(crate) struct Around {
    /// The texts, to which the area's own are added.
    pub(crate) sources: Sources,
    /// Limits of the user's file: they hold where the area says nothing.
    pub(crate) below: (AreaLimits, LimitPlaces),
    /// Limits of environment and flags: they hold over the area's.
    pub(crate) above: (AreaLimits, LimitPlaces),
    /// What must hold before any test starts, of all of these.
    pub(crate) gates: AreaGates,
    /// Retries of every test, in place of its own.
    pub(crate) retries: Option<(Retries, Pos)>,
    /// Hard limit of every test, in place of its own.
    pub(crate) timeout: Option<(Option<Duration>, Pos)>,
    /// Variables for every test.
    pub(crate) env: Vec<(String, String, Pos)>,
}

/// Reads the layers that are not the area's own.
pub(crate) fn read(layers: &[Layer<'_>], context: &LoadContext<'_>, complaints: &mut Complaints) -> Around {
    let read = layers::read(layers, context, complaints);
    let overrides = || read.above.iter().rev().filter_map(|f| f.overrides.as_ref()).map(|o| &o.value);
    let limits = |files: &[super::file::File]| {
        let all: Vec<_> = files.iter().rev().filter_map(|f| f.limits.as_ref()).map(|l| &l.value).collect();
        merge(&all)
    };
    let all = read.above.iter().rev().chain(read.user.iter().rev());
    let all: Vec<_> = all.filter_map(|f| f.limits.as_ref()).map(|l| &l.value).collect();
    let env = read.above.iter().filter_map(|f| f.env.as_ref()).flat_map(|e| &e.value.0);
    let env = env.map(|(key, value)| (key.value.clone(), value.value.0.clone(), value.pos)).collect();
    let around = Around {
        below: limits(&read.user),
        above: limits(&read.above),
        gates: AreaGates::merge(&all, &mut LimitPlaces::new(), complaints),
        retries: overrides().find_map(|o| o.retries.as_ref()).map(|r| (retries(r), r.pos)),
        timeout: overrides().find_map(|o| o.timeout.as_ref()).map(|t| (t.value.0, t.pos)),
        env,
        sources: Sources::default(),
    };
    let Read { sources, .. } = read;
    Around { sources, ..around }
}
