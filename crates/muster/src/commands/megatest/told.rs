//! Steps that a test's scripts report, told to Muster too, so that its record has them beside the test's own steps.

use super::record::StepReport;
use muster_core::outcome::Outcome;
use muster_formats::megatest::status::Status;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells of a step that begins or has ended, where there is somebody to be told.
pub(super) fn tell(report: &StepReport) -> io::Result<()> {
    let Some(path) = std::env::var_os("MUSTER_STEPS") else { return Ok(()) };
    let within = std::env::var("MUSTER_STEP").unwrap_or_default();
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut line = json!({ "step": report.step, "in": within, "at": at });
    if report.state != "start" {
        let (outcome, exit) = meaning(&report.status);
        line["outcome"] = json!(outcome);
        line["exit"] = json!(exit);
        line["message"] = json!(report.comment);
    }
    // In one piece: steps may run side by side.
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// What the status of a step says: an exit code, a word of Megatest's, or any text, which decides nothing.
fn meaning(status: &str) -> (Outcome, Option<i32>) {
    match status.trim().parse::<i32>() {
        Ok(0) => (Outcome::Pass, Some(0)),
        Ok(code) => (Outcome::Fail, Some(code)),
        Err(_) => (Status::from(status).outcome().unwrap_or(Outcome::Pass), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_s_status_is_a_code_a_word_or_any_text() {
        assert_eq!(meaning("0"), (Outcome::Pass, Some(0)));
        assert_eq!(meaning("3"), (Outcome::Fail, Some(3)));
        assert_eq!(meaning("WARN"), (Outcome::Warn, None));
        assert_eq!(meaning("FAIL"), (Outcome::Fail, None));
        assert_eq!(meaning("done"), (Outcome::Pass, None));
    }
}
