// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use tritongw_types::{CorrelationId, ErrorCode};

use super::table::SequenceKey;

/// What a [`SequenceBatcher`](crate::SequenceBatcher) needs to know of a model.
///
/// Made by the engine from a validated model configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceBatcherConfig {
    /// Largest number of requests in one execution; 0 for a model without a batch dimension.
    pub max_batch_size: u32,
    /// How the requests of several sequences become batches.
    pub strategy: SequenceStrategy,
    /// A sequence without a request for so long ends (M077).
    pub max_sequence_idle: Duration,
    /// Whether a request may come back from its execution to be executed once more (M084).
    pub is_iterative: bool,
    /// Number of model instances that take payloads.
    pub instance_count: usize,
}

/// How the requests of several sequences become batches.
#[derive(Clone, Debug, PartialEq)]
pub enum SequenceStrategy {
    /// Each sequence keeps a place of its own in the batch (M075).
    Direct {
        /// Longest wait for more slots to be ready.
        max_queue_delay: Duration,
        /// Part of the slots, 0 to 1, that ends the wait.
        minimum_slot_utilization: f32,
    },
    /// The oldest requests form the batch, one of each sequence (M076).
    Oldest {
        /// Sequences under way at once, per instance; 0 stands for the largest batch.
        max_candidate_sequences: u32,
        /// Batch sizes that are sent as soon as they can be formed; empty means `max_batch_size`.
        preferred_batch_sizes: Vec<u32>,
        /// How long the oldest request may wait for a preferred size.
        max_queue_delay: Duration,
    },
}

impl SequenceBatcherConfig {
    /// Returns how many sequences one instance serves at once (S029).
    pub(super) fn slots_per_instance(&self) -> usize {
        let largest_batch = self.max_batch_size.max(1);
        let slots = match self.strategy {
            SequenceStrategy::Oldest {
                max_candidate_sequences,
                ..
            } if max_candidate_sequences > 0 => max_candidate_sequences,
            _ => largest_batch,
        };
        slots as usize
    }
}

/// A request of a sequence, on its way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceArrival<R> {
    /// The request itself; the batcher only carries it.
    pub request: R,
    /// The sequence it belongs to.
    pub correlation_id: CorrelationId,
    /// Whether it begins the sequence.
    pub is_start: bool,
    /// Whether it ends the sequence.
    pub is_end: bool,
    /// How long its sequence may wait for a slot; counts only there (S031).
    pub timeout: Option<Duration>,
    /// As of an [`Arrival`](crate::Arrival).
    pub compatibility: Option<Box<[i64]>>,
}

/// Names a request, for [`SequenceBatcher::cancel`](crate::SequenceBatcher::cancel) and
/// [`SequenceBatcher::reschedule`](crate::SequenceBatcher::reschedule); never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SequenceTicket {
    pub(super) sequence: SequenceKey,
    pub(super) ordinal: u64,
}

/// A request that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Names it.
    pub ticket: SequenceTicket,
    /// Whether it begins a sequence whose predecessor of the same id has not ended (S028).
    pub is_conflict: bool,
}

/// Why a request of a sequence is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SequenceRefusal {
    /// It begins no sequence, and none of its id is under way (S027).
    NotStarted,
    /// It begins a sequence, and the batcher takes no new ones (S022).
    Stopping,
    /// It came back from its execution to a model that is not iterative, or too late (S055).
    NotRescheduled,
}

impl SequenceRefusal {
    /// Returns the code a client sees.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::NotStarted | Self::NotRescheduled => ErrorCode::InvalidArg,
            Self::Stopping => ErrorCode::Unavailable,
        }
    }
}
