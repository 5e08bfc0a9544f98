// SPDX-License-Identifier: Apache-2.0
//! A Python model whose instances are worker processes.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tritongw_config::{ModelConfig, Scheduling};
use tritongw_engine::backend::{
    BackendInstance, BackendModel, InstanceContext, ModelContext, Placement, ReadyCheck,
};
use tritongw_engine::batch::Batch;
use tritongw_engine::buffer::RequestMemory;
use tritongw_types::{Error, Result};

use super::concurrency::placement_of_coroutines;
use super::connection::{BatchContext, not_healthy};
use super::cores::CoreTable;
use super::environment::WorkerLaunch;
use super::input_slab::{InputSlab, SlabRequestMemory};
use super::ready_desk::ReadyDesk;
use super::supervisor::{CurrentConnection, Supervisor};
use crate::backend::{instance_source, metric_registry};
use crate::host::ModelSource;
use crate::settings::WorkerSettings;
use crate::shared::wake::{self, Waker};

/// Requests that a model's only worker is sent at once, where they do not wait for others to form
/// a batch: the more lie in its ring, the fewer wake-ups it takes to serve them.
const MAX_INFLIGHT_ALONE: u32 = 8;
/// The same where there are other workers, which might take a request sooner: the next one lies in
/// the ring while one executes.
const MAX_INFLIGHT_AMONG_MANY: u32 = 2;

/// One model version in worker processes.
pub(crate) struct WorkerModel {
    args: WorkerModelArgs,
    input_slab: Arc<InputSlab>,
}

/// What the workers of a model have in common.
#[derive(Debug)]
pub(crate) struct WorkerModelArgs {
    pub(crate) settings: WorkerSettings,
    pub(crate) launch: WorkerLaunch,
    /// The model, without an instance.
    pub(crate) source: ModelSource,
    /// From which instances take their cores, if they may not use all.
    pub(crate) cores: Arc<CoreTable>,
}

impl WorkerModel {
    pub(crate) fn new(args: WorkerModelArgs) -> Result<Self> {
        let input_slab = InputSlab::new(args.settings.slab_size)?;
        Ok(Self { args, input_slab })
    }
}

impl BackendModel for WorkerModel {
    fn create_instance(&self, instance: &Arc<InstanceContext>) -> Result<Box<dyn BackendInstance>> {
        let worker = WorkerInstance::start(instance, &self.args, &self.input_slab)?;
        Ok(Box::new(worker))
    }

    fn request_memory(&self) -> Option<Arc<dyn RequestMemory>> {
        Some(Arc::new(SlabRequestMemory(Arc::clone(&self.input_slab))))
    }
}

/// One instance: sends batches to whichever worker lives, and ends it when dropped.
struct WorkerInstance {
    name: Arc<str>,
    model: Arc<ModelContext>,
    placement: Placement,
    // Where the model has `is_ready`.
    readiness: Option<Arc<ReadyDesk>>,
    input_slab: Arc<InputSlab>,
    current: Arc<CurrentConnection>,
    // Dropped to stop the supervisor, which sees the end of the pipe.
    stop: Option<Waker>,
    supervisor: Option<JoinHandle<()>>,
    scratch: Vec<u8>,
}

impl WorkerInstance {
    fn start(
        instance: &InstanceContext,
        args: &WorkerModelArgs,
        input_slab: &Arc<InputSlab>,
    ) -> Result<Self> {
        let name: Arc<str> = instance.name.as_str().into();
        let failed = |source: std::io::Error| {
            let message = format!("failed to supervise the worker of '{name}': {source}");
            Error::internal(message).with_source(source)
        };
        let (stop, stopped) = wake::pair().map_err(failed)?;
        let current = Arc::new(Mutex::new(None));
        let readiness = ReadyDesk::new(Arc::clone(&name));
        let supervisor = Supervisor {
            instance_name: Arc::clone(&name),
            settings: args.settings.clone(),
            launch: args.launch.clone(),
            cores: args
                .settings
                .core_count
                .map(|count| args.cores.take(count))
                .transpose()?,
            source: instance_source(&args.source, instance),
            input_slab: Arc::clone(input_slab),
            current: Arc::clone(&current),
            readiness: Arc::clone(&readiness),
            control: Arc::clone(&instance.control),
            metrics: metric_registry(&instance.model),
            caller: instance.model.caller(),
            stop: stopped,
        };
        let (started, first) = sync_channel(1);
        let supervisor = std::thread::Builder::new()
            .name("py-supervisor".to_owned())
            .spawn(move || supervisor.run(&started))
            .map_err(failed)?;
        let traits = first.recv().unwrap_or_else(|_| Err(not_healthy(&name)))?;
        let config = &instance.model.config;
        let placement = if traits.is_concurrent {
            placement_of_coroutines(config)?
        } else {
            Placement::Async {
                max_inflight: max_inflight(config),
            }
        };
        Ok(Self {
            name,
            model: Arc::clone(&instance.model),
            placement,
            readiness: traits.has_is_ready.then_some(readiness),
            input_slab: Arc::clone(input_slab),
            current,
            stop: Some(stop),
            supervisor: Some(supervisor),
            scratch: Vec::new(),
        })
    }
}

impl BackendInstance for WorkerInstance {
    fn placement(&self) -> Placement {
        self.placement
    }

    fn ready_check(&self) -> Option<Arc<dyn ReadyCheck>> {
        self.readiness
            .clone()
            .map(|desk| desk as Arc<dyn ReadyCheck>)
    }

    fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        let connection = self.current.lock().clone();
        let connection = connection.ok_or_else(|| not_healthy(&self.name))?;
        let context = BatchContext {
            config: &self.model.config,
            slab: &self.input_slab,
        };
        connection.submit(batch, context, &mut self.scratch)
    }
}

impl Drop for WorkerInstance {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(supervisor) = self.supervisor.take()
            && supervisor.join().is_err()
        {
            log::error!("the supervisor of '{}' panicked", self.name);
        }
    }
}

/// Where requests are merged, those that come while a batch executes are to form the next one.
fn max_inflight(config: &ModelConfig) -> u32 {
    let is_alone = match config.instance_groups.as_slice() {
        [group] => group.count == 1 && group.gpus.len() <= 1,
        _ => false,
    };
    match config.scheduling {
        Scheduling::Default if is_alone => MAX_INFLIGHT_ALONE,
        Scheduling::Default => MAX_INFLIGHT_AMONG_MANY,
        Scheduling::DynamicBatching(_)
        | Scheduling::SequenceBatching(_)
        | Scheduling::Ensemble(_) => 1,
    }
}
