//! What a target names, and which `[target."…"]` sections are for it.

use super::decode::{Table, printable};
use super::error::Complaints;
use super::file::{AreaKeys, TargetKey, TargetKeys};
use super::names::is_name;
use super::source::{At, Pos};
use muster_core::select::wildcard;

/// Pairs the values given with the area's keys. Complains where they do not fit.
pub(super) fn pair(
    area: Option<&At<AreaKeys>>,
    given: &[String],
    complaints: &mut Complaints,
) -> Vec<(String, String)> {
    let none = Vec::new();
    let keys = area.and_then(|a| a.keys.as_ref());
    let pos = keys.map(|k| k.pos).or(area.map(|a| a.pos)).unwrap_or_default();
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (i, key) in keys.map_or(&none, |k| &k.value).iter().enumerate() {
        let (name, values, default) = match &key.value {
            TargetKey::Name(name) => (At { value: name.clone(), pos: key.pos }, None, None),
            TargetKey::Table(table) => {
                let Some(name) = &table.name else {
                    complaints.error(key.pos, "this key has no `name`");
                    continue;
                };
                (name.clone(), table.values.as_ref(), table.default.as_ref())
            }
        };
        if !is_name(&name) || name.value == "area" || name.value == "item" {
            let message = format!("`{}` cannot be the name of a key", printable(&name));
            complaints
                .error(name.pos, message)
                .hint("letters, digits, `_`, `-` and `.`; not `area` or `item`");
            continue;
        }
        if pairs.iter().any(|(k, _)| *k == name.value) {
            complaints.error(name.pos, format!("the key `{}` is there twice", name.value));
            continue;
        }
        let value = given.get(i).map(String::as_str).or(default.map(|d| d.as_str()));
        let Some(value) = value else {
            pairs.push((name.value, String::new()));
            continue;
        };
        if let Some(allowed) = values.filter(|v| !v.iter().any(|a| a.value == value)) {
            let list: Vec<_> = allowed.iter().map(|v| format!("`{}`", printable(v))).collect();
            let message = format!("`{}` is no value of the key `{}`", printable(value), name.value);
            complaints.error(allowed.pos, message).hint(format!("it may be {}", list.join(", ")));
        }
        if value.is_empty() || value.contains('/') || value.chars().any(char::is_control) {
            complaints.error(name.pos, format!("`{}` cannot be a target's value", printable(value)));
        }
        pairs.push((name.value, value.to_owned()));
    }
    if complaints.has_errors() {
        // Counting what is left of wrong keys would be noise.
        return pairs;
    }
    let names: Vec<_> = pairs.iter().map(|(k, _)| k.as_str()).collect();
    if given.len() > pairs.len() {
        let message = format!(
            "the target has {}, the area has {}",
            count(given.len(), "value"),
            count(pairs.len(), "key")
        );
        let complaint = complaints.error(pos, message);
        if pairs.is_empty() {
            complaint.hint("`keys = [\"os\"]` in `[area]` gives it one");
        } else {
            complaint.hint(format!("a target is {}", names.join("/")));
        }
    } else if let Some(missing) = pairs.iter().position(|(_, v)| v.is_empty()) {
        let message = format!(
            "the target says no value for `{}`: it has {}",
            pairs[missing].0,
            count(given.len(), "value")
        );
        complaints.error(pos, message).hint(format!("say `--target {}`", names.join("/").to_uppercase()));
    }
    pairs
}

fn count(n: usize, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}

/// The sections that are for this target, the least specific first. Complains about patterns that can
/// match no target.
pub(super) fn matching<'f>(
    sections: impl IntoIterator<Item = &'f Table<TargetKeys>>,
    target: &[(String, String)],
    complaints: &mut Complaints,
) -> Vec<&'f At<TargetKeys>> {
    let mut found = Vec::new();
    for (pattern, section) in sections.into_iter().flat_map(|t| &t.0) {
        if let Some(rank) = rank(pattern, pattern.pos, target, complaints) {
            found.push((rank, section));
        }
    }
    // Stable: of equally specific ones the later wins.
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().map(|(_, section)| section).collect()
}

/// How specific a pattern is: whole parts first, then letters, from the left.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    exact: usize,
    parts: Vec<(bool, usize)>,
}

fn rank(pattern: &str, pos: Pos, target: &[(String, String)], complaints: &mut Complaints) -> Option<Rank> {
    let parts: Vec<&str> = pattern.split('/').collect();
    if pattern == "*" {
        return Some(Rank { exact: 0, parts: target.iter().map(|_| (false, 0)).collect() });
    }
    if parts.len() != target.len() {
        let keys: Vec<_> = target.iter().map(|(k, _)| k.as_str()).collect();
        let message =
            format!("`{}` matches no target: it has {}", printable(pattern), count(parts.len(), "part"));
        let hint = if keys.is_empty() {
            "the area has no keys: `keys = [\"os\"]` in `[area]`".to_owned()
        } else {
            format!("a target is {}; `*` stands for any text in a part", keys.join("/"))
        };
        complaints.error(pos, message).hint(hint);
        return None;
    }
    let matches = parts.iter().zip(target).all(|(part, (_, value))| wildcard(part, value));
    let letters = |part: &&str| (!part.contains('*'), part.chars().filter(|c| *c != '*').count());
    let exact = parts.iter().filter(|p| !p.contains('*')).count();
    matches.then(|| Rank { exact, parts: parts.iter().map(letters).collect() })
}
