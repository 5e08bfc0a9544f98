// SPDX-License-Identifier: Apache-2.0
//! Statistics of single responses (T007): a decoupled request has many, each told by its index.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::statistics::DurationStat;

/// Indices above this are not counted: a stream may be endless, its statistics must not be.
const MAX_RESPONSES: u64 = 1 << 16;

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseOutcome {
    /// With outputs.
    Success,
    /// With an error.
    Fail,
    /// Flags alone.
    Empty,
    /// Given up, because the client had cancelled.
    Cancelled,
}

/// Moments of one response, in [`monotonic_ns`](crate::clock::monotonic_ns).
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseTimings {
    /// The model began to compute it: the end of the response before.
    pub start_ns: u64,
    /// The model began to hand out outputs; `None` if there are none.
    pub output_start_ns: Option<u64>,
    /// It was complete.
    pub end_ns: u64,
}

/// Responses of one index over all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseStat {
    /// Time to compute it.
    pub compute_infer: DurationStat,
    /// Time to hand out its outputs.
    pub compute_output: DurationStat,
    /// Those with outputs.
    pub success: DurationStat,
    /// Those with an error.
    pub fail: DurationStat,
    /// Those of flags alone.
    pub empty_response: DurationStat,
    /// Those given up.
    pub cancel: DurationStat,
}

/// The responses of one model, by index.
#[derive(Debug, Default)]
pub(crate) struct ResponseStatistics(Mutex<BTreeMap<u64, ResponseStat>>);

impl ResponseStatistics {
    pub(crate) fn report(&self, index: u64, outcome: ResponseOutcome, timings: ResponseTimings) {
        if index >= MAX_RESPONSES {
            return;
        }
        let whole_ns = timings.end_ns.saturating_sub(timings.start_ns);
        let output_ns = timings
            .output_start_ns
            .map(|output_start_ns| timings.end_ns.saturating_sub(output_start_ns));
        let mut stats = self.0.lock();
        let stat = stats.entry(index).or_default();
        if outcome != ResponseOutcome::Cancelled {
            stat.compute_infer
                .add(whole_ns.saturating_sub(output_ns.unwrap_or(0)));
        }
        if let Some(output_ns) = output_ns {
            stat.compute_output.add(output_ns);
        }
        match outcome {
            ResponseOutcome::Success => stat.success.add(whole_ns),
            ResponseOutcome::Fail => stat.fail.add(whole_ns),
            ResponseOutcome::Empty => stat.empty_response.add(whole_ns),
            ResponseOutcome::Cancelled => stat.cancel.add(whole_ns),
        }
    }

    pub(crate) fn snapshot(&self) -> BTreeMap<u64, ResponseStat> {
        self.0.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(count: u64, ns: u64) -> DurationStat {
        DurationStat { count, ns }
    }

    #[test]
    fn each_outcome_counts_where_triton_counts_it() {
        let statistics = ResponseStatistics::default();
        let with_output = ResponseTimings {
            start_ns: 100,
            output_start_ns: Some(130),
            end_ns: 150,
        };
        let without_output = ResponseTimings {
            output_start_ns: None,
            ..with_output
        };
        statistics.report(0, ResponseOutcome::Success, with_output);
        statistics.report(0, ResponseOutcome::Fail, with_output);
        statistics.report(1, ResponseOutcome::Empty, without_output);
        statistics.report(2, ResponseOutcome::Cancelled, without_output);
        let first = ResponseStat {
            compute_infer: stat(2, 60),
            compute_output: stat(2, 40),
            success: stat(1, 50),
            fail: stat(1, 50),
            ..ResponseStat::default()
        };
        let empty = ResponseStat {
            compute_infer: stat(1, 50),
            empty_response: stat(1, 50),
            ..ResponseStat::default()
        };
        let cancelled = ResponseStat {
            cancel: stat(1, 50),
            ..ResponseStat::default()
        };
        let expected = BTreeMap::from([(0, first), (1, empty), (2, cancelled)]);
        assert_eq!(statistics.snapshot(), expected);
    }

    #[test]
    fn an_endless_stream_has_bounded_statistics() {
        let statistics = ResponseStatistics::default();
        let timings = ResponseTimings::default();
        statistics.report(MAX_RESPONSES - 1, ResponseOutcome::Success, timings);
        statistics.report(MAX_RESPONSES, ResponseOutcome::Success, timings);
        assert_eq!(statistics.snapshot().len(), 1);
    }
}
