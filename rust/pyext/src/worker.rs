// SPDX-License-Identifier: Apache-2.0
//! A worker process: loads one model and executes what the server sends.

use std::sync::Arc;

use pyo3::prelude::*;
use tritongw_backend_python::host::Next;
use tritongw_backend_python::worker::{Assignment, WorkerSession, connect};

use crate::call_scope;
use crate::inbox::gone;
use crate::logger;
use crate::metrics;
use crate::model::{PythonModel, complete_config};

/// Do what the server that started this process wants done; return when it wants no more.
#[pyfunction]
pub(crate) fn worker_main(py: Python<'_>) -> PyResult<()> {
    logger::note_server();
    match py.detach(connect)? {
        Assignment::Serve(session) => {
            metrics::send_to(session.metrics());
            serve(py, session)
        }
        Assignment::CompleteConfig(session) => {
            metrics::send_to(session.metrics());
            let result = complete_config(py, session.source());
            Ok(py.detach(|| session.report(result))?)
        }
    }
}

fn serve(py: Python<'_>, mut session: WorkerSession) -> PyResult<()> {
    let model = match PythonModel::load(py, session.source(), true, session.calls()) {
        Ok(model) => {
            call_scope::set_of_process(Some(session.calls()), true);
            py.detach(|| session.report_start(&Ok(model.traits())))?;
            Arc::new(model)
        }
        Err(error) => return Ok(py.detach(|| session.report_start(&Err(error)))?),
    };
    if model.traits().is_concurrent {
        return model.serve(py, Box::new(session));
    }
    loop {
        match session.try_next()? {
            None => {
                py.detach(|| session.wait())?;
                // Runs the handlers of signals that came in meanwhile.
                py.check_signals()?;
            }
            Some(Next::Batch(batch)) => {
                model.execute(py, batch).map_err(|error| gone(&error))?;
            }
            Some(Next::Stop) => {
                model.finalize(py);
                return Ok(());
            }
        }
    }
}
