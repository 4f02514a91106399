//! What is told to those who watch the lab as a whole.

use super::Lab;
use crate::change::Change;
use crate::event::LabEvent;
use crate::id::RunId;
use crate::kind::HEALTH_AREA;
use crate::time::Time;

impl Lab {
    /// Something happened. It is recorded with what it says, where somebody may want to know.
    pub(super) fn happened(&mut self, at: Time, event: impl FnOnce() -> LabEvent) {
        if self.policy.chronicle {
            self.save(Change::Happened { at, event: event() });
        }
    }

    /// Something happened to a run. Checks of devices are not told of: what they find is.
    pub(super) fn run_happened(&mut self, at: Time, run: RunId, event: impl FnOnce(String) -> LabEvent) {
        let record = self.runs[&run].record();
        if record.spec.area != HEALTH_AREA {
            let address = format!("{}/{}", record.spec.area, record.number);
            self.happened(at, || event(address));
        }
    }
}
