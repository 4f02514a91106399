//! Which line of source a message is about. A heuristic: a wrong guess costs a look at the log, so nothing
//! is decided by it.

use regex::Regex;
use std::sync::LazyLock;

/// A line of source that a message names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceLine {
    /// The path as printed.
    pub(super) file: String,
    /// From 1.
    pub(super) line: u32,
    /// From 1, where it was printed.
    pub(super) column: Option<u32>,
}

static PLACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x)
        File\ "(?<pyfile>[^"]+)",\ line\ (?<pyline>\d+)
        | (?:^|[\s'"(\[=])(?<file>(?:[A-Za-z]:[\\/])?[\w.+\-/\\@]*[\w+\-]\.(?<ext>[A-Za-z][A-Za-z0-9]{0,7})):(?<line>\d+)(?::(?<column>\d+))?\b
        "#,
    )
    .expect("the pattern is constant and tested")
});

/// The first `path:line` in the text that looks like one: `src/lib.rs:4:9`, Python's `File "x.py", line
/// 3`. Hosts with ports do not count, nor paths into a toolchain or installed package.
pub(super) fn source_line(text: &str) -> Option<SourceLine> {
    PLACE.captures_iter(text).find_map(|c| {
        let group = |name| c.name(name).map(|m| m.as_str());
        let file = group("file").or(group("pyfile"))?;
        let line = group("line").or(group("pyline"))?.parse().ok().filter(|l| *l > 0)?;
        let foreign =
            ["/rustc/", "site-packages", "/usr/lib/", "/.cargo/registry/", "node_modules/", "<frozen"];
        let host = matches!(
            group("ext"),
            Some("com" | "org" | "net" | "io" | "dev" | "local" | "localhost" | "internal")
        );
        if host && !file.contains(['/', '\\'])
            || file.contains("//")
            || foreign.iter().any(|f| file.contains(f))
        {
            return None;
        }
        let column = group("column").and_then(|n| n.parse().ok());
        Some(SourceLine { file: file.trim_start_matches("./").to_owned(), line, column })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_lines_are_found_and_hosts_are_not() {
        let find = |text| source_line(text).map(|s| format!("{} {} {:?}", s.file, s.line, s.column));
        for (text, expected) in [
            ("panicked at src/lib.rs:4:9", Some("src/lib.rs 4 Some(9)")),
            ("./a/b_test.cc:12: Failure", Some("a/b_test.cc 12 None")),
            (
                "  File \"/usr/lib/python3/x.py\", line 3\n  File \"t/x.py\", line 7, in f",
                Some("t/x.py 7 None"),
            ),
            ("(C:\\x\\a.cs:3)", Some("C:\\x\\a.cs 3 None")),
            ("at /rustc/abc/library/core.rs:1:1 then src/m.rs:2", Some("src/m.rs 2 None")),
            ("connect to example.com:443 or http://a.b.dev:80/x or 127.0.0.1:8080", None),
            ("time 12:30:00, x.rs:0", None),
            ("no.place:here", None),
        ] {
            assert_eq!(find(text).as_deref(), expected, "{text}");
        }
    }
}
