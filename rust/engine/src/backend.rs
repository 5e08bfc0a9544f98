// SPDX-License-Identifier: Apache-2.0
//! The seam behind the engine: what a backend is.
//!
//! [`Backend`] loads a [`BackendModel`], which makes one [`BackendInstance`] per instance group
//! member. The engine owns threads and queues; a backend only says, by its [`Placement`], where
//! it may run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use tritongw_config::{InstanceGroupKind, ModelConfig};
use tritongw_types::{CName, Error, Result};

use crate::Server;
use crate::batch::Batch;
use crate::buffer::RequestMemory;
use crate::model_caller::ModelCaller;

/// Settings of one backend from `--backend-config`, global ones included.
pub type BackendSettings = BTreeMap<String, String>;

/// A kind of model: ONNX Runtime, Python, identity.
pub trait Backend: Send + Sync {
    /// Returns the name by which a model configuration chooses this backend.
    fn name(&self) -> &str;

    /// Returns whether this backend is meant by `runtime` of a configuration, the file name of a
    /// backend (R012); empty where the configuration says nothing.
    fn accepts_runtime(&self, runtime: &str) -> bool {
        runtime.is_empty() || runtime == format!("libtriton_{}.so", self.name())
    }

    /// Returns a backend of that name made of the files in `directory`, if this backend can be
    /// the ground of one (B061). May read files.
    fn derive(&self, name: &str, directory: &Path) -> Option<Arc<dyn Backend>> {
        let _ = (name, directory);
        None
    }

    /// Returns the file that a derived backend is made of.
    fn place(&self) -> Option<PathBuf> {
        None
    }

    /// Returns the name of the backend that a derived one is made of.
    fn base(&self) -> Option<&str> {
        None
    }

    /// Returns whether instances can run on GPUs; a model of a backend that says no runs on the
    /// CPU where its configuration leaves the kind open (M049).
    fn uses_gpus(&self) -> bool {
        false
    }

    /// Lets go of what outlives models: the server has ended all of them.
    fn close(&self) {}

    /// Returns a model configuration (canonical JSON) with what the model file itself tells
    /// filled in, or `None` to leave it as it is (M112, M114, M119).
    ///
    /// Called before [`Self::load_model`] unless auto-completion is off or needless.
    ///
    /// # Errors
    /// If the model contradicts its configuration; the load fails with this text.
    fn complete_config(&self, model: &ModelContext) -> Result<Option<String>> {
        let _ = model;
        Ok(None)
    }

    /// Loads one version of a model. May block for long; runs on a load thread.
    ///
    /// # Errors
    /// Anything that keeps the model from serving; the load fails with this text.
    fn load_model(&self, model: &Arc<ModelContext>) -> Result<Arc<dyn BackendModel>>;
}

/// One loaded model version of a backend.
pub trait BackendModel: Send + Sync {
    /// Makes one instance. Runs on a load thread, for several instances at once.
    ///
    /// # Errors
    /// Anything that keeps the instance from serving; the load fails with this text.
    fn create_instance(&self, instance: &Arc<InstanceContext>) -> Result<Box<dyn BackendInstance>>;

    /// Returns the memory in which large request bodies should be received, if it matters.
    fn request_memory(&self) -> Option<Arc<dyn RequestMemory>> {
        None
    }
}

/// One execution unit of a model; never called twice at once.
pub trait BackendInstance: Send {
    /// Returns where [`Self::execute`] may run.
    fn placement(&self) -> Placement {
        Placement::Dedicated
    }

    /// Returns whom to ask whether the instance is ready, if it has a word in that (R081). Asked
    /// once, when it is made; the check may outlive it.
    fn ready_check(&self) -> Option<Arc<dyn ReadyCheck>> {
        None
    }

    /// Executes a batch.
    ///
    /// `Ok`: the backend has taken over every request it took out of the batch and will answer
    /// each exactly once. What is left in the batch, and on `Err` everything, is answered with an
    /// error by the engine.
    ///
    /// # Errors
    /// A failure that concerns the whole batch.
    fn execute(&mut self, batch: &mut Batch) -> Result<()>;
}

/// Takes the answer to whether an instance is ready, or the reason why it is not. One that is
/// dropped says no.
pub type ReadyAnswer = Box<dyn FnOnce(Result<()>) + Send>;

/// Asks an instance whether it could execute now, possibly while it executes (R081).
pub trait ReadyCheck: Send + Sync {
    /// Asks; the answer may come later and from any thread. Must not block: network threads ask.
    /// Not called before the last question is answered.
    fn ask(&self, answer: ReadyAnswer);
}

/// Where an instance executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On its own thread, always the same: thread-affine and long-running backends.
    Dedicated,
    /// Preferably on the thread that enqueued the request, otherwise on its own: quick backends
    /// that do not care which thread calls them.
    Inline,
    /// On any thread; `execute` only starts the work and returns. The slot is held by the
    /// [`ExecutionPermit`](crate::batch::ExecutionPermit) that the backend takes out of the batch.
    Async {
        /// Batches that may be under way at once, at least 1.
        max_inflight: u32,
    },
    /// As [`Self::Async`], and batches under way overlap: none waits behind another.
    Concurrent {
        /// Batches that may be under way at once, at least 1.
        max_inflight: u32,
    },
}

impl Placement {
    /// Returns how many batches an instance may hold at once.
    pub(crate) fn max_inflight(self) -> u32 {
        match self {
            Self::Async { max_inflight } | Self::Concurrent { max_inflight } => max_inflight.max(1),
            Self::Dedicated | Self::Inline => 1,
        }
    }

    /// Returns whether `execute` only starts the work: any thread may call it.
    pub(crate) fn is_started_anywhere(self) -> bool {
        matches!(self, Self::Async { .. } | Self::Concurrent { .. })
    }

    /// Returns whether a batch can wait at the instance behind another one.
    pub(crate) fn has_line(self) -> bool {
        matches!(self, Self::Async { max_inflight } if max_inflight > 1)
    }
}

/// What a backend is told about the model version it loads.
pub struct ModelContext {
    /// Model name.
    pub name: CName,
    /// Version, the number of its directory.
    pub version: i64,
    /// The model's directory in its repository, or a copy of it.
    pub directory: PathBuf,
    /// The configuration, normalised.
    pub config: Arc<ModelConfig>,
    /// Settings of the backend, with Triton's defaults (`default-max-batch-size` and the rest).
    pub settings: Arc<BackendSettings>,
    /// Whether auto-completion is on.
    pub is_auto_complete: bool,
    /// The server, for calls from model to model.
    pub server: Weak<Server>,
}

impl ModelContext {
    /// Returns the way by which the model calls other models.
    pub fn caller(&self) -> ModelCaller {
        ModelCaller::new(Weak::clone(&self.server))
    }

    /// Returns the version's directory.
    pub fn version_directory(&self) -> PathBuf {
        self.directory.join(self.version.to_string())
    }

    /// Returns the model file or directory: `default_model_filename` of the configuration, or
    /// `fallback`, in the version's directory.
    pub fn model_path(&self, fallback: &str) -> PathBuf {
        let file_name = match self.config.default_model_filename.as_str() {
            "" => fallback,
            name => name,
        };
        self.version_directory().join(file_name)
    }

    /// Returns a setting of the backend.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }
}

impl fmt::Debug for ModelContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelContext")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// What a backend is told about the instance it makes, and how it reports its health.
pub struct InstanceContext {
    /// The model.
    pub model: Arc<ModelContext>,
    /// Instance name: `<group>_<n>` (M048).
    pub name: String,
    /// Kind of its group.
    pub kind: InstanceGroupKind,
    /// Device of a GPU instance, else 0.
    pub device_id: i32,
    /// Host policy name (M056).
    pub host_policy: String,
    /// Reports whether the instance can take work.
    pub control: Arc<dyn InstanceControl>,
}

impl fmt::Debug for InstanceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceContext")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("device_id", &self.device_id)
            .finish_non_exhaustive()
    }
}

/// Whether an instance can take work.
#[derive(Clone, Debug)]
pub enum Availability {
    /// It can.
    Available,
    /// Not now, but soon: queued requests wait, readiness says no.
    Restarting,
    /// Not before a reload: when every instance says so, requests are refused with this error.
    Failed(Error),
}

/// By which a backend tells the engine about an instance. Callable from any thread.
pub trait InstanceControl: Send + Sync {
    /// Reports a change of availability.
    fn set_availability(&self, availability: Availability);
}
