//! The JSON schema of `muster.toml`, made from the types that read it.

use super::file::File;
use serde_json::Value;

/// The schema as it is checked in at `docs/reference/muster.schema.json`.
pub fn json_schema() -> String {
    let mut schema = schemars::schema_for!(File);
    schema.insert("title".into(), "muster.toml".into());
    let mut schema = schema.to_value();
    without_null(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is made of JSON values");
    text.push('\n');
    text
}

/// A key that is optional is left out; TOML has no null.
fn without_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
                choices.retain(|c| c.get("type").is_none_or(|t| t != "null"));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    map.remove("anyOf");
                    map.extend(only);
                }
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
