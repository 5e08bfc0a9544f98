// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::thread::JoinHandle;

use pyo3::prelude::*;
use tritongw_backend_python::host::{
    BatchQueue, BatchSender, HostBatch, HostedModel, InProcessHost, MetricService, ModelCalls,
    ModelSource, ModelTraits, batch_queue,
};
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
        if model.traits().is_concurrent {
            return Ok(Box::new(Looped::start(Arc::new(model))?));
        }
        Ok(Box::new(Called(model)))
    }
}

/// A model that is called, always on the same thread, of its instance alone.
struct Called(PythonModel);

impl HostedModel for Called {
    fn traits(&self) -> ModelTraits {
        self.0.traits()
    }

    fn execute(&mut self, batch: HostBatch) {
        thread_state::keep();
        if let Err(error) = Python::attach(|py| self.0.execute(py, batch)) {
            log::error!("failed to end an execution: {}", error.message());
        }
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        Python::attach(|py| self.0.finalize(py));
    }
}

/// A model whose event loop runs on a thread of its own.
struct Looped {
    traits: ModelTraits,
    // Dropped to stop the loop.
    batches: Option<BatchSender>,
    thread: Option<JoinHandle<()>>,
}

impl Looped {
    fn start(model: Arc<PythonModel>) -> Result<Self> {
        let failed = |source: std::io::Error| {
            let message = format!("failed to start an event loop: {source}");
            Error::internal(message).with_source(source)
        };
        let traits = model.traits();
        let (batches, queue) = batch_queue().map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("py-loop".to_owned())
            .spawn(move || run_loop(&model, queue))
            .map_err(failed)?;
        Ok(Self {
            traits,
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

    fn execute(&mut self, batch: HostBatch) {
        // Without a sender the batch is let go, which answers it.
        if let Some(batches) = &self.batches {
            batches.send(batch);
        }
    }
}

impl Drop for Looped {
    fn drop(&mut self) {
        self.batches.take();
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) {
            log::error!("the event loop of a model panicked");
        }
    }
}
