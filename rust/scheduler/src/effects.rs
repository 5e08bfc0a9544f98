// SPDX-License-Identifier: Apache-2.0

use std::time::Duration;

use smallvec::SmallVec;
use tritongw_types::ErrorCode;

/// A request on its way into the queue, with what the batcher has to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival<R> {
    /// The request itself; the batcher only carries it.
    pub request: R,
    /// Its share of a batch, at least 1, and at most the model's `max_batch_size`.
    pub batch_size: u32,
    /// Priority asked for; 0 or out of range means the model's default level.
    pub priority: u32,
    /// Queue timeout asked for; see [`QueuePolicy`](crate::QueuePolicy) for when it counts.
    pub timeout: Option<Duration>,
    /// Requests share a batch only if these are equal. The driver writes into it what must not
    /// differ: shapes of variable-sized inputs, shape-tensor contents, which optional inputs are
    /// present. `None` where nothing can differ.
    pub compatibility: Option<Box<[i64]>>,
}

/// Names a queued request, for [`DynamicBatcher::cancel`](crate::DynamicBatcher::cancel).
///
/// Tickets are never reused: one that outlives its request names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// Ordinal of the push: what makes the ticket unique, and orders tickets by arrival.
    pub(crate) sequence: u64,
    /// Where the request lies while it is queued.
    pub(crate) slot: crate::queue::SlotId,
}

/// Position of a model instance among those that the batcher serves, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceIndex(pub usize);

/// Why a request is given back without having run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// Its level already holds `max_queue_size` requests.
    QueueFull,
    /// It waited longer than its timeout, and the policy is to reject.
    Timeout,
    /// Its sequence waited longer for a slot than one of its requests allows.
    SequenceTimeout,
    /// The client took it back while it was queued.
    Cancelled,
    /// The batcher accepts nothing new.
    Stopping,
}

impl RejectReason {
    /// Returns the code a client sees.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::QueueFull | Self::Timeout | Self::SequenceTimeout | Self::Stopping => {
                ErrorCode::Unavailable
            }
            Self::Cancelled => ErrorCode::Cancelled,
        }
    }

    /// Returns Triton's text (S017, S018, S022, S031).
    ///
    /// Triton puts `[request id: <id>] ` before the texts of `QueueFull` and `Stopping`, which is
    /// the driver's to do. It has no text for a cancelled request; that one is ours.
    pub const fn message(self) -> &'static str {
        match self {
            Self::QueueFull => "Exceeds maximum queue size",
            Self::Timeout => "Request timeout expired",
            Self::SequenceTimeout => "timeout of the corresponding sequence has been expired",
            Self::Cancelled => "request was cancelled while it was queued",
            Self::Stopping => {
                "Server is stopping, scheduler for model has stopped accepting new inference \
                 requests"
            }
        }
    }
}

/// A batch on its way to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload<R> {
    /// The instance that runs it; one of its slots is taken until
    /// [`DynamicBatcher::complete`](crate::DynamicBatcher::complete).
    pub instance: InstanceIndex,
    /// The requests in the order in which they were queued; never empty. One alone takes no memory
    /// of its own.
    pub requests: SmallVec<[R; 1]>,
    /// Sum of the requests' batch sizes, null slots included.
    pub batch_size: u32,
    /// Places of the batch, ascending, that no request fills and a null request must (S034).
    pub null_slots: SmallVec<[usize; 0]>,
    /// Why the batch was sent as it is, for tests and traces.
    pub reason: DispatchReason,
}

/// Why a batch was sent with the requests it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DispatchReason {
    /// The model does not batch: one request, one execution.
    Unbatched,
    /// It has one of the preferred sizes.
    Preferred,
    /// It cannot grow: it has reached the largest preferred size, or the next request would take
    /// it beyond that or beyond the model's limit.
    Full,
    /// The next request may not share a batch with these.
    Incompatible,
    /// Its oldest request has waited for the queue delay.
    Delay,
    /// The queue delay is zero, and this is what was there.
    Immediate,
    /// As many slots are ready as the model asks for.
    Utilization,
}

/// What the driver has to carry out: a buffer that the batcher appends to and the driver empties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects<R> {
    /// Batches to hand to their instances, in this order.
    pub dispatch: SmallVec<[Payload<R>; 1]>,
    /// Requests to answer with an error.
    pub reject: Vec<(R, RejectReason)>,
}

impl<R> Effects<R> {
    /// Returns whether there is nothing to carry out.
    pub fn is_empty(&self) -> bool {
        self.dispatch.is_empty() && self.reject.is_empty()
    }
}

impl<R> Default for Effects<R> {
    fn default() -> Self {
        Self {
            dispatch: SmallVec::new(),
            reject: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_carry_tritons_codes_and_texts() {
        let table = [
            (
                RejectReason::QueueFull,
                ErrorCode::Unavailable,
                "Exceeds maximum queue size",
            ),
            (
                RejectReason::Timeout,
                ErrorCode::Unavailable,
                "Request timeout expired",
            ),
            (
                RejectReason::SequenceTimeout,
                ErrorCode::Unavailable,
                "timeout of the corresponding sequence has been expired",
            ),
            (
                RejectReason::Cancelled,
                ErrorCode::Cancelled,
                "request was cancelled while it was queued",
            ),
            (
                RejectReason::Stopping,
                ErrorCode::Unavailable,
                "Server is stopping, scheduler for model has stopped accepting new inference requests",
            ),
        ];
        for (reason, code, message) in table {
            assert_eq!((reason.code(), reason.message()), (code, message));
        }
    }
}
