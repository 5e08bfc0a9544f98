// SPDX-License-Identifier: Apache-2.0
//! What a Python host deals in, whichever process it runs in: requests with their tensors, and
//! the responses to them.

use std::borrow::Cow;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tritongw_cuda::DeviceMemory;
use tritongw_engine::ResponseFlags;
use tritongw_engine::backend::ReadyCheck;
use tritongw_engine::model_log::LogOwner;
use tritongw_types::{CorrelationId, DataType, Error, Parameter, Result, Shape};

pub use self::calls::{
    CallHandle, CallReceiver, CallResponse, HostCall, ModelCalls, ModelControl, TraceParent,
};
pub use self::metrics::{MetricDesk, MetricService, NewMetric};
pub use self::queue::{BatchQueue, BatchSender, batch_queue};
pub use self::ready_thread::ReadyThread;
pub use crate::server::encode::parameters_json;
pub use crate::shared::memory::TensorMemory;

pub(crate) mod call_limiter;
mod calls;
mod metrics;
mod queue;
mod ready_thread;

/// What a host is told about the model it loads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelSource {
    /// Instance name, for messages.
    pub instance_name: String,
    /// Model name.
    pub model_name: String,
    /// The Python file.
    pub model_path: PathBuf,
    /// The directory of the version, in which it lies.
    pub version_directory: PathBuf,
    /// The directory of the model.
    pub model_directory: PathBuf,
    /// Whether a request may have any number of responses.
    pub is_decoupled: bool,
    /// Configuration of the model, canonical JSON.
    pub model_config: String,
    /// Kind of the instance: `CPU`, `GPU` or `MODEL`.
    pub instance_kind: String,
    /// Device of the instance.
    pub device_id: i32,
    /// Version of the model.
    pub version: i64,
    /// Which debugger to wait for, if any: `PORT` or `pdb:PORT`.
    pub debugger: Option<String>,
    /// Calls to other models that may be under way at once (`thread-pool-size`, Y026).
    pub call_limit: u32,
}

impl ModelSource {
    /// Returns whose the lines are that the model writes to the log.
    pub fn log_owner(&self) -> LogOwner {
        LogOwner {
            model: self.model_name.clone(),
            version: self.version,
            instance: self.instance_name.clone(),
        }
    }
}

/// What a loaded model is, beyond a class with `execute`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelTraits {
    /// Executions overlap: `execute` is a coroutine function.
    pub is_concurrent: bool,
    /// It says whether it is ready: it has `is_ready` (Y007).
    pub has_is_ready: bool,
}

/// One request, as a model sees it.
#[derive(Debug)]
pub struct HostRequest {
    /// Id, may be empty.
    pub id: String,
    /// Sequence.
    pub correlation_id: CorrelationId,
    /// Place in the sequence.
    pub flags: u32,
    /// Timeout in microseconds, 0 for none.
    pub timeout_us: u64,
    /// Priority level, 0 for the model's default.
    pub priority: u64,
    /// Parameters as a JSON object.
    pub parameters: String,
    /// Context of the trace as JSON, if the request has one (Y037).
    pub trace_context: Option<String>,
    /// Outputs the client named, or all of the configuration's if it named none (Y038).
    pub requested_outputs: Vec<String>,
    /// Inputs, in the order of the request.
    pub inputs: Vec<HostTensor>,
}

/// One input.
#[derive(Clone, Debug)]
pub struct HostTensor {
    /// Name.
    pub name: String,
    /// Element type.
    pub data_type: DataType,
    /// Shape, batch dimension included.
    pub shape: Shape,
    /// Data in the wire's layout, aligned for the element type; its size fits the shape, except
    /// for `BYTES`.
    pub memory: TensorMemory,
}

/// The requests of one call of `execute`, and where their responses go.
pub struct HostBatch {
    /// The requests.
    pub requests: Vec<HostRequest>,
    /// Where the responses go.
    pub reply: Arc<dyn BatchReply>,
    /// By which the host says that the call has ended.
    pub execution: Execution,
}

impl std::fmt::Debug for HostBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostBatch")
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

type EndOfExecution = Box<dyn FnOnce(Result<()>) -> Result<()> + Send>;

/// One call of `execute` under way, and the duty to say when it has ended: whoever drops it says
/// that the model ended first.
pub struct Execution {
    end: Option<EndOfExecution>,
}

impl Execution {
    /// Makes the duty; `end` is called once.
    pub fn new(end: impl FnOnce(Result<()>) -> Result<()> + Send + 'static) -> Self {
        Self {
            end: Some(Box::new(end)),
        }
    }

    /// Tells the server that `execute` has returned, or what it raised: the error of every request
    /// not yet answered. A worker's server hears of it at the next flush.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn finish(mut self, result: Result<()>) -> Result<()> {
        self.end.take().map_or(Ok(()), |end| end(result))
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        let Some(end) = self.end.take() else { return };
        let ended = Error::unavailable("the model ended before it answered the request");
        if let Err(error) = end(Err(ended)) {
            log::error!("failed to end an execution: {}", error.message());
        }
    }
}

impl std::fmt::Debug for Execution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Execution").finish_non_exhaustive()
    }
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// Requests to execute.
    Batch(HostBatch),
    /// The model is unloaded.
    Stop,
}

/// Where an event loop that hosts a model gets its batches from.
pub trait BatchSource: Send {
    /// Returns the descriptor that becomes readable when the loop is called.
    fn wake_fd(&self) -> BorrowedFd<'_>;

    /// Returns what is there to do, without waiting for it.
    ///
    /// # Errors
    /// If the server writes what no server of good faith writes.
    fn try_next(&mut self) -> io::Result<Option<Next>>;

    /// Says that the loop will not look again before it is called. `false`: something has come.
    #[must_use]
    fn prepare_sleep(&mut self) -> bool;

    /// Takes note of a call: to be called when the descriptor is readable, and only then.
    ///
    /// # Errors
    /// If the server is gone.
    fn note_call(&mut self) -> io::Result<()>;

    /// Sees that what was sent is noticed at once.
    fn flush(&self);
}

/// One response, with outputs whose data still belongs to the model.
#[derive(Debug, Default)]
pub struct HostResponse<'a> {
    /// Outputs in the model's order.
    pub outputs: SmallVec<[HostOutput<'a>; 2]>,
    /// Set if the model answers with an error; outputs do not count then.
    pub error: Option<Error>,
    /// Response parameters.
    pub parameters: Vec<Parameter>,
}

/// One output.
#[derive(Debug)]
pub struct HostOutput<'a> {
    /// Name.
    pub name: &'a str,
    /// Element type.
    pub data_type: DataType,
    /// Shape, batch dimension included.
    pub shape: Shape,
    /// Data in the wire's layout.
    pub data: OutputData<'a>,
}

/// Data of an output.
#[derive(Debug)]
pub enum OutputData<'a> {
    /// To be copied.
    Borrowed(&'a [u8]),
    /// To be taken as it is.
    Owned(Bytes),
    /// To be copied from a GPU.
    Device(&'a DeviceMemory),
}

impl OutputData<'_> {
    /// Returns the size in bytes.
    pub fn byte_size(&self) -> usize {
        match self {
            Self::Borrowed(data) => data.len(),
            Self::Owned(data) => data.len(),
            Self::Device(memory) => memory.byte_size(),
        }
    }

    /// Returns the bytes, copied if a GPU has them.
    ///
    /// # Errors
    /// If the GPU does not give them.
    pub fn on_host(&self) -> Result<Cow<'_, [u8]>> {
        Ok(match self {
            Self::Borrowed(data) => Cow::Borrowed(data),
            Self::Owned(data) => Cow::Borrowed(data),
            Self::Device(memory) => Cow::Owned(memory.to_vec()?),
        })
    }

    /// Returns the bytes for keeping, copied unless they are there to be taken.
    ///
    /// # Errors
    /// As [`Self::on_host`].
    pub fn to_bytes(&self) -> Result<Bytes> {
        match self {
            Self::Owned(data) => Ok(data.clone()),
            _ => Ok(self.on_host()?.into_owned().into()),
        }
    }
}

/// Takes the responses to the requests of one batch. Callable from any thread, also after
/// `execute` has returned.
pub trait BatchReply: Send + Sync {
    /// Returns the number by which calls name the batch that makes them.
    fn id(&self) -> u64 {
        0
    }

    /// Sends a response to the request at `index`, or flags alone. For a model that is not
    /// decoupled the first response is the only one.
    ///
    /// # Errors
    /// If the response cannot be sent: the output memory is used up, or the request was answered
    /// for good before.
    fn send(
        &self,
        index: usize,
        response: Option<&HostResponse<'_>>,
        flags: ResponseFlags,
    ) -> Result<()>;

    /// Has the request at `index` executed once more, when this execution has ended: called before
    /// that (S051).
    ///
    /// # Errors
    /// If the server is gone, or the request was answered for good before.
    fn reschedule(&self, index: usize) -> Result<()>;

    /// Says that no response to the request at `index`, which was rescheduled, will be sent here.
    fn let_go(&self, index: usize);

    /// Sees that what was sent is noticed at once; the end of an execution does so too.
    fn flush(&self);

    /// Blocks while the client of the request at `index` reads more slowly than the model answers:
    /// called between two responses. Returns at once if the request was given up.
    fn wait_for_room(&self, index: usize);

    /// Returns whether [`Self::wait_for_room`] would return at once, as far as is known here.
    fn has_room(&self, index: usize) -> bool;

    /// Returns whether the client gave the request up. May block for a moment.
    fn is_cancelled(&self, index: usize) -> bool;

    /// Notes that `execute` has returned: the end of the model's compute time.
    fn note_compute_end(&self);
}

/// Runs Python models in the server's own process.
pub trait InProcessHost: Send + Sync {
    /// Loads a model for one instance, whose metrics go to `metrics`. The instance executes on one
    /// thread of its own.
    ///
    /// # Errors
    /// Why the model does not load, in Triton's words.
    fn load(
        &self,
        source: &ModelSource,
        metrics: &Arc<dyn MetricService>,
        calls: Arc<dyn ModelCalls>,
    ) -> Result<Box<dyn HostedModel>>;
}

/// One Python model, loaded and initialised; `finalize` is called when it is dropped.
pub trait HostedModel: Send {
    /// Returns what the model is.
    fn traits(&self) -> ModelTraits;

    /// Returns whom to ask whether the model is ready, if it has `is_ready`.
    fn ready_check(&self) -> Option<Arc<dyn ReadyCheck>>;

    /// Calls the model's `execute`, or sees that its event loop does: the batch's execution says
    /// when it has ended.
    fn execute(&mut self, batch: HostBatch);
}
