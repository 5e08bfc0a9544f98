// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tritongw_engine::{Inbox, InferenceResponse, ResponseFlags, ResponseSink};

/// Takes the one response of a request from whichever thread answers to the task of its call.
#[derive(Debug)]
pub(crate) struct ResponseSlot {
    state: Mutex<SlotState>,
    // Of the thread of the call.
    inbox: Option<Arc<Inbox>>,
}

#[derive(Debug, Default)]
struct SlotState {
    response: Option<Box<InferenceResponse>>,
    is_final: bool,
    waker: Option<Waker>,
}

impl ResponseSink for ResponseSlot {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        let mut state = self.state.lock();
        if state.response.is_none() {
            state.response = response;
        }
        state.is_final |= flags.is_final();
        let waker = if state.is_final {
            state.waker.take()
        } else {
            None
        };
        drop(state);
        match (waker, &self.inbox) {
            (None, _) => {}
            (Some(task), Some(inbox)) => inbox.wake(task),
            (Some(task), None) => task.wake(),
        }
    }
}

impl ResponseSlot {
    /// Makes the slot of a call of this thread.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            inbox: Inbox::of_this_thread(),
        }
    }

    /// Waits for the final response; `None` if it was flags alone.
    pub(crate) async fn response(self: &Arc<Self>) -> Option<Box<InferenceResponse>> {
        std::future::poll_fn(|context| self.poll_response(context)).await
    }

    fn poll_response(&self, context: &mut Context<'_>) -> Poll<Option<Box<InferenceResponse>>> {
        let mut state = self.state.lock();
        if state.is_final {
            return Poll::Ready(state.response.take());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}
