//! What starts the steps of tests somewhere else: `[launchers]`, `[host-types]`, `launcher` of `[jobtools]`.
//!
//! Muster calls them only where the area says so, by `use-launchers yes` of `[jobtools]`: those of old areas hand
//! tests to machines or batch systems that may be gone, or do what Muster does itself.

use super::config::{Session, Table};

/// Whether the area says so.
pub(super) fn are_used(main: &Table) -> bool {
    let entry = main.get("jobtools", "use-launchers").filter(|e| e.is_known());
    entry.is_some_and(|e| matches!(e.value.trim(), "yes" | "true" | "1"))
}

/// Patterns and the commands for what they match; the first that matches counts.
pub(super) fn read(main: &Table, session: &mut Session<'_>) -> Vec<(String, String)> {
    if !are_used(main) {
        return Vec::new();
    }
    let host_type = |name: &str| {
        let of =
            |section| main.get(section, name).filter(|e| e.is_known()).map(|e| e.value.trim().to_owned());
        of("host-types").or_else(|| of("hosts"))
    };
    let mut launchers = Vec::new();
    for entry in main.entries("launchers").filter(|e| e.is_known()) {
        match host_type(entry.value.trim()) {
            Some(command) => launchers.push((entry.key.clone(), command)),
            None => {
                let names: Vec<String> = main.entries("host-types").map(|e| e.key.clone()).collect();
                let near = session.complaints.nearest(entry.value.trim(), names.iter().map(String::as_str));
                let message = format!("no host type is named `{}`", entry.value.trim());
                session.complaints.error(entry.pos, message).maybe_hint(near);
            }
        }
    }
    let usual = main.get("jobtools", "launcher").filter(|e| e.is_known()).map(|e| e.value.trim().to_owned());
    launchers.extend(usual.filter(|l| !l.is_empty()).map(|launcher| ("%".to_owned(), launcher)));
    launchers
}
