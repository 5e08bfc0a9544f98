// SPDX-License-Identifier: Apache-2.0
//! Which model the running code belongs to, and which batch it executes: what a call to another
//! model has to say.
//!
//! A context variable, so that coroutines and whatever copies their context know; threads that a
//! model starts know no context, and are answered for by the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tritongw_backend_python::host::ModelCalls;

use crate::error::model_exception;
use crate::log_place::LogPlace;

/// For threads without a context.
static OF_PROCESS: Mutex<OfProcess> = Mutex::new(OfProcess {
    calls: None,
    is_sole: false,
});
/// The batch whose plain execution is under way; 0 if there is none.
static LAST_BATCH: AtomicU64 = AtomicU64::new(0);

struct OfProcess {
    // Of the only model of a worker, or of some model in the server's own interpreter.
    calls: Option<Arc<dyn ModelCalls>>,
    // Whether the process has no other model.
    is_sole: bool,
}

/// The way to other models from an execution.
#[derive(Clone)]
pub(crate) struct CallScope {
    pub(crate) calls: Arc<dyn ModelCalls>,
    pub(crate) batch: u64,
}

/// What the context variable holds.
#[pyclass(frozen, module = "tritongw._core")]
struct ScopeHolder {
    // None where models must not be called.
    scope: Option<CallScope>,
    place: LogPlace,
}

/// What the variable held before.
pub(crate) struct Entered {
    token: Py<PyAny>,
    // Whether a plain execution is under way until then.
    is_execution: bool,
}

fn variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static VARIABLE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = || {
        let class = py.import("contextvars")?.getattr("ContextVar")?;
        Ok::<_, PyErr>(class.call1(("tritongw_call_scope",))?.unbind())
    };
    Ok(VARIABLE.get_or_try_init(py, make)?.bind(py))
}

fn set(py: Python<'_>, scope: Option<CallScope>, place: LogPlace) -> PyResult<Entered> {
    let holder = Bound::new(py, ScopeHolder { scope, place })?;
    let token = variable(py)?.call_method1(intern!(py, "set"), (holder,))?;
    Ok(Entered {
        token: token.unbind(),
        is_execution: false,
    })
}

/// Notes that a batch is executed from here on, in this context.
pub(crate) fn enter(
    py: Python<'_>,
    calls: &Arc<dyn ModelCalls>,
    batch: u64,
    place: LogPlace,
) -> PyResult<Entered> {
    LAST_BATCH.store(batch, Ordering::Relaxed);
    let calls = Arc::clone(calls);
    let entered = set(py, Some(CallScope { calls, batch }), place)?;
    Ok(Entered {
        is_execution: true,
        ..entered
    })
}

/// Notes that a batch is executed by the running task.
pub(crate) fn enter_task(
    py: Python<'_>,
    calls: &Arc<dyn ModelCalls>,
    batch: u64,
    place: LogPlace,
) -> PyResult<()> {
    let calls = Arc::clone(calls);
    set(py, Some(CallScope { calls, batch }), place).map(|_| ())
}

/// Notes that models must not be called from here on, in this context.
pub(crate) fn forbid(py: Python<'_>, place: LogPlace) -> PyResult<Entered> {
    set(py, None, place)
}

/// Returns whose lines the running code writes; `None` on threads that a model has started.
pub(crate) fn place(py: Python<'_>) -> Option<LogPlace> {
    let variable = variable(py).ok()?;
    let held = variable
        .call_method1(intern!(py, "get"), (py.None(),))
        .ok()?;
    let holder = held.cast::<ScopeHolder>().ok()?;
    Some(holder.get().place.clone())
}

/// Takes back what [`enter`] or [`forbid`] noted.
pub(crate) fn leave(py: Python<'_>, entered: Entered) -> PyResult<()> {
    if entered.is_execution {
        LAST_BATCH.store(0, Ordering::Relaxed);
    }
    variable(py)?.call_method1(intern!(py, "reset"), (entered.token,))?;
    Ok(())
}

/// Lets threads without a context call models.
pub(crate) fn set_of_process(calls: Option<Arc<dyn ModelCalls>>, is_sole: bool) {
    let before = std::mem::replace(&mut *OF_PROCESS.lock(), OfProcess { calls, is_sole });
    drop(before);
}

/// Lets threads without a context call models until it is dropped, which restores what was before.
pub(crate) struct LentProcess(OfProcess);

/// Lets the threads of a model that is alone for a while call models.
pub(crate) fn lend_process(calls: Arc<dyn ModelCalls>) -> LentProcess {
    let lent = OfProcess {
        calls: Some(calls),
        is_sole: true,
    };
    LentProcess(std::mem::replace(&mut *OF_PROCESS.lock(), lent))
}

impl Drop for LentProcess {
    fn drop(&mut self) {
        std::mem::swap(&mut *OF_PROCESS.lock(), &mut self.0);
    }
}

/// Returns the scope of the running code.
///
/// # Errors
/// `TritonModelException` outside of `execute` (Y060).
pub(crate) fn current(py: Python<'_>) -> PyResult<CallScope> {
    let refusal = || model_exception("BLS is only supported during the 'execute' function.");
    let held = variable(py)?.call_method1(intern!(py, "get"), (py.None(),))?;
    if let Ok(holder) = held.cast::<ScopeHolder>() {
        return holder.get().scope.clone().ok_or_else(refusal);
    }
    let of_process = OF_PROCESS.lock();
    let calls = of_process.calls.clone().ok_or_else(refusal)?;
    let batch = match of_process.is_sole {
        true => LAST_BATCH.load(Ordering::Relaxed),
        false => 0,
    };
    Ok(CallScope { calls, batch })
}
