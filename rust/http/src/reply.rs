// SPDX-License-Identifier: Apache-2.0
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

use parking_lot::Mutex;
use tritongw_engine::{Inbox, InferenceResponse, Responder, ResponseFlags, ResponseSink};

/// Takes the one response of a request from whichever thread answers to the connection that waits.
#[derive(Debug)]
pub(crate) struct Reply {
    state: Mutex<State>,
    // Of the thread of the connection.
    inbox: Option<Arc<Inbox>>,
}

#[derive(Debug, Default)]
struct State {
    response: Option<Box<InferenceResponse>>,
    is_final: bool,
    waiting: Option<Waker>,
}

impl Reply {
    /// Makes the reply to a request of this thread.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            inbox: Inbox::of_this_thread(),
        }
    }

    /// Waits for the end of the request; returns its first response, `None` if it had none.
    pub(crate) async fn response(&self) -> Option<Box<InferenceResponse>> {
        poll_fn(|context| {
            let mut state = self.state.lock();
            if state.is_final {
                return Poll::Ready(state.response.take());
            }
            state.waiting = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl ResponseSink for Reply {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        let waiting = {
            let mut state = self.state.lock();
            if state.response.is_none() {
                state.response = response;
            }
            state.is_final |= flags.is_final();
            if state.is_final {
                state.waiting.take()
            } else {
                None
            }
        };
        // Outside the lock: the woken thread takes it at once.
        match (waiting, &self.inbox) {
            (None, _) => {}
            (Some(task), Some(inbox)) => inbox.wake(task),
            (Some(task), None) => task.wake(),
        }
    }
}

/// Cancels its request unless told that the answer has come: what a connection that closes leaves
/// behind (P062).
///
/// Does not keep the responder alive: a request that its model drops unanswered still ends.
#[derive(Debug)]
pub(crate) struct CancelOnDrop(Weak<Responder>);

impl CancelOnDrop {
    pub(crate) fn new(responder: &Arc<Responder>) -> Self {
        Self(Arc::downgrade(responder))
    }

    /// Ends the watch: there is nothing left to cancel.
    pub(crate) fn disarm(mut self) {
        self.0 = Weak::new();
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(responder) = self.0.upgrade() {
            responder.cancel();
        }
    }
}
