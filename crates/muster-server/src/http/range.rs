//! Ranges: one part of something that does not change, so that what was cut off can go on.
//!
//! Several ranges at once are answered with everything, as RFC 9110 allows.

use super::answer::Refusal;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use muster_api::Problem;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

/// How much of a file is held in memory at a time.
const PIECE: usize = 256 << 10;

/// What of it is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    from: u64,
    /// Behind the last byte.
    to: u64,
    whole: u64,
    is_part: bool,
    tag: String,
}

/// What the headers want of something this long, of which `tag` is the `etag`.
pub(super) fn wanted(headers: &HeaderMap, whole: u64, tag: &str) -> Result<Wanted, Refusal> {
    let all = Wanted { from: 0, to: whole, whole, is_part: false, tag: tag.to_owned() };
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if text(header::IF_RANGE).is_some_and(|known| known != tag) {
        return Ok(all);
    }
    let range = text(header::RANGE).and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else { return Ok(all) };
    let (from, to) = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(whole)),
        (Ok(first), Err(_)) if last.trim().is_empty() => (first, whole),
        (Err(_), Ok(last)) if first.trim().is_empty() => (whole.saturating_sub(last), whole),
        // What is no range does not count.
        _ => return Ok(all),
    };
    if from >= to {
        let said = format!("there are {whole} bytes, and the range begins at {from}");
        return Err(Problem::new(416, "range-not-satisfiable", said).next("ask for less").into());
    }
    Ok(Wanted { from, to, is_part: true, ..all })
}

/// What is wanted of a file, as a body.
pub(super) fn body_of(mut file: File, wanted: &Wanted) -> io::Result<Body> {
    file.seek(SeekFrom::Start(wanted.from()))?;
    let pieces = stream::unfold(Some((file, wanted.len())), |rest| async move {
        let (mut file, left) = rest.filter(|(_, left)| *left > 0)?;
        let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
        match tokio::task::block_in_place(|| file.read(&mut piece)) {
            Ok(0) => None,
            Ok(n) => {
                piece.truncate(n);
                Some((Ok(piece), Some((file, left - n as u64))))
            }
            Err(e) => Some((Err(e), None)),
        }
    });
    Ok(Body::from_stream(pieces))
}

impl Wanted {
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    pub(super) fn len(&self) -> u64 {
        self.to - self.from
    }

    /// The answer with this body, which has just these bytes.
    pub(super) fn answer(&self, kind: &'static str, body: Body) -> Response {
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_LENGTH, self.len().into());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::ETAG, HeaderValue::from_str(&self.tag).expect("tags are plain"));
        if self.is_part {
            let said = format!("bytes {}-{}/{}", self.from, self.to - 1, self.whole);
            headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&said).expect("numbers are plain"));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(range: &str, if_range: Option<&str>) -> Result<(u64, u64, bool), u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        if let Some(tag) = if_range {
            headers.insert(header::IF_RANGE, tag.parse().unwrap());
        }
        match wanted(&headers, 10, "\"t\"") {
            Ok(Wanted { from, to, is_part, .. }) => Ok((from, to, is_part)),
            Err(refusal) => Err(refusal.into_response().status().as_u16()),
        }
    }

    #[test]
    fn a_range_is_what_the_standard_says() {
        assert_eq!(ask("bytes=0-3", None), Ok((0, 4, true)));
        assert_eq!(ask("bytes=4-", None), Ok((4, 10, true)));
        assert_eq!(ask("bytes=-3", None), Ok((7, 10, true)));
        assert_eq!(ask("bytes=-30", None), Ok((0, 10, true)));
        assert_eq!(ask("bytes=8-99999999999999999", None), Ok((8, 10, true)));
        for behind in ["bytes=10-", "bytes=-0", "bytes=10-20"] {
            assert_eq!(ask(behind, None), Err(416), "{behind}");
        }
        for none in ["bytes=3-1", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "bytes=", "bytes=-"] {
            assert_eq!(ask(none, None), Ok((0, 10, false)), "{none}");
        }
    }

    #[test]
    fn a_range_counts_only_for_what_was_begun() {
        assert_eq!(ask("bytes=0-3", Some("\"t\"")), Ok((0, 4, true)));
        assert_eq!(ask("bytes=0-3", Some("\"other\"")), Ok((0, 10, false)));
    }
}
