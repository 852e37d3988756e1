//! A connection whose reader stopped reading is closed.
//!
//! Owns the time a write may wait for room. Time limits on requests end when an answer begins;
//! from there on only the socket knows whether anybody takes it. Whoever reads, however slowly,
//! goes on. Next: [`super::listen`], which wraps every connection in it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A stream whose writes fail once none has made progress for so long.
pub struct Impatient<S> {
    stream: S,
    patience: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

// === impl Impatient ===

impl<S> Impatient<S> {
    /// Wraps a stream.
    pub fn new(stream: S, patience: Duration) -> Impatient<S> {
        Impatient {
            stream,
            patience,
            waiting: None,
        }
    }

    /// What came of a write: progress stops the watch, waiting starts it or lets it run out.
    fn judge<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.waiting = None;
            return outcome;
        }
        let until = Instant::now() + self.patience;
        let begin = || Box::pin(tokio::time::sleep_until(until));
        let waiting = self.waiting.get_or_insert_with(begin);
        match waiting.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the reader stopped reading",
            ))),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const ROOM: usize = 16;

    #[tokio::test(start_paused = true)]
    async fn who_never_reads_is_left_and_who_reads_slowly_is_not() {
        let (davys, mut readers) = tokio::io::duplex(ROOM);
        let mut stream = Impatient::new(davys, PATIENCE);
        let begun = Instant::now();
        let slowly = tokio::spawn(async move {
            let mut got = [0; ROOM];
            for _ in 0..4 {
                tokio::time::sleep(PATIENCE / 2).await;
                readers.read_exact(&mut got).await.expect("it comes");
            }
            readers
        });
        stream
            .write_all(&[7; 5 * ROOM])
            .await
            .expect("a slow reader");
        let _never = slowly.await.expect("no panic");
        assert!(begun.elapsed() > PATIENCE);
        let begun = Instant::now();
        let error = stream.write_all(&[7]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), PATIENCE);
    }
}
