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
    let readiness;
    let model = match PythonModel::load(py, session.source(), true, session.calls()) {
        Ok(model) => {
            call_scope::set_of_process(Some(session.calls()), true);
            let probe = model.ready_probe(py);
            readiness = probe
                .map(|probe| session.answer_ready_checks(move || probe.ask()))
                .transpose()?;
            py.detach(|| session.report_start(&Ok(model.traits())))?;
            Arc::new(model)
        }
        Err(error) => return Ok(py.detach(|| session.report_start(&Err(error)))?),
    };
    let end_ready_checks = || {
        if let Some(readiness) = &readiness {
            py.detach(|| readiness.stop());
        }
    };
    if model.traits().is_concurrent {
        let served = model.serve(py, Box::new(session));
        end_ready_checks();
        return served;
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
                end_ready_checks();
                model.finalize(py);
                return Ok(());
            }
        }
    }
}
