//! `megatest -summarize-items`: the page of a test's items, `megatest-rollup-TEST.html` in the directory above theirs.
//!
//! It is made of what the items have said of themselves so far; the run's own pages are those of `-generate-html`.

use super::job::Job;
use super::record::Record;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// Directories that are looked at.
// Limit: an item's path has as many parts as it has variables.
const DEPTH_MAX: usize = 16;

/// Writes the page of the test that this process is a part of. `top`: the directory above its items.
pub(super) fn write(job: &Job, top: &Path) -> io::Result<()> {
    if job.item.is_empty() {
        return Ok(());
    }
    let test = job.env.get("MT_TEST_NAME").map_or("test", String::as_str);
    let mut rows = Vec::new();
    items(top, Path::new(""), DEPTH_MAX, &mut rows)?;
    rows.sort();
    let name = escaped(test);
    let mut page = format!(
        "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{name}</title></head><body>\n\
         <h1>{name}</h1>\n<table border=\"1\">\n<tr><th>Item</th><th>State</th><th>Status</th><th>Comment</th></tr>\n"
    );
    for [item, state, status, comment] in rows.iter().map(|row| row.each_ref().map(|text| escaped(text))) {
        // Writing into a string does not fail.
        writeln!(
            page,
            "<tr><td><a href=\"{item}/\">{item}</a></td><td>{state}</td><td>{status}</td><td>{comment}</td></tr>"
        )
        .ok();
    }
    page.push_str("</table>\n</body></html>\n");
    fs::write(top.join(format!("megatest-rollup-{test}.html")), page)
}

/// The run directories below, with what they say of themselves.
fn items(top: &Path, below: &Path, depth: usize, rows: &mut Vec<[String; 4]>) -> io::Result<()> {
    for entry in fs::read_dir(top.join(below))? {
        let below = below.join(entry?.file_name());
        let dir = top.join(&below);
        if !dir.is_dir() {
            continue;
        }
        if !Record::is_in(&dir) {
            if depth > 0 {
                items(top, &below, depth - 1, rows)?;
            }
            continue;
        }
        let own = Record::of(&dir).status().unwrap_or_default();
        let [state, status] = [own.state, own.status].map(|word| match word.is_empty() {
            true => "n/a".to_owned(),
            false => word,
        });
        rows.push([below.display().to_string(), state, status, own.comment]);
    }
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
