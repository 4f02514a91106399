//! The tests of the format. `check` loads a text and shows what came of it, errors as people see them.

mod conditions;
mod documents;
mod errors;
mod hostile;
mod layers;
mod speed;
mod values;

use super::*;
use muster_core::definition::{ItemMatch, Items, Kind, Line, TestDef};
use std::io;

/// A caller's world: what it would read from the machine.
pub(super) struct World {
    pub(super) target: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) facts: Facts,
    pub(super) files: BTreeMap<String, String>,
}

impl Default for World {
    fn default() -> Self {
        let mut facts = Facts::default();
        facts.set("os", "linux");
        facts.set("arch", "x86_64");
        facts.set("cores", 8);
        let env = [("HOME".to_owned(), "/home/ana".to_owned())].into();
        Self { target: Vec::new(), env, facts, files: BTreeMap::new() }
    }
}

impl World {
    pub(super) fn target(target: &str) -> Self {
        Self { target: target.split('/').map(str::to_owned).collect(), ..Self::default() }
    }

    pub(super) fn with_file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.into());
        self
    }

    pub(super) fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    pub(super) fn load_layers(&self, layers: &[Layer<'_>]) -> Result<Loaded, Vec<ConfigError>> {
        let files = |path: &str| {
            let text = self.files.get(path).cloned();
            text.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
        };
        let context = LoadContext {
            area_name: "area",
            target: &self.target,
            process_env: &self.env,
            facts: &self.facts,
            files: &files,
        };
        load(layers, &context)
    }

    pub(super) fn load(&self, text: &str) -> Result<Loaded, Vec<ConfigError>> {
        self.load_layers(&[Layer { name: "muster.toml", text, kind: LayerKind::Project }])
    }
}

/// Loads a text that is right, for no target.
pub(super) fn load_good(text: &str) -> Loaded {
    World::default().load(text).unwrap_or_else(|errors| panic!("{}", told(&errors)))
}

/// The only test of a text that is right.
pub(super) fn only_test(text: &str) -> TestDef {
    let loaded = load_good(text);
    assert_eq!(loaded.area.tests.len(), 1);
    loaded.area.tests.into_iter().next().unwrap()
}

/// Errors as people see them.
pub(super) fn told(errors: &[ConfigError]) -> String {
    let all: Vec<_> = errors.iter().map(|e| format!("{e}\n")).collect();
    all.join("\n")
}

/// What is wrong with a text.
pub(super) fn errors_of(text: &str) -> String {
    match World::default().load(text) {
        Ok(_) => "no error".into(),
        Err(errors) => told(&errors),
    }
}

/// The shell line of a test's only step.
pub(super) fn shell_line(test: &TestDef) -> &str {
    match &test.kind {
        Kind::Steps { steps, .. } => match &steps[0].command.line {
            Line::Shell(line) => line,
            Line::Argv(argv) => panic!("{argv:?}"),
        },
        Kind::Suite(suite) => panic!("{suite:?}"),
    }
}

/// The paths of a test's items.
pub(super) fn item_paths(test: &TestDef) -> Vec<&str> {
    match &test.kind {
        Kind::Steps { items: Items::Listed(items), .. } => items.iter().map(|i| i.path.as_str()).collect(),
        other => panic!("{other:?}"),
    }
}
