//! The repository of a build, brought near by its server. No such server can be had for tests: the one here
//! answers the two questions as they are documented, and is asked by the addresses alone.

use crate::site::{Reply, Site};
use crate::world::limits;
use muster_package::autotest::{Limits, PACKAGES, StageError, StagedBuild};
use std::fs;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(1);

fn build(site: &Site) -> StagedBuild {
    format!("{}/static/archive/board-release/R21-2461.0.0/autotest/packages", site.url).parse().unwrap()
}

#[test]
fn a_build_is_staged_and_asked_for_until_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let what = "archive_url=gs%3A%2F%2Fimages%2Fboard%2Drelease%2FR21%2D2461%2E0%2E0&artifacts=autotest%5Fpackages&files=";
    let (stage, is_staged) = (format!("stage?{what}&async=True"), format!("is_staged?{what}"));
    fs::write(dir.path().join(&stage), "Success").unwrap();
    fs::write(dir.path().join(&is_staged), "True").unwrap();
    fs::write(dir.path().join("not-yet"), "False").unwrap();
    let site = Site::new(dir.path(), |name, before| match (name.starts_with("is_staged"), before) {
        // The server is busy, and then not done, and then done.
        (true, 0) => Reply::Page(503),
        (true, 1..3) => Reply::Other("not-yet"),
        _ => Reply::File,
    });
    build(&site).stage("gs://images/", &[PACKAGES], &limits(), EVERY).unwrap();
    assert_eq!(site.asked(), [vec![stage], vec![is_staged; 4]].concat());
}

#[test]
fn a_server_that_does_not_stage_is_waited_for_no_longer_than_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("not-yet"), "False").unwrap();
    let slow = Site::new(dir.path(), |_, _| Reply::Other("not-yet"));
    let short = Limits { total: Duration::from_millis(20), ..limits() };
    let done = build(&slow).stage("gs://images", &[PACKAGES], &short, EVERY);
    assert!(matches!(done, Err(StageError::TooSlow { .. })), "{done:?}");
    let without = Site::new(dir.path(), |_, _| Reply::File);
    let why = build(&without).stage("gs://images", &[PACKAGES], &limits(), EVERY).unwrap_err().to_string();
    assert!(why.contains("does not stage `board-release/R21-2461.0.0`: it answers 404"), "{why}");
}
