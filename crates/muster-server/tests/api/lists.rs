//! Lists, page by page.

use crate::site::{Site, record_run, uuid};
use muster_store::{LabKey, Sqlite};
use serde_json::Value;
use std::collections::BTreeSet;

fn texts(list: &[Value], field: &str) -> Vec<String> {
    list.iter().map(|entry| entry[field].to_string()).collect()
}

#[test]
fn every_list_is_the_same_in_small_pages_as_in_a_large_one() {
    let site = Site::with_runs(5);
    let run = format!("/api/v1/runs/{}", uuid(1));
    for (path, entries) in [
        ("/api/v1/runs".to_owned(), 5),
        ("/api/v1/runs?area=area".to_owned(), 5),
        ("/api/v1/runs?area=an%20other".to_owned(), 0),
        (format!("{run}/results"), 5),
        (format!("{run}/results?which=failed"), 1),
        (format!("{run}/items/1/attempts"), 2),
        ("/api/v1/devices".to_owned(), 0),
        ("/api/v1/queue".to_owned(), 0),
    ] {
        let joint = if path.contains('?') { '&' } else { '?' };
        let whole = site.list(&path, 1);
        assert_eq!(whole.len(), entries, "{path}");
        let paged = site.list(&format!("{path}{joint}limit=2"), entries.div_ceil(2).max(1));
        assert_eq!(paged, whole, "{path}");
    }
    let history = "/api/v1/history?area=area&test=unit&item=a";
    let whole = site.list(history, 1);
    assert_eq!(whole.len(), 10, "two attempts in each run");
    assert_eq!(site.list(&format!("{history}&limit=2"), 3), whole);
}

#[test]
fn a_page_shows_nothing_twice_and_leaves_nothing_out_because_something_was_added() {
    let site = Site::with_runs(4);
    let page = site.get("/api/v1/runs?limit=2").json();
    let mut seen = texts(page["list"].as_array().unwrap(), "number");
    let mut store = Sqlite::open(&site.dir.path().join("records"), LabKey(7)).unwrap();
    record_run(&mut store, 5);
    let rest = site.get(page["next"].as_str().unwrap()).json();
    seen.extend(texts(rest["list"].as_array().unwrap(), "number"));
    assert_eq!(seen, ["4", "3", "2", "1"], "newest first, as they were when the first page was read");
    assert_eq!(rest["next"], Value::Null);
    assert_eq!(texts(&site.list("/api/v1/runs", 1), "number").len(), 5);
}

#[test]
fn a_run_its_items_and_their_attempts_are_found_by_their_names() {
    let site = Site::with_runs(1);
    let run = format!("/api/v1/runs/{}", uuid(1));
    let head = site.get(&run).json();
    assert_eq!(
        (head["address"].as_str(), head["verdict"].as_str()),
        (Some("area/1"), Some("fail")),
        "{head}"
    );
    let item = site.get(&format!("{run}/items/1")).json();
    assert_eq!((item["test"].as_str(), item["path"].as_str()), (Some("unit"), Some("a")));
    assert_eq!(item["attempts"].as_array().unwrap().len(), 2);
    let names: BTreeSet<String> = site
        .list(&format!("{run}/results"), 1)
        .iter()
        .map(|item| format!("{}/{}", item["test"].as_str().unwrap(), item["path"].as_str().unwrap()))
        .collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["build/", "suite/", "unit/a", "unit/b/1", "unit/c"]);
    let without_dashes = run.replace('-', "");
    assert_eq!(site.get(&without_dashes).json(), head);
}
