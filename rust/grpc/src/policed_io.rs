// SPDX-License-Identifier: Apache-2.0
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tritongw_engine::clock::monotonic_ns;

use crate::ping_policy::PingJudge;

/// Length of what a client says before its first frame.
const PREFACE_LENGTH: usize = 24;
const HEADER_LENGTH: usize = 9;
const PING: u8 = 6;
const ACK: u8 = 1;

/// Finds the pings in what a client sends. hyper answers them by itself, and tells nobody.
#[derive(Debug)]
struct PingScanner {
    is_in_preface: bool,
    header: [u8; HEADER_LENGTH],
    filled: usize,
    /// Bytes up to the next header.
    skip: usize,
}

impl PingScanner {
    fn new() -> Self {
        Self {
            is_in_preface: true,
            header: [0; HEADER_LENGTH],
            filled: 0,
            skip: PREFACE_LENGTH,
        }
    }

    fn is_in_preface(&self) -> bool {
        self.is_in_preface
    }

    /// Returns how many pings begin in `data`, which follows what was seen before.
    fn scan(&mut self, mut data: &[u8]) -> usize {
        let mut pings = 0;
        while !data.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(data.len());
                self.skip -= skipped;
                self.is_in_preface &= self.skip > 0;
                data = &data[skipped..];
                continue;
            }
            let taken = data.len().min(HEADER_LENGTH - self.filled);
            self.header[self.filled..self.filled + taken].copy_from_slice(&data[..taken]);
            self.filled += taken;
            data = &data[taken..];
            if self.filled == HEADER_LENGTH {
                let [high, middle, low, kind, flags, ..] = self.header;
                self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.filled = 0;
                pings += usize::from(kind == PING && flags & ACK == 0);
            }
        }
        pings
    }
}

/// A socket that ends when its client pings too often, and tells when it has spoken.
pub(crate) struct PolicedIo<S> {
    socket: S,
    scanner: PingScanner,
    judge: PingJudge,
    /// Whether the client's preface is there.
    is_greeted: Arc<AtomicBool>,
}

impl<S> PolicedIo<S> {
    pub(crate) fn new(socket: S, judge: PingJudge) -> Self {
        Self {
            socket,
            scanner: PingScanner::new(),
            judge,
            is_greeted: Arc::default(),
        }
    }

    /// Returns what becomes true when the client's preface is there.
    pub(crate) fn is_greeted(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_greeted)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PolicedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        let is_greeting = self.scanner.is_in_preface();
        for _ in 0..self.scanner.scan(&buffer.filled()[before..]) {
            if self.judge.is_too_many(monotonic_ns()) {
                return Poll::Ready(Err(io::Error::other("too_many_pings")));
            }
        }
        if is_greeting && !self.scanner.is_in_preface() {
            self.is_greeted.store(true, Ordering::Release);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PolicedIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a small frame");
        let header = [&length.to_be_bytes()[1..], &[kind, flags, 0, 0, 0, 0]].concat();
        [header, payload.to_vec()].concat()
    }

    #[test]
    fn pings_are_found_wherever_reads_cut_them() {
        let stream = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, &[]),
            frame(PING, 0, &[0; 8]),
            // What looks like a ping within a payload is none.
            frame(0, 0, &frame(PING, 0, &[0; 8])),
            frame(PING, ACK, &[0; 8]),
            frame(PING, 0, &[0; 8]),
        ]
        .concat();
        for size in [1, 2, 7, 17, stream.len()] {
            let mut scanner = PingScanner::new();
            let pings: usize = stream.chunks(size).map(|chunk| scanner.scan(chunk)).sum();
            assert_eq!(pings, 2, "in reads of {size}");
        }
    }
}
