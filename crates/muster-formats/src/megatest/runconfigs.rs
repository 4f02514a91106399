//! `runconfigs.config`: variables by target. Sections whose names stand for several targets (`%` for any
//! text, `/a regular expression/`) are written over the sections before them when they end, so the order in
//! the file decides.

use super::config::{DEFAULT, Entry, Reader, Table};
use crate::area::source::Pos;
use regex::Regex;

/// What a section's name stands for.
enum Name {
    /// One target, or all of them (`default`).
    One,
    /// Those that match.
    Many(Regex),
    /// It looks like a regular expression and is none.
    Wrong(String),
}

fn name(section: &str) -> Name {
    let pattern = match section.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
        Some(pattern) => pattern.to_owned(),
        None if section.contains('%') => {
            let parts: Vec<String> = section.split('%').map(regex::escape).collect();
            format!("^{}$", parts.join(".*"))
        }
        None => return Name::One,
    };
    Regex::new(&pattern).map_or_else(|e| Name::Wrong(e.to_string()), Name::Many)
}

/// Makes the target's section a candidate for all wildcards.
pub(super) fn prepare(reader: &mut Reader<'_, '_>) {
    if let Some(target) = reader.session.target.clone() {
        reader.table.open(&target, Pos::default());
    }
}

/// Whether what stands in a section is used for this target.
pub(super) fn matters(section: &str, target: Option<&str>) -> bool {
    section == DEFAULT
        || target.is_some_and(|target| match name(section) {
            Name::One => section == target,
            Name::Many(regex) => regex.is_match(target) || regex.is_match(DEFAULT),
            Name::Wrong(_) => false,
        })
}

/// A section's name was read.
pub(super) fn begin(reader: &mut Reader<'_, '_>, pos: Pos) {
    let super::config::What::Runconfigs = reader.what else { return };
    let section = reader.section().to_owned();
    match name(&section) {
        Name::Wrong(why) => {
            let complaint = reader
                .session
                .complaints
                .warning(pos, "this is no regular expression, so it is for no target");
            complaint.cause(why.lines().last().unwrap_or_default().to_owned());
        }
        Name::Many(_) if !section.starts_with('/') && section.matches('%').count() > 1 => {
            reader.session.several_wildcards.push(pos);
        }
        Name::One if section != DEFAULT && section.eq_ignore_ascii_case(DEFAULT) => {
            let message = format!("`[{section}]` is not `[{DEFAULT}]`: it is for a target of that name");
            reader.session.complaints.warning(pos, message);
        }
        Name::One | Name::Many(_) => {}
    }
}

/// A section has ended: one with wildcards is written over those it stands for.
pub(super) fn end(reader: &mut Reader<'_, '_>, section: &str) {
    let Name::Many(regex) = name(section) else { return };
    let Some(many) = reader.table.take(section) else { return };
    let matching: Vec<String> =
        reader.table.names().filter(|n| regex.is_match(n)).map(str::to_owned).collect();
    for name in matching {
        let section = reader.table.open(&name, many.pos);
        for entry in many.entries() {
            section.set(entry.clone());
        }
    }
}

/// What holds for a target: `default` first, then the target's own. A key with a leading `!` is not exported.
pub(super) fn holding<'t>(table: &'t Table, target: Option<&'t str>) -> impl Iterator<Item = &'t Entry> {
    let sections = [Some(DEFAULT), target.filter(|t| *t != DEFAULT)];
    sections.into_iter().flatten().flat_map(|section| table.entries(section))
}
