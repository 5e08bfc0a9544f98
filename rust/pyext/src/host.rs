// SPDX-License-Identifier: Apache-2.0
use pyo3::prelude::*;
use tritongw_backend_python::host::{HostBatch, HostedModel, InProcessHost, ModelSource};
use tritongw_types::Result;

use crate::model::PythonModel;
use crate::thread_state;

/// Runs models in the interpreter of this process, attached only while they run.
#[derive(Debug)]
pub(crate) struct Interpreter;

impl InProcessHost for Interpreter {
    fn load(&self, source: &ModelSource) -> Result<Box<dyn HostedModel>> {
        let model = Python::attach(|py| PythonModel::load(py, source, false))?;
        Ok(Box::new(Hosted(model)))
    }
}

struct Hosted(PythonModel);

impl HostedModel for Hosted {
    fn execute(&mut self, batch: HostBatch) -> Result<()> {
        // Always the same thread, of this instance alone.
        thread_state::keep();
        Python::attach(|py| self.0.execute(py, batch))
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        Python::attach(|py| self.0.finalize(py));
    }
}
