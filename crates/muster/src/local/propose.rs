//! What a `muster.toml` could say, from what is found in a directory.
//!
//! Looks, and runs nothing. What it proposes is a beginning: each part says what it was proposed for.

use crate::terminal::text::add;
use std::fs;
use std::path::Path;

/// A part of the proposal.
struct Part {
    /// What was found, and so why it is there.
    why: &'static str,
    toml: String,
}

/// The text of a `muster.toml` for this directory, and what it is for. With nothing found, a test to begin
/// with.
pub(crate) fn propose(dir: &Path) -> (String, Vec<&'static str>) {
    let finders: [fn(&Path) -> Option<Part>; 8] = [cargo, pytest, cmake, tap, npm, go, make, meson];
    let mut parts: Vec<Part> = finders.into_iter().filter_map(|find| find(dir)).collect();
    // What has a build system of its own is run by that; a Makefile beside it would run the same again.
    if parts.len() > 1 {
        parts.retain(|p| p.why != MAKE);
    }
    let name = dir.file_name().map(|n| area_name(&n.to_string_lossy())).unwrap_or_default();
    let mut text = String::from(
        "# What to test here, for `muster run`. All keys: docs/reference/muster-toml.md\n\n[area]\n",
    );
    add!(text, "name = {}\n", quoted(if name.is_empty() { "area" } else { &name }));
    if parts.is_empty() {
        text.push_str(SAMPLE);
        return (text, Vec::new());
    }
    for Part { why, toml } in &parts {
        add!(text, "\n# {why}\n{toml}");
    }
    (text, parts.iter().map(|p| p.why).collect())
}

/// Where nothing was recognised.
const SAMPLE: &str = r#"
# Nothing here was recognised as a test suite; this is a test to begin with.
[test.hello]
run = "echo hello"
stdout = "hello"
"#;

/// A name that an area may have, as near to the directory's as can be.
fn area_name(dir: &str) -> String {
    let good = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    dir.chars().map(good).collect::<String>().trim_matches(['-', '.']).to_owned()
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn read(dir: &Path, file: &str) -> Option<String> {
    // Limit: a file of this name that is larger is something else.
    const BYTES_MAX: u64 = 1 << 20;
    let path = dir.join(file);
    let small = fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= BYTES_MAX);
    small.then(|| fs::read(&path).ok()).flatten().map(|b| String::from_utf8_lossy(&b).into_owned())
}

/// Whether a directory has a file whose name is like this.
fn has(dir: &Path, is_like: impl Fn(&str) -> bool) -> bool {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    names.map(|e| e.file_name()).any(|n| n.to_str().is_some_and(&is_like))
}

fn cargo(dir: &Path) -> Option<Part> {
    let manifest = read(dir, "Cargo.toml")?;
    let manifest: toml::Table = manifest.parse().unwrap_or_default();
    let is_workspace = manifest.contains_key("workspace");
    let mut toml = String::from("[suite.rust]\nframework = \"cargo\"\n");
    if is_workspace {
        toml.push_str("args = [\"--workspace\"]\n");
    }
    if is_workspace || dir.join("src/lib.rs").is_file() {
        let all = if is_workspace { " --workspace" } else { "" };
        add!(toml, "\n# Doc tests are no items of their own.\n[test.doc]\nrun = \"cargo test --doc{all}\"\n");
    }
    Some(Part { why: "the tests of Cargo.toml, each an item", toml })
}

fn pytest(dir: &Path) -> Option<Part> {
    let is_test = |name: &str| {
        name.ends_with(".py")
            && (name.starts_with("test_") || name.ends_with("_test.py") || name == "conftest.py")
    };
    let places: Vec<&str> = ["tests", "test"].into_iter().filter(|d| has(&dir.join(d), is_test)).collect();
    let says = |file: &str, word: &str| read(dir, file).is_some_and(|t| t.contains(word));
    let configured = dir.join("pytest.ini").is_file()
        || says("pyproject.toml", "[tool.pytest")
        || says("setup.cfg", "[tool:pytest]")
        || says("tox.ini", "[pytest]");
    if places.is_empty() && !configured && !has(dir, is_test) {
        return None;
    }
    let mut toml = String::from("[suite.python]\nframework = \"pytest\"\n");
    if let Some(place) = places.first() {
        add!(toml, "args = [{}]\n", quoted(place));
    }
    let venv = [".venv", "venv"].into_iter().find(|v| dir.join(v).join("bin/python").exists());
    if let Some(venv) = venv {
        add!(toml, "command = [{}, \"-m\", \"pytest\"]\n", quoted(&format!("{venv}/bin/python")));
    }
    Some(Part { why: "the pytest suite, each test an item", toml })
}

fn cmake(dir: &Path) -> Option<Part> {
    let lists = read(dir, "CMakeLists.txt")?.to_lowercase();
    if !["enable_testing", "include(ctest", "add_test"].iter().any(|w| lists.contains(w)) {
        return None;
    }
    let toml = "[test.build]\nrun = \"cmake -S . -B build && cmake --build build --parallel\"\ntimeout = \"30m\"\n\n\
                [suite.ctest]\nframework = \"ctest\"\nbuild-dir = \"build\"\nafter = \"build\"\n";
    Some(Part { why: "the CTest tests of CMakeLists.txt, built first", toml: toml.to_owned() })
}

fn tap(dir: &Path) -> Option<Part> {
    let place = ["t", "tests"].into_iter().find(|d| has(&dir.join(d), |n| n.ends_with(".t")))?;
    let mut toml = format!("[suite.tap]\nframework = \"tap\"\nprograms = [\"{place}/*.t\"]\n");
    if dir.join("lib").is_dir()
        && ["Makefile.PL", "Build.PL", "cpanfile"].iter().any(|f| dir.join(f).is_file())
    {
        toml.push_str("interpreter = [\"perl\", \"-Ilib\"]\n");
    }
    Some(Part { why: "programs that speak TAP", toml })
}

fn npm(dir: &Path) -> Option<Part> {
    let package: serde_json::Value = serde_json::from_str(&read(dir, "package.json")?).ok()?;
    let script = package.pointer("/scripts/test")?.as_str()?;
    // What `npm init` writes where there is no test.
    if script.contains("no test specified") {
        return None;
    }
    Some(Part { why: "the test script of package.json", toml: "[test.npm]\nrun = \"npm test\"\n".to_owned() })
}

fn go(dir: &Path) -> Option<Part> {
    dir.join("go.mod").is_file().then(|| Part {
        why: "the packages of go.mod, each an item",
        toml: "[suite.go]\nframework = \"list\"\nlist = \"go list ./...\"\ncmd = [\"go\", \"test\", \"{item}\"]\n".to_owned(),
    })
}

const MAKE: &str = "the Makefile's own tests";

fn make(dir: &Path) -> Option<Part> {
    let text = ["GNUmakefile", "makefile", "Makefile"].into_iter().find_map(|f| read(dir, f))?;
    let is_target = |line: &str, t: &str| {
        line.strip_prefix(t)
            .is_some_and(|rest| rest.trim_start().starts_with(':') && !rest.trim_start().starts_with(":="))
    };
    let target = ["test", "check", "tests"].into_iter().find(|t| text.lines().any(|l| is_target(l, t)))?;
    Some(Part { why: MAKE, toml: format!("[test.make]\nrun = \"make {target}\"\ntimeout = \"30m\"\n") })
}

fn meson(dir: &Path) -> Option<Part> {
    if !read(dir, "meson.build")?.contains("test(") {
        return None;
    }
    let toml = "[test.build]\nrun = \"{ test -d build || meson setup build; } && meson compile -C build\"\ntimeout = \"30m\"\n\n\
                [test.meson]\nrun = \"meson test -C build --no-rebuild --print-errorlogs\"\nafter = \"build\"\n";
    Some(Part { why: "the tests of meson.build, built first", toml: toml.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with these files, and what is proposed for it. It is always one that can be read.
    fn proposed(files: &[(&str, &str)]) -> (String, Vec<&'static str>) {
        let dir = tempfile::tempdir().unwrap();
        let area = dir.path().join("my area!");
        fs::create_dir(&area).unwrap();
        for (name, text) in files {
            let path = area.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let (text, why) = propose(&area);
        let table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(table["area"]["name"].as_str(), Some("my-area"));
        (text, why)
    }

    #[test]
    fn what_is_there_is_what_is_proposed() {
        for (files, word) in [
            (&[("Cargo.toml", "[package]\nname = \"x\"\n"), ("src/lib.rs", "")][..], "cargo test --doc\""),
            (&[("Cargo.toml", "[workspace]\n")], "args = [\"--workspace\"]"),
            (&[("tests/test_a.py", "")], "args = [\"tests\"]"),
            (
                &[("pyproject.toml", "[tool.pytest.ini_options]\n"), ("venv/bin/python", "")],
                "\"venv/bin/python\"",
            ),
            (&[("CMakeLists.txt", "enable_testing()\n")], "framework = \"ctest\""),
            (&[("t/basic.t", ""), ("lib/X.pm", ""), ("cpanfile", "")], "\"-Ilib\""),
            (&[("package.json", r#"{"scripts": {"test": "jest"}}"#)], "npm test"),
            (&[("go.mod", "module x\n")], "go list"),
            (&[("Makefile", "all:\n\ncheck: all\n\t./run\n")], "make check"),
            (&[("meson.build", "test('a', exe)\n")], "meson test"),
        ] {
            let (text, why) = proposed(files);
            assert!(text.contains(word), "{files:?}:\n{text}");
            assert_eq!(why.len(), 1, "{files:?}: {why:?}");
        }
    }

    #[test]
    fn what_has_no_tests_is_not_proposed() {
        for files in [
            &[("CMakeLists.txt", "project(x)\n")][..],
            &[("package.json", r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#)],
            &[("Makefile", "test := no\nall:\n")],
            &[("README.md", "test_\n")],
            &[],
        ] {
            let (text, why) = proposed(files);
            assert!(text.contains("[test.hello]") && why.is_empty(), "{files:?}:\n{text}");
        }
    }

    #[test]
    fn a_makefile_beside_a_build_system_is_left_out() {
        let (text, why) = proposed(&[("Cargo.toml", "[package]\n"), ("Makefile", "test:\n\tcargo test\n")]);
        assert!(why.len() == 1 && !text.contains("make"), "{text}");
    }
}
