//! The served description against the server: schemathesis makes requests out of it, good and bad ones, and
//! compares what is answered.

use crate::site::{Site, uuid};
use std::process::Command;

/// Requests made of each path; with what is tried at the limits of each parameter some hundreds in all.
const EXAMPLES: &str = "12";

#[test]
fn the_server_does_what_its_description_says() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let there = Command::new(&python).args(["-c", "import schemathesis"]).output().unwrap();
    assert!(there.status.success(), "`{python}` lacks schemathesis; `cargo xtask setup` installs it");
    let site = Site::with_runs(3);
    let description = site.get("/api/v1/openapi.json");
    assert_eq!(description.headers["content-type"], "application/json");
    // With ids out of the air nothing is found; with these everything is.
    let known = format!("[parameters]\nrun = \"{}\"\nitem = 1\nattempt = 1\n", uuid(1));
    for (what, config, phases) in [("unknown", "", "fuzzing"), ("known", &known, "coverage,fuzzing")] {
        let dir = site.dir.path().join(what);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("schemathesis.toml"), config).unwrap();
        let checks = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,negative_data_rejection";
        let said = Command::new(&python)
            .args(["-m", "schemathesis.cli", "run", &format!("{}/api/v1/openapi.json", site.url())])
            .args(["--phases", phases, "--checks", checks])
            .args(["--max-examples", EXAMPLES, "--seed", "1", "--no-shrink", "--continue-on-failure"])
            // Plans are CBOR, which it does not write.
            .args(["--exclude-operation-id", "submit_run"])
            // It has no end.
            .args(["--exclude-operation-id", "watch_lab"])
            .args(["--request-timeout", "30", "--warnings", "off", "--no-color"])
            .current_dir(&dir)
            .env("NO_PROXY", "*")
            .output()
            .unwrap();
        assert!(
            said.status.success(),
            "with {what} ids:\n{}\n{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
    }
}
