// SPDX-License-Identifier: Apache-2.0
//! Calls of a Python model to other models, as its host makes them in either process.

use std::sync::Arc;

use smallvec::SmallVec;
use tritongw_types::{CorrelationId, Error, Parameter, Result};

use super::{HostOutput, HostTensor};

/// A request that a model sends to another one.
#[derive(Debug)]
pub struct HostCall<'a> {
    /// The model.
    pub model_name: &'a str,
    /// Its version, -1 for the highest.
    pub model_version: i64,
    /// Id, may be empty.
    pub id: &'a str,
    /// Sequence.
    pub correlation_id: &'a CorrelationId,
    /// Place in the sequence.
    pub flags: u32,
    /// Timeout in microseconds, 0 for none.
    pub timeout_us: u64,
    /// Priority level, 0 for the model's default.
    pub priority: u64,
    /// Parameters.
    pub parameters: &'a [Parameter],
    /// Outputs to be answered with, none for all.
    pub requested_outputs: &'a [String],
    /// Inputs.
    pub inputs: SmallVec<[HostOutput<'a>; 2]>,
    /// Whether any number of responses is welcome.
    pub is_decoupled: bool,
    /// The batch whose execution makes the call, by [`BatchReply::id`](super::BatchReply::id); 0
    /// if none does.
    pub batch: u64,
    /// Whether nothing else can go on in the execution's thread until the call is answered, even
    /// where executions overlap.
    pub is_blocking: bool,
    /// The request whose trace the call belongs to.
    pub trace: Option<TraceParent>,
}

/// A request by its place: the id of its batch, and its index in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// Id of the batch.
    pub batch: u64,
    /// Index of the request.
    pub index: u32,
}

/// One response to a call.
#[derive(Debug, Default)]
pub struct CallResponse {
    /// Outputs, none if there is an error or the response only says that it is the last.
    pub outputs: Vec<HostTensor>,
    /// Why the call failed.
    pub error: Option<Error>,
    /// Response parameters.
    pub parameters: Vec<Parameter>,
    /// Whether nothing follows.
    pub is_final: bool,
}

impl CallResponse {
    /// Makes the response of a call that failed.
    pub fn failed(error: Error) -> Self {
        Self {
            error: Some(error),
            is_final: true,
            ..Self::default()
        }
    }
}

/// Takes the responses to one call, in their order, the last of them exactly once.
pub trait CallReceiver: Send + Sync {
    /// Takes a response; called from any thread, which must not be held up.
    fn receive(&self, response: CallResponse);
}

/// A call under way.
pub trait CallHandle: Send + Sync {
    /// Asks for the call to be given up.
    fn cancel(&self);

    /// Notes that the caller has looked at one more response of a decoupled model; with too many
    /// to look at, the called model is held up.
    fn note_read(&self);

    /// Notes that nobody looks at further responses.
    fn ignore(&self);
}

/// What a model asks of the server's repository (Y071).
#[derive(Debug)]
pub enum ModelControl<'a> {
    /// Load a model.
    Load {
        /// Its name.
        name: &'a str,
        /// Configuration as JSON in place of the repository's.
        config: Option<&'a str>,
        /// Files by path in place of the repository's.
        files: &'a [(String, &'a [u8])],
    },
    /// Take a model out of service.
    Unload {
        /// Its name.
        name: &'a str,
    },
    /// Say whether a model could execute now.
    IsReady {
        /// Its name.
        name: &'a str,
        /// Its version, empty for any.
        version: &'a str,
    },
}

/// The way by which a model reaches other models. Callable from any thread.
pub trait ModelCalls: Send + Sync {
    /// Sends a call, at once or when fewer are under way; never blocks. All that comes of it goes
    /// to `receiver`, refusals too.
    ///
    /// `is_watched`: responses must be taken although no thread waits for them.
    fn call(
        &self,
        call: &HostCall<'_>,
        receiver: Arc<dyn CallReceiver>,
        is_watched: bool,
    ) -> Box<dyn CallHandle>;

    /// Blocks until `is_over`, which is asked again after each response to any call of the model.
    fn wait_until(&self, is_over: &mut dyn FnMut() -> bool);

    /// Asks something of the repository and blocks until it is done. True, except for
    /// [`ModelControl::IsReady`].
    ///
    /// # Errors
    /// Why it was not done.
    fn control(&self, order: &ModelControl<'_>) -> Result<bool>;
}
