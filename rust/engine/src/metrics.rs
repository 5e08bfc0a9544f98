// SPDX-License-Identifier: Apache-2.0
//! The Prometheus text of section 6: names, types and labels are Triton's, letter for letter.

use std::fmt::Write;
use std::sync::Arc;

use crate::Server;
use crate::host_metrics::HostMetrics;
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

const COUNTERS: [Family; 7] = [
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

/// Renders all families of `server`.
pub fn render(server: &Server) -> String {
    let models: Vec<_> = server
        .models()
        .into_iter()
        .map(|model| {
            let snapshot = model.statistics().snapshot();
            (labels(&model), snapshot)
        })
        .collect();
    let mut text = String::with_capacity(4096);
    family(
        &mut text,
        "nv_inference_request_success",
        "counter",
        "Number of successful inference requests, all batch sizes",
    );
    for (labels, snapshot) in &models {
        sample(
            &mut text,
            "nv_inference_request_success",
            labels,
            snapshot.success.count,
        );
    }
    failures(&mut text, &models);
    for counter in &COUNTERS {
        family(&mut text, counter.name, "counter", counter.help);
        for (labels, snapshot) in &models {
            sample(&mut text, counter.name, labels, (counter.value)(snapshot));
        }
    }
    gauges(&mut text, &models);
    HostMetrics::read().render(&mut text);
    text
}

fn failures(text: &mut String, models: &[(String, StatisticsSnapshot)]) {
    const NAME: &str = "nv_inference_request_failure";
    family(
        text,
        NAME,
        "counter",
        "Number of failed inference requests, all batch sizes",
    );
    for (labels, snapshot) in models {
        for kind in FailureKind::ALL {
            let labels = format!("{labels},reason=\"{}\"", kind.label());
            sample(text, NAME, &labels, snapshot.failures[kind as usize].count);
        }
    }
}

fn gauges(text: &mut String, models: &[(String, StatisticsSnapshot)]) {
    const PENDING: &str = "nv_inference_pending_request_count";
    family(
        text,
        PENDING,
        "gauge",
        "Instantaneous number of pending requests awaiting execution per-model.",
    );
    for (labels, snapshot) in models {
        sample(text, PENDING, labels, snapshot.pending_count);
    }
    const LOAD: &str = "nv_model_load_duration_secs";
    family(text, LOAD, "gauge", "Model load time in seconds");
    for (labels, snapshot) in models {
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
fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
