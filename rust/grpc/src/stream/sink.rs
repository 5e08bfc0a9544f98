// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tritongw_engine::trace::InferenceTrace;
use tritongw_engine::{InferenceResponse, ResponseFlags, ResponseSink, Resume};
use tritongw_types::{Error, ParameterValue};

use super::encode::{RequestNames, Response};
use super::order::Ticket;
use super::queue::StreamQueue;
use crate::call_notes::StreamEntry;
use crate::infer::Classified;

/// By which clients see that a request has had its last response (P151, G4.10).
const FINAL_RESPONSE: &str = "triton_final_response";

/// Takes the responses of one request of a stream.
pub(super) struct StreamSink {
    pub(super) queue: Arc<StreamQueue>,
    pub(super) ticket: Ticket,
    pub(super) names: RequestNames,
    pub(super) is_decoupled: bool,
    /// Whether the client wants to hear of the end of a request if it comes alone (P152).
    pub(super) wants_empty_final: bool,
    pub(super) has_responded: AtomicBool,
    pub(super) classified: Classified,
    pub(super) trace: Option<Arc<InferenceTrace>>,
    pub(super) access: StreamEntry,
}

impl StreamSink {
    /// Puts the best classes in place of the outputs that the request names for that.
    fn classify(&self, response: &mut InferenceResponse) {
        if response.error().is_some() {
            return;
        }
        let mut outputs = self.classified.iter();
        let classified =
            outputs.try_for_each(|(output, count)| response.classify_output(output, *count));
        if let Err(error) = classified {
            response.set_error(error);
        }
    }

    /// Returns what to write at the end of a request that came alone.
    fn end(&self) -> Option<Response> {
        if self.is_decoupled {
            return self
                .wants_empty_final
                .then(|| Response::EmptyFinal(self.names.clone()));
        }
        // The client of a model that answers once waits for that answer.
        let has_responded = self.has_responded.load(Ordering::Relaxed);
        (!has_responded).then(|| {
            let error = Error::internal("received an unexpected null response");
            Response::failed(&self.names, error, Some(true))
        })
    }
}

impl ResponseSink for StreamSink {
    fn respond(&self, response: Option<Box<InferenceResponse>>, flags: ResponseFlags) {
        let is_final = flags.is_final();
        let response = match response {
            Some(mut response) => {
                self.has_responded.store(true, Ordering::Relaxed);
                self.classify(&mut response);
                Some(match response.error() {
                    Some(error) => {
                        self.access.note_error(error);
                        Response::failed(&self.names, error.clone(), Some(is_final))
                    }
                    None => {
                        response.add_parameter(FINAL_RESPONSE, ParameterValue::Bool(is_final));
                        Response::Inferred(response, self.trace.clone())
                    }
                })
            }
            None if is_final => self.end(),
            None => return,
        };
        self.queue.respond(self.ticket, response, is_final);
    }

    fn has_room(&self) -> bool {
        self.queue.has_room(self.ticket)
    }

    fn when_room(&self, resume: Resume) {
        self.queue.when_room(self.ticket, resume);
    }
}
