//! A unit of a run that cannot be started on this host: its packed area could not be had. The lab's fault;
//! the lab gives it to another host.

use super::job::Job;
use crate::exec::{Next, ProcessEnd, Task};
use muster_core::exchange::AttemptEnd;
use muster_core::output::Stream;
use std::time::Duration;

struct Unusable {
    job: Job,
}

pub(super) fn task(job: Job) -> Box<dyn Task> {
    Box::new(Unusable { job })
}

impl Task for Unusable {
    fn id(&self) -> u64 {
        self.job.unit.id.0
    }

    fn next(&mut self, _ended: Option<ProcessEnd>) -> Next {
        let why = self.job.run.unusable.clone().unwrap_or_default();
        let end = |attempt| (attempt, AttemptEnd::Ran(self.job.error(why.clone())));
        let mut ends: Vec<_> = self.job.unit.attempts.iter().map(|a| end(a.attempt)).collect();
        let last = ends.pop();
        for (attempt, end) in ends {
            self.job.ears().finished(self.job.unit.id, attempt, end);
        }
        self.job.end(last);
        Next::Done
    }

    fn output(&mut self, _stream: Stream, _at: Duration, _bytes: &[u8]) {}

    fn report(&mut self, _at: Duration, _bytes: &[u8]) {}
}
