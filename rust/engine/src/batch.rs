// SPDX-License-Identifier: Apache-2.0
//! The requests of one execution, and the permit that holds its instance's slot.

use std::fmt;
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;
use tritongw_scheduler::InstanceIndex;
use tritongw_types::Error;

use crate::call_graph::Hold;
use crate::clock::monotonic_ns;
use crate::instance::ComputeTimings;
use crate::model_scheduler::ModelScheduler;
use crate::request::InferenceRequest;

/// Requests as they travel: each box is handed on whole, so that its address never changes.
pub type Requests = SmallVec<[Box<InferenceRequest>; 1]>;

/// The requests of one execution.
pub struct Batch {
    requests: Requests,
    batch_size: u32,
    permit: Option<ExecutionPermit>,
    start_ns: u64,
}

impl Batch {
    pub(crate) fn new(requests: Requests, batch_size: u32, permit: ExecutionPermit) -> Self {
        Self {
            requests,
            batch_size,
            permit: Some(permit),
            start_ns: monotonic_ns(),
        }
    }

    /// Returns the requests not yet taken.
    pub fn requests(&self) -> &[Box<InferenceRequest>] {
        &self.requests
    }

    /// Takes all requests; the taker answers each exactly once.
    pub fn take_requests(&mut self) -> Requests {
        std::mem::take(&mut self.requests)
    }

    /// Returns the sum of the requests' batch sizes.
    pub fn batch_size(&self) -> u32 {
        self.batch_size
    }

    /// Returns when the execution began, in [`monotonic_ns`].
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// Takes the permit, so that the instance's slot stays taken after `execute` has returned.
    pub fn take_permit(&mut self) -> Option<ExecutionPermit> {
        self.permit.take()
    }

    /// Answers every request still in the batch with `error`.
    pub fn fail(&mut self, error: &Error) {
        let timings = ComputeTimings::until_now(self.start_ns);
        for request in self.take_requests() {
            request.finish(Err(error.clone()), &timings);
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("requests", &self.requests.len())
            .field("batch_size", &self.batch_size)
            .finish_non_exhaustive()
    }
}

type Freed = Box<dyn FnOnce() + Send + Sync>;

/// Holds one slot of an instance; dropping it frees the slot and drives the scheduler.
pub struct ExecutionPermit {
    scheduler: Arc<ModelScheduler>,
    instance: InstanceIndex,
    // Told in the scheduler's place, where that did not give the slot.
    freed: Option<Freed>,
    // Made by the first call to another model.
    hold: OnceLock<Arc<Hold>>,
}

impl ExecutionPermit {
    pub(crate) fn new(scheduler: Arc<ModelScheduler>, instance: InstanceIndex) -> Self {
        Self {
            scheduler,
            instance,
            freed: None,
            hold: OnceLock::new(),
        }
    }

    /// Holds an instance to which the scheduler gives nothing; `freed` is called at the end.
    pub(crate) fn outside_of_schedule(
        scheduler: Arc<ModelScheduler>,
        instance: InstanceIndex,
        freed: Freed,
    ) -> Self {
        let mut permit = Self::new(scheduler, instance);
        permit.freed = Some(freed);
        permit
    }

    /// Returns what calls to other models know of the slot.
    pub(crate) fn hold(&self) -> &Arc<Hold> {
        self.hold
            .get_or_init(|| Arc::new(Hold::new(Arc::clone(&self.scheduler), self.instance)))
    }
}

impl Drop for ExecutionPermit {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.get() {
            hold.end();
        }
        match self.freed.take() {
            Some(freed) => freed(),
            None => self.scheduler.complete(self.instance),
        }
    }
}

impl fmt::Debug for ExecutionPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExecutionPermit")
            .field(&self.instance)
            .finish()
    }
}
