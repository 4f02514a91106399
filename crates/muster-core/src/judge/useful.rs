//! Which line of a failed attempt's output a person should read first. A heuristic: a wrong guess costs a
//! look at the log, so nothing is decided by it.

use super::lines::for_each_line;
use super::message::SHOWN_CHARS_MAX;
use crate::output::Stream;
use crate::text;
use regex::bytes::{Regex, RegexSet};
use std::sync::LazyLock;

/// Most bytes of a log that are searched, ends first (as [`text::cut_frames`] cuts).
// Limit: only failures are searched; what is useful stands near the start or at the very end.
const SEARCHED_BYTES_MAX: usize = 512 << 10;

/// Signs of trouble, the most telling first. Bytes and not characters: the agent, which is to stay small,
/// holds them too, and tables of letters and cases are large.
static SIGNS: LazyLock<RegexSet> = LazyLock::new(|| {
    let signs = [
        // pytest's explanation of the failed assertion
        r"^E {2,}\S",
        // Rust, now and before 1.73; Go
        r"\bpanicked at |^panic: ",
        // googletest
        r"^\S+:\d+: Failure$|^\S+\(\d+\): error: ",
        // sanitizers and valgrind
        r"ERROR: \w+Sanitizer: |: runtime error: |^==\d+== (Invalid|Conditional|Process terminating)",
        // assertions of C, Python, JavaScript, Java
        r"Assertion (`|'|‘).* failed|\bAssertionError\b|\bassert(ion)? failed\b|^Assertion failed|\bAssertionFailedError\b|\bassertion `",
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
        r"(?i)\b(error|failed|failure|cannot|could not|unable to|mismatch|undefined reference)\b",
        r"(?i)\b(expected|unexpected|not found|denied|no such|invalid|fault)\b",
    ];
    RegexSet::new(signs.map(|sign| format!("(?-u){sign}"))).expect("the patterns are constant and tested")
});

/// Lines that speak of failure and tell nothing: totals, headings, back-trace help.
static NOISE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?i-u)^[\x00-/:-@\[-`{-\x7f]*$|RUST_BACKTRACE|^(test result|failures):|^make(\[\d+\])?: |\b0 (failed|failures|errors)\b|^error: test failed, to rerun|^\W*(short test summary|failures|errors)\W*$|^={5,}|^-{5,}|^E {2,}(Traceback|where\b)",
    )
    .expect("the pattern is constant and tested")
});

/// The line of a failed attempt's framed log that a person should read first: a panic with its message,
/// what pytest marks with `E`, a failed assertion, an exception, an `error:` line; failing all that, the
/// last line of standard error, else of standard output. `None` where nothing was printed.
pub fn first_useful_line(log: &[u8]) -> Option<String> {
    let cut;
    let log = if log.len() <= SEARCHED_BYTES_MAX {
        log
    } else {
        cut = text::cut_frames(log, SEARCHED_BYTES_MAX);
        &cut
    };
    let mut lines: Vec<(Stream, String)> = Vec::new();
    for_each_line(log, |stream, line| {
        let line = text::clean(&String::from_utf8_lossy(line));
        if !line.trim().is_empty() {
            lines.push((stream, line));
        }
    });
    let best = lines
        .iter()
        .enumerate()
        .filter(|(_, (_, line))| SIGNS.is_match(line.as_bytes()) && !NOISE.is_match(line.as_bytes()))
        .filter_map(|(i, (_, line))| Some((SIGNS.matches(line.as_bytes()).iter().next()?, i)))
        .min();
    let found = match best {
        Some((_, i)) => with_detail(&lines, i),
        None => {
            let last = |wanted: &dyn Fn(Stream) -> bool| {
                let mut own = lines.iter().filter(|(stream, _)| wanted(*stream));
                own.rfind(|(_, line)| !NOISE.is_match(line.trim().as_bytes()))
                    .map(|(_, line)| line.trim().to_owned())
            };
            last(&|s| s == Stream::Stderr).or_else(|| last(&|_| true))?
        }
    };
    Some(text::shorten(&found.replace('\t', " "), SHOWN_CHARS_MAX).into_owned())
}

/// The line with what the next ones add to it, where the kind of message is known to go on.
fn with_detail(lines: &[(Stream, String)], at: usize) -> String {
    let (stream, line) = &lines[at];
    let line = line.trim();
    // Whatever the other stream says between them.
    let mut after = lines[at + 1..].iter().filter(|(s, _)| s == stream).map(|(_, l)| l.trim());
    let mut next = || after.next().unwrap_or_default();
    if let Some(rest) = line.strip_prefix("E ") {
        return rest.trim().to_owned();
    }
    if let Some((_, place)) = line.split_once("panicked at ") {
        let Some(place) = place.strip_suffix(':') else { return format!("panicked at {place}") };
        let mut message = next().to_owned();
        let sides: Vec<&str> = [next(), next()]
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
        let details: Vec<&str> = after.take(4).take_while(|l| !l.is_empty() && !l.starts_with('[')).collect();
        return format!("{line}: {}", details.join(" "));
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{self, Frame};

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
        assert_eq!(useful(&line, "").unwrap().chars().count(), SHOWN_CHARS_MAX);
    }
}
