// SPDX-License-Identifier: Apache-2.0
//! One loaded version of a model.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tritongw_config::{InstanceGroup, InstanceGroupKind, ModelConfig, Scheduling, TimeoutAction};
use tritongw_scheduler::{self as scheduler, DynamicBatcherConfig, InstanceIndex};
use tritongw_types::{CName, Error, Result, Shape, WILDCARD_DIM};

use crate::backend::{
    Availability, Backend, BackendModel, InstanceContext, InstanceControl, ModelContext,
};
use crate::buffer::RequestMemory;
use crate::instance::ModelInstance;
use crate::model_scheduler::ModelScheduler;
use crate::ordering::{OrderStage, ResponseOutbox};
use crate::request::InferenceRequest;
use crate::response::Responder;
use crate::statistics::ModelStatistics;
use crate::timer::Timer;
use crate::validation;

/// A loaded model version: configuration, instances, scheduler, statistics.
///
/// Kept loaded by every request, responder and response that refers to it.
pub struct Model {
    context: Arc<ModelContext>,
    backend_model: Arc<dyn BackendModel>,
    scheduler: Arc<ModelScheduler>,
    statistics: Arc<ModelStatistics>,
    request_memory: Option<Arc<dyn RequestMemory>>,
    // Present where the configuration asks for responses in order.
    outbox: Option<Arc<ResponseOutbox>>,
    needs_compatibility: bool,
    has_output_reshape: bool,
    // Decoupled requests without their final response: they outlive their execution.
    unanswered: AtomicUsize,
}

impl Model {
    /// Loads the model and its instances; blocks for as long as the backend takes.
    pub(crate) fn load(
        context: Arc<ModelContext>,
        backend: &dyn Backend,
        timer: Timer,
    ) -> Result<Arc<Self>> {
        let backend_model = backend.load_model(&context)?;
        let config = &context.config;
        let plans = plan_instances(config);
        let statistics = Arc::new(ModelStatistics::default());
        let batcher = batcher_config(config, plans.len());
        let preserves_ordering = batcher.preserve_ordering;
        let scheduler = ModelScheduler::new(batcher, Arc::clone(&statistics), timer);
        let instances = create_instances(&context, &*backend_model, &scheduler, plans)?;
        scheduler.set_instances(instances);
        Ok(Arc::new(Self {
            request_memory: backend_model.request_memory(),
            outbox: preserves_ordering.then(Arc::default),
            needs_compatibility: needs_compatibility(config),
            has_output_reshape: config.outputs.iter().any(|output| output.reshape.is_some()),
            unanswered: AtomicUsize::new(0),
            context,
            backend_model,
            scheduler,
            statistics,
        }))
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

    /// Returns whether the model could execute now (R081).
    ///
    /// # Errors
    /// `Unavailable` with the reason why it could not.
    pub fn ready(&self) -> Result<()> {
        match self.scheduler.unavailable_reason() {
            Some(reason) => Err(Error::unavailable(reason)),
            None => self.backend_model.ready(),
        }
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

    pub(crate) fn cancel_queued(&self, responder: &Responder) {
        self.scheduler.cancel(responder);
    }

    pub(crate) fn order_stage(&self) -> Option<Arc<OrderStage>> {
        self.outbox
            .as_ref()
            .map(|outbox| Arc::new(OrderStage::new(outbox)))
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

    /// Refuses new requests; those accepted are still served.
    pub(crate) fn stop_accepting(&self) {
        self.scheduler.stop();
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

    /// Ends the instances. Must not run on an instance's thread.
    pub(crate) fn shut_down(&self) {
        self.scheduler.stop_instances();
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

fn needs_compatibility(config: &ModelConfig) -> bool {
    config.max_batch_size > 1
        && config.inputs.iter().any(|input| {
            input.is_optional || (input.dims.contains(&WILDCARD_DIM) && !input.allow_ragged_batch)
        })
}

/// One instance to be made.
struct InstancePlan {
    name: String,
    kind: InstanceGroupKind,
    device_id: i32,
    host_policy: String,
}

/// Lists the instances of all groups that take requests; passive ones (S090) do not.
fn plan_instances(config: &ModelConfig) -> Vec<InstancePlan> {
    let active = config
        .instance_groups
        .iter()
        .filter(|group| !group.is_passive);
    active.flat_map(plan_group).collect()
}

fn plan_group(group: &InstanceGroup) -> Vec<InstancePlan> {
    let devices = if group.gpus.is_empty() {
        &[0][..]
    } else {
        &group.gpus
    };
    let mut plans = Vec::new();
    for _ in 0..group.count {
        for &device_id in devices {
            plans.push(InstancePlan {
                name: format!("{}_{}", group.name, plans.len()),
                kind: group.kind,
                device_id,
                host_policy: host_policy(group, device_id),
            });
        }
    }
    plans
}

/// Returns the group's host policy, by default the one named after its kind (M056).
fn host_policy(group: &InstanceGroup, device_id: i32) -> String {
    if !group.host_policy.is_empty() {
        return group.host_policy.clone();
    }
    match group.kind {
        InstanceGroupKind::Gpu => format!("gpu_{device_id}"),
        InstanceGroupKind::Model => "model".to_owned(),
        InstanceGroupKind::Cpu | InstanceGroupKind::Auto => "cpu".to_owned(),
    }
}

/// Makes all instances at once, each on its own load thread.
fn create_instances(
    context: &Arc<ModelContext>,
    backend_model: &dyn BackendModel,
    scheduler: &Arc<ModelScheduler>,
    plans: Vec<InstancePlan>,
) -> Result<Vec<Arc<ModelInstance>>> {
    let contexts: Vec<_> = plans
        .into_iter()
        .enumerate()
        .map(|(index, plan)| {
            let scheduler = Arc::downgrade(scheduler);
            Arc::new(InstanceContext {
                model: Arc::clone(context),
                name: plan.name,
                kind: plan.kind,
                device_id: plan.device_id,
                host_policy: plan.host_policy,
                control: Arc::new(Control {
                    scheduler,
                    index: InstanceIndex(index),
                }),
            })
        })
        .collect();
    let results: Vec<Result<_>> = std::thread::scope(|scope| {
        let create = |instance: &Arc<InstanceContext>| {
            let backend = backend_model.create_instance(instance)?;
            ModelInstance::start(instance.name.clone(), backend)
        };
        let threads: Vec<_> = contexts
            .iter()
            .map(|instance| scope.spawn(move || create(instance)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(panicked())))
            .collect()
    });
    let mut instances = Vec::with_capacity(results.len());
    let mut failure = None;
    for result in results {
        match result {
            Ok(instance) => instances.push(instance),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        None => Ok(instances),
        Some(error) => {
            instances.iter().for_each(|instance| instance.stop());
            Err(error)
        }
    }
}

fn panicked() -> Error {
    Error::internal("the backend panicked while it made an instance")
}

/// Reports one instance's availability to its scheduler.
struct Control {
    scheduler: Weak<ModelScheduler>,
    index: InstanceIndex,
}

impl InstanceControl for Control {
    fn set_availability(&self, availability: Availability) {
        if let Some(scheduler) = self.scheduler.upgrade() {
            scheduler.set_availability(self.index, availability);
        }
    }
}

/// Translates the configuration's scheduling choice for the machine (S001, S002).
fn batcher_config(config: &ModelConfig, instance_count: usize) -> DynamicBatcherConfig {
    let mut batcher = DynamicBatcherConfig {
        max_batch_size: config.max_batch_size,
        instance_count,
        ..DynamicBatcherConfig::default()
    };
    if let Scheduling::DynamicBatching(dynamic) = &config.scheduling {
        batcher.is_batching = config.max_batch_size > 0;
        batcher
            .preferred_batch_sizes
            .clone_from(&dynamic.preferred_batch_sizes);
        batcher.max_queue_delay = dynamic.max_queue_delay;
        batcher.preserve_ordering = dynamic.preserve_ordering;
        batcher.priority_levels = dynamic.priority_levels;
        batcher.default_priority_level = dynamic.default_priority_level;
        batcher.default_queue_policy = queue_policy(&dynamic.default_queue_policy);
        batcher.priority_queue_policies = dynamic
            .priority_queue_policies
            .iter()
            .map(|(level, policy)| (*level, queue_policy(policy)))
            .collect();
    }
    batcher
}

fn queue_policy(policy: &tritongw_config::QueuePolicy) -> scheduler::QueuePolicy {
    scheduler::QueuePolicy {
        timeout_action: match policy.timeout_action {
            TimeoutAction::Reject => scheduler::TimeoutAction::Reject,
            TimeoutAction::Delay => scheduler::TimeoutAction::Delay,
        },
        default_timeout: policy.default_timeout,
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: policy.max_queue_size,
    }
}
