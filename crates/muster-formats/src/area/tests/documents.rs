use super::*;
use std::fs;
use std::path::PathBuf;

fn reference(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name)
}

#[test]
fn the_json_schema_is_checked_in() {
    let path = reference("muster.schema.json");
    let schema = json_schema();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    let checked_in = fs::read_to_string(&path).unwrap();
    assert!(
        checked_in == schema,
        "docs/reference/muster.schema.json is old: run the tests with UPDATE_GENERATED=1"
    );
}

/// The blocks of the page with their first words and the line they begin at.
fn blocks(page: &str) -> Vec<(usize, String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String, String)> = None;
    for (i, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(words)) => open = Some((i + 1, words.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, _, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn every_example_of_the_reference_page_is_what_it_says() {
    let page = fs::read_to_string(reference("muster-toml.md")).unwrap();
    let mut seen = 0;
    for (line, words, text) in blocks(&page) {
        let world = |target: &str| {
            let world = if target.is_empty() { World::default() } else { World::target(target) };
            world
                .with_file("shared.toml", "[vars]\nbuild = \"out\"\n")
                .with_file("rules/flash.logpro", "")
                .with_file("rules/measure.logpro", "")
                .with_file("rules/waivers.logpro", "")
                .with_file("expected.status", "[[ALWAYS, { 'some/item': [FAIL] }]]")
        };
        // An example that names keys is loaded for a target that fits.
        let target = match () {
            () if text.contains("keys = [\"os\", \"build\"]") => "linux/debug",
            () if text.contains("keys = [\"os\"") => "linux",
            () => "",
        };
        let result = world(target).load(&text);
        match words.as_str() {
            "toml" => {
                let loaded = result.unwrap_or_else(|e| panic!("line {line}:\n{}", told(&e)));
                assert!(loaded.warnings.is_empty(), "line {line}:\n{}", told(&loaded.warnings));
            }
            "toml error" => assert!(result.is_err(), "line {line} is no error"),
            _ => continue,
        }
        seen += 1;
    }
    assert!(seen > 20, "only {seen} examples");
}

#[test]
fn every_key_is_on_the_reference_page() {
    let page = fs::read_to_string(reference("muster-toml.md")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();
    let mut keys = Vec::new();
    collect_keys(&schema, &mut keys);
    assert!(keys.len() > 60, "{keys:?}");
    let told =
        |k: &str| ["`K`", "`[K]`", "`[K.", "`[[K]]`"].iter().any(|form| page.contains(&form.replace('K', k)));
    let missing: Vec<_> = keys.iter().filter(|k| !told(k)).collect();
    assert!(missing.is_empty(), "not on the page: {missing:?}");
}

fn collect_keys(value: &serde_json::Value, keys: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            if let Some(serde_json::Value::Object(properties)) = map.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            map.values().for_each(|v| collect_keys(v, keys));
        }
        serde_json::Value::Array(list) => list.iter().for_each(|v| collect_keys(v, keys)),
        _ => {}
    }
    keys.sort();
    keys.dedup();
}
