//! Where an agent's `agent.toml` is, and what is told of what is wrong with it.

use crate::context::Context;
use crate::error::Complaint;
use crate::local::area::tell;
use crate::settings::Settings;
use muster_core::outcome::ExitCode;
use muster_formats::area::agent_file::{self, AgentFile};
use std::io::ErrorKind;
use std::path::PathBuf;

/// Reads the file that was named, or the one at its usual place, which need not be there.
///
/// # Errors
/// It cannot be read, or is wrong; that has been told.
pub(super) fn read(named: Option<PathBuf>, context: &Context) -> Result<AgentFile, anyhow::Error> {
    let is_named = named.is_some();
    let usual = || Some(Settings::path()?.with_file_name("agent.toml"));
    let Some(path) = named.map(|path| context.dir.join(path)).or_else(usual) else {
        return Ok(AgentFile::default());
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound && !is_named => return Ok(AgentFile::default()),
        Err(e) => {
            return Err(Complaint::usage(format!("cannot read `{}`", path.display())).because(e).into());
        }
    };
    agent_file::load(&path.display().to_string(), &text).map_err(|errors| {
        tell(context, &errors);
        Complaint::said(ExitCode::Usage).into()
    })
}
