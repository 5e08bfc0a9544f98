// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;

use tritongw_engine::InferenceResponse;
use tritongw_engine::trace::{DoorActivities, InferenceTrace, SendTrace};
use tritongw_protocol::pb;
use tritongw_protocol::pb::infer_parameter::ParameterChoice;
use tritongw_types::Error;

use crate::codec::{Envelope, Segments};
use crate::framing::with_prefix;
use crate::infer;
use crate::status::Status;

/// What a response takes beside its tensors, about.
const HEAD_SIZE: usize = 256;

/// How the client named a request and its model.
#[derive(Clone, Debug)]
pub(super) struct RequestNames {
    pub(super) id: String,
    pub(super) model_name: String,
    pub(super) model_version: String,
}

/// A response on its way to the client.
pub(super) enum Response {
    /// With the trace of its request, if there is one.
    Inferred(Box<InferenceResponse>, Option<Arc<InferenceTrace>>),
    /// The end of a decoupled request, for a client that asked to be told.
    EmptyFinal(RequestNames),
    Failed(Box<Failure>),
}

/// An error, and what tells the client whose it is.
pub(super) struct Failure {
    names: RequestNames,
    error: Error,
    /// Whether it is the last response; `None` if the request never got into the engine.
    is_final: Option<bool>,
}

impl Response {
    pub(super) fn failed(names: &RequestNames, error: Error, is_final: Option<bool>) -> Self {
        Self::Failed(Box::new(Failure {
            names: names.clone(),
            error,
            is_final,
        }))
    }

    /// Returns about how much memory it takes.
    pub(super) fn byte_size(&self) -> usize {
        HEAD_SIZE
            + match self {
                Self::Inferred(response, _) => response
                    .outputs()
                    .filter_map(|output| output.buffer.as_ref())
                    .map(tritongw_engine::buffer::OutputBuffer::byte_size)
                    .sum(),
                Self::EmptyFinal(_) => 0,
                Self::Failed(failure) => failure.error.message().len(),
            }
    }

    /// Returns the error of a failed response.
    pub(super) fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed(failure) => Some(&failure.error),
            Self::Inferred(..) | Self::EmptyFinal(_) => None,
        }
    }

    /// Returns the message with its prefix.
    ///
    /// # Errors
    /// If it is larger than a message may be, or its outputs do not lie in host memory.
    pub(super) fn encode(self, max_message_size: usize) -> Result<Segments, Status> {
        Ok(match self {
            Self::Inferred(mut response, trace) => {
                let _sending = trace.map(|trace| SendTrace::begin(trace, DoorActivities::GRPC));
                return infer::encode(&mut response, Envelope::Stream, max_message_size);
            }
            Self::EmptyFinal(names) => message("", about(names, Some(true))),
            Self::Failed(failure) => {
                let Failure {
                    names,
                    error,
                    is_final,
                } = *failure;
                message(error.message(), about(names, is_final))
            }
        })
    }
}

/// Returns a response without outputs. One that the engine never saw has nothing but the id.
fn about(names: RequestNames, is_final: Option<bool>) -> pb::ModelInferResponse {
    let mut response = pb::ModelInferResponse {
        id: names.id,
        ..pb::ModelInferResponse::default()
    };
    if let Some(is_final) = is_final {
        response.model_name = names.model_name;
        response.model_version = names.model_version;
        let parameter_choice = Some(ParameterChoice::BoolParam(is_final));
        let parameter = pb::InferParameter { parameter_choice };
        let name = "triton_final_response".to_owned();
        response.parameters.insert(name, parameter);
    }
    response
}

fn message(error_message: &str, infer_response: pb::ModelInferResponse) -> Segments {
    Segments::from(with_prefix(&pb::ModelStreamInferResponse {
        error_message: error_message.to_owned(),
        infer_response: Some(infer_response),
    }))
}
