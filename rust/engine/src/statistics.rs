// SPDX-License-Identifier: Apache-2.0
//! Counted once: one struct of atomics per model version, rendered by `/stats`, gRPC statistics
//! and `/metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::clock::{monotonic_ns, unix_ms};
use crate::instance::ComputeTimings;
use crate::latency_metrics::LatencyMetrics;
use crate::request::InferenceRequest;
use crate::response_statistics::{
    ResponseOutcome, ResponseStat, ResponseStatistics, ResponseTimings,
};

/// Why a request failed: the `reason` label of `nv_inference_request_failure` (X002).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Refused by the queue: full, timed out, stopping.
    Rejected,
    /// Taken back by the client.
    Cancelled,
    /// Failed in the backend.
    Backend,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// Every kind, in the order in which the metric lists them.
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Cancelled, Self::Backend, Self::Other];

    /// Returns the label value; Triton spells it `CANCELED`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELED",
            Self::Backend => "BACKEND",
            Self::Other => "OTHER",
        }
    }
}

/// A count and the time it took, in nanoseconds (T005).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DurationStat {
    /// How often.
    pub count: u64,
    /// How long in all, in nanoseconds.
    pub ns: u64,
}

impl DurationStat {
    pub(crate) fn add(&mut self, ns: u64) {
        self.count += 1;
        self.ns += ns;
    }
}

#[derive(Debug, Default)]
struct AtomicDuration {
    count: AtomicU64,
    ns: AtomicU64,
}

impl AtomicDuration {
    fn add(&self, ns: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.ns.fetch_add(ns, Ordering::Relaxed);
    }

    fn load(&self) -> DurationStat {
        DurationStat {
            count: self.count.load(Ordering::Relaxed),
            ns: self.ns.load(Ordering::Relaxed),
        }
    }
}

/// Executions of one batch size (T008).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchStat {
    /// Time to prepare inputs.
    pub compute_input: DurationStat,
    /// Time in the model.
    pub compute_infer: DurationStat,
    /// Time to hand out outputs.
    pub compute_output: DurationStat,
}

/// Statistics of one model version. All methods may be called from any thread at any time.
#[derive(Debug, Default)]
pub struct ModelStatistics {
    last_inference_ms: AtomicU64,
    inference_count: AtomicU64,
    execution_count: AtomicU64,
    success: AtomicDuration,
    failures: [AtomicDuration; 4],
    queue: AtomicDuration,
    compute_input: AtomicDuration,
    compute_infer: AtomicDuration,
    compute_output: AtomicDuration,
    pending_count: AtomicU64,
    load_duration_ns: AtomicU64,
    batches: Mutex<BTreeMap<u32, BatchStat>>,
    responses: ResponseStatistics,
    latencies: LatencyMetrics,
}

/// [`ModelStatistics`] at one moment.
#[derive(Clone, Debug, Default)]
pub struct StatisticsSnapshot {
    /// Time of the last inference in milliseconds since the Unix epoch, 0 if none (T002).
    pub last_inference_ms: u64,
    /// Batch items executed (T003).
    pub inference_count: u64,
    /// Executions (T004).
    pub execution_count: u64,
    /// Successful requests, end to end.
    pub success: DurationStat,
    /// Failed requests by [`FailureKind::ALL`].
    pub failures: [DurationStat; 4],
    /// Time in the queue, of successful requests.
    pub queue: DurationStat,
    /// Time to prepare inputs, of successful requests.
    pub compute_input: DurationStat,
    /// Time in the model, of successful requests.
    pub compute_infer: DurationStat,
    /// Time to hand out outputs, of successful requests.
    pub compute_output: DurationStat,
    /// Requests accepted whose execution has not begun (X014).
    pub pending_count: u64,
    /// How long the last load took (X015).
    pub load_duration_ns: u64,
    /// Executions by batch size.
    pub batches: BTreeMap<u32, BatchStat>,
    /// Responses of decoupled requests by their index, from 0 (T007).
    pub responses: BTreeMap<u64, ResponseStat>,
}

impl StatisticsSnapshot {
    /// Returns all failed requests, whatever the reason (T005).
    pub fn failed(&self) -> DurationStat {
        self.failures
            .iter()
            .fold(DurationStat::default(), |sum, failure| DurationStat {
                count: sum.count + failure.count,
                ns: sum.ns + failure.ns,
            })
    }
}

impl ModelStatistics {
    /// Returns statistics at their beginning that keep the distributions asked for.
    pub(crate) fn new(latencies: LatencyMetrics) -> Self {
        Self {
            latencies,
            ..Self::default()
        }
    }

    pub(crate) fn latencies(&self) -> &LatencyMetrics {
        &self.latencies
    }

    /// Counts a request that reached its backend.
    pub fn report_request(
        &self,
        request: &InferenceRequest,
        is_success: bool,
        timings: &ComputeTimings,
    ) {
        if request.is_null() {
            return; // Counted in its batch only.
        }
        let times = request.timestamps();
        let whole_ns = timings.exec_end_ns.saturating_sub(times.request_start_ns);
        self.last_inference_ms.store(unix_ms(), Ordering::Relaxed);
        if !is_success {
            let kind = if request.is_cancelled() {
                FailureKind::Cancelled
            } else {
                FailureKind::Backend
            };
            self.failures[kind as usize].add(whole_ns);
            return;
        }
        self.inference_count
            .fetch_add(u64::from(request.batch_size().max(1)), Ordering::Relaxed);
        let between = |from: u64, to: u64| to.saturating_sub(from);
        let phases_ns = [
            whole_ns,
            between(times.queue_start_ns, timings.exec_start_ns),
            between(timings.exec_start_ns, timings.compute_start_ns),
            between(timings.compute_start_ns, timings.compute_end_ns),
            between(timings.compute_end_ns, timings.exec_end_ns),
        ];
        let durations = [
            &self.success,
            &self.queue,
            &self.compute_input,
            &self.compute_infer,
            &self.compute_output,
        ];
        for (duration, ns) in durations.into_iter().zip(phases_ns) {
            duration.add(ns);
        }
        self.latencies.observe_phases(&phases_ns);
    }

    /// Counts one execution of `batch_size` items. Call it before the requests are answered, so
    /// that a client that has its answer sees the execution.
    pub fn report_batch(&self, batch_size: u32, timings: &ComputeTimings) {
        self.execution_count.fetch_add(1, Ordering::Relaxed);
        let add = |stat: &mut DurationStat, from: u64, to: u64| stat.add(to.saturating_sub(from));
        let mut batches = self.batches.lock();
        let stat = batches.entry(batch_size.max(1)).or_default();
        add(
            &mut stat.compute_input,
            timings.exec_start_ns,
            timings.compute_start_ns,
        );
        add(
            &mut stat.compute_infer,
            timings.compute_start_ns,
            timings.compute_end_ns,
        );
        add(
            &mut stat.compute_output,
            timings.compute_end_ns,
            timings.exec_end_ns,
        );
    }

    /// Counts one response of a decoupled request (T007). Call it before the response is sent, so
    /// that a client that has it sees it in the statistics.
    pub fn report_response(&self, index: u64, outcome: ResponseOutcome, timings: ResponseTimings) {
        self.responses.report(index, outcome, timings);
    }

    pub(crate) fn report_failure(&self, request: &InferenceRequest, kind: FailureKind) {
        let start_ns = request.timestamps().request_start_ns;
        self.failures[kind as usize].add(monotonic_ns().saturating_sub(start_ns));
    }

    pub(crate) fn add_pending(&self) {
        self.pending_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_pending(&self, count: usize) {
        self.pending_count
            .fetch_sub(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn set_load_duration_ns(&self, ns: u64) {
        self.load_duration_ns.store(ns, Ordering::Relaxed);
    }

    /// Returns the numbers of this moment; fields are read one after another.
    pub fn snapshot(&self) -> StatisticsSnapshot {
        StatisticsSnapshot {
            last_inference_ms: self.last_inference_ms.load(Ordering::Relaxed),
            inference_count: self.inference_count.load(Ordering::Relaxed),
            execution_count: self.execution_count.load(Ordering::Relaxed),
            success: self.success.load(),
            failures: self.failures.each_ref().map(AtomicDuration::load),
            queue: self.queue.load(),
            compute_input: self.compute_input.load(),
            compute_infer: self.compute_infer.load(),
            compute_output: self.compute_output.load(),
            pending_count: self.pending_count.load(Ordering::Relaxed),
            load_duration_ns: self.load_duration_ns.load(Ordering::Relaxed),
            batches: self.batches.lock().clone(),
            responses: self.responses.snapshot(),
        }
    }
}
