//! How fast a log is judged.

use super::*;
use muster_core::output::Stream;
use std::fmt::Write as _;
use std::io::{self, Sink};
use std::time::Instant;

/// Ten patterns, two of them behind a section, as people write them.
const RULES: &str = r#"
(trigger:non-required "begin" #/^=== begin/)
(trigger:non-required "end" #/^=== end/)
(section "S" "begin" "end")
(expect:ignore in "LogFileBody" >= 0 "comments" #/^\/\/.*error/)
(expect:required in "LogFileBody" > 0 "ran" #/^Measured/)
(expect:warning in "LogFileBody" = 0 "warn" #/warn/i)
(expect:abort in "S" = 0 "abort" #/panic/)
(expect:error in "LogFileBody" = 0 "err" (list #/ERROR/ #/\berror\b/ #/[Ff]atal/ #/segmentation fault/i #/^\s*FAIL\b/))
"#;

/// Lines of some hundred bytes, of which one in a thousand matches something.
fn log(bytes: usize) -> String {
    let mut log = String::with_capacity(bytes + 200);
    for i in 0.. {
        if log.len() >= bytes {
            break;
        }
        let what = match i % 4000 {
            0 => "Warning: late",
            1 => "ERROR: device lost",
            2 => "panic",
            _ => "compile link object module driver kernel boot init signal clock",
        };
        writeln!(log, "[{i:12}] {what} the quick brown fox jumps over the lazy dog").unwrap();
    }
    log
}

#[test]
#[ignore = "a measurement: cargo test --release -p muster-formats --lib logpro::speed -- --ignored --nocapture"]
fn megabytes_a_second() {
    let program = Program::read(&[("speed.logpro", RULES)], 0).unwrap();
    let slow = format!("{RULES}(expect:note in \"LogFileBody\" >= 0 \"\" #/lazy(?! dog)/)");
    let slow = Program::read(&[("speed.logpro", &slow)], 0).unwrap();
    let log = log(100 << 20);
    let measure = |what: &str, program: &Program, page: Option<Page<Sink>>| {
        let begin = Instant::now();
        let mut evaluation = Evaluation::new(program, page);
        log.as_bytes().chunks(1 << 20).for_each(|piece| evaluation.feed(Stream::Stdout, piece).unwrap());
        assert_eq!(evaluation.finish().unwrap().exit_code(), 1);
        println!("{what}: {:.0} MB/s", log.len() as f64 / 1e6 / begin.elapsed().as_secs_f64());
    };
    measure("without a page", &program, None);
    measure("with a page", &program, Some(Page::new(io::sink(), "speed", u64::MAX).unwrap()));
    measure("with a look-ahead, so line by line", &slow, None);
}
