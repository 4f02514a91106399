//! JSON Lines of what happens, and JSON of a whole run. The shapes are in [`wire`](super::wire).

use super::wire::{EventLine, Run, Texts};
use super::{FinalReport, LiveReport, Logs};
use muster_core::event::Told;
use muster_core::view::RunView;
use std::io::{self, Write};

/// Writes one JSON object per event and line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Jsonl;

impl LiveReport for Jsonl {
    fn told(&mut self, told: &Told, out: &mut dyn Write) -> io::Result<()> {
        // One write: a reader of the file never sees half a line for longer than the system takes.
        let mut line = serde_json::to_vec(&EventLine::from(told))?;
        line.push(b'\n');
        out.write_all(&line)
    }
}

/// Writes a run as one JSON document on one line. What attempts printed is not in it, only how much it
/// is: `muster log` tells it, and [`Run::new`] can include it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl FinalReport for Json {
    fn write(&self, run: &RunView, _logs: &dyn Logs, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &Run::new(run, Texts::None))?;
        out.write_all(b"\n")
    }
}
