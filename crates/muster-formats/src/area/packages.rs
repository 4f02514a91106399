//! Packages and profilers as an area and its tests ask for them. Whether there are such is found out when a run
//! begins.

use super::error::Complaints;
use super::source::At;
use muster_core::inputs::PROFILERS;

/// Complains about what cannot be a package.
pub(super) fn check_package(package: &At<String>, complaints: &mut Complaints) {
    const KINDS: [&str; 5] = ["client", "test", "dep", "profiler", "build"];
    let is_asked_for = package.split_once(':').is_some_and(|(kind, name)| {
        KINDS.contains(&kind) && !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '/')
    });
    if !is_asked_for {
        let message = format!("`{}` is not a package", package.value);
        complaints.error(package.pos, message).hint(
            "a package is KIND:NAME, where KIND is client, test, dep, profiler or build; `@VERSION` may be behind it",
        );
    }
}

/// Complains about what cannot be a profiler.
pub(super) fn check_profiler(profiler: &At<String>, complaints: &mut Complaints) {
    match profiler.starts_with("profiler:") {
        true => check_package(profiler, complaints),
        false if PROFILERS.contains(&profiler.as_str()) => {}
        false => {
            let message = format!("there is no profiler `{}`", profiler.value);
            let known = format!("there are {}, and packages as `profiler:NAME`", PROFILERS.join(", "));
            complaints.error(profiler.pos, message).hint(known);
        }
    }
}
