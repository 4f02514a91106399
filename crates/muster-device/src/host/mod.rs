//! This host as a device: programs, processes, files and facts. The `local` driver and the SUT agent are
//! two ways to reach it.

pub(crate) mod facts;
pub(crate) mod files;
pub(crate) mod processes;
pub(crate) mod run;
pub(crate) mod rundir;
pub(crate) mod space;
