// SPDX-License-Identifier: Apache-2.0
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tritongw_engine::buffer::OutputBuffer;
use tritongw_engine::{Inbox, InferenceResponse, Responder, ResponseFlags, ResponseSink, Resume};
use tritongw_types::Error;

/// Bytes that may wait for a client before its model is asked to wait.
const ROOM: usize = 1 << 20;
/// Bytes that may wait if the model goes on all the same; then its request is cancelled.
const LIMIT: usize = 64 << 20;
/// What a response takes besides its data.
const OVERHEAD: usize = 512;

/// Responses of one request on their way from whichever thread answers to the connection.
///
/// **Invariant:** never holds more than [`LIMIT`] bytes and one response.
#[derive(Debug)]
pub(super) struct ResponseQueue {
    state: Mutex<State>,
    // Of the thread of the connection.
    inbox: Option<Arc<Inbox>>,
    // The responder owns this queue, so it must not be owned in turn.
    responder: OnceLock<Weak<Responder>>,
}

#[derive(Default)]
struct State {
    responses: VecDeque<Box<InferenceResponse>>,
    byte_size: usize,
    is_final: bool,
    has_overflown: bool,
    /// Nobody reads any more.
    is_closed: bool,
    waiting: Option<Waker>,
    blocked: Vec<Resume>,
}

impl State {
    fn has_room(&self) -> bool {
        self.is_closed || self.has_overflown || self.byte_size < ROOM
    }

    /// Takes what waits for room, if there is some.
    fn take_unblocked(&mut self) -> Vec<Resume> {
        if self.has_room() {
            std::mem::take(&mut self.blocked)
        } else {
            Vec::new()
        }
    }
}

impl ResponseQueue {
    /// Makes the queue of a request of this thread.
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            inbox: Inbox::of_this_thread(),
            responder: OnceLock::new(),
        }
    }

    /// Cancels the request of `responder` if its client does not read at all.
    pub(super) fn cancels(&self, responder: &Arc<Responder>) {
        // Set once, by the one request of this queue.
        let _ = self.responder.set(Arc::downgrade(responder));
    }

    /// Takes the next response; `None` after the last.
    pub(super) fn poll_next(
        &self,
        context: &Context<'_>,
    ) -> Poll<Option<Result<Box<InferenceResponse>, Error>>> {
        let (next, unblocked) = {
            let mut state = self.state.lock();
            let next = if let Some(response) = state.responses.pop_front() {
                state.byte_size -= size_of_response(&response);
                Poll::Ready(Some(Ok(response)))
            } else if std::mem::take(&mut state.has_overflown) {
                state.is_final = true;
                state.is_closed = true;
                Poll::Ready(Some(Err(too_slow())))
            } else if state.is_final {
                Poll::Ready(None)
            } else {
                state.waiting = Some(context.waker().clone());
                Poll::Pending
            };
            (next, state.take_unblocked())
        };
        unblocked.into_iter().for_each(|resume| resume());
        next
    }

    /// Ends the queue: what is in it and what still comes is dropped.
    pub(super) fn close(&self) {
        let (dropped, unblocked) = {
            let mut state = self.state.lock();
            state.is_closed = true;
            (std::mem::take(&mut state.responses), state.take_unblocked())
        };
        drop(dropped);
        unblocked.into_iter().for_each(|resume| resume());
    }

    fn overflow(&self) {
        if let Some(responder) = self.responder.get().and_then(Weak::upgrade) {
            log::warn!(
                "{}cancelled, since its client does not read its responses",
                responder.log_prefix()
            );
            responder.cancel();
        }
    }
}

impl ResponseSink for ResponseQueue {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        let mut overflows = false;
        let (waiting, unblocked) = {
            let mut state = self.state.lock();
            if let Some(response) = response
                && !state.is_closed
                && !state.has_overflown
            {
                let size = size_of_response(&response);
                if state.byte_size > 0 && state.byte_size + size > LIMIT {
                    state.has_overflown = true;
                    overflows = true;
                } else {
                    state.byte_size += size;
                    state.responses.push_back(response);
                }
            }
            state.is_final |= flags.is_final();
            (state.waiting.take(), state.take_unblocked())
        };
        // Outside the lock: the woken thread takes it at once.
        match (waiting, &self.inbox) {
            (None, _) => {}
            (Some(task), Some(inbox)) => inbox.wake(task),
            (Some(task), None) => task.wake(),
        }
        unblocked.into_iter().for_each(|resume| resume());
        if overflows {
            self.overflow();
        }
    }

    fn has_room(&self) -> bool {
        self.state.lock().has_room()
    }

    fn when_room(&self, resume: Resume) {
        {
            let mut state = self.state.lock();
            if !state.has_room() {
                state.blocked.push(resume);
                return;
            }
        }
        resume();
    }
}

fn size_of_response(response: &InferenceResponse) -> usize {
    let outputs = response.outputs().filter_map(|output| {
        let data = output.buffer.as_ref().and_then(OutputBuffer::as_slice)?;
        Some(data.len())
    });
    OVERHEAD + outputs.sum::<usize>()
}

fn too_slow() -> Error {
    Error::unavailable("the request was cancelled since its client did not read the responses")
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("byte_size", &self.byte_size)
            .field("is_final", &self.is_final)
            .finish_non_exhaustive()
    }
}
