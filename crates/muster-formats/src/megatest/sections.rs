//! What the main file of an area says by itself.

use super::area::{Looking, ShownSection};
use super::config::{self, Entry, Session, What};
use super::{MAIN_FILE, World};
use crate::area::Shown;
use std::collections::BTreeMap;
use std::io;

/// What the main file says by itself, without a target and without what runconfigs say. Nothing is run.
///
/// # Errors
/// The file cannot be read.
pub fn main_sections(
    dir: &str,
    env: &BTreeMap<String, String>,
    world: &dyn World,
) -> io::Result<Vec<ShownSection>> {
    let looking = Looking(world);
    let mut session = Session::new(&looking, dir, env.clone());
    session.env.insert("MT_RUN_AREA_HOME".to_owned(), dir.to_owned());
    let path = format!("{dir}/{MAIN_FILE}");
    let table = config::read(&mut session, &path, What::Main { runconfigs: None })?;
    let shown = |e: &Entry| Shown {
        path: e.key.clone(),
        value: e.value.clone(),
        origin: session.sources.origin(e.pos),
    };
    let sections = table.sections().filter(|s| !s.name.is_empty());
    Ok(sections
        .map(|s| ShownSection { name: s.name.clone(), values: s.entries().map(shown).collect() })
        .collect())
}
