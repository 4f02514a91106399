//! The devices that a test needs at once.

use super::conditions;
use super::decode::printable;
use super::error::Complaints;
use super::file::{NeedKeys, RoleKeys, RoleValue};
use super::source::{At, Sources};
use muster_core::definition::{NeededDevices, Role, role_variable};
use std::collections::BTreeMap;

/// Roles whose variables mean something else in the environment of a test.
const RESERVED: [&str; 2] = ["address", "step"];

/// The name of a device, or its names where several are wanted.
fn names(name: &str, value: &RoleValue) -> Vec<String> {
    match value {
        RoleValue::On(_) | RoleValue::Table(RoleKeys { count: None, .. }) => vec![name.to_owned()],
        // More than can be had at once are complained of elsewhere.
        RoleValue::Table(RoleKeys { count: Some(count), .. }) => {
            (1..=count.value.0.min(NeededDevices::MAX as u32 + 1)).map(|n| format!("{name}-{n}")).collect()
        }
    }
}

/// The names of all of them, in their order.
pub(super) fn all_names(keys: &NeedKeys) -> Vec<String> {
    let all = keys.devices.iter().flat_map(|d| &d.value.0);
    all.flat_map(|(name, value)| names(name, &value.value)).collect()
}

/// What is said of them, with roles of which several are wanted written out.
pub(super) fn needed(keys: &NeedKeys, sources: &Sources, complaints: &mut Complaints) -> NeededDevices {
    let mut roles: Vec<Role> = Vec::new();
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in keys.devices.iter().flat_map(|d| &d.value.0) {
        check_name(name, complaints);
        let selector = match &value.value {
            RoleValue::On(on) => Some(At { value: on.clone(), pos: value.pos }),
            RoleValue::Table(RoleKeys { on, .. }) => on.clone(),
        };
        if let Some(selector) = selector.as_ref().filter(|s| !s.trim().is_empty()) {
            conditions::selector(selector, sources, complaints);
        }
        let selector = selector.map_or_else(String::new, |s| s.value.trim().to_owned());
        for role in names(name, &value.value) {
            let all = ["", "_NAME", "_HOST"].map(|end| format!("{}{end}", role_variable(&role)));
            if let Some(other) = all.iter().find_map(|v| variables.get(v)) {
                let message = format!("`{}` and `{other}` would have the same variables", printable(&role));
                complaints
                    .error(name.pos, message)
                    .hint("each device is told by MUSTER_DEVICE_ and its name");
            }
            variables.extend(all.map(|variable| (variable, role.clone())));
            roles.push(Role { name: role, selector: selector.clone() });
        }
    }
    let same_host = keys.same_host.as_ref().is_some_and(|s| s.value);
    if roles.len() > NeededDevices::MAX
        && let Some(devices) = &keys.devices
    {
        let message = format!("a test has at most {} devices at once", NeededDevices::MAX);
        complaints.error(devices.pos, message);
    }
    if let (true, Some(said)) = (same_host && roles.len() < 2, &keys.same_host) {
        complaints
            .error(said.pos, "`same-host` is for tests that need several devices")
            .hint("`devices = { phone = \"labels.os == 'android'\", host = \"labels.os == 'linux'\" }`");
    }
    NeededDevices { roles, same_host }
}

/// Names become parts of names of variables.
fn check_name(name: &At<String>, complaints: &mut Complaints) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) || name.len() > 40 {
        complaints
            .error(
                name.pos,
                format!("`{}` cannot be the name of a device that a test needs", printable(name)),
            )
            .hint("these names have small letters, digits and `-`, and begin with a letter");
    } else if RESERVED.contains(&name.as_str()) {
        let message = format!("`{}` cannot be the name of a device that a test needs", name.value);
        complaints.error(name.pos, message).hint(format!("{} means something else", role_variable(name)));
    }
}
