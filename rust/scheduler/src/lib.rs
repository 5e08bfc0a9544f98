// SPDX-License-Identifier: Apache-2.0
//! Decides which queued requests run together, where and when: state machines without I/O.
//!
//! Owns the default scheduler and dynamic batcher ([`DynamicBatcher`]), its queue policy, the
//! sequence batcher ([`SequenceBatcher`]), the order in which responses leave ([`ResponseOrder`]),
//! and whose turn it is where models share resources ([`RateLimiter`]).
//!
//! **Invariant:** nothing here reads a clock, spawns, locks, logs or does I/O. Time comes in as a
//! [`Timestamp`], work goes out as [`Effects`], and the same calls always give the same effects.
//! The driver (the engine) keeps each machine behind one short lock, calls it on every event, and
//! carries the effects out after it has released the lock.
//!
//! Start with [`DynamicBatcher`]; `testdata/` shows its behaviour as text.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod batch_former;
mod config;
mod dynamic_batcher;
mod effects;
mod instances;
mod queue;
mod rate_limiter;
mod response_order;
mod sequence_batcher;
mod timestamp;

pub use config::{DynamicBatcherConfig, QueuePolicy, TimeoutAction};
pub use dynamic_batcher::DynamicBatcher;
pub use effects::{Arrival, DispatchReason, Effects, InstanceIndex, Payload, RejectReason, Ticket};
pub use rate_limiter::{
    InstanceDemand, LimitError, LimiterKey, RateLimiter, ResourceDemand, ResourceLimit,
    ResourceScope,
};
pub use response_order::{OrderKey, ResponseOrder};
pub use sequence_batcher::{
    Accepted, SequenceArrival, SequenceBatcher, SequenceBatcherConfig, SequenceRefusal,
    SequenceStrategy, SequenceTicket,
};
pub use timestamp::Timestamp;
