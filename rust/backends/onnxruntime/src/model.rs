// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tritongw_config::InstanceGroupKind;
use tritongw_engine::backend::{BackendInstance, BackendModel, InstanceContext, ModelContext};
use tritongw_types::{Error, Result};

use crate::instance::OnnxInstance;
use crate::ort::{RunOptions, Runtime, Session, SessionSettings};
use crate::parameters;
use crate::plan::Plan;
use crate::signature::Signature;

const DEFAULT_FILE_NAME: &str = "model.onnx";

/// A model whose configuration fits its graph.
pub(crate) struct OnnxModel {
    runtime: Arc<Runtime>,
    path: PathBuf,
    settings: SessionSettings,
    run_entries: Vec<(String, String)>,
    plan: Arc<Plan>,
    // The session that the graph was read from, for the first instance that comes.
    spare: Mutex<Option<Session>>,
}

impl OnnxModel {
    /// Loads a session and checks the configuration against it.
    pub(crate) fn load(runtime: Arc<Runtime>, model: &ModelContext) -> Result<Self> {
        let settings = parameters::session_settings(&model.config)?;
        let path = model_file(model)?;
        let session = Session::load(&runtime, &path, &settings)?;
        let signature = Signature::read(&session)?;
        signature.check(&model.config)?;
        Ok(Self {
            plan: Arc::new(Plan::new(&model.config, &signature)?),
            run_entries: parameters::run_entries(&model.config),
            spare: Mutex::new(Some(session)),
            runtime,
            path,
            settings,
        })
    }
}

impl BackendModel for OnnxModel {
    fn create_instance(&self, instance: &Arc<InstanceContext>) -> Result<Box<dyn BackendInstance>> {
        if instance.kind == InstanceGroupKind::Gpu {
            return Err(Error::unsupported(format!(
                "instance '{}' has kind KIND_GPU, but the onnxruntime backend executes on the CPU \
                 only",
                instance.name
            )));
        }
        let spare = self.spare.lock().take();
        let session = match spare {
            Some(session) => session,
            None => Session::load(&self.runtime, &self.path, &self.settings)?,
        };
        let run_options = RunOptions::new(&self.runtime, &self.run_entries)?;
        Ok(Box::new(OnnxInstance::new(
            session,
            run_options,
            Arc::clone(&self.plan),
        )))
    }
}

impl fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxModel")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Returns the model's file; a directory of that name holds it with its external data (B001).
///
/// # Errors
/// `Unavailable` if there is none, in Triton's words.
pub(crate) fn model_file(model: &ModelContext) -> Result<PathBuf> {
    let path = model.model_path(DEFAULT_FILE_NAME);
    let path = if path.is_dir() {
        path.join(DEFAULT_FILE_NAME)
    } else {
        path
    };
    if Path::exists(&path) {
        return Ok(path);
    }
    Err(Error::unavailable(format!(
        "unable to find '{}' for model instance '{}'",
        path.display(),
        model.name
    )))
}
