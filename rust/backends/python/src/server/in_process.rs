// SPDX-License-Identifier: Apache-2.0
//! A Python model that runs in the server's own interpreter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tritongw_engine::ResponseFlags;
use tritongw_engine::backend::{
    BackendInstance, BackendModel, InstanceContext, ModelContext, Placement, ReadyCheck,
};
use tritongw_engine::batch::Batch;
use tritongw_engine::buffer::RequestMemory;
use tritongw_engine::clock::monotonic_ns;
use tritongw_types::Result;

use super::concurrency::placement_of_coroutines;
use super::encode::host_request;
use super::in_process_calls::{InProcessCalls, OpenBatches};
use super::input_slab::{InputSlab, SlabRequestMemory};
use super::open_batch::{BatchKind, ComputeSpan, OpenBatch};
use crate::backend::{instance_source, metric_registry};
use crate::host::{
    BatchReply, Execution, HostBatch, HostResponse, HostedModel, InProcessHost, MetricDesk,
    MetricService, ModelSource, ModelTraits,
};

/// One model version in this process.
pub(crate) struct InProcessModel {
    host: Arc<dyn InProcessHost>,
    source: ModelSource,
    input_slab: Arc<InputSlab>,
}

impl InProcessModel {
    pub(crate) fn new(
        host: Arc<dyn InProcessHost>,
        source: ModelSource,
        slab_size: usize,
    ) -> Result<Self> {
        Ok(Self {
            host,
            source,
            input_slab: InputSlab::new(slab_size)?,
        })
    }
}

impl BackendModel for InProcessModel {
    fn create_instance(&self, instance: &Arc<InstanceContext>) -> Result<Box<dyn BackendInstance>> {
        let registry = metric_registry(&instance.model);
        let metrics: Arc<dyn MetricService> = Arc::new(MetricDesk::new(registry));
        let source = instance_source(&self.source, instance);
        let batches = Arc::new(OpenBatches::default());
        let calls = InProcessCalls::new(
            source.instance_name.clone(),
            instance.model.caller(),
            source.call_limit,
            Arc::clone(&batches),
        );
        let hosted = self.host.load(&source, &metrics, Arc::new(calls))?;
        let traits = hosted.traits();
        let placement = if traits.is_concurrent {
            placement_of_coroutines(&instance.model.config)?
        } else {
            Placement::Dedicated
        };
        Ok(Box::new(InProcessInstance {
            model: Arc::clone(&instance.model),
            traits,
            placement,
            input_slab: Arc::clone(&self.input_slab),
            batches,
            hosted,
        }))
    }

    fn request_memory(&self) -> Option<Arc<dyn RequestMemory>> {
        Some(Arc::new(SlabRequestMemory(Arc::clone(&self.input_slab))))
    }
}

struct InProcessInstance {
    model: Arc<ModelContext>,
    traits: ModelTraits,
    placement: Placement,
    input_slab: Arc<InputSlab>,
    batches: Arc<OpenBatches>,
    hosted: Box<dyn HostedModel>,
}

impl BackendInstance for InProcessInstance {
    fn placement(&self) -> Placement {
        self.placement
    }

    fn ready_check(&self) -> Option<Arc<dyn ReadyCheck>> {
        self.hosted.ready_check()
    }

    fn execute(&mut self, batch: &mut Batch) -> Result<()> {
        let config = &self.model.config;
        let requests = batch
            .requests()
            .iter()
            .map(|request| host_request(request, config, &self.input_slab))
            .collect::<Result<_>>()?;
        let kind = BatchKind {
            is_decoupled: config.is_decoupled,
            is_concurrent: self.traits.is_concurrent,
        };
        let batch = Arc::new(OpenBatch::take(batch, kind));
        let reply = Arc::new(InProcessReply {
            id: self.batches.add(&batch),
            batches: Arc::clone(&self.batches),
            batch,
            compute_start_ns: monotonic_ns(),
            compute_end_ns: AtomicU64::new(0),
        });
        let host_reply = Arc::clone(&reply) as Arc<dyn BatchReply>;
        // The slot is freed at the end of the execution, whoever answers later.
        let end = move |result| {
            reply.note_compute_end();
            reply.batch.executed(result, reply.span());
            Ok(())
        };
        self.hosted.execute(HostBatch {
            requests,
            reply: host_reply,
            execution: Execution::new(end),
        });
        Ok(())
    }
}

struct InProcessReply {
    id: u64,
    batches: Arc<OpenBatches>,
    batch: Arc<OpenBatch>,
    compute_start_ns: u64,
    // 0 while `execute` runs.
    compute_end_ns: AtomicU64,
}

impl InProcessReply {
    fn span(&self) -> ComputeSpan {
        let end_ns = match self.compute_end_ns.load(Ordering::Relaxed) {
            0 => monotonic_ns(),
            end_ns => end_ns,
        };
        ComputeSpan {
            start_ns: self.compute_start_ns,
            end_ns,
            free_ns: 0,
        }
    }
}

impl Drop for InProcessReply {
    fn drop(&mut self) {
        self.batches.remove(self.id);
    }
}

impl BatchReply for InProcessReply {
    fn id(&self) -> u64 {
        self.id
    }

    fn send(
        &self,
        index: usize,
        response: Option<&HostResponse<'_>>,
        flags: ResponseFlags,
    ) -> Result<()> {
        self.batch.answer(index, response, flags, self.span())
    }

    fn reschedule(&self, index: usize) -> Result<()> {
        self.batch.reschedule(index, self.span())
    }

    fn let_go(&self, index: usize) {
        self.batch.let_go(index);
    }

    fn flush(&self) {}

    fn has_room(&self, index: usize) -> bool {
        let responder = self.batch.responder(index);
        responder.is_none_or(|responder| responder.has_room())
    }

    fn wait_for_room(&self, index: usize) {
        if let Some(responder) = self.batch.responder(index) {
            responder.wait_for_room();
        }
    }

    fn is_cancelled(&self, index: usize) -> bool {
        self.batch.is_cancelled(index)
    }

    fn note_compute_end(&self) {
        let _ = self.compute_end_ns.compare_exchange(
            0,
            monotonic_ns(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}
