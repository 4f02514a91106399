//! What must hold before an attempt starts, of what areas and tests say in the same words: hours, free space on
//! disks, a command that is asked. What an area says holds for each of its tests, besides what the test says.

use super::decode::printable;
use super::error::Complaints;
use super::file::{LimitKeys, LimiterValue, NeedKeys, Positive};
use super::limits::LimitPlaces;
use super::resolve::Resolver;
use super::scalar::{OneOrMore, Size};
use super::source::{At, Pos};
use muster_core::definition::{Limiter, Needs};
use muster_core::hours::Hours;
use std::collections::BTreeMap;

/// How hours are written, for those who wrote them otherwise.
pub(crate) const HOURS_HINT: &str =
    "days, hours or both: \"Mon-Fri 19:00-07:00\", \"Sat,Sun\", \"22:00-06:00\"; several are a list";

/// What holds for each test of an area.
#[derive(Clone, Debug, Default)]
pub(crate) struct AreaGates {
    hours: Option<Hours>,
    disks: BTreeMap<String, u64>,
    limiter: Option<Limiter>,
    /// Where the first of it is written.
    pub(crate) pos: Option<Pos>,
}

impl AreaGates {
    /// Merges limits; the first of the list wins, disks one by one.
    pub(super) fn merge(
        layers: &[&LimitKeys],
        places: &mut LimitPlaces,
        complaints: &mut Complaints,
    ) -> Self {
        let window = layers.iter().find_map(|l| l.window.as_ref());
        let limiter = layers.iter().find_map(|l| l.limiter.as_ref());
        let mut all = Self {
            hours: window.and_then(|w| hours(&w.value, complaints)),
            limiter: limiter.and_then(|l| self::limiter(l, complaints)),
            ..Self::default()
        };
        places.extend(window.map(|w| ("window".to_owned(), w.pos)));
        places.extend(limiter.map(|l| ("launch-limiter".to_owned(), l.pos)));
        let mut first = window.map(|w| w.pos).or(limiter.map(|l| l.pos));
        for (path, size) in layers.iter().filter_map(|l| l.disk.as_ref()).flat_map(|d| &d.value.0) {
            if !all.disks.contains_key(&path.value) {
                places.push((format!("disk.{}", path.value), size.pos));
                first = first.or(Some(size.pos));
            }
            all.disks.entry(path.value.clone()).or_insert(size.value.0);
        }
        all.pos = first;
        all
    }

    /// Lets it hold for a test too.
    pub(crate) fn hold_for(&self, needs: &mut Needs) {
        let other = |hours: &&Hours| !needs.hours.contains(*hours);
        let hours = self.hours.iter().find(other).cloned();
        needs.hours.extend(hours);
        for (path, min) in &self.disks {
            let own = needs.disks.entry(path.clone()).or_default();
            *own = (*own).max(*min);
        }
        if needs.limiter.is_none() {
            needs.limiter.clone_from(&self.limiter);
        }
    }
}

/// Hours of the week; `None` after having complained.
fn hours(texts: &OneOrMore<String>, complaints: &mut Complaints) -> Option<Hours> {
    let before = complaints.has_errors();
    for text in &texts.0 {
        if let Err(why) = Hours::parse([text.as_str()]) {
            complaints.error(text.pos, printable(&why)).hint(HOURS_HINT);
        }
    }
    let all = Hours::parse(texts.0.iter().map(|text| text.as_str()));
    all.ok().filter(|_| before || !complaints.has_errors())
}

fn limiter(value: &At<LimiterValue>, complaints: &mut Complaints) -> Option<Limiter> {
    match &value.value {
        LimiterValue::Command(command) => Some(Limiter::new(command.clone())),
        LimiterValue::Table(keys) => {
            let Some(command) = &keys.command else {
                complaints
                    .error(value.pos, "this has no `command`")
                    .hint("`{ command = \"bin/may-launch\", every = \"1m\" }`");
                return None;
            };
            let usual = Limiter::new(command.value.clone());
            let every = keys.every.as_ref().map_or(usual.every, |e| e.value.0);
            let timeout = keys.timeout.as_ref().map_or(usual.timeout, |t| t.value.0);
            Some(Limiter { every, timeout, ..usual })
        }
    }
}

impl Resolver<'_, '_> {
    /// What a test says of hours, disks, tokens and whom to ask.
    pub(super) fn gates(&mut self, keys: &NeedKeys, needs: &mut Needs) {
        needs.hours.extend(keys.window.as_ref().and_then(|w| hours(&w.value, self.complaints)));
        let disks = keys.disk.iter().flat_map(|d| &d.value.0);
        needs
            .disks
            .extend(disks.map(|(path, size): &(At<String>, At<Size>)| (path.value.clone(), size.value.0)));
        needs.limiter = keys.limiter.as_ref().and_then(|l| limiter(l, self.complaints));
        for (token, n) in keys.tokens.iter().flat_map(|t| &t.value.0) {
            self.token(token, n, needs);
        }
    }

    fn token(&mut self, token: &At<String>, n: &At<Positive>, needs: &mut Needs) {
        let takes = n.value.0;
        match self.tokens.get(&token.value).copied() {
            None => {
                let known: Vec<String> = self.tokens.keys().cloned().collect();
                let message = format!("no token is named `{}`", printable(token));
                self.unknown(token.pos, message, token, known.iter().map(String::as_str));
                if known.is_empty() {
                    self.complaints.last_hint("`[limits.tokens]` says how many there are of a name");
                }
            }
            Some(max) if takes > max => {
                let message = format!("it takes {takes} tokens `{}`, and there are {max}", printable(token));
                self.complaints.error(n.pos, message).hint("it could never start");
            }
            Some(_) => drop(needs.tokens.insert(token.value.clone(), takes)),
        }
    }
}
