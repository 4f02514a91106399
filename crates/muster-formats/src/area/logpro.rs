//! Rule files of logpro: read when the area is, so that what is wrong with them is told before anything runs, and so
//! that a run is judged by them as they were when it was planned.

use super::decode::printable;
use super::error::Elsewhere;
use super::file::{LogproKeys, LogproValue};
use super::resolve::Resolver;
use super::source::At;
use crate::megatest::logpro::Rules;
use muster_core::definition::{LogproRules, RuleFile};

/// The rules of a test or step; what is wrong with them becomes complaints.
pub(super) fn rules(value: &At<LogproValue>, resolver: &mut Resolver<'_, '_>) -> Option<LogproRules> {
    let (paths, exit_counts) = match &value.value {
        LogproValue::Files(paths) => (paths, true),
        LogproValue::Table(LogproKeys { rules: Some(paths), exit_counts }) => {
            (&paths.value, exit_counts.as_ref().is_none_or(|e| e.value))
        }
        LogproValue::Table(LogproKeys { rules: None, .. }) => {
            let complaint = resolver.complaints.error(value.pos, "nothing says what the log is judged by");
            complaint.hint("`{ rules = \"a rule file of logpro\", exit-counts = false }`");
            return None;
        }
    };
    let mut files = Vec::with_capacity(paths.0.len());
    for written in &paths.0 {
        let path = resolver.path(written);
        match resolver.files.text(&path) {
            Ok(text) => files.push(RuleFile { path, text }),
            Err(e) => {
                let message = format!("the rule file `{}` cannot be read", printable(&path));
                resolver.complaints.error(written.pos, message).cause(e.to_string());
            }
        }
    }
    let named: Vec<(&str, &str)> = files.iter().map(|f| (f.path.as_str(), f.text.as_str())).collect();
    match Rules::read(&named) {
        Ok(rules) => {
            for remark in rules.remarks {
                resolver.complaints.warning(value.pos, remark.to_string());
            }
        }
        Err(problems) => {
            for problem in problems {
                let text =
                    named.iter().find(|(path, _)| **path == *problem.source_at.file).map_or("", |f| f.1);
                let place = Elsewhere::new(&problem.source_at.file, text, problem.source_at.line, 1);
                resolver.complaints.error(value.pos, problem.problem).elsewhere(place);
            }
        }
    }
    Some(LogproRules { files, exit_counts })
}
