// SPDX-License-Identifier: Apache-2.0
//! What becomes of a warm-up request.

use std::sync::mpsc::Sender;

use tritongw_types::Error;

use crate::response::{InferenceResponse, ResponseFlags};
use crate::response_sink::ResponseSink;

/// Something that the one who warms an instance up waits for.
pub(super) enum Event {
    /// A response is an error.
    Failed(Error),
    /// A request has its final response.
    Answered,
    /// The execution has given its instance back.
    Freed,
}

/// Tells of one request's responses, whose outputs nobody wants.
pub(super) struct EventSink(pub(super) Sender<Event>);

impl EventSink {
    fn tell(&self, event: Event) {
        // Nobody listens any more once the load has failed.
        let _ = self.0.send(event);
    }
}

impl ResponseSink for EventSink {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        if let Some(error) = response.as_ref().and_then(|response| response.error()) {
            self.tell(Event::Failed(error.clone()));
        }
        if flags.is_final() {
            self.tell(Event::Answered);
        }
    }
}
