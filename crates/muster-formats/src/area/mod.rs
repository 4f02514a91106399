//! `muster.toml`: what a user writes, to what a run is planned from.
//!
//! ```text
//! texts ─► parsed tree ─► typed keys with places ─► layers merged for one target ─► AreaDef
//!          (toml)         (decode, file)            (layers, target, names)         (tests, suites, …)
//! ```
//!
//! Two rounds of errors: first all that can be said of each text alone (syntax, unknown keys, wrong
//! types), then all that can be said of the whole (unknown names, circles, items that are there twice).
//! Nothing is read here, neither files nor the environment nor the clock: the caller gives all of it.
//!
//! What each key means is in `docs/reference/muster-toml.md`, whose examples a test loads.

pub(crate) mod above;
mod after;
pub mod agent_file;
pub(crate) mod conditions;
mod decode;
mod devices;
pub(crate) mod error;
mod expectations;
mod file;
pub(crate) mod gates;
pub(crate) mod items;
pub mod kinds;
pub(crate) mod layers;
pub(crate) mod limits;
mod logpro;
mod names;
mod packages;
pub(crate) mod resolve;
pub(crate) mod scalar;
mod schema;
pub(crate) mod show;
pub(crate) mod source;
mod suites;
mod target;
mod test_defs;
mod words;

pub use error::{ConfigError, Severity, Snippet};
pub use schema::json_schema;
pub use show::Shown;

use muster_core::definition::AreaDef;
use muster_core::expr::Facts;
use std::collections::BTreeMap;

/// What kind of text a layer is; later kinds win over earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerKind {
    /// The user's own file. Only `[limits]` and `[defaults]` are taken from it; other keys are somebody
    /// else's to check.
    User,
    /// The area's `muster.toml`.
    Project,
    /// One flag, as a line of TOML (`limits.jobs = 4`). Neither tests nor expectations.
    Flag,
}

/// A text to load.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// What people know it by: a file's path, or the flag as it was typed (`--jobs`).
    pub name: &'a str,
    /// All of it.
    pub text: &'a str,
    /// What it is.
    pub kind: LayerKind,
}

/// Gives the text of files that a configuration names.
pub trait Files {
    /// The text of the file at this path, relative to the area.
    ///
    /// # Errors
    /// It is not there, cannot be read or is not UTF-8.
    fn text(&self, path: &str) -> std::io::Result<String>;
}

impl<F: Fn(&str) -> std::io::Result<String>> Files for F {
    fn text(&self, path: &str) -> std::io::Result<String> {
        self(path)
    }
}

/// What loading needs to know beside the texts.
#[derive(Clone, Copy)]
pub struct LoadContext<'a> {
    /// The area's name where the file does not say one: its directory's, made fit where it has blanks
    /// or signs that mean something in addresses.
    pub area_name: &'a str,
    /// The target's values, in the order of the area's keys.
    pub target: &'a [String],
    /// The environment Muster was started in: for `${env:NAME}`, `env("NAME")`, and `MUSTER_JOBS`,
    /// `MUSTER_LOAD`, `MUSTER_DISK_FREE`, `MUSTER_RUN_TIMEOUT`, `MUSTER_TEST_TIMEOUT` and
    /// `MUSTER_TEST_RETRIES`, which are a layer between the project's file and the flags.
    pub process_env: &'a BTreeMap<String, String>,
    /// What is known of this machine and build: `os`, `arch`, `cores` and so on.
    pub facts: &'a Facts,
    /// Gives included files, status files and rule files.
    pub files: &'a dyn Files,
}

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The area, for the target.
    pub area: AreaDef,
    /// The facts its conditions are decided by: those of the context, `host` with the same once more,
    /// `target`, and each key of the target under its own name.
    pub facts: Facts,
    /// What is hardly meant as it is written.
    pub warnings: Vec<ConfigError>,
    pub(crate) origins: show::Origins,
}

/// Loads a configuration for one target. The order of the layers within a kind counts: later ones win.
///
/// # Errors
/// All that could be found wrong, in the order of the texts; at least one.
pub fn load(layers: &[Layer<'_>], context: &LoadContext<'_>) -> Result<Loaded, Vec<ConfigError>> {
    let mut complaints = error::Complaints::default();
    let read = layers::read(layers, context, &mut complaints);
    if complaints.has_errors() {
        return Err(complaints.finish(&read.sources).0);
    }
    let resolved = resolve::resolve(&read, context, &mut complaints);
    let failed = complaints.has_errors();
    let (errors, warnings) = complaints.finish(&read.sources);
    if failed {
        return Err(errors);
    }
    let resolve::Resolved { area, facts, places } = resolved;
    let origins = show::Origins::new(read.sources, places);
    Ok(Loaded { area, facts, warnings, origins })
}

#[cfg(test)]
mod tests;
