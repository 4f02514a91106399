//! Parts of logs and blobs.

use crate::site::{Site, long_text, uuid};

#[test]
fn a_log_is_had_whole_or_in_parts_of_one_stream_or_both() {
    let site = Site::with_runs(1);
    let log = format!("/api/v1/runs/{}/items/1/attempts/1/log", uuid(1));
    for (path, text) in [
        (log.clone(), long_text(|_| true)),
        (format!("{log}?stream=stdout"), long_text(|n| n % 2 == 0)),
        (format!("{log}?stream=stderr"), long_text(|n| n % 2 == 1)),
    ] {
        let whole = site.get(&path);
        assert_eq!((whole.status, whole.text() == text), (200, true), "{path}");
        assert_eq!(whole.headers["content-type"], "text/plain; charset=utf-8");
        let (mut parts, tag) = (String::new(), whole.headers["etag"].as_str());
        for from in (0..text.len()).step_by(333_333) {
            let range = format!("bytes={from}-{}", from + 333_332);
            let part = site.ask("GET", &path, &[("range", &range), ("if-range", tag)], b"");
            assert_eq!(part.status, 206, "{path} {range}");
            parts.push_str(part.text());
        }
        assert_eq!(parts.len(), text.len());
        assert!(parts == text, "{path} in parts is what it is as a whole");
        let end = format!("bytes={}-", text.len());
        assert_eq!(site.ask("GET", &path, &[("range", &end)], b"").status, 416);
        let other = site.ask("GET", &path, &[("range", "bytes=0-9"), ("if-range", "\"x\"")], b"");
        assert_eq!((other.status, other.body.len()), (200, text.len()), "of something else all is wanted");
    }
    let frames = site.get(&format!("{log}?stream=frames"));
    let (half, path) = (frames.body.len() / 2, format!("{log}?stream=frames"));
    let first = site.ask("GET", &path, &[("range", &format!("bytes=0-{}", half - 1))], b"");
    let second = site.ask("GET", &path, &[("range", &format!("bytes={half}-"))], b"");
    assert!([first.body, second.body].concat() == frames.body);
    let short = site.get(&format!("/api/v1/runs/{}/items/2/attempts/1/log", uuid(1)));
    assert_eq!(short.text(), "hi");
}

#[test]
fn a_blob_is_had_in_parts() {
    let site = Site::with_runs(0);
    let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let path = format!("/api/v1/blobs/{}", blake3::hash(&bytes));
    assert_eq!(site.ask("PUT", &path, &[], &bytes).status, 201);
    assert_eq!(site.ask("PUT", &path, &[], &bytes).status, 204, "again it is there");
    let head = site.ask("HEAD", &path, &[], b"");
    assert_eq!((head.status, head.headers["content-length"].as_str()), (200, "1000000"));
    assert!(site.get(&path).body == bytes);
    let part = site.ask("GET", &path, &[("range", "bytes=999990-")], b"");
    assert_eq!((part.status, part.headers["content-range"].as_str()), (206, "bytes 999990-999999/1000000"));
    assert_eq!(part.body, bytes[999_990..]);
}
