// SPDX-License-Identifier: Apache-2.0
//! One loaded version of a model.

use std::fmt;
use std::sync::Arc;

use tritongw_config::{ModelConfig, Scheduling};
use tritongw_scheduler::{RejectReason, SequenceRefusal};
use tritongw_types::{CName, Error, Result, Shape, WILDCARD_DIM};

use crate::backend::{Backend, ModelContext, ReadyAnswer};
use crate::buffer::RequestMemory;
use crate::instance::ComputeTimings;
use crate::instance_update::InstanceUpdate;
use crate::labels::Labels;
use crate::loaded_model::{LoadedModel, Origin};
use crate::model_scheduler::ModelScheduler;
use crate::ordering::{OrderStage, ResponseOutbox};
use crate::readiness::Readiness;
use crate::request::{InferenceRequest, SequenceFlags};
use crate::responder::Responder;
use crate::scheduling_machine::{Refusal, reject_error};
use crate::scheduling_plan::SchedulingPlan;
use crate::services::SharedServices;
use crate::statistics::ModelStatistics;
use crate::validation;
use crate::warmup::Warmup;

/// A loaded model version: configuration, instances, scheduler, statistics.
///
/// Kept loaded by every request, responder and response that refers to it.
pub struct Model {
    context: Arc<ModelContext>,
    // Shared with the models that differ from this one in their instances only.
    loaded: Arc<LoadedModel>,
    scheduler: Arc<ModelScheduler>,
    statistics: Arc<ModelStatistics>,
    request_memory: Option<Arc<dyn RequestMemory>>,
    // Present where the configuration asks for responses in order.
    outbox: Option<Arc<ResponseOutbox>>,
    needs_compatibility: bool,
    has_output_reshape: bool,
}

impl Model {
    /// Loads the model and its instances; blocks for as long as the backend takes.
    pub(crate) fn load(
        context: Arc<ModelContext>,
        backend: &dyn Backend,
        services: SharedServices,
        origin: Origin,
        statistics: ModelStatistics,
    ) -> Result<Arc<Self>> {
        let labels = Labels::load(&context.directory, &context.config)?;
        let backend_model = backend.load_model(&context)?;
        let statistics = Arc::new(statistics);
        let plan = SchedulingPlan::new(&context.config)?;
        let outbox = plan.preserves_ordering.then(Arc::default);
        let whose = format!("model '{}' version {}", context.name, context.version);
        let readiness = Readiness::new(whose, services.timer.clone());
        let scheduler = ModelScheduler::new(plan, Arc::clone(&statistics), services);
        let loaded = LoadedModel::new(backend_model, scheduler, readiness, labels, origin);
        let loaded = Arc::new(loaded);
        let instances = Self::prepare_instances(&context, &loaded, &statistics)?;
        instances.commit(loaded.retirements());
        loaded.note_up();
        Ok(Self::new(context, loaded, statistics, outbox))
    }

    /// Makes the instances that `context`'s configuration asks for beyond those there are, and
    /// warms them up.
    fn prepare_instances(
        context: &Arc<ModelContext>,
        loaded: &Arc<LoadedModel>,
        statistics: &Arc<ModelStatistics>,
    ) -> Result<InstanceUpdate> {
        let (shared, statistics) = (Arc::clone(loaded), Arc::clone(statistics));
        let model = Self::new(Arc::clone(context), shared, statistics, None);
        let warmup = Warmup::prepare(model)?;
        InstanceUpdate::prepare(context, loaded, &warmup)
    }

    fn new(
        context: Arc<ModelContext>,
        loaded: Arc<LoadedModel>,
        statistics: Arc<ModelStatistics>,
        outbox: Option<Arc<ResponseOutbox>>,
    ) -> Arc<Self> {
        let config = &context.config;
        Arc::new(Self {
            needs_compatibility: needs_compatibility(config),
            has_output_reshape: config.outputs.iter().any(|output| output.reshape.is_some()),
            scheduler: Arc::clone(loaded.scheduler()),
            request_memory: loaded.backend_model().request_memory(),
            statistics,
            outbox,
            context,
            loaded,
        })
    }

    /// Makes the instances that `config` asks for beyond those there are. It may differ from the
    /// model's own configuration in instance groups and version policy only (R060).
    pub(crate) fn prepare_update(self: &Arc<Self>, config: ModelConfig) -> Result<ModelUpdate> {
        let context = Arc::new(ModelContext {
            name: self.context.name.clone(),
            version: self.context.version,
            directory: self.context.directory.clone(),
            config: Arc::new(config),
            settings: Arc::clone(&self.context.settings),
            is_auto_complete: self.context.is_auto_complete,
            server: self.context.server.clone(),
        });
        let instances = Self::prepare_instances(&context, &self.loaded, &self.statistics)?;
        Ok(ModelUpdate {
            model: Arc::clone(self),
            context,
            instances,
        })
    }

    /// Returns the name.
    pub fn name(&self) -> &CName {
        &self.context.name
    }

    /// Returns the version.
    pub fn version(&self) -> i64 {
        self.context.version
    }

    /// Returns the configuration, normalised and completed.
    pub fn config(&self) -> &Arc<ModelConfig> {
        &self.context.config
    }

    /// Returns what the backend was told.
    pub fn context(&self) -> &Arc<ModelContext> {
        &self.context
    }

    /// Returns the statistics.
    pub fn statistics(&self) -> &ModelStatistics {
        &self.statistics
    }

    /// Returns the memory in which large request bodies should be received.
    pub fn request_memory(&self) -> Option<&Arc<dyn RequestMemory>> {
        self.request_memory.as_ref()
    }

    /// Returns whether the model could execute now, as far as that is known without asking its
    /// instances.
    ///
    /// # Errors
    /// `Unavailable` with the reason why it could not.
    pub fn ready(&self) -> Result<()> {
        match self.scheduler.unavailable_reason() {
            Some(reason) => Err(Error::unavailable(reason)),
            None => Ok(()),
        }
    }

    /// Asks whether the model could execute now: all of its instances, where they have a word in
    /// that (R081). Never blocks; `done` is called at once, or within five seconds.
    pub fn check_ready(&self, done: ReadyAnswer) {
        if let Err(error) = self.ready() {
            return done(Err(error));
        }
        let checks = self.scheduler.ready_checks();
        if checks.is_empty() {
            return done(Ok(()));
        }
        self.loaded.readiness().check(&checks, done);
    }

    /// Returns whether no instance will execute again.
    pub(crate) fn has_failed(&self) -> bool {
        self.scheduler.failure().is_some()
    }

    /// Returns the repository by which clients tell models of one name apart, if they do (R067).
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.loaded.namespace()
    }

    pub(crate) fn scheduler(&self) -> &Arc<ModelScheduler> {
        &self.scheduler
    }

    /// Returns what outlives a change of instances.
    pub(crate) fn loaded(&self) -> &Arc<LoadedModel> {
        &self.loaded
    }

    /// Validates and queues a request.
    pub(crate) fn enqueue(
        &self,
        mut request: Box<InferenceRequest>,
    ) -> Result<(), (Error, Box<InferenceRequest>)> {
        if let Err(error) = validation::prepare(&mut request, self.config()) {
            return Err((error, request));
        }
        let compatibility = self.compatibility(&request);
        if self.config().is_decoupled {
            request.responder().count();
        }
        self.scheduler
            .enqueue(request, compatibility)
            .inspect_err(|(_, request)| request.responder().discount())
    }

    /// Queues a request that executes for another round.
    pub(crate) fn reschedule(
        &self,
        mut request: Box<InferenceRequest>,
        timings: &ComputeTimings,
    ) -> Result<(), (Error, Box<InferenceRequest>)> {
        let is_iterative = match &self.config().scheduling {
            Scheduling::SequenceBatching(batching) => batching.is_iterative,
            _ => false,
        };
        if !is_iterative {
            let refusal = Refusal::Sequence(SequenceRefusal::NotRescheduled);
            return Err((refusal.error(&request), request));
        }
        if request.is_cancelled() {
            return Err((reject_error(RejectReason::Cancelled), request));
        }
        request.report(true, timings);
        request.set_flags(SequenceFlags::NONE);
        let compatibility = self.compatibility(&request);
        self.scheduler.reschedule(request, compatibility)
    }

    pub(crate) fn cancel_queued(&self, responder: &Responder) {
        self.scheduler.cancel(responder);
    }

    pub(crate) fn order_stage(&self) -> Option<Arc<OrderStage>> {
        self.outbox
            .as_ref()
            .map(|outbox| Arc::new(OrderStage::new(outbox)))
    }

    /// Returns the name of an output's class, if it has one (R008).
    pub fn label(&self, output: &str, class: usize) -> Option<&str> {
        self.loaded.labels().label(output, class)
    }

    /// Returns the shape a client sees for an output of this backend shape (M028).
    pub(crate) fn client_output_shape(&self, name: &CName, shape: Shape) -> Shape {
        if !self.has_output_reshape {
            return shape;
        }
        match self.config().output(name) {
            Some(output) => match &output.reshape {
                Some(backend_dims) => {
                    let is_batching = self.config().max_batch_size > 0;
                    validation::reshape(&shape, backend_dims, &output.dims, is_batching)
                }
                None => shape,
            },
            None => shape,
        }
    }

    pub(crate) fn add_unanswered(&self) {
        self.loaded.add_unanswered();
    }

    pub(crate) fn remove_unanswered(&self) {
        self.loaded.remove_unanswered();
    }

    /// Returns what must be equal for two requests to share a batch (S011, S012): which optional
    /// inputs are there, and the shapes of inputs with variable dimensions.
    fn compatibility(&self, request: &InferenceRequest) -> Option<Box<[i64]>> {
        if !self.needs_compatibility {
            return None;
        }
        let mut key = Vec::new();
        for (index, config) in self.config().inputs.iter().enumerate() {
            let Some(input) = request.input(&config.name) else {
                continue;
            };
            // INVARIANT: a configuration has far fewer inputs than i64::MAX.
            key.push(i64::try_from(index).unwrap_or(i64::MAX));
            if config.dims.contains(&WILDCARD_DIM) && !config.allow_ragged_batch {
                key.extend_from_slice(input.shape.get(1..).unwrap_or_default());
            }
        }
        Some(key.into_boxed_slice())
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.context.name)
            .field("version", &self.context.version)
            .finish_non_exhaustive()
    }
}

/// A change of a model's instances that is ready to be put in force.
pub(crate) struct ModelUpdate {
    model: Arc<Model>,
    context: Arc<ModelContext>,
    instances: InstanceUpdate,
}

impl ModelUpdate {
    /// Puts the change in force and returns the model with its new configuration; backend state,
    /// scheduler and statistics stay.
    pub(crate) fn commit(self) -> Arc<Model> {
        let model = &self.model;
        self.instances.commit(model.loaded.retirements());
        let statistics = Arc::clone(&model.statistics);
        let loaded = Arc::clone(&model.loaded);
        Model::new(self.context, loaded, statistics, model.outbox.clone())
    }
}

fn needs_compatibility(config: &ModelConfig) -> bool {
    let merges = match config.scheduling {
        Scheduling::DynamicBatching(_) | Scheduling::SequenceBatching(_) => true,
        Scheduling::Default | Scheduling::Ensemble(_) => false,
    };
    merges
        && config.max_batch_size > 1
        && config.inputs.iter().any(|input| {
            input.is_optional || (input.dims.contains(&WILDCARD_DIM) && !input.allow_ragged_batch)
        })
}
