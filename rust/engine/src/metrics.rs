// SPDX-License-Identifier: Apache-2.0
//! The Prometheus text of section 6: names, types and labels are Triton's, letter for letter.

use std::fmt::Write;
use std::sync::Arc;

use crate::Server;
use crate::latency_metrics::{FIRST_RESPONSE, SUMMARIES};
use crate::metrics_options::MetricsOptions;
use crate::model::Model;
use crate::statistics::{FailureKind, StatisticsSnapshot};

/// One number per model version.
type Value = fn(&StatisticsSnapshot) -> u64;

/// A metric family with one number per model version.
struct Family {
    name: &'static str,
    help: &'static str,
    value: Value,
}

const REQUEST_SUCCESS: Family = Family {
    name: "nv_inference_request_success",
    help: "Number of successful inference requests, all batch sizes",
    value: |s| s.success.count,
};

const COUNTS: [Family; 2] = [
    Family {
        name: "nv_inference_count",
        help: "Number of inferences performed (does not include cached requests)",
        value: |s| s.inference_count,
    },
    Family {
        name: "nv_inference_exec_count",
        help: "Number of model executions performed (does not include cached requests)",
        value: |s| s.execution_count,
    },
];

const DURATIONS: [Family; 5] = [
    Family {
        name: "nv_inference_request_duration_us",
        help: "Cumulative inference request duration in microseconds (includes cached requests)",
        value: |s| s.success.ns / 1000,
    },
    Family {
        name: "nv_inference_queue_duration_us",
        help: "Cumulative inference queuing duration in microseconds (includes cached requests)",
        value: |s| s.queue.ns / 1000,
    },
    Family {
        name: "nv_inference_compute_input_duration_us",
        help: "Cumulative compute input duration in microseconds (does not include cached \
               requests)",
        value: |s| s.compute_input.ns / 1000,
    },
    Family {
        name: "nv_inference_compute_infer_duration_us",
        help: "Cumulative compute inference duration in microseconds (does not include cached \
               requests)",
        value: |s| s.compute_infer.ns / 1000,
    },
    Family {
        name: "nv_inference_compute_output_duration_us",
        help: "Cumulative inference compute output duration in microseconds (does not include \
               cached requests)",
        value: |s| s.compute_output.ns / 1000,
    },
];

/// What is told of one model version.
struct ModelMetrics {
    model: Arc<Model>,
    labels: String,
    snapshot: StatisticsSnapshot,
}

/// Renders all families of `server`.
pub fn render(server: &Server) -> String {
    let options = server.metrics_options();
    let read = |model: Arc<Model>| {
        let mut snapshot = model.statistics().snapshot();
        if !options.counter_latencies {
            snapshot = uncounted(&snapshot);
        }
        ModelMetrics {
            labels: labels(&model),
            snapshot,
            model,
        }
    };
    let models: Vec<_> = server.models().into_iter().map(read).collect();
    let mut text = String::with_capacity(4096);
    counter(&mut text, &REQUEST_SUCCESS, &models);
    failures(&mut text, &models);
    COUNTS
        .iter()
        .for_each(|each| counter(&mut text, each, &models));
    if options.counter_latencies {
        DURATIONS
            .iter()
            .for_each(|each| counter(&mut text, each, &models));
    }
    gauges(&mut text, &models);
    pinned_pool(&mut text, options.pinned_memory_pool_byte_size);
    if let Some(gpus) = server.gpu_metrics() {
        gpus.render(&mut text);
    }
    if options.reports_cpu {
        server.host().measure().render(&mut text);
    }
    distributions(&mut text, options, &models);
    server.custom_metrics().render(&mut text);
    text
}

/// Returns what remains without counters: gauges (Triton: `MetricModelReporter::IncrementCounter`
/// does nothing then, for counts too).
fn uncounted(snapshot: &StatisticsSnapshot) -> StatisticsSnapshot {
    StatisticsSnapshot {
        pending_count: snapshot.pending_count,
        load_duration_ns: snapshot.load_duration_ns,
        ..StatisticsSnapshot::default()
    }
}

fn counter(text: &mut String, counter: &Family, models: &[ModelMetrics]) {
    family(text, counter.name, "counter", counter.help);
    for each in models {
        let value = (counter.value)(&each.snapshot);
        sample(text, counter.name, &each.labels, value);
    }
}

/// There is no pinned memory without CUDA; like Triton's, the pool has the size asked for and
/// stays unused.
fn pinned_pool(text: &mut String, total_bytes: u64) {
    for (name, help, value) in [
        (
            "nv_pinned_memory_pool_total_bytes",
            "Pinned memory pool total memory size, in bytes",
            total_bytes,
        ),
        (
            "nv_pinned_memory_pool_used_bytes",
            "Pinned memory pool used memory size, in bytes",
            0,
        ),
    ] {
        family(text, name, "gauge", help);
        // INVARIANT: writing to a String cannot fail.
        let _ = writeln!(text, "{name} {value}");
    }
}

fn distributions(text: &mut String, options: &MetricsOptions, models: &[ModelMetrics]) {
    if options.histogram_latencies {
        let help = "Duration from request to first response in milliseconds";
        family(text, FIRST_RESPONSE, "histogram", help);
        for each in models {
            let latencies = each.model.statistics().latencies();
            latencies.render_first_response(text, &each.labels);
        }
    }
    if options.summary_latencies {
        for (index, (name, help)) in SUMMARIES.iter().enumerate() {
            family(text, name, "summary", help);
            for each in models {
                let latencies = each.model.statistics().latencies();
                latencies.render_summary(text, index, &each.labels);
            }
        }
    }
}

fn failures(text: &mut String, models: &[ModelMetrics]) {
    const NAME: &str = "nv_inference_request_failure";
    family(
        text,
        NAME,
        "counter",
        "Number of failed inference requests, all batch sizes",
    );
    for ModelMetrics {
        labels, snapshot, ..
    } in models
    {
        for kind in FailureKind::ALL {
            let labels = format!("{labels},reason=\"{}\"", kind.label());
            sample(text, NAME, &labels, snapshot.failures[kind as usize].count);
        }
    }
}

fn gauges(text: &mut String, models: &[ModelMetrics]) {
    const PENDING: &str = "nv_inference_pending_request_count";
    family(
        text,
        PENDING,
        "gauge",
        "Instantaneous number of pending requests awaiting execution per-model.",
    );
    for ModelMetrics {
        labels, snapshot, ..
    } in models
    {
        sample(text, PENDING, labels, snapshot.pending_count);
    }
    const LOAD: &str = "nv_model_load_duration_secs";
    family(text, LOAD, "gauge", "Model load time in seconds");
    for ModelMetrics {
        labels, snapshot, ..
    } in models
    {
        let seconds = snapshot.load_duration_ns as f64 / 1e9;
        sample(text, LOAD, labels, seconds);
    }
}

/// Starts a family.
pub(crate) fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    // INVARIANT: writing to a String cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// Adds one sample with labels.
fn sample(text: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = writeln!(text, "{name}{{{labels}}} {value}");
}

/// Returns the labels of a model version, `metric_tags` included (M016).
fn labels(model: &Arc<Model>) -> String {
    let mut labels = format!(
        "model=\"{}\",version=\"{}\"",
        escape(model.name()),
        model.version()
    );
    if let Some(namespace) = model.namespace() {
        let _ = write!(labels, ",namespace=\"{}\"", escape(namespace));
    }
    for (tag, value) in &model.config().metric_tags {
        let _ = write!(labels, ",_{}=\"{}\"", tag, escape(value));
    }
    labels
}

/// Escapes a label value as the text format demands.
pub(crate) fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
