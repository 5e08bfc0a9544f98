// SPDX-License-Identifier: Apache-2.0
//! Asks a model's `is_ready`, on a thread that is not the model's (Y007).

use std::sync::Arc;

use pyo3::prelude::*;
use tritongw_engine::model_log::LogOwner;
use tritongw_types::{Error, Result};

use crate::log_place::LogPlace;
use crate::model::{description, without_calls};
use crate::thread_state;

/// A model's `is_ready`, and where it is to run.
pub(crate) struct ReadyProbe {
    pub(crate) owner: Arc<LogOwner>,
    pub(crate) is_ready: Py<PyAny>,
    // Runs it where the model has one.
    pub(crate) event_loop: Option<Py<PyAny>>,
    pub(crate) host: Py<PyModule>,
}

impl ReadyProbe {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Why the model is not ready: it says so, raises, or gives no bool.
    pub(crate) fn ask(&self) -> Result<()> {
        thread_state::keep_if_foreign();
        Python::attach(|py| {
            let host = self.host.bind(py);
            let arguments = (&self.is_ready, &self.event_loop);
            let ask = || host.call_method1("check_ready", arguments);
            let answer = without_calls(py, LogPlace::of(&self.owner), ask);
            match answer.and_then(|answer| answer.extract()) {
                Ok(true) => Ok(()),
                Ok(false) => Err(Error::unavailable(format!(
                    "`is_ready` of '{}' returned False",
                    self.owner.instance
                ))),
                Err(error) => Err(Error::unavailable(format!(
                    "`is_ready` of '{}' failed: {}",
                    self.owner.instance,
                    description(py, host, error)
                ))),
            }
        })
    }
}
