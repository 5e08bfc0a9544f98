// SPDX-License-Identifier: Apache-2.0
//! What a loaded model version holds of its backend, and the end of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::backend::BackendModel;
use crate::labels::Labels;
use crate::model_scheduler::ModelScheduler;
use crate::readiness::Readiness;
use crate::repository::OverrideFiles;
use crate::retirement::Retirements;

/// Where a model comes from, and what is to happen when it ends.
pub(crate) struct Origin {
    /// Tells this load from every other.
    pub(crate) mark: u64,
    /// Its repository, where models of one name may lie in several (R067).
    pub(crate) namespace: Option<Arc<str>>,
    /// Its files, where a client sent them.
    pub(crate) files: Option<Arc<OverrideFiles>>,
    /// By whom it is ended.
    pub(crate) retirements: Retirements,
    /// Called when it has served and its resources have been given back.
    pub(crate) on_retired: Box<dyn FnOnce() + Send + Sync>,
}

/// Backend state and scheduler of a model version, shared by everything that refers to it.
///
/// When the last reference goes (unloaded or replaced, and every request answered) its instances
/// end on a thread of their own.
pub(crate) struct LoadedModel {
    backend_model: Arc<dyn BackendModel>,
    scheduler: Arc<ModelScheduler>,
    readiness: Arc<Readiness>,
    labels: Labels,
    retirements: Retirements,
    namespace: Option<Arc<str>>,
    mark: u64,
    is_up: AtomicBool,
    // Requests taken by a backend, with responses to come.
    unanswered: AtomicUsize,
    // Taken when it ends.
    rest: Option<Rest>,
}

/// What is only of use at the end.
struct Rest {
    files: Option<Arc<OverrideFiles>>,
    on_retired: Box<dyn FnOnce() + Send + Sync>,
}

impl LoadedModel {
    pub(crate) fn new(
        backend_model: Arc<dyn BackendModel>,
        scheduler: Arc<ModelScheduler>,
        readiness: Arc<Readiness>,
        labels: Labels,
        origin: Origin,
    ) -> Self {
        let rest = Rest {
            files: origin.files,
            on_retired: origin.on_retired,
        };
        Self {
            backend_model,
            scheduler,
            readiness,
            labels,
            retirements: origin.retirements,
            namespace: origin.namespace,
            mark: origin.mark,
            is_up: AtomicBool::new(false),
            unanswered: AtomicUsize::new(0),
            rest: Some(rest),
        }
    }

    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }

    pub(crate) fn backend_model(&self) -> &Arc<dyn BackendModel> {
        &self.backend_model
    }

    pub(crate) fn scheduler(&self) -> &Arc<ModelScheduler> {
        &self.scheduler
    }

    pub(crate) fn readiness(&self) -> &Arc<Readiness> {
        &self.readiness
    }

    pub(crate) fn retirements(&self) -> &Retirements {
        &self.retirements
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Returns what tells this load from every other.
    pub(crate) fn mark(&self) -> u64 {
        self.mark
    }

    /// Notes that its instances are there: from now on its end is one of a model that served.
    pub(crate) fn note_up(&self) {
        self.is_up.store(true, Ordering::Release);
    }

    /// Refuses new requests of clients; those accepted are still served, and what they call.
    pub(crate) fn stop_accepting(&self) {
        self.scheduler.refuse_clients();
    }

    /// Returns how many requests wait, execute or still have responses to come.
    pub(crate) fn inflight_count(&self) -> usize {
        let unanswered = self.unanswered.load(Ordering::Acquire);
        self.scheduler.inflight_count().max(unanswered)
    }

    pub(crate) fn add_unanswered(&self) {
        self.unanswered.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn remove_unanswered(&self) {
        self.unanswered.fetch_sub(1, Ordering::AcqRel);
    }

    /// Ends the instances, whatever they do. Must not run on an instance's thread.
    pub(crate) fn shut_down(&self) {
        self.scheduler.stop();
        self.scheduler.stop_instances();
    }
}

impl Drop for LoadedModel {
    fn drop(&mut self) {
        let backend_model = Arc::clone(&self.backend_model);
        let scheduler = Arc::clone(&self.scheduler);
        let rest = self.rest.take();
        let is_up = *self.is_up.get_mut();
        self.retirements.begin(move || {
            // No request is left, but an instance may not yet have returned from its last one.
            scheduler.wait_until_idle();
            scheduler.stop_instances();
            drop(scheduler);
            drop(backend_model);
            if let Some(Rest { files, on_retired }) = rest {
                drop(files);
                if is_up {
                    on_retired();
                }
            }
        });
    }
}
