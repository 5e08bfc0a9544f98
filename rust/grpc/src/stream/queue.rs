// SPDX-License-Identifier: Apache-2.0
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tritongw_engine::{Inbox, Responder, Resume};

use super::encode::Response;
use super::order::{StreamOrder, Ticket};
use crate::status::Status;

/// What one call may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamLimits {
    /// Bytes of responses that wait to be written.
    pub(crate) queued_bytes: usize,
    /// Responses of one decoupled request that wait to be written (C052).
    pub(crate) queued_per_request: usize,
    /// Requests under way.
    pub(crate) open_requests: usize,
}

/// Everything that is under way on one call.
pub(crate) struct StreamQueue {
    limits: StreamLimits,
    state: Mutex<State>,
    // Of the thread of the call.
    inbox: Option<Arc<Inbox>>,
}

struct State {
    order: StreamOrder<Queued>,
    requests: HashMap<Ticket, Request>,
    queued_bytes: usize,
    // Set once: no further request is read. With an error the call ends at once.
    reading: Option<Result<(), Status>>,
    is_closed: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
    waiting: Vec<Waiting>,
}

/// A response with its request.
struct Queued {
    ticket: Ticket,
    byte_size: usize,
    response: Response,
}

/// What is known of a request that has not been answered for good, or whose answers wait.
#[derive(Default)]
struct Request {
    // Weak: if nobody else holds it any more, nobody will answer, and its end must be noticed.
    responder: Weak<Responder>,
    queued: usize,
}

/// A decoupled model that is held back.
struct Waiting {
    ticket: Ticket,
    resume: Resume,
}

/// What the writer has to do.
pub(super) enum Next {
    Write(Response),
    /// Every request was answered, and the client sends no more.
    Finish,
    Fail(Status),
}

impl StreamQueue {
    /// Makes the queue of a call of this thread.
    pub(super) fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            inbox: Inbox::of_this_thread(),
            state: Mutex::new(State {
                order: StreamOrder::new(),
                requests: HashMap::new(),
                queued_bytes: 0,
                reading: None,
                is_closed: false,
                writer: None,
                reader: None,
                waiting: Vec::new(),
            }),
        }
    }

    /// Takes a request.
    pub(super) fn open(&self, is_decoupled: bool) -> Ticket {
        let mut state = self.state.lock();
        let ticket = state.order.open(is_decoupled);
        state.requests.insert(ticket, Request::default());
        ticket
    }

    /// Has the request cancelled when the call is given up; at once if it has been.
    pub(super) fn watch(&self, ticket: Ticket, responder: &Arc<Responder>) {
        let is_closed = {
            let mut state = self.state.lock();
            if let Some(request) = state.requests.get_mut(&ticket) {
                request.responder = Arc::downgrade(responder);
            }
            state.is_closed
        };
        if is_closed {
            responder.cancel();
        }
    }

    /// Takes a response, or with `None` the end of a request alone. What comes after the end of a
    /// request, or of the call, is dropped.
    pub(super) fn respond(&self, ticket: Ticket, response: Option<Response>, is_final: bool) {
        let mut state = self.state.lock();
        if state.is_closed || !state.order.is_open(ticket) {
            drop(state);
            return drop(response);
        }
        let queued = response.map(|response| Queued {
            ticket,
            byte_size: response.byte_size(),
            response,
        });
        if let Some(queued) = &queued {
            state.queued_bytes += queued.byte_size;
            state.requests.entry(ticket).or_default().queued += 1;
        }
        let taken = state.order.respond(ticket, queued, is_final);
        debug_assert!(taken.is_ok(), "the request has just been found open");
        state.forget_if_done(ticket);
        let wakers = [state.writer.take(), state.reader.take()];
        drop(state);
        for task in wakers.into_iter().flatten() {
            match &self.inbox {
                Some(inbox) => inbox.wake(task),
                None => task.wake(),
            }
        }
    }

    /// Notes that no further request comes, or that reading failed and the call ends.
    pub(super) fn end_reading(&self, result: Result<(), Status>) {
        let writer = {
            let mut state = self.state.lock();
            state.reading.get_or_insert(result);
            state.writer.take()
        };
        writer.into_iter().for_each(Waker::wake);
    }

    /// Waits until a further request may be read.
    pub(super) async fn room_to_read(&self) {
        std::future::poll_fn(|context| {
            let mut state = self.state.lock();
            if state.queued_bytes < self.limits.queued_bytes
                && state.order.open_count() < self.limits.open_requests
            {
                return Poll::Ready(());
            }
            state.reader = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Returns what to write next.
    pub(super) fn poll_next(&self, context: &mut Context<'_>, is_stopping: bool) -> Poll<Next> {
        let mut state = self.state.lock();
        if let Some(Err(status)) = &state.reading {
            return Poll::Ready(Next::Fail(status.clone()));
        }
        if let Some(queued) = state.order.next() {
            let released = state.note_written(&queued, &self.limits);
            let reader = state.reader.take();
            drop(state);
            reader.into_iter().for_each(Waker::wake);
            released.into_iter().for_each(|resume| resume());
            return Poll::Ready(Next::Write(queued.response));
        }
        if state.order.is_idle() {
            if state.reading.is_some() {
                return Poll::Ready(Next::Finish);
            }
            if is_stopping {
                return Poll::Ready(Next::Fail(Status::shutting_down()));
            }
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Returns whether a decoupled request may send more.
    pub(super) fn has_room(&self, ticket: Ticket) -> bool {
        self.state.lock().has_room(ticket, &self.limits)
    }

    /// Calls `resume` once a decoupled request may send more.
    pub(super) fn when_room(&self, ticket: Ticket, resume: Resume) {
        let mut state = self.state.lock();
        if state.has_room(ticket, &self.limits) {
            drop(state);
            return resume();
        }
        state.waiting.push(Waiting { ticket, resume });
    }

    /// Gives up: what is under way is cancelled, what comes is dropped.
    pub(super) fn close(&self) {
        let (requests, waiting, unwritten) = {
            let mut state = self.state.lock();
            state.is_closed = true;
            (
                std::mem::take(&mut state.requests),
                std::mem::take(&mut state.waiting),
                std::mem::replace(&mut state.order, StreamOrder::new()),
            )
        };
        drop(unwritten);
        for request in requests.into_values() {
            if let Some(responder) = request.responder.upgrade() {
                responder.cancel();
            }
        }
        waiting.into_iter().for_each(|waiting| (waiting.resume)());
    }
}

impl State {
    fn has_room(&self, ticket: Ticket, limits: &StreamLimits) -> bool {
        let queued = self
            .requests
            .get(&ticket)
            .map_or(0, |request| request.queued);
        self.is_closed
            || (self.queued_bytes < limits.queued_bytes && queued < limits.queued_per_request)
    }

    /// Notes that a response has left; returns who may go on by that.
    fn note_written(&mut self, queued: &Queued, limits: &StreamLimits) -> Vec<Resume> {
        self.queued_bytes -= queued.byte_size;
        if let Some(request) = self.requests.get_mut(&queued.ticket) {
            request.queued -= 1;
        }
        self.forget_if_done(queued.ticket);
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut self.waiting);
        let (released, waiting): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|waiting| self.has_room(waiting.ticket, limits));
        self.waiting = waiting;
        released.into_iter().map(|waiting| waiting.resume).collect()
    }

    fn forget_if_done(&mut self, ticket: Ticket) {
        let is_done = self
            .requests
            .get(&ticket)
            .is_some_and(|request| request.queued == 0);
        if is_done && !self.order.is_open(ticket) {
            self.requests.remove(&ticket);
        }
    }
}
