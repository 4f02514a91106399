//! What Megatest's switches tell of runs: comparisons, tables, spreadsheets, pages.

use crate::env::TestEnv;
use crate::exports::links_lead_somewhere;
use crate::megatest::area;

/// An area with two runs, of which the second is worse.
fn two_runs() -> TestEnv {
    let env = area(&[
        ("tests/steady/testconfig", "[ezsteps]\ns true\n"),
        ("tests/breaks/testconfig", "[ezsteps]\ns test \"$MT_RUNNAME\" = w1\n[items]\nN 1 2\n"),
        (
            "tests/data/testconfig",
            "[ezsteps]\nd printf 'volt,out,1.9,2,0.2,V\\nvolt,in,5,5,0\\n' | megatest -load-test-data\n",
        ),
    ]);
    for name in ["w1", "w2"] {
        env.run(&["megatest", "-run", "-target", "linux", "-runname", name, "-testpatt", "%"]);
    }
    env
}

#[test]
fn megatest_s_switches_compare_list_measure_and_draw_up_pages() {
    let env = two_runs();
    let read =
        |path: &str| std::fs::read_to_string(env.area().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let of = |more: &[&str]| {
        let both = [
            "megatest",
            "-diff-rep",
            "-src-target",
            "linux",
            "-src-runname",
            "w1",
            "-target",
            "linux",
            "-runname",
            "w2",
        ];
        env.run(&[&both, more].concat())
    };
    let said = of(&[]);
    assert!(said.contains("newly failing (2)") && said.ends_with("--- exit 1\n"), "{said}");
    assert_eq!(of(&["-diff-html", "diff.html"]), "--- exit 1\n");
    assert!(read("diff.html").contains("<td class=\"name\">breaks/1</td>"), "{}", read("diff.html"));
    let letter = of(&["-diff-email", "a@example.org,b@example.org"]);
    assert!(letter.contains("<a@example.org>") && letter.contains("multipart/alternative"), "{letter}");
    let missing = env.run(&[
        "megatest",
        "-diff-rep",
        "-src-target",
        "linux",
        "-src-runname",
        "w0",
        "-target",
        "linux",
        "-runname",
        "w2",
    ]);
    assert!(missing.contains("no run `w0` for `linux`") && missing.ends_with("--- exit 2\n"), "{missing}");

    let csv = env.run(&["megatest", "-list-runs", "w2", "-dumpmode", "csv"]);
    assert!(
        csv.starts_with(
            "run,id,target,runname,state,status,event_time,run_duration\nlinux/w2,2,linux,w2,completed,FAIL,"
        ),
        "{csv}"
    );
    assert!(csv.contains("\nlinux/w2/breaks/1,2,linux,w2,breaks,1,COMPLETED,FAIL,"), "{csv}");
    let sexpr = env.run(&["megatest", "-list-runs", "%", "-dumpmode", "sexpr", "-testpatt", "steady"]);
    assert!(sexpr.contains("(\"linux/w1/steady/\"") && !sexpr.contains("breaks"), "{sexpr}");
    let some =
        ["megatest", "-list-runs", "w2", "-testpatt", "steady", "-fields", "runs:id+tests:testname,status"];
    let csv = env.run(&[some.as_slice(), &["-dumpmode", "csv"]].concat());
    assert_eq!(csv, "run,id\nlinux/w2,2\n\ntest,testname,status\nlinux/w2/steady/,steady,PASS\n--- exit 0\n");
    let json = env.run(&[some.as_slice(), &["-dumpmode", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(json.split("--- exit").next().unwrap()).unwrap();
    assert_eq!(json["linux"]["w2"]["meta"], serde_json::json!({ "id": 2 }));
    let data: Vec<_> = json["linux"]["w2"]["data"].as_object().unwrap().values().collect();
    assert_eq!(data, [&serde_json::json!({ "status": "PASS", "testname": "steady" })]);
    let wrong = env.run(&["megatest", "-list-runs", "%", "-fields", "runs:nonsense", "-dumpmode", "csv"]);
    assert!(
        wrong.contains("runs have no field `nonsense` here") && wrong.ends_with("--- exit 2\n"),
        "{wrong}"
    );
    assert_eq!(
        env.run(&["megatest", "-list-runs", "%", "-dumpmode", "ods", "-o", "runs.ods"]),
        "--- exit 0\n"
    );
    let said = env.run(&["megatest", "-extract-ods", "all.ods", "-target", "%", "-runname", "w1"]);
    assert!(said.contains("wrote ROOT/area/all.ods") && said.ends_with("--- exit 0\n"), "{said}");
    for file in ["runs.ods", "all.ods"] {
        let bytes = std::fs::read(env.area().join(file)).unwrap();
        assert!(bytes[30..].starts_with(b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet"), "{file}");
    }
    let wrong = env.run(&["megatest", "-list-runs", "%", "-dumpmode", "perl"]);
    assert!(
        wrong.contains("there is no `-dumpmode perl` here") && wrong.ends_with("--- exit 2\n"),
        "{wrong}"
    );

    let times = env.run(&["megatest", "-list-run-time", "-target-patt", "lin%", "-run-patt", "w%"]);
    assert_eq!(times.matches("linux/w").count(), 2, "{times}");
    let times = env.run(&["megatest", "-list-test-time", "-runname", "w2", "-dumpmode", "json"]);
    let times: serde_json::Value = serde_json::from_str(times.split("--- exit").next().unwrap()).unwrap();
    assert!(
        times.as_array().unwrap().iter().any(|t| t["test"] == "linux/w2/breaks/2" && t["status"] == "FAIL"),
        "{times}"
    );
    let data = env.run(&[
        "megatest",
        "-testdata-csv",
        "volt/o%",
        "-target",
        "linux",
        "-runname",
        "w1",
        "-testpatt",
        "%",
    ]);
    assert!(data.contains(",volt,out,1.9,2,0.2,V,,pass,\n") && !data.contains(",in,"), "{data}");

    let said = env.run(&["megatest", "-generate-html"]);
    assert!(said.contains("links/pages/index.html: 2 runs") && said.ends_with("--- exit 0\n"), "{said}");
    let item = read("links/pages/runs/2/breaks/1.html");
    assert!(item.contains("<a href=\"../../../../linux/w2/breaks/1/\">run directory</a>"), "{item}");
    assert!(links_lead_somewhere(&env.area().join("links/pages")) > 20);
    let said = env.run(&["megatest", "-generate-html-structure"]);
    assert!(said.contains("0 runs, 2 as they were") && said.ends_with("--- exit 0\n"), "{said}");
    assert!(read("links/targets.html").contains("<a href=\"linux/w2/run.html\">w2</a>"));
    let run = read("links/linux/w2/run.html");
    assert!(run.contains("<a href=\"breaks/1/\">breaks/1</a></td><td>COMPLETED</td><td>FAIL</td>"), "{run}");
    assert!(run.contains("<a href=\"../../pages/runs/2/index.html\">"), "{run}");
}

#[test]
fn a_refdb_is_written_in_the_formats_that_programs_read() {
    let env = area(&[
        ("params/sheet-names.cfg", "boards\n"),
        ("params/boards.dat", "[pixel]\nport 7\n\n[nexus]\nport 9\n"),
    ]);
    let sexpr = env.run(&["megatest", "-refdb2dat", "params"]);
    assert_eq!(
        sexpr,
        "((\"boards\"\n  (\"pixel\"\n    (\"port\" \"7\"))\n  (\"nexus\"\n    (\"port\" \"9\")))\n)\n--- exit 0\n"
    );
    assert_eq!(
        env.run(&["megatest", "-refdb2dat", "params", "-dumpmode", "csv", "-o", "b.csv"]),
        "--- exit 0\n"
    );
    assert_eq!(std::fs::read_to_string(env.area().join("b.csv")).unwrap(), "row,port\npixel,7\nnexus,9\n");
    let perl = env.run(&["megatest", "-refdb2dat", "params", "-dumpmode", "perl"]);
    assert!(perl.contains("is not done by Muster") && perl.ends_with("--- exit 2\n"), "{perl}");
}
