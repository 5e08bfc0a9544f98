// SPDX-License-Identifier: Apache-2.0
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::AbortHandle;

use super::call::StreamShared;
use super::queue::{Next, StreamQueue};
use crate::body::MessageSource;
use crate::codec::Segments;
use crate::status::Status;

/// The writing half of one call of `ModelStreamInfer`.
pub(crate) struct StreamWriter {
    queue: Arc<StreamQueue>,
    reader: AbortHandle,
    shared: Arc<StreamShared>,
    /// Whether the first error ends the call with its status (P150).
    ends_on_error: bool,
    /// Until the server stops.
    stopped: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl StreamWriter {
    pub(super) fn new(
        queue: Arc<StreamQueue>,
        reader: AbortHandle,
        shared: &Arc<StreamShared>,
        ends_on_error: bool,
    ) -> Self {
        Self {
            queue,
            reader,
            stopped: Some(Box::pin(shared.drain.stopped())),
            shared: Arc::clone(shared),
            ends_on_error,
        }
    }
}

impl MessageSource for StreamWriter {
    fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Segments, Status>>> {
        if let Some(stopped) = &mut self.stopped
            && stopped.as_mut().poll(context).is_ready()
        {
            self.stopped = None;
        }
        let is_stopping = self.stopped.is_none();
        Poll::Ready(match self.queue.poll_next(context, is_stopping) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Next::Finish) => None,
            Poll::Ready(Next::Fail(status)) => Some(Err(status)),
            Poll::Ready(Next::Write(response)) => match response.error() {
                Some(error) if self.ends_on_error => Some(Err(Status::from(error.clone()))),
                _ => Some(response.encode(self.shared.max_message_size)),
            },
        })
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.reader.abort();
        self.queue.close();
    }
}
