// SPDX-License-Identifier: Apache-2.0
//! The scheduling machine of a model, whichever it has (S001-S003).

use std::num::NonZeroU32;
use std::time::Duration;

use tritongw_scheduler::{
    Arrival, DynamicBatcher, DynamicBatcherConfig, InstanceIndex, RejectReason, SequenceArrival,
    SequenceBatcher, SequenceBatcherConfig, SequenceRefusal, SequenceTicket, Ticket, Timestamp,
};
use tritongw_types::{CorrelationId, Error};

use crate::request::{InferenceRequest, SequenceFlags};
use crate::statistics::FailureKind;

/// What comes out of a machine.
pub(crate) type Effects = tritongw_scheduler::Effects<Box<InferenceRequest>>;

/// Which machine a model has.
#[derive(Clone, Debug)]
pub(crate) enum MachineConfig {
    Batches(DynamicBatcherConfig),
    Sequences(SequenceBatcherConfig),
}

/// Names a request in a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum QueueTicket {
    Batches(Ticket),
    Sequences(SequenceTicket),
}

/// A request that a machine has taken.
pub(crate) struct Queued {
    pub(crate) ticket: QueueTicket,
    /// The id of the sequence that it begins although its predecessor has not ended (S028).
    pub(crate) conflict: Option<CorrelationId>,
}

/// Why a machine does not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Rejected(RejectReason),
    /// It has more than one item, and its model has sequences (S025).
    BatchOfSequence,
    /// It belongs to no sequence (S026).
    NoCorrelationId,
    /// Its id is a text and the model takes numbers, or the reverse (S026).
    CorrelationIdType,
    Sequence(SequenceRefusal),
}

/// A machine; requests travel through it as they are.
#[derive(Debug)]
pub(crate) enum SchedulingMachine {
    Batches(Box<DynamicBatcher<Box<InferenceRequest>>>),
    Sequences(Box<SequenceBatcher<Box<InferenceRequest>>>),
}

impl SchedulingMachine {
    /// Makes a machine without instances.
    pub(crate) fn new(config: MachineConfig) -> Self {
        match config {
            MachineConfig::Batches(config) => {
                let config = DynamicBatcherConfig {
                    instance_count: 0,
                    ..config
                };
                Self::Batches(Box::new(DynamicBatcher::new(config)))
            }
            MachineConfig::Sequences(config) => {
                let config = SequenceBatcherConfig {
                    instance_count: 0,
                    ..config
                };
                Self::Sequences(Box::new(SequenceBatcher::new(config)))
            }
        }
    }

    /// Queues a request.
    pub(crate) fn push(
        &mut self,
        now: Timestamp,
        request: Box<InferenceRequest>,
        compatibility: Option<Box<[i64]>>,
    ) -> Result<Queued, (Box<InferenceRequest>, Refusal)> {
        match self {
            Self::Batches(batcher) => {
                let pushed = batcher.push(now, arrival(request, compatibility));
                pushed
                    .map(|ticket| Queued {
                        ticket: QueueTicket::Batches(ticket),
                        conflict: None,
                    })
                    .map_err(|(request, reason)| (request, Refusal::Rejected(reason)))
            }
            Self::Sequences(batcher) => push_to_sequence(batcher, now, request, compatibility),
        }
    }

    /// Queues a request that executes for another round (S051).
    pub(crate) fn reschedule(
        &mut self,
        now: Timestamp,
        ticket: QueueTicket,
        request: Box<InferenceRequest>,
        compatibility: Option<Box<[i64]>>,
    ) -> Result<QueueTicket, (Box<InferenceRequest>, Refusal)> {
        match (self, ticket) {
            (Self::Sequences(batcher), QueueTicket::Sequences(ticket)) => batcher
                .reschedule(now, ticket, request, compatibility)
                .map(QueueTicket::Sequences)
                .map_err(|(request, refusal)| (request, Refusal::Sequence(refusal))),
            _ => {
                let refusal = Refusal::Sequence(SequenceRefusal::NotRescheduled);
                Err((request, refusal))
            }
        }
    }

    pub(crate) fn poll(&mut self, now: Timestamp, effects: &mut Effects) {
        match self {
            Self::Batches(batcher) => batcher.poll(now, effects),
            Self::Sequences(batcher) => batcher.poll(now, effects),
        }
    }

    pub(crate) fn complete(
        &mut self,
        now: Timestamp,
        instance: InstanceIndex,
        effects: &mut Effects,
    ) {
        match self {
            Self::Batches(batcher) => batcher.complete(now, instance, effects),
            Self::Sequences(batcher) => batcher.complete(now, instance, effects),
        }
    }

    pub(crate) fn cancel(&mut self, now: Timestamp, ticket: QueueTicket, effects: &mut Effects) {
        match (self, ticket) {
            (Self::Batches(batcher), QueueTicket::Batches(ticket)) => {
                batcher.cancel(now, ticket, effects);
            }
            (Self::Sequences(batcher), QueueTicket::Sequences(ticket)) => {
                batcher.cancel(now, ticket, effects);
            }
            _ => debug_assert!(false, "a machine gets its own tickets back"),
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Batches(batcher) => batcher.next_deadline(),
            Self::Sequences(batcher) => batcher.next_deadline(),
        }
    }

    pub(crate) fn set_instance_available(&mut self, instance: InstanceIndex, is_available: bool) {
        match self {
            Self::Batches(batcher) => batcher.set_instance_available(instance, is_available),
            Self::Sequences(batcher) => batcher.set_instance_available(instance, is_available),
        }
    }

    /// Gives an instance nothing new: no request, or no sequence.
    pub(crate) fn retire_instance(&mut self, instance: InstanceIndex) {
        match self {
            Self::Batches(batcher) => batcher.set_instance_available(instance, false),
            Self::Sequences(batcher) => batcher.retire_instance(instance),
        }
    }

    /// Returns whether an instance, once retired, will never be given anything again.
    pub(crate) fn is_vacant(&self, instance: InstanceIndex) -> bool {
        match self {
            Self::Batches(batcher) => batcher.executing_count_on(instance) == 0,
            Self::Sequences(batcher) => batcher.is_vacant(instance),
        }
    }

    pub(crate) fn add_instance(&mut self) -> InstanceIndex {
        match self {
            Self::Batches(batcher) => batcher.add_instance(),
            Self::Sequences(batcher) => batcher.add_instance(),
        }
    }

    /// Changes how many payloads an instance may hold; of sequences it is always one.
    pub(crate) fn set_max_inflight_per_instance(&mut self, max_inflight: u32) {
        if let Self::Batches(batcher) = self {
            batcher.set_max_inflight_per_instance(max_inflight);
        }
    }

    /// Gives an instance its turns by priority; sequences stick to theirs.
    pub(crate) fn set_instance_priority(&mut self, index: InstanceIndex, priority: NonZeroU32) {
        if let Self::Batches(batcher) = self {
            batcher.set_instance_priority(index, priority);
        }
    }

    pub(crate) fn drain_queued(&mut self, now: Timestamp, effects: &mut Effects) {
        match self {
            Self::Batches(batcher) => batcher.drain_queued(effects),
            Self::Sequences(batcher) => batcher.drain_queued(now, effects),
        }
    }

    pub(crate) fn stop(&mut self) {
        match self {
            Self::Batches(batcher) => batcher.stop(),
            Self::Sequences(batcher) => batcher.stop(),
        }
    }

    pub(crate) fn queued_count(&self) -> usize {
        match self {
            Self::Batches(batcher) => batcher.queued_count(),
            Self::Sequences(batcher) => batcher.queued_count(),
        }
    }

    pub(crate) fn executing_count(&self) -> usize {
        match self {
            Self::Batches(batcher) => batcher.executing_count(),
            Self::Sequences(batcher) => batcher.executing_count(),
        }
    }
}

impl Refusal {
    /// Returns what the client of `request` hears, in Triton's words.
    pub(crate) fn error(self, request: &InferenceRequest) -> Error {
        let model = request.model().name();
        match self {
            Self::Rejected(reason) => {
                let prefix = request.log_prefix();
                reject_error(reason).map_message(|text| format!("{prefix}{text}"))
            }
            Self::BatchOfSequence => Error::invalid_arg(format!(
                "inference request to model '{model}' must specify batch-size 1 due to \
                 requirements of sequence batcher"
            )),
            Self::NoCorrelationId => Error::invalid_arg(format!(
                "inference request to model '{model}' must specify a non-zero or non-empty \
                 correlation ID"
            )),
            Self::CorrelationIdType => {
                let (got, expected) = match request.correlation_id() {
                    CorrelationId::UInt(_) => ("an integer", "a string"),
                    CorrelationId::String(_) => ("a string", "an integer"),
                };
                Error::invalid_arg(format!(
                    "inference request to model '{model}' has {got} as correlation ID, but its \
                     control input of kind CONTROL_SEQUENCE_CORRID expects {expected}"
                ))
            }
            Self::Sequence(SequenceRefusal::NotStarted) => {
                let id = id_text(request.correlation_id());
                Error::invalid_arg(format!(
                    "inference request for sequence {id} to model '{model}' must specify the \
                     START flag on the first request of the sequence"
                ))
            }
            Self::Sequence(SequenceRefusal::Stopping) => reject_error(RejectReason::Stopping),
            Self::Sequence(SequenceRefusal::NotRescheduled) => Error::invalid_arg(
                "Request is released with TRITONSERVER_REQUEST_RELEASE_RESCHEDULE, while the \
                 model is not configured to handle such a flag.",
            ),
        }
    }
}

pub(crate) fn reject_error(reason: RejectReason) -> Error {
    Error::new(reason.code(), reason.message())
}

pub(crate) fn failure_kind(reason: RejectReason) -> FailureKind {
    match reason {
        RejectReason::Cancelled => FailureKind::Cancelled,
        RejectReason::QueueFull
        | RejectReason::Timeout
        | RejectReason::SequenceTimeout
        | RejectReason::Stopping => FailureKind::Rejected,
    }
}

/// Returns an id as Triton prints it.
pub(crate) fn id_text(id: &CorrelationId) -> String {
    match id {
        CorrelationId::UInt(id) => id.to_string(),
        CorrelationId::String(id) => id.as_str().to_owned(),
    }
}

fn arrival(
    request: Box<InferenceRequest>,
    compatibility: Option<Box<[i64]>>,
) -> Arrival<Box<InferenceRequest>> {
    Arrival {
        batch_size: request.batch_size().max(1),
        // Out of range means the default level, as 0 does (S016).
        priority: u32::try_from(request.priority()).unwrap_or(0),
        timeout: timeout(&request),
        compatibility,
        request,
    }
}

fn timeout(request: &InferenceRequest) -> Option<Duration> {
    match request.timeout_us() {
        0 => None,
        timeout_us => Some(Duration::from_micros(timeout_us)),
    }
}

fn push_to_sequence(
    batcher: &mut SequenceBatcher<Box<InferenceRequest>>,
    now: Timestamp,
    mut request: Box<InferenceRequest>,
    compatibility: Option<Box<[i64]>>,
) -> Result<Queued, (Box<InferenceRequest>, Refusal)> {
    if request.batch_size() > 1 {
        return Err((request, Refusal::BatchOfSequence));
    }
    if !request.correlation_id().is_set() {
        if !batcher.config().is_iterative {
            return Err((request, Refusal::NoCorrelationId));
        }
        request.set_correlation_id(batcher.assign_id());
        request.set_flags(SequenceFlags::START);
    }
    let correlation_id = request.correlation_id().clone();
    let arrival = SequenceArrival {
        correlation_id: correlation_id.clone(),
        is_start: request.flags().contains(SequenceFlags::START),
        is_end: request.flags().contains(SequenceFlags::END),
        timeout: timeout(&request),
        compatibility,
        request,
    };
    match batcher.push(now, arrival) {
        Ok(accepted) => Ok(Queued {
            ticket: QueueTicket::Sequences(accepted.ticket),
            conflict: accepted.is_conflict.then_some(correlation_id),
        }),
        Err((request, refusal)) => Err((request, Refusal::Sequence(refusal))),
    }
}
