//! Items that a command of the user's prints: one per line, a path or a JSON object
//! `{"item": "a/b", "env": {"VAR": "value"}}`. Blank lines and lines that begin with `#` do not count.

use muster_core::exchange::{Found, FoundItem};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use thiserror::Error;

/// Output that is no list of items.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum ItemLineError {
    #[error("line {line} of its output is no item: {problem}")]
    Json { line: usize, problem: String },
    #[error("line {line} of its output: the variable `{name}` is neither text, a number nor a truth value")]
    Variable { line: usize, name: String },
    #[error("line {line} of its output: an item path is empty or has control characters")]
    Path { line: usize },
    #[error("line {line} of its output: the item `{path}` was there before, with other variables")]
    Twice { line: usize, path: String },
}

/// An item as it was printed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed {
    item: String,
    #[serde(default)]
    env: BTreeMap<String, serde_json::Value>,
}

/// The items of an output. The same item twice is one item.
pub(super) fn parse(stdout: &[u8]) -> Result<Found, ItemLineError> {
    let text = String::from_utf8_lossy(stdout);
    let mut items: Vec<FoundItem> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (line, text) in (1..).zip(text.lines().map(str::trim)) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (path, vars) =
            if text.starts_with('{') { from_json(line, text)? } else { (text.to_owned(), vec![]) };
        if path.trim().is_empty() || path.chars().any(char::is_control) {
            return Err(ItemLineError::Path { line });
        }
        match places.get(&path) {
            Some(place) if items[*place].vars == vars => {}
            Some(_) => return Err(ItemLineError::Twice { line, path }),
            None => {
                places.insert(path.clone(), items.len());
                items.push(FoundItem { path, vars, ..FoundItem::default() });
            }
        }
    }
    Ok(Found { groups: Vec::new(), items })
}

fn from_json(line: usize, text: &str) -> Result<(String, Vec<(String, String)>), ItemLineError> {
    let Printed { item, env } = serde_json::from_str(text).map_err(|e| {
        let problem = e.to_string();
        let problem = problem.split(" at line ").next().unwrap_or(&problem).to_owned();
        ItemLineError::Json { line, problem }
    })?;
    let mut vars = Vec::with_capacity(env.len());
    for (name, value) in env {
        let value = match value {
            serde_json::Value::String(text) => text,
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::Bool(truth) => truth.to_string(),
            serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                return Err(ItemLineError::Variable { line, name });
            }
        };
        vars.push((name, value));
    }
    Ok((item, vars))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_paths_or_objects() {
        let found = parse(
            b"# boards\n\n a/b \n{\"item\": \"c d\", \"env\": {\"N\": 3, \"OK\": true, \"S\": \"x\"}}\na/b\n",
        )
        .unwrap();
        let shown: Vec<(&str, Vec<String>)> = found
            .items
            .iter()
            .map(|i| (i.path.as_str(), i.vars.iter().map(|(n, v)| format!("{n}={v}")).collect()))
            .collect();
        assert_eq!(
            shown,
            [("a/b", vec![]), ("c d", vec!["N=3".to_owned(), "OK=true".to_owned(), "S=x".to_owned()])]
        );
        assert_eq!(parse(b"").unwrap(), Found::default());
    }

    #[test]
    fn what_is_no_item_is_named_by_its_line() {
        for (text, error) in [
            (
                "a\n{\"item\": 3}",
                "line 2 of its output is no item: invalid type: integer `3`, expected a string",
            ),
            (
                "{\"itm\": \"x\"}",
                "line 1 of its output is no item: unknown field `itm`, expected `item` or `env`",
            ),
            ("{\"item\": \"\"}", "line 1 of its output: an item path is empty or has control characters"),
            ("a\u{7}b", "line 1 of its output: an item path is empty or has control characters"),
            (
                "{\"item\": \"x\", \"env\": {\"V\": []}}",
                "line 1 of its output: the variable `V` is neither text, a number nor a truth value",
            ),
            (
                "x\n{\"item\": \"x\", \"env\": {\"V\": 1}}",
                "line 2 of its output: the item `x` was there before, with other variables",
            ),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), error);
        }
    }
}
