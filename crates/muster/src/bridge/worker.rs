//! Brings events from where they are to their end, several at once.

use super::inbox::{Event, Inbox, State, Verdict};
use super::report::Reporter;
use super::run::{Plan, Ran};
use muster_core::outcome::ExitCode;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The first pause before something is tried again; it doubles.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What every worker has.
pub(crate) struct Worker {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) plan: Plan,
    pub(crate) reporter: Option<Reporter>,
    /// Runs that may end by the lab's fault before that is the answer.
    pub(crate) lab_errors_max: u32,
    /// Tells people.
    pub(crate) say: Box<dyn Fn(&str) + Send + Sync>,
}

impl Worker {
    /// Works until nothing more can come.
    pub(crate) fn work(&self, events: &Mutex<Receiver<Event>>) {
        loop {
            let next = events.lock().expect("nobody panics with it").recv();
            let Ok(event) = next else { return };
            self.finish(event);
        }
    }

    /// One event, to its end. What does not succeed is tried again for as long as it takes: the event is on
    /// disk, and nobody else would.
    fn finish(&self, mut event: Event) {
        let mut pause = PAUSE;
        loop {
            let title = &event.build.title;
            let why = match self.step(&event) {
                Ok(next) => {
                    match &next.state {
                        State::Taken => (self.say)(&format!("{title}: the lab failed, it is run again")),
                        State::Ran(verdict) => (self.say)(&format!("{title}: {}", verdict.summary)),
                        State::Reported(_) => {}
                    }
                    event = next;
                    match self.inbox.save(&event) {
                        Ok(()) if matches!(event.state, State::Reported(_)) => return,
                        Ok(()) if event.state != State::Taken => {
                            pause = PAUSE;
                            continue;
                        }
                        Ok(()) => None,
                        Err(e) => Some(format!("it cannot be recorded: {e}")),
                    }
                }
                Err(why) => Some(why),
            };
            if let Some(why) = why {
                (self.say)(&format!("{}: {why}; again in {} s", event.build.title, pause.as_secs()));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// The next state of an event.
    fn step(&self, event: &Event) -> Result<Event, String> {
        match &event.state {
            State::Taken => match self.plan.run(event).map_err(|e| format!("it cannot be run: {e}"))? {
                Ran::Unknown(why) => Err(why),
                Ran::Ended(Verdict { exit, .. })
                    if exit == ExitCode::Lab as i32 && event.lab_errors < self.lab_errors_max =>
                {
                    Ok(Event { lab_errors: event.lab_errors + 1, ..event.clone() })
                }
                Ran::Ended(verdict) => Ok(Event { state: State::Ran(verdict), ..event.clone() }),
            },
            State::Ran(verdict) | State::Reported(verdict) => {
                if let Some(reporter) = &self.reporter {
                    reporter.report(event, verdict).map_err(|e| format!("it cannot be reported: {e}"))?;
                }
                Ok(Event { state: State::Reported(verdict.clone()), ..event.clone() })
            }
        }
    }
}
