// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tritongw_engine::backend::{Backend, BackendModel, ModelContext};
use tritongw_types::Result;

use crate::complete;
use crate::library::{LibraryLocation, resolve_path};
use crate::model::{OnnxModel, model_file};
use crate::ort::{Runtime, Session};
use crate::parameters;
use crate::signature::Signature;

/// What the backend needs to know from its caller.
#[derive(Debug)]
pub struct OnnxRuntimeConfig {
    /// Where ONNX Runtime is, unless the backend's setting `library-path` says so.
    pub library: LibraryLocation,
}

/// The backend `onnxruntime`.
///
/// The library is loaded with the first model, so that a server without ONNX models needs none.
pub struct OnnxRuntimeBackend {
    library: LibraryLocation,
    runtime: Mutex<Option<Arc<Runtime>>>,
}

impl OnnxRuntimeBackend {
    /// Makes the backend; loads nothing yet.
    pub fn new(config: OnnxRuntimeConfig) -> Self {
        Self {
            library: config.library,
            runtime: Mutex::new(None),
        }
    }

    /// Returns the library, loading it the first time; a failure is tried again next time.
    fn runtime(&self, model: &ModelContext) -> Result<Arc<Runtime>> {
        if let Some(runtime) = self.runtime.lock().as_ref() {
            return Ok(Arc::clone(runtime));
        }
        // The caller's search runs without the lock: it may wait for an interpreter.
        let path = match model.setting("library-path") {
            Some(path) => resolve_path(Path::new(path))?,
            None => self.library.resolve()?,
        };
        let threads = parameters::global_threads(&model.settings)?;
        let mut runtime = self.runtime.lock();
        if let Some(runtime) = runtime.as_ref() {
            return Ok(Arc::clone(runtime));
        }
        let loaded = Arc::new(Runtime::load(&path, threads.as_ref())?);
        log::info!(
            "loaded ONNX Runtime {} from '{}'",
            loaded.version(),
            path.display()
        );
        *runtime = Some(Arc::clone(&loaded));
        Ok(loaded)
    }
}

impl Backend for OnnxRuntimeBackend {
    fn name(&self) -> &str {
        "onnxruntime"
    }

    fn complete_config(&self, model: &ModelContext) -> Result<Option<String>> {
        if !complete::is_needed(&model.config) {
            log::info!(
                "skipping model configuration auto-complete for '{}': inputs and outputs already \
                 specified",
                model.name
            );
            return Ok(None);
        }
        let runtime = self.runtime(model)?;
        let settings = parameters::signature_settings(&model.config);
        let session = Session::load(&runtime, &model_file(model)?, &settings)?;
        let default = parameters::default_max_batch_size(&model.settings)?;
        complete::complete(&model.config, &Signature::read(&session)?, default).map(Some)
    }

    fn load_model(&self, model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>> {
        Ok(Arc::new(OnnxModel::load(self.runtime(model)?, model)?))
    }
}

impl fmt::Debug for OnnxRuntimeBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxRuntimeBackend")
            .field("library", &self.library)
            .finish_non_exhaustive()
    }
}
