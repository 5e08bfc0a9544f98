// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::thread::JoinHandle;

use pyo3::prelude::*;
use tritongw_backend_python::host::{
    BatchQueue, BatchSender, HostBatch, HostedModel, InProcessHost, MetricService, ModelCalls,
    ModelSource, ModelTraits, ReadyThread, batch_queue,
};
use tritongw_engine::backend::ReadyCheck;
use tritongw_types::{Error, Result};

use crate::call_scope;
use crate::metrics;
use crate::model::PythonModel;
use crate::thread_state;

/// Runs models in the interpreter of this process, attached only while they run.
#[derive(Debug)]
pub(crate) struct Interpreter;

impl InProcessHost for Interpreter {
    fn load(
        &self,
        source: &ModelSource,
        metrics: &Arc<dyn MetricService>,
        calls: Arc<dyn ModelCalls>,
    ) -> Result<Box<dyn HostedModel>> {
        metrics::send_to(Arc::clone(metrics));
        let of_process = Arc::clone(&calls);
        let model = Python::attach(|py| PythonModel::load(py, source, false, calls))?;
        // For threads that models start, which do not know whose they are.
        call_scope::set_of_process(Some(of_process), false);
        let readiness = ready_thread(&model).map_err(|source| not_started(source, "a thread"))?;
        if model.traits().is_concurrent {
            return Ok(Box::new(Looped::start(Arc::new(model), readiness)?));
        }
        Ok(Box::new(Called { model, readiness }))
    }
}

/// Starts what asks the model whether it is ready, if it has a word in that.
fn ready_thread(model: &PythonModel) -> std::io::Result<Option<Arc<ReadyThread>>> {
    let probe = Python::attach(|py| model.ready_probe(py));
    let thread = probe.map(|probe| ReadyThread::start(move || probe.ask()));
    Ok(thread.transpose()?.map(Arc::new))
}

fn not_started(source: std::io::Error, what: &str) -> Error {
    let message = format!("failed to start {what} of a model: {source}");
    Error::internal(message).with_source(source)
}

fn as_check(readiness: Option<&Arc<ReadyThread>>) -> Option<Arc<dyn ReadyCheck>> {
    readiness.map(|thread| Arc::clone(thread) as Arc<dyn ReadyCheck>)
}

/// A model that is called, always on the same thread, of its instance alone.
struct Called {
    model: PythonModel,
    readiness: Option<Arc<ReadyThread>>,
}

impl HostedModel for Called {
    fn traits(&self) -> ModelTraits {
        self.model.traits()
    }

    fn ready_check(&self) -> Option<Arc<dyn ReadyCheck>> {
        as_check(self.readiness.as_ref())
    }

    fn execute(&mut self, batch: HostBatch) {
        thread_state::keep();
        if let Err(error) = Python::attach(|py| self.model.execute(py, batch)) {
            log::error!("failed to end an execution: {}", error.message());
        }
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        if let Some(readiness) = &self.readiness {
            readiness.stop();
        }
        Python::attach(|py| self.model.finalize(py));
    }
}

/// A model whose event loop runs on a thread of its own.
struct Looped {
    traits: ModelTraits,
    readiness: Option<Arc<ReadyThread>>,
    // Dropped to stop the loop.
    batches: Option<BatchSender>,
    thread: Option<JoinHandle<()>>,
}

impl Looped {
    fn start(model: Arc<PythonModel>, readiness: Option<Arc<ReadyThread>>) -> Result<Self> {
        let failed = |source| not_started(source, "an event loop");
        let traits = model.traits();
        let (batches, queue) = batch_queue().map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("py-loop".to_owned())
            .spawn(move || run_loop(&model, queue))
            .map_err(failed)?;
        Ok(Self {
            traits,
            readiness,
            batches: Some(batches),
            thread: Some(thread),
        })
    }
}

fn run_loop(model: &Arc<PythonModel>, queue: BatchQueue) {
    Python::attach(|py| {
        if let Err(error) = model.serve(py, Box::new(queue)) {
            log::error!("the event loop of a model ended: {error}");
        }
    });
}

impl HostedModel for Looped {
    fn traits(&self) -> ModelTraits {
        self.traits
    }

    fn ready_check(&self) -> Option<Arc<dyn ReadyCheck>> {
        as_check(self.readiness.as_ref())
    }

    fn execute(&mut self, batch: HostBatch) {
        // Without a sender the batch is let go, which answers it.
        if let Some(batches) = &self.batches {
            batches.send(batch);
        }
    }
}

impl Drop for Looped {
    fn drop(&mut self) {
        if let Some(readiness) = &self.readiness {
            readiness.stop();
        }
        self.batches.take();
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) {
            log::error!("the event loop of a model panicked");
        }
    }
}
