//! What other programs make of exports: Python's own readers of CSV and mail, odfpy, pydot, xmllint.

use crate::report_fixture::{HOSTILE, big, item, run, run_of, test};
use crate::{XMLLINT, assert_well_formed, read_by};
use muster_core::outcome::Verdict;
use muster_core::time::Time;
use muster_core::view::{ItemView, RunView, TestView};
use muster_formats::compare::{Comparison, Earlier, Letter, message, page};
use muster_formats::export::{Csv, Json, Ods, Refdb, Sexpr, Sink, Table};
use muster_formats::megatest::refdb::RefDb;
use muster_formats::report::InlineLogs;
use muster_formats::report::html::{IndexRow, Lanes, Link, Tree, gantt, index};
use std::collections::BTreeMap;
use std::path::PathBuf;

const ODFPY: &str = "python3 -m pip install odfpy";

/// All tables of the run with hostile texts.
fn fill(sink: &mut dyn Sink) {
    let run = run();
    for table in Table::ALL {
        sink.begin(table.name(), &table.columns()).unwrap();
        table.rows(&run, |row| sink.row(row)).unwrap();
        sink.end().unwrap();
    }
    sink.finish().unwrap();
}

fn text(make: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    make(&mut out);
    String::from_utf8(out).unwrap()
}

fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("report_exports");
    std::fs::create_dir_all(&dir).unwrap();
    dir.join(name)
}

/// The rows of a table as Python sees them in JSON, each value as text.
const AS_TEXT: &str = r"
import sys, json, csv, io
def text(v):
    if v is None: return ''
    return v if isinstance(v, str) else (repr(v) if isinstance(v, int) or v != int(v) else str(int(v)))
def tables(document):
    return {name: [list(rows[0])] + [[text(v) for v in row.values()] for row in rows] for name, rows in document.items() if rows}
";

#[test]
fn rows_have_unique_names_and_a_cell_for_each_column() {
    for table in Table::ALL {
        let columns = table.columns().len();
        let mut names = Vec::new();
        let row = |row: &[muster_formats::export::Cell]| {
            assert_eq!(row.len(), columns, "{table:?}");
            names.push(row[0].text().into_owned());
            Ok::<_, ()>(())
        };
        table.rows(&run(), row).unwrap();
        let all = names.len();
        assert!(all > 0, "{table:?}");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "{table:?}");
    }
}

#[test]
fn python_reads_the_same_from_csv_as_from_json() {
    let json = text(|out| fill(&mut Json::new(out, true)));
    let csv = text(|out| fill(&mut Csv::new(out)));
    let program = format!(
        "{AS_TEXT}
both = json.load(sys.stdin)
expected = [row for table in tables(json.loads(both['json'])).values() for row in table]
rows = [row for row in csv.reader(io.StringIO(both['csv'], newline='')) if row]
for a, b in zip(rows, expected):
    assert [c.replace('NaN', '') for c in a] == b, (a, b)
assert len(rows) == len(expected), (len(rows), len(expected))
print(len(rows))
"
    );
    let input = serde_json::json!({ "json": json, "csv": csv }).to_string();
    let read = read_by("python3", &["-c", &program], &input, "apt-get install python3");
    assert!(read.trim().parse::<u32>().unwrap() > 20, "{read}");
}

#[test]
fn a_spreadsheet_holds_the_same_with_numbers_as_numbers_and_no_formulas() {
    let file = scratch("tables.ods");
    fill(&mut Ods::new(std::fs::File::create(&file).unwrap()).unwrap());
    let json = text(|out| fill(&mut Json::new(out, true)));
    let program = format!(
        "{AS_TEXT}
from odf.opendocument import load
from odf.table import Table, TableRow, TableCell
from odf.text import P
from odf import teletype
expected = tables(json.load(sys.stdin))
document = load(sys.argv[1])
numbers = 0
for table in document.spreadsheet.getElementsByType(Table):
    name = table.getAttribute('name')
    rows = []
    for row in table.getElementsByType(TableRow):
        cells = []
        for cell in row.getElementsByType(TableCell):
            assert cell.getAttribute('formula') is None
            value = '\\n'.join(teletype.extractText(p) for p in cell.getElementsByType(P))
            if cell.getAttribute('valuetype') == 'float':
                numbers += 1
                assert float(cell.getAttribute('value')) == float(value)
            if cell.getAttribute('valuetype') == 'date':
                value += 'Z'
            cells.append(value.replace('NaN', ''))
        rows.append(cells)
    for a, b in zip(rows, expected[name]):
        assert a == [t.rstrip('\\n') for t in b], (a, b)
    assert len(rows) == len(expected.pop(name))
assert not expected and numbers > 100, (expected, numbers)
print(open(sys.argv[1], 'rb').read()[30:84].decode())
"
    );
    let read = read_by("python3", &["-c", &program, file.to_str().unwrap()], &json, ODFPY);
    // What the file is can be told from its first bytes.
    assert_eq!(read.trim(), "mimetypeapplication/vnd.oasis.opendocument.spreadsheet");
}

#[test]
fn s_expressions_and_refdb_hold_every_row() {
    let mut refdb = Refdb::default();
    fill(&mut refdb);
    let files = refdb.db.files().unwrap();
    let file = |name: &str| {
        let found = files.iter().find(|(n, _)| n == name);
        found.map(|(_, text)| text.clone()).ok_or_else(|| "not there".to_owned())
    };
    let back = RefDb::read(&file("sheet-names.cfg").unwrap(), file).unwrap();
    let sexpr = RefDb::from_sexpr(&text(|out| fill(&mut Sexpr::new(out)))).unwrap();
    let rows = |db: &RefDb| db.sheets.iter().map(|s| s.rows.len()).collect::<Vec<_>>();
    assert_eq!(rows(&back), rows(&sexpr));
    assert_eq!(sexpr.sheets.len(), Table::ALL.len());
}

/// Two runs of hostile names and texts.
fn two_runs() -> (RunView, RunView) {
    let mut before = run();
    for test in &mut before.tests {
        for item in &mut test.items {
            if item.path == HOSTILE {
                item.verdict = Some(Verdict::Pass);
            }
        }
    }
    let mut after = run();
    after.number = 43;
    after.name = format!("{HOSTILE}\r\nBcc: all@example.org");
    (before, after)
}

#[test]
fn a_comparison_is_a_well_formed_page_without_markup_of_a_test() {
    let (before, after) = two_runs();
    let found = Comparison::new(&before, &after, None, |_| Earlier::new());
    let page = page(&found, 3);
    assert_well_formed(&page);
    assert!(page.contains("newly failing") && page.contains("&lt;script&gt;alert(1)"), "{page}");
    for foreign in ["<script", "<b>&amp;", "\u{202e}", "http://", "src=", "\x1b", "\x00"] {
        assert!(!page.contains(foreign), "{foreign:?}");
    }
    assert!(page.contains(" more: <code>muster diff 42 43</code>"), "{page}");
    let same = Comparison::new(&before, &before, None, |_| Earlier::new());
    assert_well_formed(&muster_formats::compare::page(&same, 3));
    assert!(!same.is_worse());
}

#[test]
fn a_letter_is_a_message_with_text_and_page_and_its_headers_are_its_own() {
    let (before, after) = two_runs();
    let found = Comparison::new(&before, &after, None, |_| Earlier::new());
    let to = ["team@example.org".to_owned(), "ana@example.org".to_owned()];
    let letter = Letter {
        from: "muster@lab.example.org",
        to: &to,
        subject: format!("ü {}\r\nBcc: all@example.org", found.headline()),
        date: Time(1_763_663_518_000_000),
        id: "diff.1.2.3".to_owned(),
        text: format!("From the beginning\n.\n{HOSTILE}\n{}\n", "long ".repeat(400)),
        html: page(&found, 10),
    };
    let bytes = String::from_utf8(message(&letter).unwrap()).unwrap();
    assert!(bytes.lines().all(|line| line.len() <= 998), "lines as RFC 5322 has them");
    let program = r#"
import sys, json, email, email.policy
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
assert m.get_content_type() == 'multipart/alternative', m.get_content_type()
assert m['Bcc'] is None and not m.defects, m.defects
text, page = m.get_body(('plain',)), m.get_body(('html',))
print(json.dumps({'to': [a.addr_spec for a in m['To'].addresses], 'from': m['From'].addresses[0].addr_spec,
    'date': m['Date'].datetime.timestamp(), 'id': m['Message-ID'], 'subject': m['Subject'],
    'text': text.get_content(), 'page': page.get_content()}))
"#;
    let read = read_by("python3", &["-c", program], &bytes, "apt-get install python3");
    let read: serde_json::Value = serde_json::from_str(&read).unwrap();
    assert_eq!(read["to"], serde_json::json!(to));
    assert_eq!((&read["from"], &read["date"]), (&"muster@lab.example.org".into(), &1_763_663_518.0.into()));
    assert_eq!(read["id"], "<diff.1.2.3@lab.example.org>");
    assert_eq!(read["subject"], "ü 1 newly failing, 10 still failing");
    assert!(read["text"].as_str().unwrap().starts_with("From the beginning\r\n.\r\n<b>&amp;"), "{read}");
    assert!(read["page"].as_str().unwrap().contains("&lt;script&gt;alert(1)"), "{read}");
}

#[test]
fn an_item_is_listed_under_what_became_of_it_and_its_usual_time_is_told() {
    let slow = |ms| {
        let mut slow = item(Verdict::Pass);
        let last = slow.attempts.last_mut().unwrap();
        std::sync::Arc::make_mut(&mut last.result).duration = std::time::Duration::from_millis(ms);
        run_of(vec![test("t", vec![slow])])
    };
    let (before, after) = (slow(2_000), slow(2_600));
    let mut asked = Vec::new();
    let earlier = |ms: [u64; 5]| {
        Earlier::from([("the/pass".to_owned(), ms.map(std::time::Duration::from_millis).to_vec())])
    };
    let found = Comparison::new(&before, &after, None, |test| {
        asked.push(test.to_owned());
        earlier([2_000, 2_010, 1_990, 2_005, 1_995])
    });
    assert_eq!(found.headline(), "1 slower");
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["counts"], serde_json::json!({ "slower": 1 }));
    assert_eq!(json["differences"][0]["usual"]["samples"], 5);
    assert_eq!(asked, ["t"]);
    let jittery = Comparison::new(&before, &after, None, |_| earlier([1_000, 4_000, 2_000, 3_000, 2_500]));
    assert_eq!(jittery.headline(), "no difference");
    let by_factor = Comparison::new(&before, &after, Some(1.2), |_| panic!("nobody asks"));
    assert_eq!(by_factor.headline(), "1 slower");
}

#[test]
fn a_drawing_is_well_formed_and_escapes_what_tests_are_called() {
    for by in [Lanes::Tests, Lanes::Devices] {
        let drawing = gantt(&run(), by).unwrap();
        read_by("xmllint", &["--noout", "--nonet", "-"], &drawing, XMLLINT);
        assert!(drawing.contains("&lt;script&gt;") && !drawing.contains("<script"), "{drawing}");
        // Styles of a drawing hold for the whole page that it is in, unless they say where.
        let style = drawing.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        for selectors in
            style.split('}').filter(|rule| !rule.is_empty()).map(|rule| rule.split('{').next().unwrap())
        {
            assert!(selectors.split(',').all(|selector| selector.starts_with(".gantt ")), "{selectors}");
        }
    }
    assert_eq!(gantt(&run_of(Vec::new()), Lanes::Tests), None);
    let drawing = gantt(&big(20_000), Lanes::Devices).unwrap();
    assert!(drawing.len() < 4 << 20, "{} bytes", drawing.len());
}

#[test]
fn pages_of_hostile_tests_are_well_formed_and_every_link_leads_to_one() {
    let run = run();
    let mut pages = BTreeMap::new();
    let links =
        |_: &TestView, _: &ItemView| vec![Link { title: HOSTILE.to_owned(), href: "../../x".to_owned() }];
    let tree = Tree { run: &run, logs: &InlineLogs, links: &links, all_items: false };
    tree.write(&mut |path, bytes| {
        assert!(path.split('/').all(|part| !part.is_empty() && !part.starts_with('.')), "{path}");
        assert!(
            pages.insert(path.to_owned(), String::from_utf8(bytes.to_vec()).unwrap()).is_none(),
            "{path}"
        );
        Ok(())
    })
    .unwrap();
    // A page for the run, for each of five tests, and for each item that is not its test.
    assert_eq!(pages.len(), 1 + 5 + 15 + 1 + 2, "{:?}", pages.keys());
    for (path, page) in &pages {
        assert_well_formed(page);
        for foreign in ["<script", "<b>&amp;", "\u{202e}", "http://www.w3.org/1999", " src=", "\x1b", "\x00"]
        {
            assert!(!page.contains(foreign), "{path}: {foreign:?}");
        }
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        for href in page.split(" href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let known = match href.strip_prefix("../") {
                Some("index.html") => pages.contains_key("index.html"),
                // Above the run there are the index, the style and what the caller links to.
                Some(_) => true,
                None if dir.is_empty() => pages.contains_key(href),
                None => pages.contains_key(&format!("{dir}/{href}")),
            };
            assert!(known, "{path}: {href}");
        }
    }
    let hostile =
        pages.iter().find(|(path, _)| path.starts_with("host-ile/-b") || path.starts_with("host-ile/b"));
    assert!(hostile.unwrap().1.contains("&lt;script&gt;alert(1)"));
    let rows = [IndexRow { run: &run, dir: "42".to_owned() }, IndexRow { run: &run, dir: String::new() }];
    let page = index(HOSTILE, &rows);
    assert_well_formed(&page);
    assert!(!page.contains("<script") && page.contains("runs/42/index.html"));
}

#[test]
fn a_large_run_has_pages_for_what_is_worth_one_and_for_all_if_asked() {
    let run = big(6_000);
    let count = |all_items| {
        let (mut items, mut rows) = (0, 0);
        let tree = Tree { run: &run, logs: &InlineLogs, links: &|_, _| Vec::new(), all_items };
        tree.write(&mut |path, bytes| {
            if path.ends_with("/index.html") {
                rows += std::str::from_utf8(bytes).unwrap().matches("<tr>").count();
            } else if path != "index.html" {
                items += 1;
            }
            Ok(())
        })
        .unwrap();
        (items, rows)
    };
    let worth = run.counts.get(Verdict::Fail) + run.counts.get(Verdict::Flaky);
    assert_eq!(count(false), (worth, 6_000));
    assert_eq!(count(true), (6_000, 6_000));
}
