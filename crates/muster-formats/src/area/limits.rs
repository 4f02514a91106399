//! Names, and the area's limits.

use super::decode::printable;
use super::error::Complaints;
use super::file::LimitKeys;
use super::source::{At, Pos};
use muster_core::definition::AreaLimits;
use std::collections::BTreeMap;

/// Where each limit was written.
pub(crate) type LimitPlaces = Vec<(String, Pos)>;

/// Merges limits; the first of the list wins, groups one by one.
pub(super) fn merge(layers: &[&LimitKeys]) -> (AreaLimits, LimitPlaces) {
    let mut places = LimitPlaces::new();
    let mut place = |key: &str, pos: Option<Pos>| places.extend(pos.map(|pos| (key.to_owned(), pos)));
    let jobs = layers.iter().find_map(|l| l.jobs.as_ref());
    let load = layers.iter().find_map(|l| l.load.as_ref());
    let disk_free = layers.iter().find_map(|l| l.disk_free.as_ref());
    let run_timeout = layers.iter().find_map(|l| l.run_timeout.as_ref());
    place("jobs", jobs.map(|a| a.pos));
    place("load", load.map(|a| a.pos));
    place("disk-free", disk_free.map(|a| a.pos));
    place("run-timeout", run_timeout.map(|a| a.pos));
    let mut groups = BTreeMap::new();
    for (name, count) in layers.iter().filter_map(|l| l.groups.as_ref()).flat_map(|g| &g.value.0) {
        if !groups.contains_key(&name.value) {
            groups.insert(name.value.clone(), count.value.0);
            place(&format!("groups.{}", name.value), Some(count.pos));
        }
    }
    let mut tokens = BTreeMap::new();
    for (name, count) in layers.iter().filter_map(|l| l.tokens.as_ref()).flat_map(|t| &t.value.0) {
        if !tokens.contains_key(&name.value) {
            tokens.insert(name.value.clone(), count.value.0);
            place(&format!("tokens.{}", name.value), Some(count.pos));
        }
    }
    let timezone = layers.iter().find_map(|l| l.timezone.as_ref());
    place("timezone", timezone.map(|t| t.pos));
    let limits = AreaLimits {
        jobs: jobs.map(|j| j.value.0),
        // Each run of an area of Muster's own has the jobs that it is asked for with.
        jobs_of_all_runs: None,
        groups,
        tokens,
        timezone: timezone.map(|t| t.value.clone()),
        load_max: load.map(|l| l.value.0),
        disk_free_bytes_min: disk_free.map_or(0, |d| d.value.0),
        run_timeout: run_timeout.and_then(|t| t.value.0),
    };
    (limits, places)
}

/// Why a text cannot be the name of an area, test or suite.
pub(crate) fn wrong_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > 200 {
        return Some("it is longer than 200 bytes");
    }
    if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some("it has blanks or control characters");
    }
    if name.contains(['/', '#', ',']) {
        return Some("`/`, `#` and `,` have a meaning in addresses and selections");
    }
    if name.contains(['*', '!']) {
        return Some("`*` and `!` have a meaning in selections");
    }
    if name.starts_with('-') {
        return Some("it looks like a flag");
    }
    matches!(name, "." | "..").then_some("`.` and `..` are directories")
}

/// A directory's name made fit to be an area's.
pub(crate) fn fit_name(directory: &str) -> String {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "/#,*!".contains(c);
    let name: String = directory.chars().take(50).map(|c| if bad(c) { '-' } else { c }).collect();
    let name = name.trim_start_matches('-');
    if wrong_name(name).is_some() { "area".into() } else { name.to_owned() }
}

/// Complains about a name that cannot be one.
pub(super) fn check_name(what: &str, name: &At<String>, complaints: &mut Complaints) -> bool {
    let Some(why) = wrong_name(name) else { return true };
    complaints.error(name.pos, format!("`{}` cannot be the name of {what}: {why}", printable(name)));
    false
}

/// Complains about a name that cannot be that of an environment variable.
pub(super) fn check_variable(name: &At<String>, complaints: &mut Complaints) -> bool {
    if name.starts_with("MUSTER_") {
        let complaint = complaints.error(name.pos, format!("`{}` is Muster's own to set", printable(name)));
        complaint.hint("variables that begin with `MUSTER_` tell a test about its run");
        return false;
    }
    if name.is_empty() || name.contains('=') || name.chars().any(char::is_control) {
        let message = format!("`{}` cannot be the name of an environment variable", printable(name));
        complaints.error(name.pos, message);
        return false;
    }
    true
}
