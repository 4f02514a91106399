//! What a native `muster.toml` cannot say of a Megatest area: each section and key that is not carried over, by name.

use super::ShownSection;
use super::config::{Section, Table};
use super::known::{MAIN_SECTIONS, TEST_SECTIONS};

/// A section with those of its keys that are carried over; none named: all of them.
type Carried = (&'static str, &'static [&'static str]);

/// Of `megatest.config`. Hooks are told with their commands.
const MAIN: &[Carried] = &[
    ("fields", &[]),
    ("setup", &["area-name", "testsuite", "max_concurrent_jobs", "reruns", "runtimelim"]),
    ("jobtools", &["maxload"]),
    ("jobgroups", &[]),
    ("env-override", &[]),
    ("tests-paths", &[]),
    ("runs", &[]),
];

/// Of a `testconfig`.
const TEST: &[Carried] = &[
    ("setup", &["runscript"]),
    ("ezsteps", &[]),
    ("requirements", &["waiton", "mode", "itemmap", "priority", "runtimelim"]),
    ("items", &[]),
    ("itemstable", &[]),
    ("itemmap", &[]),
    ("pre-launch-env-vars", &[]),
    ("test_meta", &["author", "owner", "description", "tags", "jobgroup"]),
];

/// Of `megatest.config`.
pub(super) fn of_main(sections: &[ShownSection]) -> Vec<String> {
    let all = sections.iter().filter(|s| MAIN_SECTIONS.contains(&s.name.as_str()));
    all.filter_map(|s| told(&s.name, s.values.iter().map(|v| v.path.as_str()), MAIN)).collect()
}

/// Of a `testconfig`.
pub(super) fn of_test(table: &Table) -> Vec<String> {
    let all = table.sections().filter(|s| TEST_SECTIONS.contains(&s.name.as_str()));
    let mut left: Vec<String> =
        all.filter_map(|s| told(&s.name, s.entries().map(|e| e.key.as_str()), TEST)).collect();
    // One of them is who answers for the test.
    let has = |s: &Section, key: &str| s.get(key).is_some_and(|e| !e.value.trim().is_empty());
    if table.section("test_meta").is_some_and(|s| has(s, "owner") && has(s, "author")) {
        left.push("`[test_meta]`: author".to_owned());
    }
    left
}

/// A section with the keys of it that are not carried over, if there are any.
fn told<'k>(name: &str, keys: impl Iterator<Item = &'k str>, carried: &[Carried]) -> Option<String> {
    let carried = carried.iter().find(|(known, _)| *known == name).map(|(_, keys)| *keys);
    let left: Vec<&str> = match carried {
        None => keys.collect(),
        Some([]) => return None,
        Some(known) => keys.filter(|key| !known.contains(key)).collect(),
    };
    (!left.is_empty()).then(|| format!("`[{name}]`: {}", left.join(", ")))
}
