//! Records for others: tables, trees of pages, drawings, letters. What other programs make of their contents is tested
//! beside the writers; here is that the commands write them, whole, where they were asked to.

use crate::env::TestEnv;
use crate::lab::Lab;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn seeded() -> TestEnv {
    let env = TestEnv::new();
    env.seed();
    env
}

fn read(env: &TestEnv, path: &str) -> String {
    std::fs::read_to_string(env.area().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Runs a program of others on a file, which must be good to it.
fn good_to(program: &[&str], file: &Path, install: &str) -> String {
    let output = Command::new(program[0])
        .args(&program[1..])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("`{}` is needed by this test: {e}\nhint: {install}", program[0]));
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {err}\nhint: if something is missing: {install}", file.display());
    String::from_utf8_lossy(&output.stdout).into_owned() + &err
}

#[test]
fn results_are_written_as_tables_in_every_format() {
    let env = seeded();
    let csv = env.run(&["export", "results", "1", "2", "--format", "csv"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert!(
        lines[0].starts_with("address,run,name,target,test,item,verdict,state,status,message,attempts"),
        "{csv}"
    );
    assert!(
        lines.iter().any(|l| l.starts_with("demo/2/net/ping,2,rc1,linux,net,ping,fail,COMPLETED,FAIL,")),
        "{csv}"
    );
    assert_eq!(lines.len(), 1 + 6 + 1, "a heading, three items of two runs, the exit code: {csv}");
    // Without a run, the latest; of runs, all.
    assert!(!env.run(&["export", "results"]).contains("demo/1/"));
    let runs = env.run(&["export", "runs", "--output", "json"]);
    let runs: serde_json::Value = serde_json::from_str(runs.split("--- exit").next().unwrap()).unwrap();
    assert_eq!((&runs[0]["address"], &runs[1]["result"]), (&"demo/1".into(), &"failed".into()));
    assert_eq!(runs[1]["seconds"], 12.4);
    let sexpr = env.run(&["export", "data", "--format", "sexpr"]);
    assert!(sexpr.starts_with("((\"data\"\n  (\"demo/2/net/ping#1:1\"\n    (\"run\" \"2\")"), "{sexpr}");
    assert!(env.run(&["export", "steps"]).contains("demo/2/net/ping#1:2,2,net,ping,1,judge,fail,1,0.3,"));
}

#[test]
fn a_spreadsheet_and_a_refdb_are_written_to_a_place_and_never_printed() {
    let env = seeded();
    for format in ["ods", "refdb"] {
        let said = env.run(&["export", "all", "--format", format]);
        assert!(
            said.contains("is not written to standard output") && said.ends_with("--- exit 2\n"),
            "{said}"
        );
    }
    assert_eq!(
        env.run(&["export", "all", "--last", "2", "--format", "ods", "-o", "all.ods"]),
        "--- exit 0\n"
    );
    let program = "import sys; from odf.opendocument import load; from odf.table import Table\n\
        print([t.getAttribute('name') for t in load(sys.argv[1]).spreadsheet.getElementsByType(Table)])";
    let sheets =
        good_to(&["python3", "-c", program], &env.area().join("all.ods"), "python3 -m pip install odfpy");
    assert_eq!(sheets.trim(), "['runs', 'results', 'steps', 'data']");
    assert_eq!(env.run(&["export", "results", "--format", "refdb", "-o", "tables"]), "--- exit 0\n");
    assert_eq!(read(&env, "tables/sheet-names.cfg"), "results\n");
    let csv = env.run(&["export", "refdb", "tables", "--format", "csv"]);
    assert!(
        csv.starts_with("row,run,name,target") && csv.contains("\ndemo/2/net/ping,2,rc1,linux,"),
        "{csv}"
    );
    // Nothing that is there is overwritten.
    let again = env.run(&["export", "results", "--format", "refdb", "-o", "tables"]);
    assert!(again.contains("cannot be written") && again.ends_with("--- exit 2\n"), "{again}");
}

#[test]
fn parameter_tables_go_from_csv_to_a_refdb_and_back() {
    let env = TestEnv::new();
    env.write("boards.csv", "board,port,note\npixel,7,\"two words\"\nnexus,,x\n");
    assert_eq!(env.run(&["export", "refdb", "boards.csv", "--format", "refdb", "-o", "db"]), "--- exit 0\n");
    assert_eq!(read(&env, "db/boards.dat"), "[pixel]\nport 7\nnote two words\n\n[nexus]\nnote x\n\n");
    let sexpr = env.run(&["export", "refdb", "db"]);
    assert!(sexpr.starts_with("((\"boards\"\n  (\"pixel\"\n    (\"port\" \"7\")"), "{sexpr}");
    let csv = env.run(&["export", "refdb", "db", "--sheet", "boards", "--format", "csv"]);
    assert_eq!(csv, "row,port,note\npixel,7,two words\nnexus,,x\n--- exit 0\n");
    let missing = env.run(&["export", "refdb", "db", "--sheet", "hosts"]);
    assert!(
        missing.contains("there is no sheet `hosts`") && missing.contains("there are boards"),
        "{missing}"
    );
}

#[test]
fn a_comparison_is_told_as_text_json_page_and_letter() {
    let env = seeded();
    let json = env.run(&["diff", "1", "2", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(json.split("--- exit 1").next().unwrap()).unwrap();
    assert_eq!(json["counts"], serde_json::json!({ "newly-failing": 2, "changed": 1 }));
    assert_eq!((&json["worse"], &json["same"]), (&true.into(), &0.into()));
    assert_eq!(env.run(&["diff", "1", "2", "--format", "html", "-o", "diff.html"]), "--- exit 1\n");
    let page = read(&env, "diff.html");
    assert!(
        page.contains("newly failing") && page.contains("net/ping") && page.ends_with("</html>"),
        "{page}"
    );
    assert_eq!(env.run(&["diff", "1", "2", "-o", "diff.txt"]), "--- exit 1\n");
    assert!(read(&env, "diff.txt").starts_with("demo/1 for linux → demo/2 for linux\nnewly failing (2)\n"));
    let letter = env.run(&[
        "diff",
        "1",
        "2",
        "--format",
        "mail",
        "--to",
        "team@example.org",
        "--from",
        "lab@example.org",
    ]);
    assert!(letter.contains("To: <team@example.org>\r\n"), "{letter}");
    assert!(letter.contains("Subject: demo/2 for linux: 2 newly failing, 1 changed\r\n"), "{letter}");
    assert!(
        letter.contains("text/plain") && letter.contains("text/html") && letter.ends_with("--- exit 1\n")
    );
    let wrong = env.run(&["diff", "1", "2", "--to", "team@example.org"]);
    assert!(wrong.contains("`--format mail`") && wrong.ends_with("--- exit 2\n"), "{wrong}");
    let wrong = env.run(&["diff", "1", "2", "--format", "mail", "--to", "a@b\nBcc: c@d"]);
    assert!(wrong.contains("is no mail address") && wrong.ends_with("--- exit 2\n"), "{wrong}");
}

/// Every file below a directory, with its contents.
fn files(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            all.extend(files(&entry.path()));
        } else {
            all.insert(entry.path(), std::fs::read_to_string(entry.path()).unwrap());
        }
    }
    all
}

/// Every link of every page leads to a file that is there, by a way that works wherever the tree is put.
pub(crate) fn links_lead_somewhere(dir: &Path) -> usize {
    let mut links = 0;
    for (path, text) in files(dir).iter().filter(|(p, _)| p.extension().is_some_and(|e| e == "html")) {
        for href in text.split(" href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(!href.starts_with('/') && !href.contains(':'), "{}: {href}", path.display());
            assert!(path.parent().unwrap().join(href).exists(), "{}: {href} leads nowhere", path.display());
            links += 1;
        }
        assert!(!text.contains("<script") && !text.contains(" src="), "{}", path.display());
    }
    links
}

#[test]
fn a_tree_of_pages_is_written_once_and_then_only_where_something_changed() {
    let env = seeded();
    let said = env.run(&["export", "html", "pages"]);
    assert_eq!(said, "--- stderr\nwrote ROOT/area/pages/index.html: 2 runs, 0 as they were\n--- exit 0\n");
    let pages = env.area().join("pages");
    assert!(links_lead_somewhere(&pages) > 20);
    let first = files(&pages);
    assert!(first[&pages.join("index.html")].contains("<a href=\"runs/2/index.html\">demo/2</a>"));
    let item = &first[&pages.join("runs/2/net/ping.html")];
    assert!(
        item.contains("host is down") && item.contains("round-trip") && item.contains(">judge<"),
        "{item}"
    );
    // A test without items is a page itself.
    assert!(first[&pages.join("runs/1/deploy/index.html")].contains("muster.toml:4"));
    for path in first.keys().filter(|p| p.extension().is_some_and(|e| e == "html")) {
        let told =
            good_to(&["xmllint", "--html", "--noout", "--nonet"], path, "apt-get install libxml2-utils");
        // It knows HTML 4 only.
        let real = told.lines().filter(|l| l.contains("parser error : ") && !l.contains("error : Tag "));
        assert_eq!(real.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", path.display());
    }
    std::fs::write(pages.join("runs/1/index.html"), "touched").unwrap();
    env.seed_killed();
    let said = env.run(&["export", "html", "pages"]);
    assert!(said.contains(": 1 run, 2 as they were"), "{said}");
    assert_eq!(read(&env, "pages/runs/1/index.html"), "touched", "what did not change was not written");
    assert!(read(&env, "pages/index.html").contains("runs/3/index.html"));
    links_lead_somewhere(&pages);
    // Nothing is written among files of others.
    env.write("mine/index.html", "mine");
    let said = env.run(&["export", "html", "mine"]);
    assert!(said.contains("no pages of Muster's") && said.ends_with("--- exit 2\n"), "{said}");
    assert_eq!(read(&env, "mine/index.html"), "mine");
}

#[test]
fn when_what_ran_is_drawn() {
    let env = seeded();
    for by in ["test", "device"] {
        let file = format!("{by}.svg");
        assert_eq!(env.run(&["export", "gantt", "1", "--by", by, "-o", &file]), "--- exit 0\n");
        good_to(&["xmllint", "--noout", "--nonet"], &env.area().join(&file), "apt-get install libxml2-utils");
    }
    let drawing = read(&env, "test.svg");
    assert!(drawing.contains("<title>net/tls: fail, 340ms</title>"), "{drawing}");
    assert!(drawing.contains("net/tls#2: pass") && drawing.contains("url(#muster-bad)"), "{drawing}");
    assert!(env.run(&["export", "gantt", "1", "--format", "html"]).starts_with("<!DOCTYPE html>"));
}

#[test]
fn what_is_written_of_runs_of_a_lab_is_what_is_written_of_those_here() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.a]\nrun = \"seq 30000; test ! -e bad\"\nitems = [\"x\", \"y\"]\n\
         [test.b]\nsteps = [{ name = \"one\", run = \"true\" }, { name = \"two\", run = \"echo {} >> $MUSTER_MEASURES; false\" }]\n",
    );
    let mut lab = Lab::start(&env);
    lab.start_agent("rack1", &["--slots", "2"]);
    let url = lab.url();
    let there = |args: &[&str]| env.run(&[&["--server", &url], args].concat());
    for bad in [false, true] {
        if bad {
            env.write("bad", "");
        }
        assert!(there(&["run"]).ends_with("--- exit 1\n"));
        assert!(env.run(&["run"]).ends_with("--- exit 1\n"));
    }
    // What differs from run to run is not looked at.
    let firsts = |csv: &str| {
        let column = |line: &str| line.split(',').next().unwrap_or_default().to_owned();
        csv.lines().map(column).collect::<Vec<_>>()
    };
    for table in ["runs", "results", "steps", "data"] {
        let args = ["export", table, "--format", "csv"];
        let (here, lab) = (env.run(&args), there(&args));
        assert!(lab.ends_with("--- exit 0\n"), "{lab}");
        assert_eq!(firsts(&lab), firsts(&here), "{table}");
    }
    for args in [
        &["export", "all", "--last", "2", "--format", "json", "-o", "OUT.json"][..],
        &["export", "all", "--format", "sexpr", "-o", "OUT.sexpr"],
        &["export", "all", "--format", "ods", "-o", "OUT.ods"],
        &["export", "all", "--format", "refdb", "-o", "OUT.refdb"],
        &["export", "gantt", "latest", "-o", "OUT.svg"],
    ] {
        assert_eq!(there(args), "--- exit 0\n", "{args:?}");
        assert!(env.area().join(args[args.len() - 1]).exists());
    }
    let diff = ["diff", "1", "2", "--format", "json"];
    let kinds = |said: &str| {
        let json: serde_json::Value = serde_json::from_str(said.split("--- exit").next().unwrap()).unwrap();
        (json["counts"].clone(), json["worse"].clone())
    };
    assert_eq!(kinds(&there(&diff)), kinds(&env.run(&diff)));
    for format in ["text", "html", "mail"] {
        let said = there(&["diff", "1", "2", "--format", format]);
        assert!(said.contains("newly failing") && said.ends_with("--- exit 1\n"), "{said}");
    }
    let said = there(&["export", "html", "pages"]);
    assert!(said.contains(": 2 runs, 0 as they were") && said.ends_with("--- exit 0\n"), "{said}");
    let pages = env.area().join("pages");
    assert!(links_lead_somewhere(&pages) > 10);
    assert!(read(&env, "pages/runs/2/a/x.html").contains("29999"), "outputs are brought from the server");
    let said = there(&["export", "html", "pages"]);
    assert!(said.contains(": 0 runs, 2 as they were"), "{said}");
}

#[test]
fn what_comes_after_what_is_a_graph() {
    let env = TestEnv::new();
    env.write(
        "muster.toml",
        "[area]\nname = \"demo\"\n[test.build]\nrun = \"true\"\nitems = [\"a\", \"b\"]\n\
         [test.unit]\nrun = \"true\"\nitems = [\"a\"]\nafter = { test = \"build\", mode = \"matching-item\" }\n\
         [test.report]\nrun = \"true\"\nafter = { test = \"unit\", mode = \"ended\" }\n",
    );
    let said = env.run(&["plan", "--format", "dot"]);
    let dot = said.split("--- exit").next().unwrap();
    env.write("plan.dot", dot);
    let program = "import sys, pydot\n[g] = pydot.graph_from_dot_file(sys.argv[1])\n\
        print(sorted(e.get_source() + e.get_destination() + str(e.get('label')) for e in g.get_edges()))\n\
        print(g.get_node('\"build\"')[0].get('label'))";
    let read =
        good_to(&["python3", "-c", program], &env.area().join("plan.dot"), "python3 -m pip install pydot");
    assert_eq!(
        read.trim(),
        "['\"build\"\"unit\"\"same item\"', '\"unit\"\"report\"\"ended\"']\n\"build\\n2 items\"",
        "{dot}"
    );
}

#[test]
fn where_the_time_of_a_run_went_is_told_by_test() {
    let env = seeded();
    let said = env.run(&["history"]);
    assert!(said.starts_with("demo/2 for linux  1.36s of tests, 1 test\n"), "{said}");
    assert!(said.contains("net ") && said.contains("100 %"), "{said}");
    let json = env.run(&["history", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(json.split("--- exit").next().unwrap()).unwrap();
    assert_eq!(
        (&json[0]["test"], &json[0]["micros"], &json[0]["items"]),
        (&"net".into(), &1_360_000.into(), &2.into())
    );
}
