// SPDX-License-Identifier: Apache-2.0
//! What one server and one worker share: three rings, the release flags, the slabs, the pipes.
//!
//! Made anew for each worker process, so that nothing a dead worker wrote is ever looked at again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering, fence};

use super::memory::SharedMemory;
use super::ring::{Consumer, Producer, RingPlace};
use super::wake::{self, Sleeper, Waker};

/// Tensors of up to this many bytes travel in the ring; larger ones in a slab.
pub(crate) const INLINE_LIMIT: usize = 4096;
/// Payloads of up to this many bytes travel in the ring; larger ones in a slab.
pub(crate) const PAYLOAD_LIMIT: usize = 32 * 1024;
/// Batches that may wait in the request ring at once.
pub(crate) const MAX_WAITING_BATCHES: usize = 1024;
/// Ranges of the output slab that may be in use at once.
pub(crate) const OUTPUT_SLOTS: usize = 4096;
/// Size of a slab. Only address space: pages take up memory once they are used.
pub(crate) const DEFAULT_SLAB_SIZE: usize = 8 << 30;
/// Slabs are given out in pages, so that they can be given back to the system as such.
pub(crate) const PAGE_SIZE: usize = 4096;

const RING_CELLS: usize = 4096;
const REQUEST_RING: RingPlace = RingPlace {
    offset: 0,
    cells: RING_CELLS,
};
const RESPONSE_RING: RingPlace = RingPlace {
    offset: REQUEST_RING.byte_size(),
    cells: RING_CELLS,
};
const RELEASE_FLAGS: usize = RESPONSE_RING.offset + RESPONSE_RING.byte_size();
/// Answers to the worker's calls to other models.
const REPLY_RING: RingPlace = RingPlace {
    offset: RELEASE_FLAGS + OUTPUT_SLOTS,
    cells: RING_CELLS,
};
const HELD_UP_FLAG: usize = REPLY_RING.offset + REPLY_RING.byte_size();
const CHANNEL_SIZE: usize = (HELD_UP_FLAG + 1).next_multiple_of(PAGE_SIZE);

/// Says whether the server has replies that found no room in their ring.
#[derive(Clone, Debug)]
pub(crate) struct ReplyChannel(Arc<SharedMemory>);

impl ReplyChannel {
    fn flag(&self) -> &AtomicU8 {
        let flag = self.0.atomic_u8(HELD_UP_FLAG);
        flag.expect("INVARIANT: the flag lies in a channel, whose size was checked")
    }

    /// For the server, before it looks for room once more.
    pub(crate) fn set_held_up(&self, is_held_up: bool) {
        self.flag().store(u8::from(is_held_up), Ordering::Relaxed);
        // Either the look finds the room, or the worker that made it finds the flag.
        fence(Ordering::SeqCst);
    }

    /// For the worker, once it has made room.
    pub(crate) fn is_held_up(&self) -> bool {
        fence(Ordering::SeqCst);
        self.flag().load(Ordering::Relaxed) != 0
    }
}

/// Flags by which the server gives back ranges of the output slab: a byte per slot, 1 = released.
#[derive(Clone, Debug)]
pub(crate) struct ReleaseFlags(Arc<SharedMemory>);

impl ReleaseFlags {
    /// Returns the flag of a slot, if there is such a slot.
    pub(crate) fn get(&self, slot: usize) -> Option<&AtomicU8> {
        if slot >= OUTPUT_SLOTS {
            return None;
        }
        self.0.atomic_u8(RELEASE_FLAGS + slot)
    }
}

/// The server's ends.
#[derive(Debug)]
pub(crate) struct ServerChannel {
    pub(crate) requests: Producer,
    pub(crate) request_waker: Waker,
    pub(crate) responses: Consumer,
    pub(crate) response_sleeper: Sleeper,
    /// Wakes the server's own side, which the worker's death must do as well.
    pub(crate) response_waker: Waker,
    pub(crate) replies: Producer,
    pub(crate) reply_waker: Waker,
    pub(crate) reply_channel: ReplyChannel,
    pub(crate) output_slab: Arc<SharedMemory>,
    pub(crate) release_flags: ReleaseFlags,
    memory: Arc<SharedMemory>,
    request_sleeper: Sleeper,
    reply_sleeper: Sleeper,
}

impl ServerChannel {
    pub(crate) fn new(slab_size: usize) -> io::Result<Self> {
        let memory = Arc::new(SharedMemory::create("tritongw-channel", CHANNEL_SIZE)?);
        let output_slab = Arc::new(SharedMemory::create("tritongw-outputs", slab_size)?);
        let (request_waker, request_sleeper) = wake::pair()?;
        let (response_waker, response_sleeper) = wake::pair()?;
        let (reply_waker, reply_sleeper) = wake::pair()?;
        let inside = "INVARIANT: the rings lie in a channel of this size";
        Ok(Self {
            requests: Producer::new(Arc::clone(&memory), REQUEST_RING).expect(inside),
            request_waker,
            responses: Consumer::new(Arc::clone(&memory), RESPONSE_RING).expect(inside),
            response_sleeper,
            response_waker,
            replies: Producer::new(Arc::clone(&memory), REPLY_RING).expect(inside),
            reply_waker,
            reply_channel: ReplyChannel(Arc::clone(&memory)),
            output_slab,
            release_flags: ReleaseFlags(Arc::clone(&memory)),
            memory,
            request_sleeper,
            reply_sleeper,
        })
    }

    /// Returns the descriptors that [`WorkerChannel::open`] takes, in its order.
    pub(crate) fn worker_fds<'a>(&'a self, input_slab: &'a SharedMemory) -> [BorrowedFd<'a>; 6] {
        [
            self.memory.fd(),
            self.output_slab.fd(),
            input_slab.fd(),
            self.request_sleeper.as_fd(),
            self.response_waker.as_fd(),
            self.reply_sleeper.as_fd(),
        ]
    }
}

/// The worker's ends.
#[derive(Debug)]
pub(crate) struct WorkerChannel {
    pub(crate) requests: Consumer,
    pub(crate) request_sleeper: Sleeper,
    pub(crate) responses: Producer,
    pub(crate) response_waker: Waker,
    pub(crate) replies: Consumer,
    pub(crate) reply_sleeper: Sleeper,
    pub(crate) reply_channel: ReplyChannel,
    pub(crate) input_slab: Arc<SharedMemory>,
    pub(crate) output_slab: Arc<SharedMemory>,
    pub(crate) release_flags: ReleaseFlags,
}

impl WorkerChannel {
    /// Opens what the server sent.
    pub(crate) fn open(fds: Vec<OwnedFd>) -> io::Result<Self> {
        let Ok(
            [
                memory,
                output_slab,
                input_slab,
                sleeper,
                waker,
                reply_sleeper,
            ],
        ) = <[OwnedFd; 6]>::try_from(fds)
        else {
            return Err(io::Error::other("the server sent no channel"));
        };
        let memory = Arc::new(SharedMemory::open(memory)?);
        let too_small = || io::Error::other("the server's channel is too small");
        let requests = Consumer::new(Arc::clone(&memory), REQUEST_RING).ok_or_else(too_small)?;
        let responses = Producer::new(Arc::clone(&memory), RESPONSE_RING).ok_or_else(too_small)?;
        let replies = Consumer::new(Arc::clone(&memory), REPLY_RING).ok_or_else(too_small)?;
        if memory.byte_size() < CHANNEL_SIZE {
            return Err(too_small());
        }
        Ok(Self {
            requests,
            request_sleeper: Sleeper::new(sleeper),
            responses,
            response_waker: Waker::new(waker)?,
            replies,
            reply_sleeper: Sleeper::new(reply_sleeper),
            reply_channel: ReplyChannel(Arc::clone(&memory)),
            input_slab: Arc::new(SharedMemory::open(input_slab)?),
            output_slab: Arc::new(SharedMemory::open(output_slab)?),
            release_flags: ReleaseFlags(memory),
        })
    }
}
