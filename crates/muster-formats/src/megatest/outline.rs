//! What an area has whatever the target: keys, disks, tests, and the targets that are written down. Nothing is run.

use super::area::{Looking, pairs};
use super::config::{self, Session, Table, What};
use super::{MAIN_FILE, RUNCONFIGS_FILE, TEST_FILE, World};
use crate::area::limits::wrong_name;
use crate::area::source::Pos;
use std::collections::{BTreeMap, HashSet};
use std::io;

/// What is known of an area without a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The names of the target's parts, in their order.
    pub keys: Vec<String>,
    /// Where run directories are made, by name.
    pub disks: Vec<(String, String)>,
    /// Tests, in the order in which they are found.
    pub tests: Vec<String>,
    /// `[validvalues]`: keys and what they list.
    pub valid_values: Vec<(String, String)>,
}

/// Looks at an area. What only a command or the target can tell stays as Megatest marks it.
///
/// # Errors
/// Its main file cannot be read.
pub fn outline(dir: &str, env: &BTreeMap<String, String>, world: &dyn World) -> io::Result<Outline> {
    let looking = Looking(world);
    let mut session = Session::new(&looking, dir, env.clone());
    session.env.insert("MT_RUN_AREA_HOME".to_owned(), session.area.clone());
    let main = config::read(&mut session, &format!("{dir}/{MAIN_FILE}"), What::Main { runconfigs: None })?;
    let dirs = test_dirs(&mut session, &main);
    let has_test = |dir: &str| world.names(dir).is_ok_and(|names| names.iter().any(|n| n == TEST_FILE));
    Ok(Outline {
        keys: main.entries("fields").map(|e| e.key.clone()).collect(),
        disks: disks(&main, &session.area),
        valid_values: pairs(&main, "validvalues"),
        tests: dirs.into_iter().filter(|(_, dir)| has_test(dir)).map(|(name, _)| name).collect(),
    })
}

/// The sections of runconfigs, in their order: targets, `default` and wildcards. Nothing is run.
///
/// # Errors
/// The file cannot be read.
pub fn targets(dir: &str, env: &BTreeMap<String, String>, world: &dyn World) -> io::Result<Vec<String>> {
    let looking = Looking(world);
    let mut session = Session::new(&looking, dir, env.clone());
    let table = config::read(&mut session, &format!("{dir}/{RUNCONFIGS_FILE}"), What::List)?;
    Ok(table.names().map(str::to_owned).collect())
}

/// Where run directories are made, by name; without any they are in the area.
pub(super) fn disks(main: &Table, area: &str) -> Vec<(String, String)> {
    let disks = pairs(main, "disks");
    if disks.is_empty() { vec![("disk0".to_owned(), format!("{area}/runs"))] } else { disks }
}

/// The directories of tests: on each path of `[tests-paths]`, then in `tests`; the first of a name wins.
pub(super) fn test_dirs(session: &mut Session<'_>, main: &Table) -> Vec<(String, String)> {
    let area = session.area.clone();
    let absolute = |path: &str| match path.starts_with('/') {
        true => path.trim_end_matches('/').to_owned(),
        false => format!("{area}/{}", path.trim_end_matches('/')),
    };
    let named = main.entries("tests-paths").filter(|e| e.is_known());
    let mut paths: Vec<(String, Option<Pos>)> =
        named.map(|e| (absolute(e.value.trim()), Some(e.pos))).collect();
    paths.push((format!("{area}/tests"), None));
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for (path, pos) in paths {
        let mut names = match session.world.names(&path) {
            Ok(names) => names,
            Err(e) => {
                if let Some(pos) = pos {
                    let message = format!("`{path}` cannot be read, so no test is found there");
                    session.complaints.warning(pos, message).cause(e.to_string());
                }
                continue;
            }
        };
        names.sort();
        for name in names.into_iter().filter(|n| !n.starts_with('.')) {
            if wrong_name(&name).is_none() && seen.insert(name.clone()) {
                let dir = format!("{path}/{name}");
                found.push((name, dir));
            }
        }
    }
    found
}
