//! What is answered where something is wrong.

use crate::site::{Site, uuid};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

#[test]
fn every_refusal_is_a_problem_document_with_a_code_a_next_step_and_the_request_s_id() {
    let site = Site::with_runs(1);
    let run = format!("/api/v1/runs/{}", uuid(1));
    let json: &[(&str, &str)] = &[("content-type", "application/json")];
    let long = format!("{{\"by\":\"ana\",\"reason\":\"{}\"}}", "x".repeat(66_000));
    let other = format!("/api/v1/blobs/{}", "0".repeat(64));
    for (method, path, headers, body, status, code) in [
        ("GET", "/", &[][..], "", 404, "no-such-path"),
        ("GET", "/api/v1/none", &[], "", 404, "no-such-path"),
        ("GET", "/api/v2/runs", &[], "", 404, "no-such-path"),
        ("DELETE", "/api/v1/runs", &[], "", 405, "method-not-allowed"),
        ("GET", "/api/v1/runs?limit=0", &[], "", 400, "bad-query"),
        ("GET", "/api/v1/runs?limit=1001", &[], "", 400, "bad-query"),
        ("GET", "/api/v1/runs?limit=many", &[], "", 400, "bad-query"),
        ("GET", "/api/v1/runs?limit=1&limit=2", &[], "", 400, "bad-query"),
        ("GET", "/api/v1/runs?after=7", &[], "", 400, "bad-query"),
        ("GET", "/api/v1/runs?aera=x", &[], "", 400, "bad-query"),
        ("GET", "/api/v1/history?area=a", &[], "", 400, "bad-query"),
        ("GET", "/api/v1/runs/7", &[], "", 400, "bad-id"),
        ("GET", &format!("/api/v1/runs/{}", uuid(9)), &[], "", 404, "no-such-run"),
        ("GET", &format!("/api/v1/runs/{}/events", uuid(9)), &[], "", 404, "no-such-run"),
        ("GET", &format!("{run}/items/99"), &[], "", 404, "no-such-item"),
        ("GET", &format!("{run}/items/x"), &[], "", 400, "bad-id"),
        ("GET", &format!("{run}/items/1/attempts/9/log"), &[], "", 404, "no-such-attempt"),
        ("GET", &format!("{run}/items/1/attempts/1/log?stream=x"), &[], "", 400, "bad-query"),
        ("POST", &format!("{run}/stop"), json, "{\"reason\":\"x\"}", 404, "no-such-run"),
        ("POST", &format!("{run}/stop"), json, "{\"reason\":", 400, "not-understood"),
        ("POST", &format!("{run}/stop"), &[], "reason", 415, "bad-body"),
        ("POST", &format!("{run}/lock"), json, "{\"by\":\"\"}", 422, "bad-note"),
        (
            "POST",
            &format!("{run}/comment"),
            json,
            "{\"by\":\"ana\",\"text\":\" \",\"items\":[]}",
            422,
            "bad-note",
        ),
        (
            "POST",
            &format!("{run}/set"),
            json,
            "{\"by\":\"ana\",\"items\":[],\"to\":\"good\"}",
            422,
            "bad-note",
        ),
        (
            "POST",
            &format!("{run}/set"),
            json,
            "{\"by\":\"ana\",\"items\":[{\"test\":\"none\"}],\"to\":\"pass\"}",
            404,
            "no-such-item",
        ),
        ("POST", &format!("/api/v1/runs/{}/remove", uuid(9)), json, "{\"by\":\"ana\"}", 404, "no-such-run"),
        ("PUT", &run, &[("content-type", "application/cbor")], "nonsense", 400, "not-understood"),
        ("GET", "/api/v1/devices/7", &[], "", 404, "no-such-device"),
        ("PUT", "/api/v1/devices/7/hold", json, "{\"by\":\"ana\",\"reason\":\"x\"}", 404, "no-such-device"),
        ("PUT", "/api/v1/devices/7/hold", json, "{\"by\":\"\",\"reason\":\"x\"}", 422, "bad-hold"),
        ("PUT", "/api/v1/devices/7/hold", json, "{\"by\":1}", 422, "bad-body"),
        ("PUT", "/api/v1/devices/7/hold", json, "{", 400, "bad-body"),
        ("PUT", "/api/v1/devices/7/hold", &[], "{}", 415, "bad-body"),
        ("PUT", "/api/v1/devices/7/hold", json, &long, 413, "too-long"),
        ("GET", &other, &[], "", 404, "no-such-blob"),
        ("PUT", &other, &[], "hello", 422, "wrong-digest"),
        ("GET", "/api/v1/blobs/x", &[], "", 400, "bad-digest"),
        ("GET", "/api/v1", &[("host", "lab.example")], "", 403, "not-from-here"),
        ("GET", "/api/v1", &[("origin", "http://127.0.0.1")], "", 403, "not-from-here"),
    ] {
        let answer = site.ask(method, path, headers, body.as_bytes());
        let what = format!("{method} {path}: {}", answer.text());
        assert_eq!(answer.status, status, "{what}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
        let problem = answer.json();
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()), "{what}");
        assert_eq!(problem["request"], *answer.headers["x-request-id"], "{what}");
        assert!(!problem["detail"].as_str().unwrap().is_empty(), "{what}");
        let plain = ["too-long", "no-such-run", "no-such-blob"].contains(&code);
        assert!(plain || !problem["next"].as_str().unwrap_or_default().is_empty(), "{what}");
    }
    let allowed = site.ask("DELETE", "/api/v1/runs", &[], b"").headers["allow"].clone();
    assert_eq!(allowed, "GET,HEAD");
}

#[test]
fn the_id_of_a_request_is_taken_over_where_it_can_be_one() {
    let site = Site::with_runs(0);
    let ask =
        |id: &str| site.ask("GET", "/api/v1", &[("x-request-id", id)], b"").headers["x-request-id"].clone();
    assert_eq!(ask("mine-1.2_3"), "mine-1.2_3");
    for bad in ["", "a b", "<script>", &"x".repeat(65)] {
        assert_ne!(ask(bad), bad);
    }
    assert_ne!(ask(""), ask(""), "each has its own");
}

#[test]
fn a_refusal_is_heard_by_who_sends_a_long_body_before_looking_for_an_answer() {
    let site = Site::with_runs(0);
    let listen = site.url().strip_prefix("http://").unwrap().to_owned();
    let (piece, pieces) = (vec![b'x'; 1 << 20], 24);
    for (path, coding, wanted) in [
        ("/api/v1/devices/7/hold", "", "413 "),
        ("/api/v1/devices/7/hold", "chunked", "413 "),
        ("/api/v1/none", "", "404 "),
        ("/api/v1/runs/7", "", "400 "),
    ] {
        let mut stream = TcpStream::connect(&listen).unwrap();
        let length = match coding {
            "" => format!("content-length: {}", piece.len() * pieces),
            coding => format!("transfer-encoding: {coding}"),
        };
        let head = format!("PUT {path} HTTP/1.1\r\nhost: {listen}\r\ncontent-type: application/json\r\n");
        write!(stream, "{head}{length}\r\n\r\n").unwrap();
        for _ in 0..pieces {
            if coding == "chunked" {
                write!(stream, "{:x}\r\n", piece.len()).unwrap();
            }
            stream.write_all(&piece).expect("the server takes what it does not want");
            if coding == "chunked" {
                stream.write_all(b"\r\n").unwrap();
            }
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {wanted}")), "{path} {coding}: {answer}");
        assert!(answer.contains("\"code\""), "{answer}");
    }
}
