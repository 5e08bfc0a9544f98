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

/// Bytes read at once at most: hyper clears as many of its own, which is cheap only in the cache.
const STEP: usize = 128 << 10;

/// Where the body that a connection brings is to go. Shared by the connection's stream and the
/// request it brings, which run on one task.
#[derive(Default)]
pub(crate) struct Landing {
    is_open: AtomicBool,
    ground: Mutex<Option<Ground>>,
}

struct Ground {
    buffer: Box<dyn RequestBuffer>,
    filled: usize,
    /// Bytes that lie in the buffer and of which hyper has not spoken yet.
    unclaimed: usize,
}

impl Landing {
    /// Has the rest of a body read into `buffer`, until the guard is dropped.
    pub(crate) fn open(&self, buffer: Box<dyn RequestBuffer>) -> OpenLanding<'_> {
        *self.ground.lock() = Some(Ground {
            buffer,
            filled: 0,
            unclaimed: 0,
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
        if self.is_open.load(Ordering::Relaxed)
            && let Some(ground) = self.ground.lock().as_mut()
            && let room = ground.room().min(hyper.remaining()).min(STEP)
            && room > 0
        {
            return ground.poll_read(socket.as_mut(), context, hyper, room);
        }
        socket.poll_read(context, hyper)
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

    fn poll_read(
        &mut self,
        socket: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
        hyper: &mut ReadBuf<'_>,
        room: usize,
    ) -> Poll<IoResult<()>> {
        let target = &mut self.buffer.as_mut_slice()[self.filled..self.filled + room];
        let mut target = ReadBuf::new(target);
        ready!(socket.poll_read(context, &mut target))?;
        let count = target.filled().len();
        self.filled += count;
        self.unclaimed += count;
        hyper.initialize_unfilled_to(count);
        hyper.advance(count);
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, piece: &Bytes) -> Option<()> {
        if self.unclaimed > 0 {
            self.unclaimed = self.unclaimed.checked_sub(piece.len())?;
            return Some(());
        }
        // hyper had it before the landing was open: it came together with the head.
        let end = self.filled.checked_add(piece.len())?;
        let target = self.buffer.as_mut_slice().get_mut(self.filled..end)?;
        target.copy_from_slice(piece);
        self.filled = end;
        Some(())
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
        let mut ground = self.0.ground.lock().take()?;
        (ground.room() == 0 && ground.unclaimed == 0).then(|| ground.buffer.freeze())
    }
}

impl Drop for OpenLanding<'_> {
    fn drop(&mut self) {
        self.0.is_open.store(false, Ordering::Relaxed);
        *self.0.ground.lock() = None;
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
