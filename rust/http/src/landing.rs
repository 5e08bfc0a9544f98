// SPDX-License-Identifier: Apache-2.0
//! The way of a large body from the socket straight into the memory of the model it is for.
//!
//! hyper reads a connection into a buffer of its own. While a body is received, the stream below
//! hyper reads into the model's memory instead, and tells hyper of as many bytes: hyper counts
//! them, and nobody looks at what they are.

use std::io::Result as IoResult;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};
use tritongw_engine::buffer::RequestBuffer;
use tritongw_types::{Error, Result};

/// Bytes read from the socket at once at most: few calls, and other connections are not kept
/// waiting.
const STEP: usize = 256 << 10;
/// Bytes hyper is told of at once at most: it clears as many of its own, which is cheap only in
/// the cache.
const TOLD: usize = 32 << 10;

/// Where the body that a connection brings is to go. Shared by the connection's stream and the
/// request it brings, which run on one task.
#[derive(Default)]
pub(crate) struct Landing {
    is_open: AtomicBool,
    ground: Mutex<Option<Ground>>,
}

/// Of the buffer, `..taken` has come back from hyper, `..told` hyper knows of, `..filled` is read.
struct Ground {
    buffer: Box<dyn RequestBuffer>,
    filled: usize,
    told: usize,
    taken: usize,
    /// Nobody waits for the body any more; hyper is still to be told of what was read of it.
    is_left: bool,
}

impl Landing {
    /// Has the rest of a body read into `buffer`, until the guard is dropped.
    pub(crate) fn open(&self, buffer: Box<dyn RequestBuffer>) -> OpenLanding<'_> {
        *self.ground.lock() = Some(Ground {
            buffer,
            filled: 0,
            told: 0,
            taken: 0,
            is_left: false,
        });
        self.is_open.store(true, Ordering::Relaxed);
        OpenLanding(self)
    }

    /// Reads for hyper, into the open buffer while it has room.
    pub(crate) fn poll_read(
        &self,
        mut socket: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
        hyper: &mut ReadBuf<'_>,
    ) -> Poll<IoResult<()>> {
        if self.is_open.load(Ordering::Relaxed) {
            let mut ground = self.ground.lock();
            if let Some(open) = ground.as_mut()
                && open.has_more()
            {
                let poll = open.poll_read(socket.as_mut(), context, hyper);
                if open.is_left && open.told == open.filled {
                    self.close(&mut ground);
                }
                return poll;
            }
        }
        socket.poll_read(context, hyper)
    }

    fn close(&self, ground: &mut Option<Ground>) {
        *ground = None;
        self.is_open.store(false, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Landing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Landing")
            .field("is_open", &self.is_open)
            .finish_non_exhaustive()
    }
}

impl Ground {
    fn room(&mut self) -> usize {
        self.buffer.as_mut_slice().len() - self.filled
    }

    fn has_more(&mut self) -> bool {
        self.told < self.filled || (self.room() > 0 && !self.is_left)
    }

    fn poll_read(
        &mut self,
        socket: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
        hyper: &mut ReadBuf<'_>,
    ) -> Poll<IoResult<()>> {
        if self.told == self.filled {
            let end = self.filled + self.room().min(STEP);
            let mut target = ReadBuf::new(&mut self.buffer.as_mut_slice()[self.filled..end]);
            ready!(socket.poll_read(context, &mut target))?;
            self.filled += target.filled().len();
        }
        let count = (self.filled - self.told).min(hyper.remaining()).min(TOLD);
        self.told += count;
        hyper.initialize_unfilled_to(count);
        hyper.advance(count);
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, piece: &Bytes) -> Option<()> {
        let end = self.taken.checked_add(piece.len())?;
        if self.taken == self.told {
            // hyper had it before the landing was open: it came together with the head.
            let target = self.buffer.as_mut_slice().get_mut(self.taken..end)?;
            target.copy_from_slice(piece);
            (self.filled, self.told) = (end, end);
        }
        self.taken = end;
        (end <= self.told).then_some(())
    }
}

/// A body on its way into a model's memory.
pub(crate) struct OpenLanding<'a>(&'a Landing);

impl OpenLanding<'_> {
    /// Takes the next piece that hyper speaks of. hyper hands out all it has before it reads
    /// again, so that a piece is either new here or has been read into the buffer before.
    ///
    /// # Errors
    /// If the piece does not fit, which hyper's count of the body rules out.
    pub(crate) fn take(&mut self, piece: &Bytes) -> Result<()> {
        let mut ground = self.0.ground.lock();
        let taken = ground.as_mut().and_then(|ground| ground.take(piece));
        taken.ok_or_else(|| Error::internal("a piece of a request body is out of place"))
    }

    /// Returns the body, if all of it is there.
    pub(crate) fn finish(self) -> Option<Bytes> {
        let mut ground = self.0.ground.lock();
        let is_whole = |ground: &mut Ground| ground.room() == 0 && ground.taken == ground.filled;
        let whole = ground.take_if(is_whole)?;
        Some(whole.buffer.freeze())
    }
}

impl Drop for OpenLanding<'_> {
    fn drop(&mut self) {
        let mut ground = self.0.ground.lock();
        if let Some(ground) = ground.as_mut().filter(|ground| ground.told < ground.filled) {
            // Otherwise hyper would take the next bytes of the socket for the rest of the body.
            ground.is_left = true;
            return;
        }
        self.0.close(&mut ground);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    struct Heap(Vec<u8>);

    impl RequestBuffer for Heap {
        fn as_mut_slice(&mut self) -> &mut [u8] {
            &mut self.0
        }

        fn freeze(self: Box<Self>) -> Bytes {
            self.0.into()
        }
    }

    /// Reads once for hyper, into a buffer of `size` bytes; returns what hyper got.
    fn read(landing: &Landing, socket: &mut Cursor<&[u8]>, size: usize) -> Vec<u8> {
        let mut memory = vec![0xff; size];
        let mut hyper = ReadBuf::new(&mut memory);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let poll = landing.poll_read(Pin::new(socket), &mut context, &mut hyper);
        assert!(matches!(poll, Poll::Ready(Ok(()))));
        hyper.filled().to_vec()
    }

    #[test]
    fn the_socket_is_read_into_the_open_buffer_and_no_further() {
        let (landing, mut socket) = (Landing::default(), Cursor::new(&b"3456next"[..]));
        let mut open = landing.open(Box::new(Heap(vec![0; 6])));
        open.take(&Bytes::from_static(b"12"))
            .expect("came with the head");
        for size in [3, 5] {
            let piece = read(&landing, &mut socket, size);
            assert!(
                piece.iter().all(|&byte| byte == 0xff),
                "what was there before"
            );
            open.take(&piece.into()).expect("in order");
        }
        assert_eq!(read(&landing, &mut socket, 10), b"next", "not of the body");
        assert_eq!(open.finish().as_deref(), Some(&b"123456"[..]));
    }

    #[test]
    fn a_body_that_breaks_off_is_none() {
        let (landing, mut socket) = (Landing::default(), Cursor::new(&b"12"[..]));
        let mut open = landing.open(Box::new(Heap(vec![0; 3])));
        open.take(&read(&landing, &mut socket, 8).into())
            .expect("in order");
        assert_eq!(open.finish(), None);
        assert_eq!(read(&landing, &mut Cursor::new(b"x"), 8), b"x");
    }

    #[test]
    fn what_was_read_ahead_of_a_body_given_up_is_told_all_the_same() {
        let data = vec![b'b'; TOLD + 1];
        let (landing, mut socket) = (Landing::default(), Cursor::new(&data[..]));
        let open = landing.open(Box::new(Heap(vec![0; 2 * TOLD])));
        assert_eq!(read(&landing, &mut socket, 2 * TOLD).len(), TOLD);
        drop(open);
        assert_eq!(
            read(&landing, &mut socket, 2 * TOLD).len(),
            1,
            "read before"
        );
        let mut next = Cursor::new(&b"next"[..]);
        assert_eq!(
            read(&landing, &mut next, 8),
            b"next",
            "the landing is closed"
        );
    }

    #[test]
    fn a_piece_out_of_place_is_refused() {
        let (landing, mut socket) = (Landing::default(), Cursor::new(&b"12"[..]));
        let mut open = landing.open(Box::new(Heap(vec![0; 3])));
        read(&landing, &mut socket, 2);
        assert!(open.take(&Bytes::from_static(b"123")).is_err());
        drop(open);
        let mut open = landing.open(Box::new(Heap(vec![0; 3])));
        assert!(open.take(&Bytes::from_static(b"1234")).is_err());
    }
}
