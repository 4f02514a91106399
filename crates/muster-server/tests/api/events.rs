//! The events of a run, and going on with them.

use crate::site::{Site, uuid};
use muster_server::{AccessConfig, Server, ServerConfig};
use std::time::Duration;

/// Number and data of each event.
fn events(text: &str) -> Vec<(String, String)> {
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
    };
    text.split_terminator("\n\n").map(|event| (field(event, "id: "), field(event, "data: "))).collect()
}

#[test]
fn events_go_on_behind_any_number_without_gap_or_double_also_with_another_server() {
    let mut site = Site::with_runs(2);
    let path = format!("/api/v1/runs/{}/events", uuid(2));
    let answer = site.get(&path);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let all = events(answer.text());
    let (over, numbered) = all.split_last().unwrap();
    assert_eq!(over.1, "{\"stopped\":null}");
    let kinds: Vec<String> = numbered
        .iter()
        .map(|(_, data)| {
            serde_json::from_str::<serde_json::Value>(data).unwrap()["event"].as_str().unwrap().to_owned()
        })
        .collect();
    let count = |kind: &str| kinds.iter().filter(|k| *k == kind).count();
    assert_eq!((kinds[0].as_str(), kinds.last().unwrap().as_str()), ("run-started", "run-ended"));
    assert_eq!((count("attempt-ended"), count("item-ended"), count("test-ended")), (6, 4, 3), "{kinds:?}");
    for restarted in [false, true] {
        if restarted {
            let config = ServerConfig {
                listen: "127.0.0.1:0".parse().unwrap(),
                data_dir: site.dir.path().to_owned(),
                lease: Duration::from_secs(60),
                access: AccessConfig::default(),
            };
            // The first one lets go of the records before the second takes them.
            site.restart(|| Server::start(config).unwrap());
        }
        for (place, (number, _)) in numbered.iter().enumerate() {
            let rest = site.ask("GET", &path, &[("last-event-id", number)], b"");
            assert_eq!(events(rest.text()), all[place + 1..], "behind {number}");
        }
    }
}
