// SPDX-License-Identifier: Apache-2.0
//! Distributions of latencies that are kept on request only (X024-X026).

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tritongw_config::ModelConfig;

use crate::clock::monotonic_ns;
use crate::metrics_options::MetricsOptions;
use crate::summary::Summary;

/// Name of the histogram, which configurations use too (X041).
pub(crate) const FIRST_RESPONSE: &str = "nv_inference_first_response_histogram_ms";
/// Upper bounds unless the model's configuration has others.
const BUCKETS_MS: [f64; 4] = [100.0, 500.0, 2000.0, 5000.0];

/// Phases of a request, in the order of [`SUMMARIES`].
pub(crate) type PhasesNs = [u64; 5];

/// Name and help of each summary.
pub(crate) const SUMMARIES: [(&str, &str); 5] = [
    (
        "nv_inference_request_summary_us",
        "Summary of inference request duration in microseconds (includes cached requests)",
    ),
    (
        "nv_inference_queue_summary_us",
        "Summary of inference queuing duration in microseconds (includes cached requests)",
    ),
    (
        "nv_inference_compute_input_summary_us",
        "Cumulative compute input duration in microseconds (does not include cached requests)",
    ),
    (
        "nv_inference_compute_infer_summary_us",
        "Cumulative compute inference duration in microseconds (does not include cached requests)",
    ),
    (
        "nv_inference_compute_output_summary_us",
        "Cumulative inference compute output duration in microseconds (does not include cached requests)",
    ),
];

/// The distributions of one model version; empty where nobody asked for them.
#[derive(Debug, Default)]
pub(crate) struct LatencyMetrics {
    options: Arc<MetricsOptions>,
    summaries: Option<[Summary; SUMMARIES.len()]>,
    first_response: Option<Histogram>,
}

impl LatencyMetrics {
    pub(crate) fn new(options: &Arc<MetricsOptions>, config: &ModelConfig) -> Self {
        let now_ns = monotonic_ns();
        let summary = |_| Summary::new(&options.summary_quantiles, now_ns);
        let mut controls = config.metrics.iter();
        let control = controls.find(|control| control.family == FIRST_RESPONSE);
        let bounds = control.map_or_else(|| BUCKETS_MS.to_vec(), |control| control.buckets.clone());
        Self {
            summaries: options
                .summary_latencies
                .then(|| std::array::from_fn(summary)),
            first_response: options.histogram_latencies.then(|| Histogram::new(bounds)),
            options: Arc::clone(options),
        }
    }

    /// Notes how long the phases of a successful request took.
    pub(crate) fn observe_phases(&self, phases_ns: &PhasesNs) {
        if let Some(summaries) = &self.summaries {
            let now_ns = monotonic_ns();
            for (summary, &ns) in summaries.iter().zip(phases_ns) {
                summary.observe((ns / 1000) as f64, now_ns);
            }
        }
    }

    /// Notes that the first response of a request that began at `start_ns` is sent.
    pub(crate) fn observe_first_response(&self, start_ns: u64) {
        if let Some(histogram) = &self.first_response {
            let ns = monotonic_ns().saturating_sub(start_ns);
            histogram.observe(ns / 1_000_000);
        }
    }

    /// Adds the samples of the summary at `index` of [`SUMMARIES`].
    pub(crate) fn render_summary(&self, text: &mut String, index: usize, labels: &str) {
        let Some(summaries) = &self.summaries else {
            return;
        };
        let targets = &self.options.summary_quantiles;
        let snapshot = summaries[index].snapshot(targets, monotonic_ns());
        let name = SUMMARIES[index].0;
        // INVARIANT: writing to a String cannot fail.
        let _ = writeln!(text, "{name}_count{{{labels}}} {}", snapshot.count);
        let _ = writeln!(text, "{name}_sum{{{labels}}} {}", snapshot.sum);
        for (target, value) in targets.iter().zip(snapshot.quantiles) {
            let quantile = target.quantile;
            let _ = writeln!(text, "{name}{{{labels},quantile=\"{quantile}\"}} {value}");
        }
    }

    /// Adds the samples of the histogram.
    pub(crate) fn render_first_response(&self, text: &mut String, labels: &str) {
        if let Some(histogram) = &self.first_response {
            histogram.render(text, labels);
        }
    }
}

/// Counts by size.
#[derive(Debug)]
struct Histogram {
    bounds: Vec<f64>,
    /// One for each bound, and one for what is above the last.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(mut bounds: Vec<f64>) -> Self {
        bounds.sort_unstable_by(f64::total_cmp);
        bounds.dedup();
        Self {
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            bounds,
            sum: AtomicU64::new(0),
        }
    }

    fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value as f64);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn render(&self, text: &mut String, labels: &str) {
        let mut cumulated = 0;
        let mut buckets = String::new();
        let ends = self.bounds.iter().map(ToString::to_string);
        for (end, count) in ends.chain(["+Inf".to_owned()]).zip(&self.counts) {
            cumulated += count.load(Ordering::Relaxed);
            let _ = writeln!(
                buckets,
                "{FIRST_RESPONSE}_bucket{{{labels},le=\"{end}\"}} {cumulated}"
            );
        }
        let sum = self.sum.load(Ordering::Relaxed);
        let _ = writeln!(text, "{FIRST_RESPONSE}_count{{{labels}}} {cumulated}");
        let _ = writeln!(text, "{FIRST_RESPONSE}_sum{{{labels}}} {sum}");
        text.push_str(&buckets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_what_is_up_to_their_bound() {
        let histogram = Histogram::new(vec![500.0, 100.0]);
        [0, 100, 101, 500, 501]
            .into_iter()
            .for_each(|value| histogram.observe(value));
        let mut text = String::new();
        histogram.render(&mut text, "model=\"m\"");
        let expected = "\
nv_inference_first_response_histogram_ms_count{model=\"m\"} 5
nv_inference_first_response_histogram_ms_sum{model=\"m\"} 1202
nv_inference_first_response_histogram_ms_bucket{model=\"m\",le=\"100\"} 2
nv_inference_first_response_histogram_ms_bucket{model=\"m\",le=\"500\"} 4
nv_inference_first_response_histogram_ms_bucket{model=\"m\",le=\"+Inf\"} 5
";
        assert_eq!(text, expected);
    }
}
