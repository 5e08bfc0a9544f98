// SPDX-License-Identifier: Apache-2.0
//! Models without a server: what `tritongw.testing` runs them with. The host is the server's, so
//! that its rules and texts are too; only requests come from Python, and responses go there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use pyo3::prelude::*;
use tritongw_backend_python::host::{
    BatchReply, Execution, HostBatch, HostOutput, HostRequest, HostResponse, HostTensor,
    ModelCalls, TensorMemory,
};
use tritongw_engine::ResponseFlags;
use tritongw_types::{CorrelationId, Error, Parameter, Result};

use crate::call_scope::{self, LentProcess};
use crate::error::{TritonError, to_exception};
use crate::fake_models::FakeModels;
use crate::model::PythonModel;
use crate::parameters;
use crate::response::InferenceResponse;
use crate::tensor::Tensor;

/// A loaded model that executes in the caller's thread.
#[pyclass(frozen, module = "tritongw._core")]
pub(crate) struct StandaloneModel {
    model: PythonModel,
    calls: Arc<dyn ModelCalls>,
    is_decoupled: bool,
    outputs: Vec<String>,
}

/// A request of a test, read from `tritongw.testing`'s `ModelRequest`.
#[derive(FromPyObject)]
struct RequestFields {
    request_id: String,
    correlation_id: Sequence,
    flags: u32,
    timeout: u64,
    parameters: String,
    requested_outputs: Vec<String>,
    tensors: Vec<Py<Tensor>>,
    is_cancelled: bool,
    priority: u64,
}

#[derive(FromPyObject)]
enum Sequence {
    Number(u64),
    Text(String),
}

#[pymethods]
impl StandaloneModel {
    #[new]
    fn new(
        py: Python<'_>,
        execute: Py<PyAny>,
        instance_name: String,
        is_decoupled: bool,
        outputs: Vec<String>,
        is_yielding: bool,
        models: Py<PyAny>,
    ) -> PyResult<Self> {
        let calls: Arc<dyn ModelCalls> = Arc::new(FakeModels::new(models));
        let of_model = Arc::clone(&calls);
        let model = PythonModel::of_function(
            py,
            execute,
            instance_name,
            is_decoupled,
            is_yielding,
            of_model,
        )?;
        Ok(Self {
            model,
            calls,
            is_decoupled,
            outputs,
        })
    }

    /// Execute requests as one batch; what failed is among their responses.
    fn execute(&self, py: Python<'_>, requests: Vec<RequestFields>) -> PyResult<StandaloneBatch> {
        let cancelled = requests.iter().map(|request| request.is_cancelled);
        let answers = Arc::new(Answers::new(self.is_decoupled, cancelled));
        let requests = requests
            .into_iter()
            .map(|request| self.host_request(py, request))
            .collect::<PyResult<_>>()?;
        let of_batch = Arc::clone(&answers);
        let batch = HostBatch {
            requests,
            reply: Arc::clone(&answers) as Arc<dyn BatchReply>,
            execution: Execution::new(move |result| {
                if let Err(error) = result {
                    of_batch.fail(&error);
                }
                Ok(())
            }),
        };
        let lent = call_scope::lend_process(Arc::clone(&self.calls));
        let executed = self.model.execute(py, batch);
        debug_assert!(executed.is_ok(), "there is no server that could be gone");
        Ok(StandaloneBatch {
            answers,
            _lent: lent,
        })
    }
}

impl StandaloneModel {
    fn host_request(&self, py: Python<'_>, request: RequestFields) -> PyResult<HostRequest> {
        let inputs = request.tensors.iter().map(|tensor| copy(py, tensor.get()));
        Ok(HostRequest {
            id: request.request_id,
            correlation_id: match request.correlation_id {
                Sequence::Number(id) => CorrelationId::UInt(id),
                Sequence::Text(id) => CorrelationId::String(id.as_str().into()),
            },
            flags: request.flags,
            timeout_us: request.timeout,
            priority: request.priority,
            parameters: request.parameters,
            trace_context: None,
            requested_outputs: match request.requested_outputs {
                names if names.is_empty() => self.outputs.clone(),
                names => names,
            },
            inputs: inputs.collect::<PyResult<_>>()?,
        })
    }
}

/// The responses to the requests of one batch.
#[pyclass(frozen, module = "tritongw._core")]
pub(crate) struct StandaloneBatch {
    answers: Arc<Answers>,
    // Threads that the model started may call models while the batch is of interest.
    _lent: LentProcess,
}

#[pymethods]
impl StandaloneBatch {
    /// Wait until every request has its last response, at most so long; return whether all have.
    fn wait(&self, py: Python<'_>, seconds: f64) -> bool {
        let timeout = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        py.detach(|| self.answers.wait(timeout))
    }

    /// Take the responses to the request at ``index``, each with its flags; ``None`` is flags
    /// alone.
    fn responses<'py>(
        &self,
        py: Python<'py>,
        index: usize,
    ) -> PyResult<Vec<(Option<Bound<'py, PyAny>>, u32)>> {
        let responses = self.answers.take(index);
        responses
            .into_iter()
            .map(|(response, flags)| {
                let response = response.map(|response| response.into_python(py));
                Ok((response.transpose()?, flags.0))
            })
            .collect()
    }
}

/// Collects responses.
struct Answers {
    is_decoupled: bool,
    requests: Mutex<Vec<Answer>>,
    changed: Condvar,
}

#[derive(Default)]
struct Answer {
    responses: Vec<(Option<KeptResponse>, ResponseFlags)>,
    is_final: bool,
    is_cancelled: bool,
}

impl Answers {
    fn new(is_decoupled: bool, cancelled: impl Iterator<Item = bool>) -> Self {
        let answer = |is_cancelled| Answer {
            is_cancelled,
            ..Answer::default()
        };
        Self {
            is_decoupled,
            requests: Mutex::new(cancelled.map(answer).collect()),
            changed: Condvar::new(),
        }
    }

    /// Answers every request that is open with an error, as a server does.
    fn fail(&self, error: &Error) {
        for answer in self
            .requests
            .lock()
            .iter_mut()
            .filter(|answer| !answer.is_final)
        {
            let response = KeptResponse::failed(error.clone());
            answer
                .responses
                .push((Some(response), ResponseFlags::FINAL));
            answer.is_final = true;
        }
        self.changed.notify_all();
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test waits by the clock on the wall"
    )]
    fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut requests = self.requests.lock();
        let is_over = |requests: &[Answer]| requests.iter().all(|answer| answer.is_final);
        while !is_over(&requests) {
            let Some(deadline) = deadline else {
                self.changed.wait(&mut requests);
                continue;
            };
            if self.changed.wait_until(&mut requests, deadline).timed_out() {
                return is_over(&requests);
            }
        }
        true
    }

    fn take(&self, index: usize) -> Vec<(Option<KeptResponse>, ResponseFlags)> {
        let mut requests = self.requests.lock();
        let answer = requests.get_mut(index);
        answer
            .map(|answer| std::mem::take(&mut answer.responses))
            .unwrap_or_default()
    }
}

impl BatchReply for Answers {
    fn send(
        &self,
        index: usize,
        response: Option<&HostResponse<'_>>,
        flags: ResponseFlags,
    ) -> Result<()> {
        let mut requests = self.requests.lock();
        let Some(answer) = requests.get_mut(index).filter(|answer| !answer.is_final) else {
            return Err(Error::internal("the request was answered for good before"));
        };
        let kept = response.map(KeptResponse::of).transpose()?;
        // Of a model that is not decoupled the first response is the only one.
        answer.is_final = flags == ResponseFlags::FINAL || !self.is_decoupled;
        answer.responses.push((kept, flags));
        self.changed.notify_all();
        Ok(())
    }

    /// There is no scheduler that would give the request back: the answer says so.
    fn reschedule(&self, index: usize) -> Result<()> {
        let error = Error::unsupported(
            "a model in a test executes a request once: rescheduling it takes a server",
        );
        let response = HostResponse {
            error: Some(error),
            ..HostResponse::default()
        };
        self.send(index, Some(&response), ResponseFlags::FINAL)
    }

    fn let_go(&self, _index: usize) {}

    fn flush(&self) {}

    fn has_room(&self, _index: usize) -> bool {
        true
    }

    fn wait_for_room(&self, _index: usize) {}

    fn is_cancelled(&self, index: usize) -> bool {
        let requests = self.requests.lock();
        requests
            .get(index)
            .is_some_and(|answer| answer.is_cancelled)
    }

    fn note_compute_end(&self) {}
}

/// A copy of a response, whose memory is the model's.
#[derive(Default)]
struct KeptResponse {
    outputs: Vec<HostTensor>,
    error: Option<Error>,
    parameters: Vec<Parameter>,
}

impl KeptResponse {
    fn of(response: &HostResponse<'_>) -> Result<Self> {
        let outputs = response.outputs.iter().map(on_host);
        Ok(Self {
            outputs: outputs.collect::<Result<_>>()?,
            error: response.error.clone(),
            parameters: response.parameters.clone(),
        })
    }

    fn failed(error: Error) -> Self {
        Self {
            error: Some(error),
            ..Self::default()
        }
    }

    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let tensors = self.outputs.into_iter();
        let tensors = tensors.map(|output| Bound::new(py, Tensor::from_host(output)));
        let tensors = tensors.collect::<PyResult<Vec<_>>>()?;
        let error_type = py.get_type::<TritonError>();
        let error = self
            .error
            .map(|error| error_type.call1((error.message(), error.code() as u32)));
        let parameters = parameters::to_dict(py, &self.parameters)?;
        let arguments = (tensors, error.transpose()?, parameters);
        py.get_type::<InferenceResponse>().call1(arguments)
    }
}

/// Copies a tensor, as its way to or from a server would.
pub(crate) fn copy(py: Python<'_>, tensor: &Tensor) -> PyResult<HostTensor> {
    let data = tensor.data(py)?;
    let copied = on_host(&HostOutput {
        name: tensor.name(),
        data_type: tensor.data_type(),
        shape: data.shape(),
        data: data.for_response(),
    });
    copied.map_err(|error| to_exception(&error))
}

/// Copies an output, or the input of a call, to the host.
pub(crate) fn on_host(output: &HostOutput<'_>) -> Result<HostTensor> {
    Ok(HostTensor {
        name: output.name.to_owned(),
        data_type: output.data_type,
        shape: output.shape.clone(),
        memory: TensorMemory::copy_of(&output.data.on_host()?),
    })
}
