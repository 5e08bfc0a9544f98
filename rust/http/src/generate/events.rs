// SPDX-License-Identifier: Apache-2.0
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tritongw_engine::Responder;

use super::render::{Rendered, render};
use super::response_queue::ResponseQueue;
use crate::reply::CancelOnDrop;

/// The responses of one request, rendered as they are taken. Dropped before the last, they cancel
/// the request (P119).
#[derive(Debug)]
pub(crate) struct Responses {
    queue: Arc<ResponseQueue>,
    cancel: Option<CancelOnDrop>,
}

impl Responses {
    pub(super) fn new(queue: Arc<ResponseQueue>, responder: &Arc<Responder>) -> Self {
        let cancel = Some(CancelOnDrop::new(responder));
        Self { queue, cancel }
    }

    /// Waits for the next response; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Rendered> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &Context<'_>) -> Poll<Option<Rendered>> {
        let next = ready!(self.queue.poll_next(context));
        Poll::Ready(match next {
            Some(Ok(mut response)) => Some(render(&mut response)),
            Some(Err(error)) => Some(error.into()),
            None => {
                if let Some(cancel) = self.cancel.take() {
                    cancel.disarm();
                }
                None
            }
        })
    }
}

impl Drop for Responses {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Responses as server-sent events.
#[derive(Debug)]
pub(crate) struct EventStream {
    first: Option<Rendered>,
    // `None` after the last.
    rest: Option<Responses>,
}

impl EventStream {
    pub(super) fn new(first: Option<Rendered>, rest: Responses) -> Self {
        // Without a first there is no other.
        let rest = first.is_some().then_some(rest);
        Self { first, rest }
    }

    /// Takes the next event; `None` after the last.
    pub(crate) fn poll_event(&mut self, context: &Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first.into_event()));
        }
        let Some(rest) = &mut self.rest else {
            return Poll::Ready(None);
        };
        let next = ready!(rest.poll_next(context));
        if next.is_none() {
            self.rest = None;
        }
        Poll::Ready(next.map(Rendered::into_event))
    }
}
