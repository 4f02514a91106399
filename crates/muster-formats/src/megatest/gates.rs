//! What must hold before a test is launched: `launchlimiter`, hours, tokens.
//!
//! The first and `diskspace PATH>SIZE` are wishes of Megatest's own road map; hours and tokens are Muster's, written
//! where Megatest would have them. Load and groups are limits of the area, and the disk of a run directory is chosen
//! when a test is launched.

use super::area::Common;
use super::config::{Entry, Session, Table};
use super::requirements::words;
use crate::area::error::Complaints;
use crate::area::gates::HOURS_HINT;
use crate::area::source::Pos;
use muster_core::definition::{Limiter, Needs};
use muster_core::hours::Hours;

/// `[jobtools] launch-window`: what every test is started within.
pub(super) fn area_hours(main: &Table, session: &mut Session<'_>) -> Option<Hours> {
    hours(known(main, "jobtools", "launch-window")?, &mut session.complaints)
}

/// `[jobtools] timezone`: the place whose clocks hours are told by.
pub(super) fn timezone(main: &Table) -> Option<String> {
    known(main, "jobtools", "timezone").map(|e| e.value.trim().to_owned())
}

/// `[tokens]`: how many there are of each name.
pub(super) fn tokens(main: &Table, session: &mut Session<'_>) -> Vec<(String, u32, Pos)> {
    let mut all = Vec::new();
    for entry in main.entries("tokens").filter(|e| e.is_known()) {
        match entry.value.trim().parse() {
            Ok(count @ 1..) => all.push((entry.key.clone(), count, entry.pos)),
            Ok(0) | Err(_) => {
                let message = format!("`{}` is no number of tokens", entry.value.trim());
                session.complaints.warning(entry.pos, message).hint("`NAME 4`: there are four");
            }
        }
    }
    all
}

/// What `[requirements]` of a test says of these, and what its area says.
pub(super) fn of_test(table: &Table, common: &Common<'_>, session: &mut Session<'_>, needs: &mut Needs) {
    let complaints = &mut session.complaints;
    needs.hours.extend(common.hours.clone());
    let own = known(table, "requirements", "launch-window").and_then(|e| hours(e, complaints));
    needs.hours.extend(own.filter(|own| Some(own) != common.hours.as_ref()));
    for (entry, word) in disk_words(table) {
        match disk(word) {
            Some((Some(path), bytes)) => drop(needs.disks.insert(path.to_owned(), bytes)),
            // That of the run directory, which is looked for when the test is launched.
            Some((None, _)) => {}
            None => {
                complaints
                    .warning(entry.pos, format!("`{word}` is no free space that a disk could have"))
                    .hint("`diskspace 20G` for the run directory, `/tmp>5G,/path/two>200M` for others");
            }
        }
    }
    needs.limiter = known(table, "requirements", "launchlimiter").map(|e| Limiter::new(e.value.trim()));
    let Some(entry) = known(table, "requirements", "tokens") else { return };
    for word in words(&entry.value) {
        let (name, n) = word.split_once('=').unwrap_or((word, "1"));
        match (common.tokens.get(name), n.parse::<u32>()) {
            (Some(max), Ok(n)) if (1..=*max).contains(&n) => drop(needs.tokens.insert(name.to_owned(), n)),
            (Some(max), _) => {
                let message = format!("a test cannot take {n} tokens `{name}`: there are {max}");
                complaints.error(entry.pos, message);
            }
            (None, _) => {
                let near = complaints.nearest(name, common.tokens.keys().map(String::as_str));
                let message = format!("no token is named `{name}`");
                complaints
                    .error(entry.pos, message)
                    .hint(near.unwrap_or_else(|| format!("`[tokens]` of megatest.config: `{name} 4`")));
            }
        }
    }
}

/// Least free space of the disk of a test's run directory, in blocks of 1024 bytes.
pub(super) fn own_space(table: &Table) -> Option<u64> {
    let sizes = disk_words(table).filter_map(|(_, word)| disk(word));
    sizes.filter(|(path, _)| path.is_none()).map(|(_, bytes)| bytes.div_ceil(1024)).max()
}

fn disk_words(table: &Table) -> impl Iterator<Item = (&Entry, &str)> {
    let entry = known(table, "requirements", "diskspace");
    entry.into_iter().flat_map(|entry| words(&entry.value).map(move |word| (entry, word)))
}

/// `SIZE`, or `PATH>SIZE`: bytes, or with one of the letters K, M, G, T.
fn disk(word: &str) -> Option<(Option<&str>, u64)> {
    let (path, size) = word.split_once('>').map_or((None, word), |(path, size)| (Some(path), size));
    let size = size.strip_suffix(['B', 'b']).unwrap_or(size);
    let at = size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len());
    let shift = match &size[at..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    let bytes = size[..at].parse::<u64>().ok()?.checked_mul(1 << shift)?;
    (path != Some("")).then_some((path, bytes))
}

fn known<'t>(table: &'t Table, section: &str, key: &str) -> Option<&'t Entry> {
    table.get(section, key).filter(|e| e.is_known() && !e.value.trim().is_empty())
}

/// Several are parted by semicolons.
fn hours(entry: &Entry, complaints: &mut Complaints) -> Option<Hours> {
    match Hours::parse(entry.value.split([';', '\n'])) {
        Ok(hours) => Some(hours),
        Err(why) => {
            complaints.error(entry.pos, why).hint(HOURS_HINT);
            None
        }
    }
}
