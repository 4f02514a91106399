//! The events of a run, and going on with them.

use crate::site::{Site, uuid};
use muster_api::trust::Trust;
use muster_api::{Client, HoldDevice};
use muster_core::exchange::{DeviceOffer, Exchange, Gauges};
use muster_core::id::{AgentId, DeviceId, SessionId};
use muster_server::{AccessConfig, Server, ServerConfig};
use std::time::Duration;

/// Number and data of each event.
pub(crate) fn events(text: &str) -> Vec<(String, String)> {
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
                tokens: Default::default(),
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

#[test]
fn the_lab_s_events_go_on_behind_any_number_also_with_another_server() {
    let mut site = Site::with_runs(0);
    let say = |site: &Site, session: u64, names: &[&str]| {
        let devices = names.iter().map(|name| DeviceOffer::named(*name)).collect();
        let exchange = Exchange {
            agent: AgentId(7),
            session: SessionId(session),
            seq: 1,
            heard: 0,
            host: "rack3".to_owned(),
            devices,
            holding: Vec::new(),
            finished: Vec::new(),
            gauges: Gauges::default(),
            trouble: Default::default(),
        };
        let client = Client::new(&site.url(), &Trust::default()).unwrap();
        let asking = client.clone();
        // It is held open until there is something to do, which there is not.
        std::thread::spawn(move || asking.exchange(&exchange));
        while !names.iter().all(|name| site.get("/api/v1/devices").text().contains(name)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        client
    };
    let client = say(&site, 1, &["b1", "b2"]);
    let hold = HoldDevice { by: "ana".to_owned(), reason: "it clicks".to_owned(), seconds: None, id: None };
    client.hold(DeviceId(1), Some(&hold)).unwrap();
    client.hold(DeviceId(1), None).unwrap();
    let first = site.first_events("/api/v1/events", 0, 5);
    let kinds = |events: &[(String, String)]| -> Vec<String> {
        let parsed = |data: &str| serde_json::from_str::<serde_json::Value>(data).unwrap();
        events.iter().map(|(_, data)| parsed(data)["event"].as_str().unwrap().to_owned()).collect()
    };
    let all = ["agent-joined", "device-appeared", "device-appeared", "device-held", "device-released"];
    assert_eq!(kinds(&first), all);
    let kept = |path: &str| site.get(&format!("/api/v1/events{path}"));
    assert_eq!(events(kept("?follow=false").text())[1..], first, "behind the comment that begins it");
    let behind = format!("?follow=false&after={}", first[2].0);
    assert_eq!(kinds(&events(kept(&behind).text())[1..]), ["device-held", "device-released"]);
    let now = kept("?follow=false&after=now");
    assert_eq!(now.text(), format!(":\n\nid: {}\n\n", first[4].0), "from where it goes on");
    let unknown = kept("?follow=false&after=999");
    assert!(unknown.text().contains("event: gap\ndata: {\"missing\":null}"), "{}", unknown.text());
    for bad in ["?after=x", "?after=-1", "?follow=maybe", "?before=1"] {
        assert_eq!((kept(bad).status, &kept(bad).json()["code"]), (400, &"bad-query".into()), "{bad}");
    }
    let config = ServerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: site.dir.path().to_owned(),
        lease: Duration::from_secs(60),
        access: AccessConfig::default(),
        tokens: Default::default(),
    };
    site.restart(|| Server::start(config).unwrap());
    say(&site, 2, &["b2", "b3"]);
    let after = first[2].0.parse().unwrap();
    let rest = site.first_events("/api/v1/events", after, 6);
    assert_eq!(rest[..2], first[3..], "what was told before is told alike");
    assert_eq!(kinds(&rest[2..]), ["agent-lost", "device-gone", "agent-joined", "device-appeared"]);
}
