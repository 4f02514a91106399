//! Megatest areas: `megatest.config`, `runconfigs.config` and the tests' `testconfig`, to what a run is
//! planned from.
//!
//! ```text
//! texts ─► lines ─► tables of sections ─► what holds for one target ─► AreaDef
//!        (line)   (config, expand, scheme)  (runconfigs, area)          (testconfig, items)
//! ```
//!
//! They become the same nouns that `muster.toml` becomes, so everything behind is one: planning, running,
//! records, reports. What Megatest can say and those nouns cannot (run directories, the steps' logs, rules
//! for logs) is in the [`Ticket`](ticket::Ticket) that the test's own steps are given, and `muster megatest`
//! carries it out.
//!
//! What comes of a test is here too: rules for its logs ([`logpro`]), its steps, its data, and the two axes of
//! state and status.
//!
//! A Megatest file may run commands while it is read. Whether that happens is the caller's to say, by its
//! [`World`]; nothing here runs, reads or asks anything itself.

mod area;
mod config;
mod echo;
mod expand;
pub mod ezsteps;
mod gates;
mod items;
mod known;
mod launchers;
mod line;
pub mod logpro;
mod native;
mod native_left;
mod outline;
pub mod refdb;
mod requirements;
pub mod rollup;
mod runconfigs;
mod scheme;
mod sections;
pub mod sexpr;
pub mod status;
pub mod test_data;
mod testconfig;
pub mod ticket;
pub mod waivers;

pub use area::{AreaContext, Looking, MegatestArea, ShownSection, area_name, load};
pub use items::{Expanded, ITEM_DIR_VARIABLE, expand_items, item_dirs};
pub use native::{Native, native};
pub use outline::{Outline, outline, targets};
pub use sections::main_sections;
pub use testconfig::{EXITS, SUBRUN};

use std::collections::BTreeMap;
use std::io;

/// What a shell's `echo` makes of a value; `None` where only a shell can say it.
pub fn echoed(text: &str, env: &BTreeMap<String, String>) -> Option<String> {
    match echo::echo(text, env) {
        echo::Echoed::Text(text) => Some(text),
        echo::Echoed::NeedsShell => None,
    }
}

/// The main file of an area, by which it is known.
pub const MAIN_FILE: &str = "megatest.config";
/// The file with variables by target.
pub const RUNCONFIGS_FILE: &str = "runconfigs.config";
/// The file of a test.
pub const TEST_FILE: &str = "testconfig";

/// What reading an area needs of the machine.
pub trait World {
    /// The text of the file at this absolute path.
    ///
    /// # Errors
    /// It is not there, cannot be read or is not UTF-8.
    fn text(&self, path: &str) -> io::Result<String>;

    /// The names of what is in the directory at this absolute path, in any order.
    ///
    /// # Errors
    /// It is not there or cannot be read.
    fn names(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Runs a line by `/bin/sh -c` in this directory, in this environment and no other.
    ///
    /// # Errors
    /// [`NotRun`]: the world is only looked at, or the command cannot be started, takes too long or prints
    /// too much.
    fn shell(&self, line: &str, dir: &str, env: &BTreeMap<String, String>) -> Result<Printed, NotRun>;

    /// Makes a directory and those above it, if the world is more than looked at.
    ///
    /// # Errors
    /// It cannot be made.
    fn make_dir(&self, path: &str) -> io::Result<()>;

    /// Cores of this machine.
    fn cores(&self) -> u32;

    /// The name of this machine.
    fn host_name(&self) -> String;
}

/// What a command came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// Its exit code; 128 and more for a signal, as shells have it.
    pub status: i32,
    /// Its standard output.
    pub text: String,
}

/// Why a command was not run to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRun {
    /// The area is only looked at.
    #[error("commands are not run while an area is only looked at")]
    OnlyLooking,
    /// It went wrong.
    #[error("{0}")]
    Failed(String),
}

#[cfg(test)]
mod tests;
