//! Ending a connection on which the other side may still send.
//!
//! A request may be refused before its body was read. A connection that is closed over bytes that nobody has read is
//! reset, and the answer on it is lost. So what still comes is let in for a while: the other side sees the answer, and
//! the end of it, and has nothing more to say.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::oneshot;

/// What is let in at most.
// Limit: somewhat more than the longest message, so that whoever sends one too long learns why.
const BYTES_MAX: u64 = 256 << 20;
/// How long at most.
const LONG_MAX: Duration = Duration::from_secs(30);
/// How long it may be silent meanwhile.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// A connection that is lent to whoever serves it, and comes back when that is done with it.
pub(crate) struct Lent<S> {
    /// There until it is dropped.
    stream: Option<S>,
    back: Option<oneshot::Sender<S>>,
}

/// Lends a connection.
pub(crate) fn lend<S>(stream: S) -> (Lent<S>, oneshot::Receiver<S>) {
    let (back, returned) = oneshot::channel();
    (Lent { stream: Some(stream), back: Some(back) }, returned)
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Nobody wants it where the server ends.
            drop(back.send(stream));
        }
    }
}

/// Ends a connection that was served: first this side of it, then, when the other has ended or enough was waited for,
/// all of it.
pub(crate) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let drained = async {
        stream.shutdown().await?;
        let mut scrap = vec![0; 64 << 10];
        let mut left = BYTES_MAX;
        while left > 0 {
            match tokio::time::timeout(SILENCE_MAX, stream.read(&mut scrap)).await {
                Ok(Ok(0)) | Err(_) => break,
                Ok(Ok(n)) => left = left.saturating_sub(n as u64),
                Ok(Err(e)) => return Err(e),
            }
        }
        Ok::<_, io::Error>(())
    };
    // Whatever came of it, there is nobody to tell.
    let _ended = tokio::time::timeout(LONG_MAX, drained).await;
}

impl<S: Unpin> Lent<S> {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut S> {
        Pin::new(self.get_mut().stream.as_mut().expect("it is here until it is dropped"))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
