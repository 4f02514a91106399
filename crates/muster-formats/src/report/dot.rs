//! What comes after what, as a graph in the language of Graphviz' `dot`, which lays it out and draws it.

use super::text::one_line;
use muster_core::definition::AfterMode;
use muster_core::plan::{Plan, PlannedItems, Why};
use std::fmt::Write as _;

/// The graph of a plan: a box for each test, an arrow from what comes first to what comes after it.
pub fn dot(name: &str, plan: &Plan) -> String {
    let mut text = format!(
        "digraph {} {{\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
        quoted(name)
    );
    for test in &plan.tests {
        let items = match &test.items {
            PlannedItems::Listed(items) if matches!(items.as_slice(), [one] if one.path.is_empty()) => {
                String::new()
            }
            PlannedItems::Listed(items) if items.len() == 1 => "1 item".to_owned(),
            PlannedItems::Listed(items) => format!("{} items", items.len()),
            PlannedItems::Found(_) => "items are found when it runs".to_owned(),
        };
        let label =
            if items.is_empty() { test.def.name.clone() } else { format!("{}\n{items}", test.def.name) };
        // What is only there because something comes after it.
        let pulled = matches!(test.why, Why::PrerequisiteOf(_));
        let style = if pulled { ", style=\"rounded,dashed\"" } else { "" };
        writeln!(text, "  {} [label={}{style}];", quoted(&test.def.name), quoted(&label)).ok();
    }
    for test in &plan.tests {
        for after in &test.def.after {
            let how = match &after.mode {
                AfterMode::Passed => String::new(),
                AfterMode::Ended => " [label=\"ended\", style=dashed]".to_owned(),
                AfterMode::MatchingItem { map } if map.is_empty() => " [label=\"same item\"]".to_owned(),
                AfterMode::MatchingItem { .. } => " [label=\"mapped item\"]".to_owned(),
                AfterMode::Exclusive => " [label=\"never beside\", style=dotted, dir=none]".to_owned(),
            };
            writeln!(text, "  {} -> {}{how};", quoted(&after.test), quoted(&test.def.name)).ok();
        }
    }
    text.push_str("}\n");
    text
}

/// A name in quotes. Line ends become those of labels, and no backslash means anything else.
fn quoted(name: &str) -> String {
    let mut quoted = String::from("\"");
    for (n, line) in name.split('\n').enumerate() {
        if n > 0 {
            quoted.push_str("\\n");
        }
        for c in one_line(line, 500).chars() {
            if matches!(c, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_whatever_is_in_them() {
        assert_eq!(quoted("a \"b\"\\N\n3 items"), "\"a \\\"b\\\"\\\\N\\n3 items\"");
    }
}
