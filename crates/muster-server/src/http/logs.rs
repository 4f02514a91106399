//! What attempts printed, as text or as it is kept, whole or in ranges.

use super::State;
use super::answer::{Refusal, run_id};
use super::codes::problems;
use super::range::wanted;
use super::results::find_attempt;
use axum::body::Body;
use axum::extract::{self, Path, Query};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream;
use muster_api::Problem;
use muster_core::attempt::Output;
use muster_core::id::RunId;
use muster_core::output::{self, Stream};
use muster_formats::report::words;
use muster_store::{Store as _, StoreError};
use serde::Deserialize;
use utoipa::IntoParams;

/// Bytes of a log in memory at once.
const PIECE: u64 = 1 << 20;
/// Longest frame that is read.
// Limit: frames are as long as one read of a pipe; only damage is longer.
const FRAME_MAX: u64 = 64 << 20;

problems! { OfLog: "bad-id", "bad-query", "no-such-run", "no-such-item", "no-such-attempt", "no-such-output", "range-not-satisfiable"; }

/// Which part, and in which form.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Log {
    /// What was printed to both in the order it was read, to one of them, or frames as they are kept
    #[serde(default)]
    #[param(inline)]
    stream: Which,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Which {
    #[default]
    All,
    Stdout,
    Stderr,
    Frames,
}

impl Which {
    fn has(self, stream: Stream) -> bool {
        match self {
            Self::All => true,
            Self::Stdout => stream == Stream::Stdout,
            Self::Stderr => stream == Stream::Stderr,
            Self::Frames => false,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Frames => "frames",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::All | Self::Stdout | Self::Stderr => "text/plain; charset=utf-8",
            Self::Frames => "application/vnd.muster.frames",
        }
    }
}

/// What an attempt that has ended printed
///
/// As text, or with `stream=frames` as it is kept, with streams and times. Ranges count in bytes of what is asked for.
#[utoipa::path(get, path = "/runs/{run}/items/{item}/attempts/{attempt}/log", tag = "runs", operation_id = "get_log",
    params(
        ("run" = String, Path, description = "The run's id, a UUID", format = "uuid"),
        ("item" = u32, Path, description = "The item's number in the run", maximum = 4294967295_u64),
        ("attempt" = u16, Path, description = "From 1", maximum = 65535),
        Log,
        ("range" = Option<String>, Header, description = "One range of bytes: `bytes=0-99`"),
        ("if-range" = Option<String>, Header, description = "The range counts only for this `etag`"),
    ),
    responses(
        (status = 200, description = "All of it", content((String = "text/plain"), (Vec<u8> = "application/vnd.muster.frames"))),
        (status = 206, description = "The range", content((String = "text/plain"), (Vec<u8> = "application/vnd.muster.frames"))),
        OfLog,
    ))]
pub(super) async fn log(
    extract::State(state): extract::State<State>,
    Path((run, item, attempt)): Path<(String, u32, u16)>,
    Query(Log { stream: which }): Query<Log>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let run = run_id(&run)?;
    let output = find_attempt(&state, run, item, attempt).await?.result.output.clone();
    let mut reader = LogReader { state, run, output, which, at: 0, skip: 0, left: u64::MAX };
    let len = reader.len().await?;
    // A result that is recorded does not change.
    let tag = format!("\"{}-{item}-{attempt}-{}\"", words::run_uuid(run), which.word());
    let wanted = wanted(&headers, len, &tag)?;
    (reader.at, reader.skip, reader.left) = (0, wanted.from(), wanted.len());
    let pieces = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(reader))),
            Ok(None) => None,
            // The connection is cut, so that nobody takes what came for the whole.
            Err(_) => Some((Err(std::io::Error::other("the log cannot be read on")), None)),
        }
    });
    Ok(wanted.answer(which.kind(), Body::from_stream(pieces)))
}

/// Reads a log piece by piece.
struct LogReader {
    state: State,
    run: RunId,
    output: Output,
    which: Which,
    /// Where in the frames.
    at: u64,
    /// Bytes of the text that are not wanted.
    skip: u64,
    /// Bytes that are wanted then.
    left: u64,
}

impl LogReader {
    /// How many bytes there are of what is asked for.
    async fn len(&mut self) -> Result<u64, Refusal> {
        if self.which == Which::Frames {
            return Ok(frames_len(&self.output));
        }
        let mut len = 0;
        while let Some(piece) = self.next().await? {
            len += piece.len() as u64;
        }
        Ok(len)
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        while self.left > 0 {
            let Some(mut piece) = self.piece().await? else { return Ok(None) };
            let skip = piece.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            piece.drain(..skip);
            self.skip -= skip as u64;
            piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            if !piece.is_empty() {
                self.left -= piece.len() as u64;
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// The next of it all.
    async fn piece(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        if self.which == Which::Frames && self.at == 0 {
            // Frames need not be taken apart to be skipped.
            self.at = std::mem::take(&mut self.skip);
        }
        let mut want = PIECE;
        loop {
            let frames = self.read(want).await?;
            if frames.is_empty() {
                return Ok(None);
            }
            if self.which == Which::Frames {
                self.at += frames.len() as u64;
                return Ok(Some(frames));
            }
            let (mut rest, mut text) = (&frames[..], Vec::new());
            while let Some((frame, after)) = output::split_frame(rest) {
                if self.which.has(frame.stream) {
                    text.extend_from_slice(frame.text);
                }
                rest = after;
            }
            let taken = (frames.len() - rest.len()) as u64;
            if taken > 0 {
                self.at += taken;
                return Ok(Some(text));
            }
            // One frame is longer than that, or the log ends in the middle of one.
            if (frames.len() as u64) < want || want >= FRAME_MAX {
                return Ok(None);
            }
            want *= 2;
        }
    }

    async fn read(&self, want: u64) -> Result<Vec<u8>, Refusal> {
        let (run, output, at) = (self.run, self.output.clone(), self.at);
        let read = self.state.read(move |s| match s.read_output_range(run, &output, at, want) {
            Err(StoreError::OutputGone { .. } | StoreError::OutputOutside { .. }) => Ok(None),
            read => read.map(Some),
        });
        read.await?.ok_or_else(|| {
            Problem::new(404, "no-such-output", "what this attempt printed is not kept any more").into()
        })
    }
}

fn frames_len(output: &Output) -> u64 {
    match output {
        Output::None => 0,
        Output::Inline(frames) => frames.len() as u64,
        Output::File { len, .. } | Output::Segment { len, .. } => *len,
    }
}
