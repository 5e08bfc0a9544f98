// SPDX-License-Identifier: Apache-2.0
//! Drives a model's pure scheduling machine: feeds it events, carries out its effects.
//!
//! There is no scheduler thread: whoever has the event takes the short lock, drives the machine,
//! releases the lock, and only then answers rejected requests and hands batches to instances.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Condvar, Mutex};
use tritongw_scheduler::{InstanceIndex, Payload, RejectReason};
use tritongw_types::{Error, Result};

use crate::backend::{Availability, ReadyCheck};
use crate::batch::{Batch, ExecutionPermit};
use crate::clock::{monotonic_ns, now};
use crate::deferral::defer;
use crate::instance::ModelInstance;
use crate::instance_slots::InstanceSlots;
use crate::request::InferenceRequest;
use crate::responder::Responder;
use crate::scheduling_machine::{
    Effects, QueueTicket, Refusal, SchedulingMachine, failure_kind, id_text, reject_error,
};
use crate::scheduling_plan::SchedulingPlan;
use crate::sequence_inputs::SequenceInputs;
use crate::services::SharedServices;
use crate::statistics::{FailureKind, ModelStatistics};
use crate::timer::Timed;

/// Requests that a gathering thread may queue before it dispatches at once.
const DEFERRED_LIMIT: usize = 64;

/// One model's scheduler and instances.
pub(crate) struct ModelScheduler {
    machine: Mutex<SchedulingMachine>,
    // Its lock is taken alone or within the machine's.
    slots: InstanceSlots,
    // Present where requests form sequences.
    sequence_inputs: Option<SequenceInputs>,
    statistics: Arc<ModelStatistics>,
    services: SharedServices,
    // Earliest deadline handed to the timer and not yet reached; `u64::MAX` if none.
    armed_ns: AtomicU64,
    // Whether somebody waits for `became_idle`; events look at this first.
    is_awaited: AtomicBool,
    // Whether only calls of other models are let in any more.
    refuses_clients: AtomicBool,
    became_idle: Condvar,
}

impl ModelScheduler {
    /// Makes a scheduler without instances: what comes before [`Self::open`] waits.
    pub(crate) fn new(
        plan: SchedulingPlan,
        statistics: Arc<ModelStatistics>,
        services: SharedServices,
    ) -> Arc<Self> {
        Arc::new(Self {
            machine: Mutex::new(SchedulingMachine::new(plan.machine)),
            slots: InstanceSlots::default(),
            sequence_inputs: plan.sequence_inputs,
            statistics,
            services,
            armed_ns: AtomicU64::new(u64::MAX),
            is_awaited: AtomicBool::new(false),
            refuses_clients: AtomicBool::new(false),
            became_idle: Condvar::new(),
        })
    }

    /// Returns what all models share.
    pub(crate) fn services(&self) -> &SharedServices {
        &self.services
    }

    /// Sets an index aside for an instance to be made.
    pub(crate) fn reserve(&self) -> InstanceIndex {
        let mut machine = self.machine.lock();
        self.slots.reserve(|| machine.add_instance())
    }

    /// Gives requests to the instances made for reserved indices, too.
    pub(crate) fn open(self: &Arc<Self>, created: &[(InstanceIndex, Arc<ModelInstance>)]) {
        self.drive(|machine, effects| {
            self.slots.open(created);
            for (index, instance) in created {
                if let Some(admission) = instance.admission() {
                    machine.set_instance_priority(*index, admission.priority());
                }
            }
            machine.set_max_inflight_per_instance(self.max_inflight());
            self.update_availability(machine);
            machine.poll(now(), effects);
        });
    }

    /// Gives an instance no further request.
    pub(crate) fn close(self: &Arc<Self>, index: InstanceIndex) {
        self.drive(|machine, effects| {
            self.slots.close(index);
            machine.retire_instance(index);
            machine.set_max_inflight_per_instance(self.max_inflight());
            self.update_availability(machine);
            machine.poll(now(), effects);
        });
    }

    /// Gives an index back whose instance has ended or was never made.
    pub(crate) fn free(&self, index: InstanceIndex) {
        self.slots.free(index);
    }

    /// Tells the machine which instances can be given something.
    fn update_availability(&self, machine: &mut SchedulingMachine) {
        for (index, is_available) in self.slots.availability() {
            machine.set_instance_available(index, is_available);
        }
    }

    /// Notes calls to other models that an instance begins or ends to wait for. While it waits it
    /// is given nothing, unless it is the only one: what lies before it could be called by what it
    /// waits for.
    pub(crate) fn note_calls(self: &Arc<Self>, index: InstanceIndex, change: isize) {
        if !self.slots.note_calls(index, change) {
            return;
        }
        self.drive(|machine, effects| {
            self.update_availability(machine);
            machine.poll(now(), effects);
        });
    }

    /// Returns the numbers of the instances that take requests, each with how many of its
    /// executions overlap.
    pub(crate) fn open_overlaps(&self) -> Vec<(usize, u32)> {
        let indices = self.slots.open_indices().into_iter();
        indices
            .map(|index| (index, self.overlap(InstanceIndex(index))))
            .collect()
    }

    /// Returns how many executions of an instance overlap.
    pub(crate) fn overlap(&self, index: InstanceIndex) -> u32 {
        let instances = self.slots.load();
        let instance = instances.get(index.0).and_then(Option::as_ref);
        instance.map_or(1, |instance| instance.overlap())
    }

    /// Returns the instances that take requests.
    pub(crate) fn open_instances(&self) -> Vec<(InstanceIndex, Arc<ModelInstance>)> {
        self.slots.open_instances()
    }

    /// Only instances tell how many batches each may hold; the machine knows one number for all.
    fn max_inflight(&self) -> u32 {
        let instances = self.slots.open_instances();
        let each = instances
            .iter()
            .map(|(_, instance)| instance.max_inflight());
        each.min().unwrap_or(1)
    }

    /// Waits until a closed instance has completed what it was given, its sequences included.
    pub(crate) fn wait_until_idle_on(&self, index: InstanceIndex) {
        self.wait_until(|machine| machine.is_vacant(index));
    }

    /// Waits until nothing is queued and every instance has completed what it was given.
    pub(crate) fn wait_until_idle(&self) {
        self.wait_until(|machine| machine.queued_count() + machine.executing_count() == 0);
    }

    fn wait_until(&self, is_over: impl Fn(&SchedulingMachine) -> bool) {
        // INVARIANT: set before the lock is taken, so that a completion that comes after the look
        // at the machine sees it.
        self.is_awaited.store(true, Ordering::Release);
        let mut machine = self.machine.lock();
        while !is_over(&machine) {
            self.became_idle.wait(&mut machine);
        }
    }

    /// Queues a request and lets the machine decide, at once or, on a gathering thread, later.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        mut request: Box<InferenceRequest>,
        compatibility: Option<Box<[i64]>>,
    ) -> Result<(), (Error, Box<InferenceRequest>)> {
        if let Some(error) = self.failure() {
            return Err((error, request));
        }
        if self.refuses_clients.load(Ordering::Acquire) && request.call().is_none() {
            let refusal = Refusal::Rejected(RejectReason::Stopping);
            return Err(self.refuse(request, refusal));
        }
        if let Some(inputs) = &self.sequence_inputs
            && !inputs.accepts(request.correlation_id())
        {
            return Err(self.refuse(request, Refusal::CorrelationIdType));
        }
        request.timestamps.queue_start_ns = monotonic_ns();
        if let Some(trace) = request.trace() {
            trace.queued(&request);
        }
        self.statistics.add_pending();
        let responder = Arc::clone(request.responder());
        let mut machine = self.machine.lock();
        let queued = match machine.push(now(), request, compatibility) {
            Ok(queued) => queued,
            Err((request, refusal)) => {
                drop(machine);
                self.statistics.remove_pending(1);
                return Err(self.refuse(request, refusal));
            }
        };
        let queue_length = machine.queued_count();
        drop(machine);
        if let Some(id) = queued.conflict {
            let model = responder.model().name();
            warn_of_conflict(model, &id_text(&id));
        }
        self.keep_ticket(&responder, queued.ticket);
        if queue_length >= DEFERRED_LIMIT || !defer(self) {
            self.poll();
        }
        Ok(())
    }

    /// Queues a request that executes for another round. The end of the execution polls.
    pub(crate) fn reschedule(
        self: &Arc<Self>,
        mut request: Box<InferenceRequest>,
        compatibility: Option<Box<[i64]>>,
    ) -> Result<(), (Error, Box<InferenceRequest>)> {
        let responder = Arc::clone(request.responder());
        let ticket = responder.queue_ticket.lock().take();
        let Some(ticket) = ticket.filter(|_| !responder.is_cancelled()) else {
            return Err((reject_error(RejectReason::Cancelled), request));
        };
        request.timestamps.queue_start_ns = monotonic_ns();
        if let Some(trace) = request.trace() {
            trace.queued_again(&request);
        }
        self.statistics.add_pending();
        let mut machine = self.machine.lock();
        let rescheduled = machine.reschedule(now(), ticket, request, compatibility);
        drop(machine);
        match rescheduled {
            Ok(ticket) => {
                self.keep_ticket(&responder, ticket);
                Ok(())
            }
            Err((request, refusal)) => {
                self.statistics.remove_pending(1);
                Err((refusal.error(&request), request))
            }
        }
    }

    /// Keeps what cancels a queued request, and cancels it if that was asked for before.
    fn keep_ticket(self: &Arc<Self>, responder: &Responder, ticket: QueueTicket) {
        *responder.queue_ticket.lock() = Some(ticket);
        if responder.is_cancelled() {
            self.cancel(responder);
        }
    }

    fn refuse(
        &self,
        request: Box<InferenceRequest>,
        refusal: Refusal,
    ) -> (Error, Box<InferenceRequest>) {
        if let Refusal::Rejected(reason) = refusal {
            self.statistics
                .report_failure(&request, failure_kind(reason));
        }
        (refusal.error(&request), request)
    }

    /// Lets the machine decide with what it has.
    pub(crate) fn poll(self: &Arc<Self>) {
        self.drive(|machine, effects| machine.poll(now(), effects));
    }

    /// An instance has a free slot again.
    pub(crate) fn complete(self: &Arc<Self>, instance: InstanceIndex) {
        let mut limited = None;
        if let Some(Some(freed)) = self.slots.load().get(instance.0) {
            self.statistics.remove_pending(freed.note_completion());
            limited = freed.admission().is_some().then(|| Arc::clone(freed));
        }
        self.drive(|machine, effects| machine.complete(now(), instance, effects));
        // What the instance is to do next stands in line by now.
        if let Some(admission) = limited.as_deref().and_then(ModelInstance::admission) {
            admission.release();
        }
    }

    /// Takes a cancelled request out of the queue, if it is still there.
    pub(crate) fn cancel(self: &Arc<Self>, responder: &Responder) {
        let Some(ticket) = responder.queue_ticket.lock().take() else {
            return;
        };
        self.drive(|machine, effects| {
            machine.cancel(now(), ticket, effects);
        });
    }

    /// Refuses new requests but calls of other models.
    pub(crate) fn refuse_clients(&self) {
        self.refuses_clients.store(true, Ordering::Release);
    }

    /// Refuses new requests; what is queued is still served.
    pub(crate) fn stop(&self) {
        self.machine.lock().stop();
    }

    /// Returns how many requests wait or execute.
    pub(crate) fn inflight_count(&self) -> usize {
        let machine = self.machine.lock();
        machine.queued_count() + machine.executing_count()
    }

    /// Ends the instances' threads.
    pub(crate) fn stop_instances(&self) {
        for instance in self.slots.load().iter().flatten() {
            instance.stop();
        }
    }

    /// Takes an instance out of service or back into it.
    pub(crate) fn set_availability(
        self: &Arc<Self>,
        instance: InstanceIndex,
        availability: Availability,
    ) {
        if !self.slots.set_availability(instance, availability) {
            return; // Looked at when it is opened.
        }
        let failure = self.failure();
        self.drive(|machine, effects| {
            self.update_availability(machine);
            match failure {
                None => machine.poll(now(), effects),
                Some(_) => machine.drain_queued(now(), effects),
            }
        });
    }

    /// Returns why the model could not execute now, if some instance is out of service.
    pub(crate) fn unavailable_reason(&self) -> Option<String> {
        self.slots.unavailable_reason()
    }

    /// Returns those instances to ask that have a word in whether the model is ready.
    pub(crate) fn ready_checks(&self) -> Vec<Arc<dyn ReadyCheck>> {
        self.slots.ready_checks()
    }

    /// Returns the error to refuse requests with, if every instance has failed for good.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.slots.failure()
    }

    fn drive(self: &Arc<Self>, event: impl FnOnce(&mut SchedulingMachine, &mut Effects)) {
        let mut effects = Effects::default();
        let deadline = {
            let mut machine = self.machine.lock();
            event(&mut machine, &mut effects);
            // Under the lock: two threads must not swap the places of two payloads.
            for payload in &effects.dispatch {
                payload
                    .requests
                    .iter()
                    .for_each(|request| request.note_dispatched(payload.instance));
            }
            machine.next_deadline()
        };
        if let Some(deadline) = deadline {
            self.arm(deadline.as_nanos());
        }
        for (request, reason) in effects.reject.drain(..) {
            self.statistics.remove_pending(1);
            let error = self.failure().unwrap_or_else(|| reject_error(reason));
            request.reject(error, failure_kind(reason));
        }
        for payload in effects.dispatch.drain(..) {
            self.dispatch(payload);
        }
        if self.is_awaited.load(Ordering::Acquire) {
            self.became_idle.notify_all();
        }
    }

    /// Hands a deadline to the timer unless an earlier one is there already.
    fn arm(self: &Arc<Self>, deadline_ns: u64) {
        if self.armed_ns.fetch_min(deadline_ns, Ordering::AcqRel) > deadline_ns {
            let this = Arc::downgrade(self) as Weak<dyn Timed>;
            self.services.timer.schedule(deadline_ns, this);
        }
    }

    fn dispatch(self: &Arc<Self>, payload: Payload<Box<InferenceRequest>>) {
        let permit = ExecutionPermit::new(Arc::clone(self), payload.instance);
        let instances = self.slots.load();
        let Some(Some(instance)) = instances.get(payload.instance.0) else {
            debug_assert!(false, "the machine knows only instances that exist");
            return;
        };
        let Some(admission) = instance.admission() else {
            return self.begin(instance, payload, permit);
        };
        let (scheduler, begun) = (Arc::clone(self), Arc::clone(instance));
        admission.request(Box::new(move || {
            scheduler.begin(&begun, payload, permit);
        }));
    }

    /// Begins an execution whose turn it is.
    fn begin(
        &self,
        instance: &ModelInstance,
        payload: Payload<Box<InferenceRequest>>,
        permit: ExecutionPermit,
    ) {
        self.statistics
            .remove_pending(instance.note_dispatch(payload.requests.len()));
        let mut batch_size = payload.batch_size;
        let mut requests = payload.requests;
        if let Some(inputs) = &self.sequence_inputs {
            // None is taken out any more: each has its slot in the batch.
            inputs.complete(&mut requests, &payload.null_slots);
        }
        // Cancelled between the decision and here; the flag is the last word (S021).
        while self.sequence_inputs.is_none()
            && let Some(index) = requests.iter().position(|request| request.is_cancelled())
        {
            let request = requests.remove(index);
            batch_size = batch_size.saturating_sub(request.batch_size().max(1));
            request.reject(
                reject_error(RejectReason::Cancelled),
                FailureKind::Cancelled,
            );
        }
        for request in &requests {
            if let Some(trace) = request.trace() {
                trace.dispatched(request);
            }
        }
        if !requests.is_empty() {
            instance.submit(Batch::new(requests, batch_size, permit));
        }
    }
}

impl Timed for ModelScheduler {
    fn deadline_reached(self: Arc<Self>) {
        self.armed_ns.store(u64::MAX, Ordering::Release);
        self.poll();
    }
}

/// Triton: `SequenceBatchScheduler::Enqueue` (S028).
fn warn_of_conflict(model: &str, id: &str) {
    log::warn!(
        "sequence {id} for model '{model}' has a conflict. The previous sequence did not end \
         before this sequence start. Previous sequence will be terminated early."
    );
}
