//! What each report format says of a run with every verdict and with hostile text, and what real readers
//! of these formats make of it.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod report_exports;
mod report_fixture;

use expect_test::{expect, expect_file};
use muster_core::definition::UnexpectedPass;
use muster_core::outcome::Verdict;
use muster_core::view::RunView;
use muster_formats::report::{
    FinalReport, Format, InlineLogs, Json, Jsonl, Junit, LiveReport as _, Outputs, Tap, Teamcity, Writer,
    github, html, wire,
};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

fn written(report: &dyn FinalReport, run: &RunView) -> String {
    let mut out = Vec::new();
    report.write(run, &InlineLogs, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Runs a program with this on its standard input and returns what it printed; `install` is what to do
/// where it is missing or fails to find a library.
#[track_caller]
fn read_by(program: &str, args: &[&str], input: &str, install: &str) -> String {
    // A reader that does not understand may eat all memory before it gives up: it is given little.
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -v 1000000; exec \"$0\" \"$@\"", program])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("`{program}` is needed by this test: {e}\nhint: {install}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let feeding = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let fed = feeding.join().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{program}`: {err}\nhint: if something is missing: {install}");
    fed.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

const XMLLINT: &str = "apt-get install libxml2-utils";
const JUNITPARSER: &str = "python3 -m pip install junitparser";
const JSONSCHEMA: &str = "python3 -m pip install jsonschema";
const PERL: &str = "apt-get install perl";

fn validate(xml: &str) {
    let schema = repository("testdata/junit/junit.xsd");
    read_by("xmllint", &["--noout", "--nonet", "--schema", schema.to_str().unwrap(), "-"], xml, XMLLINT);
}

#[test]
fn junit_is_valid_by_the_schema_of_the_dialect_whatever_the_text() {
    let run = report_fixture::run();
    for outputs in [Outputs::None, Outputs::Notable, Outputs::All] {
        validate(&written(&Junit { outputs, output_bytes_max: 64 << 10 }, &run));
    }
    validate(&written(&Junit { outputs: Outputs::All, output_bytes_max: 10 }, &run));
    validate(&written(&Junit::default(), &report_fixture::run_of(Vec::new())));
}

#[test]
fn the_schema_of_the_dialect_refuses_what_is_not_of_it() {
    let schema = repository("testdata/junit/junit.xsd");
    let good = written(&Junit::default(), &report_fixture::run());
    for (from, to) in [
        ("<skipped", "<ignored"),
        (" tests=\"", " test=\""),
        ("time=\"1.", "time=\"x1."),
        ("flakyFailure", "flakeFailure"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        let mut child = Command::new("xmllint")
            .args(["--noout", "--nonet", "--schema", schema.to_str().unwrap(), "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("xmllint: {e}\nhint: {XMLLINT}"));
        // xmllint may stop reading at the first error.
        child.stdin.take().unwrap().write_all(bad.as_bytes()).ok();
        assert!(!child.wait().unwrap().success(), "{from} → {to} is taken for valid");
    }
}

#[test]
fn a_junit_reader_finds_every_item_with_its_verdict() {
    let xml = written(&Junit::default(), &report_fixture::run());
    let program = r#"
import sys
from junitparser import JUnitXml
from junitparser.xunit2 import TestCase
xml = JUnitXml.fromstring(sys.stdin.buffer.read())
print(xml.name, xml.tests, xml.failures, xml.errors, xml.skipped)
for suite in xml:
    print(ascii(suite.name), suite.tests, suite.failures, suite.errors, suite.skipped, suite.hostname, suite.timestamp)
    for case in suite:
        results = ' '.join(f'{type(r).__name__}:{r.type}' for r in case.result) or 'Passed'
        case = TestCase.fromelem(case._elem)
        more = [type(r).__name__ for r in case.flaky_failures() + case.rerun_failures()]
        print('  ', ascii(case.name)[:60], results, case.time, *more, sep=' | ')
"#;
    let read = read_by("python3", &["-c", program], &xml, JUNITPARSER);
    expect_file!["./report_snapshots/junitparser.txt"].assert_eq(&read);
}

#[test]
fn junit_of_every_verdict() {
    expect_file!["./report_snapshots/junit.xml"]
        .assert_eq(&written(&Junit::default(), &report_fixture::run()));
}

#[test]
fn a_run_that_is_not_ok_is_never_green_in_junit_or_tap() {
    for verdict in Verdict::ALL.into_iter().filter(|v| *v != Verdict::PrerequisiteFailed) {
        for policy in [UnexpectedPass::Fail, UnexpectedPass::Report] {
            let mut run =
                report_fixture::run_of(vec![report_fixture::test("t", vec![report_fixture::item(verdict)])]);
            run.unexpected_pass = policy;
            let xml = written(&Junit::default(), &run);
            let green = xml.contains("failures=\"0\" errors=\"0\"");
            assert_eq!(green, run.is_ok(), "{verdict} {policy:?}\n{xml}");
            let tap = written(&Tap::default(), &run);
            assert_eq!(tap.contains("\nok 1 - t\n"), run.is_ok(), "{verdict} {policy:?}\n{tap}");
        }
    }
}

#[test]
fn long_output_is_cut_in_the_middle_with_a_remark() {
    use muster_core::output::Stream;
    let mut item = report_fixture::item(Verdict::Fail);
    let mut result = (*item.attempts[0].result).clone();
    result.output =
        report_fixture::log(&[(Stream::Stdout, &"x".repeat(1000)), (Stream::Stdout, "the end\n")]);
    item.attempts[0].result = Arc::new(result);
    let run = report_fixture::run_of(vec![report_fixture::test("t", vec![item])]);
    let xml = written(&Junit { outputs: Outputs::Notable, output_bytes_max: 40 }, &run);
    assert!(xml.contains("[muster] … 968 bytes of output left out here …"), "{xml}");
    assert!(xml.contains("the end\n</system-out>"), "{xml}");
}

#[test]
fn tap_of_every_verdict_is_read_by_perls_parser_as_it_was_meant() {
    let tap = written(&Tap::default(), &report_fixture::run());
    expect_file!["./report_snapshots/run.tap"].assert_eq(&tap);
    // The parser passes over what is indented, so the whole shows it the tests; then it reads each subtest
    // by itself, unindented.
    let mut levels = vec![tap.clone()];
    for part in tap.split("# Subtest: ").skip(1) {
        let lines = part.lines().skip(1).map_while(|l| l.strip_prefix("    "));
        levels.push(format!("TAP version 13\n{}\n", lines.collect::<Vec<_>>().join("\n")));
    }
    let program = r##"
use TAP::Parser;
local $/; my $tap = <STDIN>;
$tap =~ s/^TAP version 14/TAP version 13/;
my $p = TAP::Parser->new({ tap => $tap });
while (my $r = $p->next) {
    if ($r->is_test) {
        my $d = $r->has_todo ? 'todo: ' . $r->explanation : $r->has_skip ? 'skip: ' . $r->explanation : '';
        print $r->number, ' ', ($r->is_ok ? 'ok' : 'NOT OK'), ' ', ($d || '-'), "\n";
    } elsif ($r->is_yaml) {
        my $y = $r->data;
        print "    verdict=$y->{verdict} attempts=", $y->{attempts} // '-', ' output lines=', scalar(split /\n/, $y->{output} // ''), "\n";
    } elsif ($r->is_unknown && $r->as_string =~ /^\S/) {
        print "UNKNOWN ", $r->as_string, "\n";
    }
}
print 'planned ', $p->tests_planned, ' run ', $p->tests_run, ' failed ', scalar($p->failed), ' problems ', join('; ', $p->parse_errors), "\n";
"##;
    let read: Vec<String> = levels.iter().map(|tap| read_by("perl", &["-e", program], tap, PERL)).collect();
    expect_file!["./report_snapshots/tap_parser.txt"].assert_eq(&read.join("--\n"));
}

#[test]
fn teamcity_tells_attempts_in_the_flow_of_their_device() {
    let mut report = Teamcity::new(Arc::new(InlineLogs));
    let mut out = Vec::new();
    for told in report_fixture::events() {
        report.told(&told, &mut out).unwrap();
        assert!(out.is_empty() || out.ends_with(b"]\n"), "whole lines after every event");
    }
    let text = String::from_utf8(out).unwrap();
    assert!(text.is_ascii());
    expect_file!["./report_snapshots/teamcity.txt"].assert_eq(&text);
}

#[test]
fn teamcity_opens_and_closes_everything_in_order() {
    let mut report = Teamcity::new(Arc::new(InlineLogs));
    let mut out = Vec::new();
    report_fixture::events().iter().for_each(|told| report.told(told, &mut out).unwrap());
    let text = String::from_utf8(out).unwrap();
    let attribute = |line: &str, name: &str| {
        let from = line.find(&format!(" {name}='")).map(|at| at + name.len() + 3)?;
        line[from..].split('\'').next().map(str::to_owned)
    };
    let mut open: std::collections::BTreeMap<String, Vec<String>> = Default::default();
    for line in text.lines().filter(|l| l.contains(" flowId='")) {
        let stack = open.entry(attribute(line, "flowId").unwrap()).or_default();
        let name = attribute(line, "name").unwrap();
        if line.contains("Started") {
            stack.push(name);
        } else if line.contains("Finished") {
            assert_eq!(stack.pop(), Some(name), "{line}");
        } else {
            assert_eq!(stack.last(), Some(&name), "{line}");
        }
    }
    assert!(open.values().all(Vec::is_empty), "left open: {open:?}");
}

#[test]
fn github_annotates_what_failed_and_prints_no_command_of_a_test() {
    let text = written(&github::Github::default(), &report_fixture::run());
    expect_file!["./report_snapshots/github.txt"].assert_eq(&text);
    for line in text.lines() {
        let own = ["::group::", "::endgroup::", "::error ", "::warning ", "::notice "];
        assert!(!line.trim_start().starts_with("::") || own.iter().any(|o| line.starts_with(o)), "{line}");
        assert!(!line.contains("##[") || line.starts_with("::"), "{line}");
    }
}

#[test]
fn githubs_summary_is_a_page_of_markdown() {
    let mut out = Vec::new();
    github::summary(&report_fixture::run(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    expect_file!["./report_snapshots/github_summary.md"].assert_eq(&text);
    assert!(!text.contains("<script") && !text.contains("<b>"));
}

#[test]
fn github_finds_sources_under_the_checkout() {
    let mut run =
        report_fixture::run_of(vec![report_fixture::test("t", vec![report_fixture::item(Verdict::Fail)])]);
    let mut place = |message: &str| {
        Arc::make_mut(&mut run.tests[0].items[0].attempts[0].result).message = message.to_owned();
        let report = github::Github { root: "/home/runner/work/".into(), ..Default::default() };
        let text = written(&report, &run);
        let line = text.lines().find(|l| l.starts_with("::error")).unwrap().to_owned();
        line.split(",title").next().unwrap().replace("::error ", "")
    };
    assert_eq!(place("boom at /home/runner/work/src/a.rs:3:4"), "file=src/a.rs,line=3,col=4");
    assert!(place("boom at /etc/passwd.d:3").starts_with("title="));
    assert!(place("boom at ../x.rs:3").starts_with("title="));
}

#[test]
fn every_event_is_one_line_of_json() {
    let mut out = Vec::new();
    for told in report_fixture::events() {
        Jsonl.told(&told, &mut out).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count(), report_fixture::events().len());
    expect_file!["./report_snapshots/events.jsonl"].assert_eq(&text);
}

#[test]
fn output_that_is_not_utf8_is_exact_in_the_event_stream() {
    use muster_core::output::{self, Frame, Stream};
    let mut log = Vec::new();
    output::push(&mut log, Frame { stream: Stream::Stderr, at_millis: 3, text: b"a\xff\n" });
    let frame = wire::Frame::from(output::frames(&log).next().unwrap());
    expect![[r#"{"stream":"stderr","at_millis":3,"text":"a�\n","hex":"61ff0a"}"#]]
        .assert_eq(&serde_json::to_string(&frame).unwrap());
}

#[test]
fn a_run_as_json_holds_what_the_view_holds() {
    let run = report_fixture::run();
    let json: serde_json::Value = serde_json::from_str(&written(&Json, &run)).unwrap();
    assert_eq!(json["schema"], "muster.run/1");
    assert_eq!(json["tests"].as_array().unwrap().len(), run.tests.len());
    assert_eq!(json["counts"]["fail"], run.counts.get(Verdict::Fail));
    let item = &json["tests"][1]["items"][0];
    expect_file!["./report_snapshots/item.json"].assert_eq(&format!("{item:#}\n"));
    let fetched = wire::Run::new(&run, wire::Texts::Fetched { logs: &InlineLogs, bytes_max: 1 << 20 });
    let json = serde_json::to_value(&fetched).unwrap();
    assert_eq!(json["tests"][1]["items"][0]["attempts"][0]["output"]["frames"][0]["text"], "starting\n");
}

#[test]
fn the_checked_in_schemas_are_those_of_the_types() {
    for (path, schema) in [
        ("docs/reference/event-stream.schema.json", wire::event_schema()),
        ("docs/reference/run.schema.json", wire::run_schema()),
    ] {
        let file = repository(path);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(&file, &schema).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            kept == schema,
            "{path} is not what the types say; run the tests with UPDATE_GENERATED=1 and commit it"
        );
    }
}

#[test]
fn events_and_runs_are_valid_by_their_schemas() {
    let mut out = Vec::new();
    report_fixture::events().iter().for_each(|told| Jsonl.told(told, &mut out).unwrap());
    let events = String::from_utf8(out).unwrap();
    let program = r#"
import json, sys
from jsonschema import Draft202012Validator as V
schema = json.load(open(sys.argv[1])); V.check_schema(schema)
validator = V(schema)
n = 0
for line in sys.stdin:
    document = json.loads(line); validator.validate(document); n += 1
    for key in list(document):
        broken = {k: v for k, v in document.items() if k != key}
        if key in ('schema', 'at', 'run', 'event', 'id', 'tests', 'counts'):
            assert not validator.is_valid(broken), f'valid without {key}'
print(n)
"#;
    let install = JSONSCHEMA;
    let schema = |path| repository(path).to_str().unwrap().to_owned();
    let read = read_by(
        "python3",
        &["-c", program, &schema("docs/reference/event-stream.schema.json")],
        &events,
        install,
    );
    assert_eq!(read.trim(), report_fixture::events().len().to_string());
    let run = written(&Json, &report_fixture::run());
    assert_eq!(
        read_by("python3", &["-c", program, &schema("docs/reference/run.schema.json")], &run, install).trim(),
        "1"
    );
}

#[test]
fn the_page_holds_no_markup_of_a_test_and_loads_nothing() {
    let page = written(&html::Html::default(), &report_fixture::run());
    assert!(page.contains("&lt;script&gt;alert(1)"), "the hostile text is there, as text");
    assert_eq!(page.matches("<script>").count(), 1, "only the page's own script");
    for foreign in
        ["<b>&amp;", "]]>", "\u{202e}", "http://", "src=", "@import", "url(", "\x1b", "\x00", "\x07"]
    {
        assert!(!page.contains(foreign), "{foreign:?}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn the_page_is_well_formed() {
    assert_well_formed(&written(&html::Html::default(), &report_fixture::run()));
}

#[track_caller]
fn assert_well_formed(page: &str) {
    // xmllint's HTML parser recovers from everything but tells what it recovered from.
    let mut child = Command::new("xmllint")
        .args(["--html", "--noout", "--nonet", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("xmllint: {e}\nhint: {XMLLINT}"));
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    // It knows HTML 4 only.
    let real: Vec<&str> =
        told.lines().filter(|l| l.contains("parser error : ") && !l.contains("error : Tag ")).collect();
    assert!(real.is_empty(), "{real:#?}");
}

#[test]
fn a_page_of_many_items_keeps_to_its_limits_and_says_so() {
    let run = report_fixture::big(10_000);
    let limits =
        html::Html { cards_max: 100, output_bytes_max: 1 << 10, outputs_bytes_max: 2 << 10, rows_max: 5_000 };
    let page = written(&limits, &run);
    let notable = run.counts.get(Verdict::Fail) + run.counts.get(Verdict::Flaky);
    assert_eq!(page.matches("<details class=\"card").count(), 100);
    assert!(page.contains(&format!("{} more items are worth a look", notable - 100)));
    assert!(page.contains("limit for output is reached"));
    assert!(page.contains("more items that are fine are left out"));
    assert_eq!(
        page.matches("<tr data-verdict=\"fail\"").count() as u32,
        run.counts.get(Verdict::Fail),
        "no failure is left out"
    );
    assert!(page.len() < 2 << 20, "{} bytes", page.len());
}

#[test]
fn every_format_writes_an_empty_run() {
    let mut run = report_fixture::run_of(Vec::new());
    run.ended = None;
    for format in Format::ALL {
        if let Writer::Final(report) = format.writer(Arc::new(InlineLogs)) {
            written(&*report, &run);
        }
    }
}

/// Writes `$MUSTER_REPORT_SAMPLES/*`, to look at; prints how long 100,000 items take.
#[test]
#[ignore = "for people: measures and writes samples"]
fn samples_and_times() {
    let directory = PathBuf::from(
        std::env::var_os("MUSTER_REPORT_SAMPLES").expect("MUSTER_REPORT_SAMPLES names a directory"),
    );
    let (small, medium, large) =
        (report_fixture::run(), report_fixture::big(12_000), report_fixture::big(100_000));
    for format in Format::ALL {
        let Writer::Final(report) = format.writer(Arc::new(InlineLogs)) else { continue };
        for (name, run) in [("small", &small), ("medium", &medium), ("large", &large)] {
            let begin = std::time::Instant::now();
            let mut out = Vec::new();
            report.write(run, &InlineLogs, &mut out).unwrap();
            println!("{format:9} {name:7} {:>10} bytes {:?}", out.len(), begin.elapsed());
            std::fs::write(directory.join(format!("{name}.{format}")), &out).unwrap();
        }
    }
    let events = report_fixture::events();
    for format in [Format::Jsonl, Format::Teamcity] {
        let Writer::Live(mut report) = format.writer(Arc::new(InlineLogs)) else { continue };
        let begin = std::time::Instant::now();
        let mut out = Vec::new();
        for n in 0..100_000 {
            report.told(&events[n % (events.len() - 1)], &mut out).unwrap();
        }
        println!("{format:9} 100,000 events {:>10} bytes {:?}", out.len(), begin.elapsed());
    }
}
