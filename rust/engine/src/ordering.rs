// SPDX-License-Identifier: Apache-2.0
//! `preserve_ordering`: responses leave in the order in which their requests were dispatched.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tritongw_scheduler::{OrderKey, ResponseOrder};

use crate::response::{InferenceResponse, ResponseFlags};
use crate::response_sink::{ResponseSink, ResponseStage};

/// One response with the way it takes on.
struct Held {
    response: Option<Box<InferenceResponse>>,
    flags: ResponseFlags,
    next: Arc<dyn ResponseSink>,
}

/// The order of one model's responses, shared by the stages of its requests.
#[derive(Default)]
pub(crate) struct ResponseOutbox(Mutex<OutboxState>);

#[derive(Default)]
struct OutboxState {
    order: ResponseOrder<Held>,
    ready: VecDeque<Held>,
    is_delivering: bool,
}

impl ResponseOutbox {
    fn respond(&self, key: OrderKey, held: Held) {
        let is_final = held.flags.is_final();
        let mut released = Vec::new();
        let mut state = self.0.lock();
        // INVARIANT: the responder lets nothing follow a final response, so nothing is refused.
        let _ = state.order.respond(key, held, is_final, &mut released);
        state.ready.extend(released);
        if state.is_delivering {
            return; // Delivered by whoever is at it, so that two threads cannot swap two responses.
        }
        state.is_delivering = true;
        while let Some(held) = state.ready.pop_front() {
            drop(state);
            held.next.respond(held.response, held.flags);
            state = self.0.lock();
        }
        state.is_delivering = false;
    }
}

/// Puts one request's responses in order, from the moment it has a place.
#[derive(Default)]
pub(crate) struct OrderStage {
    outbox: Arc<ResponseOutbox>,
    place: OnceLock<OrderKey>,
}

impl OrderStage {
    pub(crate) fn new(outbox: &Arc<ResponseOutbox>) -> Self {
        Self {
            outbox: Arc::clone(outbox),
            place: OnceLock::new(),
        }
    }

    /// Takes the next place; a request rejected before it got one answers at once.
    pub(crate) fn take_place(&self) {
        self.place
            .get_or_init(|| self.outbox.0.lock().order.expect());
    }
}

impl ResponseStage for OrderStage {
    fn pass(
        &self,
        response: Option<Box<InferenceResponse>>,
        flags: ResponseFlags,
        next: &Arc<dyn ResponseSink>,
    ) {
        match self.place.get() {
            Some(&key) => {
                self.outbox.respond(
                    key,
                    Held {
                        response,
                        flags,
                        next: Arc::clone(next),
                    },
                );
            }
            None => next.respond(response, flags),
        }
    }
}
