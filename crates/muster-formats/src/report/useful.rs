//! Which line of a failed attempt's output a person should read first, and which line of source it is
//! about. Heuristics: a wrong guess costs a look at the log, so nothing is decided by them.

use super::text;
use regex::{Regex, RegexSet};
use std::sync::LazyLock;

/// Most characters of a useful line.
const CHARS_MAX: usize = 240;

/// Limit: output is searched to this many bytes, ends first (as [`text::cut_frames`] cuts).
const SEARCH_BYTES_MAX: usize = 512 << 10;

/// Signs of trouble, the most telling first.
static SIGNS: LazyLock<RegexSet> = LazyLock::new(|| {
    RegexSet::new([
        // pytest's explanation of the failed assertion
        r"^E {2,}\S",
        // Rust, now and before 1.73; Go
        r"\bpanicked at |^panic: ",
        // googletest
        r"^\S+:\d+: Failure$|^\S+\(\d+\): error: ",
        // sanitizers and valgrind
        r"ERROR: \w+Sanitizer: |: runtime error: |^==\d+== (Invalid|Conditional|Process terminating)",
        // assertions of C, Python, JavaScript, Java
        r"Assertion [`'‘].* failed|\bAssertionError\b|\bassert(ion)? failed\b|^Assertion failed|\bAssertionFailedError\b|\bassertion `",
        // a compiler's or tool's error with its place
        r"^\S+:\d+(:\d+)?: (fatal )?error\b",
        // an exception's last line
        r"^(\w+\.)*\w*(Error|Exception|Interrupt)(: |$)|^Exception in thread |^Uncaught ",
        r"^(error|fatal|FATAL|Error|ERROR)(\[\w+\])?: ",
        r"(?i)^\W*(error|fatal|critical)\b\W",
        // test programs' own words
        r"^\s*not ok\b",
        r"^\s*(--- FAIL|FAIL(ED|URE)?)\b",
        // what a shell says
        r"command not found|: No such file or directory|: Permission denied|: not found$|Segmentation fault|core dumped",
        r"(?i)\b(error|failed|failure|cannot|could not|unable to|mismatch)\b",
    ])
    .expect("the patterns are constant and tested")
});

/// Lines that speak of failure and tell nothing: totals, headings, back-trace help.
static NOISE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i)^\W*$|RUST_BACKTRACE|^(test result|failures):|^make(\[\d+\])?: |\b0 (failed|failures|errors)\b|^error: test failed, to rerun|^\W*(short test summary|failures|errors)\W*$|^={5,}|^-{5,}|^E {2,}(Traceback|where\b)",
    )
    .expect("the pattern is constant and tested")
});

/// The line of a failed attempt's framed log that a person should read first: a panic with its message,
/// what pytest marks with `E`, a failed assertion, an exception, an `error:` line; failing all that, the
/// last line of standard error, else of standard output. `None` where nothing was printed.
pub fn first_useful_line(log: &[u8]) -> Option<String> {
    use muster_core::output::Stream;
    let log = text::cut_frames(log, SEARCH_BYTES_MAX);
    let all = text::plain(&log, |s| s != Stream::Muster);
    let lines: Vec<&str> = all.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    let best = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !NOISE.is_match(line))
        .filter_map(|(i, line)| Some((SIGNS.matches(line).iter().next()?, i)))
        .min();
    let found = match best {
        Some((_, i)) => with_detail(&lines, i),
        None => {
            let err = text::plain(&log, |s| s == Stream::Stderr);
            let last =
                |text: &str| text.lines().map(str::trim).rfind(|l| !NOISE.is_match(l)).map(str::to_owned);
            last(&err).or_else(|| last(&all))?
        }
    };
    Some(text::shorten(&found, CHARS_MAX).into_owned())
}

/// The line with what the next ones add to it, where the kind of message is known to go on.
fn with_detail(lines: &[&str], at: usize) -> String {
    let line = lines[at].trim();
    let next = |n: usize| lines.get(at + n).map_or("", |l| l.trim());
    if let Some(rest) = line.strip_prefix("E ") {
        return rest.trim().to_owned();
    }
    if let Some((_, place)) = line.split_once("panicked at ") {
        let Some(place) = place.strip_suffix(':') else { return format!("panicked at {place}") };
        let mut message = next(1).to_owned();
        let sides: Vec<&str> = [next(2), next(3)]
            .into_iter()
            .filter(|l| l.starts_with("left:") || l.starts_with("right:"))
            .collect();
        if !sides.is_empty() {
            message = format!("{message}: {}", sides.join(", "));
        }
        return if message.is_empty() {
            format!("panicked at {place}")
        } else {
            format!("{message} ({place})")
        };
    }
    if line.ends_with(": Failure") {
        let details: Vec<&str> =
            (1..=4).map(next).take_while(|l| !l.is_empty() && !l.starts_with('[')).collect();
        return format!("{line}: {}", details.join(" "));
    }
    line.to_owned()
}

/// A line of source that a message names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The path as printed.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, where it was printed.
    pub column: Option<u32>,
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
pub fn source_line(text: &str) -> Option<SourceLine> {
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
    use muster_core::output::{self, Frame, Stream};

    fn useful(out: &str, err: &str) -> Option<String> {
        let mut log = Vec::new();
        for (stream, text) in [(Stream::Stdout, out), (Stream::Stderr, err)] {
            output::push(&mut log, Frame { stream, at_millis: 0, text: text.as_bytes() });
        }
        first_useful_line(&log)
    }

    #[track_caller]
    fn check(out: &str, expected: &str) {
        assert_eq!(useful(out, "").as_deref(), Some(expected));
        assert_eq!(useful("", out).as_deref(), Some(expected));
    }

    #[test]
    fn a_rust_panic_is_its_message_and_place() {
        check(
            "running 1 test\n\nthread 'tests::adds' (17) panicked at src/lib.rs:4:9:\nassertion `left == right` failed: sums\n  left: 1\n right: 2\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\nfailures:\n\ntest result: FAILED. 0 passed; 1 failed\n",
            "assertion `left == right` failed: sums: left: 1, right: 2 (src/lib.rs:4:9)",
        );
        check("thread 'main' panicked at 'boom', src/main.rs:2:5\n", "panicked at 'boom', src/main.rs:2:5");
    }

    #[test]
    fn pytest_is_its_first_e_line() {
        check(
            "____ test_x ____\n    def test_x():\n>       assert f() == 2\nE       AssertionError: f is odd\nE       assert 1 == 2\n\ntest_x.py:3: AssertionError\n=== short test summary info ===\nFAILED test_x.py::test_x\n",
            "AssertionError: f is odd",
        );
    }

    #[test]
    fn googletest_is_the_place_and_what_follows() {
        check(
            "[ RUN      ] A.b\na_test.cc:12: Failure\nExpected equality of these values:\n  1\n  2\n[  FAILED  ] A.b (0 ms)\n",
            "a_test.cc:12: Failure: Expected equality of these values: 1 2",
        );
    }

    #[test]
    fn exceptions_assertions_and_errors_are_found() {
        check(
            "start\nTraceback (most recent call last):\n  File \"x.py\", line 3, in <module>\n    f()\nValueError: no such thing\n",
            "ValueError: no such thing",
        );
        check(
            "x: a.c:7: main: Assertion `n == 3' failed.\nAborted (core dumped)\n",
            "x: a.c:7: main: Assertion `n == 3' failed.",
        );
        check(
            "warning: unused\nerror[E0308]: mismatched types\n --> src/a.rs:1:1\n",
            "error[E0308]: mismatched types",
        );
        check(
            "==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x1\n",
            "==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x1",
        );
        check("ok 1 - a\nnot ok 2 - b\n# Failed test 'b'\n", "not ok 2 - b");
        check("\x1b[31merror\x1b[0m: it broke\n", "error: it broke");
        check("sh: 1: frobnicate: not found\n", "sh: 1: frobnicate: not found");
    }

    #[test]
    fn without_a_sign_it_is_the_last_thing_said_on_standard_error() {
        assert_eq!(useful("one\ntwo\n\n", "hm\nwell\n  \n").as_deref(), Some("well"));
        assert_eq!(useful("one\ntwo\n\n", "").as_deref(), Some("two"));
        assert_eq!(useful("\n \n", ""), None);
    }

    #[test]
    fn totals_that_count_no_failures_are_not_failures() {
        check("10 passed, 0 failed\nexpected 3 lines, got 4\n", "expected 3 lines, got 4");
    }

    #[test]
    fn a_long_line_is_shortened() {
        let line = format!("error: {}", "x".repeat(5000));
        assert_eq!(useful(&line, "").unwrap().chars().count(), CHARS_MAX);
    }

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
