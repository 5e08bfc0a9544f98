// SPDX-License-Identifier: Apache-2.0
//! Metrics that models define: families by name, series by labels.
//!
//! Whoever asks for a family or a series that is there shares it. A series is told as long as
//! somebody holds it; a family stays once it is there, as Triton's does.
//! **Invariant:** names, texts and numbers of everything are bounded before they are taken, because
//! they come from model code and end in every answer of the metrics port.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tritongw_types::{Error, ErrorCode, Result};

use crate::metrics::{escape, family};

const MAX_FAMILIES: usize = 1000;
const MAX_SERIES: usize = 10_000;
const MAX_LABELS: usize = 64;
const MAX_BUCKETS: usize = 1000;
const MAX_TEXT: usize = 4096;

/// Beginnings of the names that the server itself tells.
const OWN_NAMES: [&str; 8] = [
    "nv_inference_",
    "nv_model_load_",
    "nv_pinned_memory_pool_",
    "nv_cpu_",
    "nv_gpu_",
    "nv_energy_consumption",
    "nv_cache_",
    "nv_response_",
];

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// A number that only grows.
    Counter,
    /// A number that is set.
    Gauge,
    /// How many observations lie below each of some bounds.
    Histogram,
}

impl MetricKind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    fn constant(self) -> &'static str {
        match self {
            Self::Counter => "TRITONSERVER_METRIC_KIND_COUNTER",
            Self::Gauge => "TRITONSERVER_METRIC_KIND_GAUGE",
            Self::Histogram => "TRITONSERVER_METRIC_KIND_HISTOGRAM",
        }
    }

    /// Returns whether a metric of this kind takes the update (Triton: `metric_family.cc`).
    ///
    /// # Errors
    /// `Unsupported`, or `InvalidArg` for a counter that would fall.
    pub fn check(self, update: MetricUpdate) -> Result<()> {
        match (self, update) {
            // Not a number is not above nothing either.
            (Self::Counter, MetricUpdate::Increment(value))
                if value
                    .partial_cmp(&0.0)
                    .is_none_or(std::cmp::Ordering::is_lt) =>
            {
                Err(Error::invalid_arg(format!(
                    "{} can only be incremented monotonically by non-negative values.",
                    self.constant()
                )))
            }
            (Self::Counter | Self::Gauge, MetricUpdate::Increment(_))
            | (Self::Gauge, MetricUpdate::Set(_))
            | (Self::Histogram, MetricUpdate::Observe(_)) => Ok(()),
            (_, MetricUpdate::Increment(_)) => Err(self.unsupported("Increment")),
            (_, MetricUpdate::Set(_)) => Err(self.unsupported("Set")),
            (_, MetricUpdate::Observe(_)) => Err(self.unsupported("Observe")),
        }
    }

    fn unsupported(self, operation: &str) -> Error {
        Error::unsupported(format!("{} does not support {operation}", self.constant()))
    }
}

/// A change of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricUpdate {
    /// Adds to a counter or gauge.
    Increment(f64),
    /// Replaces a gauge.
    Set(f64),
    /// Counts a value in a histogram.
    Observe(f64),
}

/// All families of one server.
#[derive(Debug, Default)]
pub struct MetricRegistry {
    families: Mutex<BTreeMap<String, Arc<MetricFamily>>>,
}

impl MetricRegistry {
    /// Returns the family of that name, made if there is none; the first description stays.
    ///
    /// # Errors
    /// If the name is no name for a metric, or stands for another kind or the server's own.
    pub fn family(&self, name: &str, help: &str, kind: MetricKind) -> Result<Arc<MetricFamily>> {
        check_name(name, "metric", true)?;
        check_length(help, "description of a metric")?;
        if OWN_NAMES.iter().any(|own| name.starts_with(own)) {
            let message = format!("metric name '{name}' belongs to the server");
            return Err(Error::new(ErrorCode::AlreadyExists, message));
        }
        let mut families = self.families.lock();
        if let Some(found) = families.get(name) {
            if found.kind != kind {
                let message = "Family name already exists with different type";
                return Err(Error::invalid_arg(message));
            }
            return Ok(Arc::clone(found));
        }
        if families.len() >= MAX_FAMILIES {
            let message = format!("there are {MAX_FAMILIES} metric families already");
            return Err(Error::unavailable(message));
        }
        let made = Arc::new(MetricFamily {
            name: name.to_owned(),
            help: help.to_owned(),
            kind,
            series: Mutex::default(),
        });
        families.insert(name.to_owned(), Arc::clone(&made));
        Ok(made)
    }

    /// Adds every family to the text of the metrics port.
    pub(crate) fn render(&self, text: &mut String) {
        let families: Vec<_> = self.families.lock().values().cloned().collect();
        families.iter().for_each(|family| family.render(text));
    }
}

/// Metrics of one name.
#[derive(Debug)]
pub struct MetricFamily {
    name: String,
    help: String,
    kind: MetricKind,
    // By their labels as they are told.
    series: Mutex<BTreeMap<String, Shared>>,
}

#[derive(Debug)]
struct Shared {
    series: Arc<Series>,
    holders: usize,
}

impl MetricFamily {
    /// Returns the kind.
    pub fn kind(&self) -> MetricKind {
        self.kind
    }

    /// Returns the metric with these labels, made if there is none. `buckets` are the upper bounds
    /// of a histogram.
    ///
    /// # Errors
    /// If labels or bounds are none, or there are too many.
    pub fn metric(
        self: &Arc<Self>,
        labels: &BTreeMap<String, String>,
        buckets: Option<&[f64]>,
    ) -> Result<Metric> {
        self.check_buckets(buckets)?;
        let labels = self.render_labels(labels)?;
        let mut all = self.series.lock();
        if !all.contains_key(&labels) && all.len() >= MAX_SERIES {
            let message = format!("metric '{}' has {MAX_SERIES} sets of labels", self.name);
            return Err(Error::unavailable(message));
        }
        let shared = all.entry(labels.clone()).or_insert_with(|| Shared {
            series: Arc::new(Series::new(self.kind, buckets.unwrap_or_default())),
            holders: 0,
        });
        shared.holders += 1;
        Ok(Metric {
            family: Arc::clone(self),
            series: Arc::clone(&shared.series),
            labels,
        })
    }

    fn check_buckets(&self, buckets: Option<&[f64]>) -> Result<()> {
        let Some(buckets) = buckets else {
            return match self.kind {
                MetricKind::Histogram => Err(Error::invalid_arg(
                    "Bucket boundaries not found in Metric args.",
                )),
                MetricKind::Counter | MetricKind::Gauge => Ok(()),
            };
        };
        if self.kind != MetricKind::Histogram {
            return Err(Error::invalid_arg(format!(
                "Unexpected args found in {} Metric constructor.",
                self.kind.name()
            )));
        }
        let is_sorted = buckets.is_sorted_by(|left, right| left < right);
        if !is_sorted || buckets.iter().any(|bound| bound.is_nan()) {
            return Err(Error::invalid_arg(
                "Bucket Boundaries must be strictly sorted",
            ));
        }
        if buckets.len() > MAX_BUCKETS {
            let message = format!("a histogram has at most {MAX_BUCKETS} buckets");
            return Err(Error::invalid_arg(message));
        }
        Ok(())
    }

    fn render_labels(&self, labels: &BTreeMap<String, String>) -> Result<String> {
        if labels.len() > MAX_LABELS {
            let message = format!("a metric has at most {MAX_LABELS} labels");
            return Err(Error::invalid_arg(message));
        }
        let mut text = String::new();
        for (name, value) in labels {
            check_name(name, "label", false)?;
            check_length(value, "value of a label")?;
            if name.starts_with("__") || (self.kind == MetricKind::Histogram && name == "le") {
                return Err(Error::invalid_arg(format!(
                    "label name '{name}' is reserved"
                )));
            }
            if !text.is_empty() {
                text.push(',');
            }
            // INVARIANT: writing to a String cannot fail.
            let _ = write!(text, "{name}=\"{}\"", escape(value));
        }
        Ok(text)
    }

    fn render(&self, text: &mut String) {
        let help = self.help.replace('\\', "\\\\").replace('\n', "\\n");
        family(text, &self.name, self.kind.name(), &help);
        for (labels, shared) in &*self.series.lock() {
            shared.series.render(text, &self.name, labels);
        }
    }
}

/// A holder of one series. The series is gone when the last one is dropped.
#[derive(Debug)]
pub struct Metric {
    family: Arc<MetricFamily>,
    series: Arc<Series>,
    labels: String,
}

impl Metric {
    /// Changes the value.
    ///
    /// # Errors
    /// As [`MetricKind::check`].
    pub fn update(&self, update: MetricUpdate) -> Result<()> {
        self.family.kind.check(update)?;
        self.series.update(update);
        Ok(())
    }

    /// Returns the value of a counter or gauge.
    ///
    /// # Errors
    /// `Unsupported` for a histogram.
    pub fn value(&self) -> Result<f64> {
        match &*self.series {
            Series::Number(bits) => Ok(f64::from_bits(bits.load(Ordering::Relaxed))),
            Series::Histogram(_) => Err(self.family.kind.unsupported("Value")),
        }
    }
}

impl Drop for Metric {
    fn drop(&mut self) {
        let mut all = self.family.series.lock();
        if let Some(shared) = all.get_mut(&self.labels) {
            shared.holders -= 1;
            if shared.holders == 0 {
                all.remove(&self.labels);
            }
        }
    }
}

#[derive(Debug)]
enum Series {
    /// Bits of an `f64`.
    Number(AtomicU64),
    Histogram(Mutex<Histogram>),
}

#[derive(Debug)]
struct Histogram {
    bounds: Vec<f64>,
    // One more than bounds: what lies above all.
    counts: Vec<u64>,
    sum: f64,
}

impl Series {
    fn new(kind: MetricKind, bounds: &[f64]) -> Self {
        match kind {
            MetricKind::Counter | MetricKind::Gauge => Self::Number(AtomicU64::new(0)),
            MetricKind::Histogram => Self::Histogram(Mutex::new(Histogram {
                bounds: bounds.to_vec(),
                counts: vec![0; bounds.len() + 1],
                sum: 0.0,
            })),
        }
    }

    fn update(&self, update: MetricUpdate) {
        match (self, update) {
            (Self::Number(bits), MetricUpdate::Increment(value)) => {
                let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
                let _ = bits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
            }
            (Self::Number(bits), MetricUpdate::Set(value)) => {
                bits.store(value.to_bits(), Ordering::Relaxed);
            }
            (Self::Histogram(histogram), MetricUpdate::Observe(value)) => {
                let mut histogram = histogram.lock();
                // A bound belongs to its bucket; what is no number lies above all.
                let bounds = &histogram.bounds;
                let index = bounds.iter().position(|bound| value <= *bound);
                let index = index.unwrap_or(bounds.len());
                histogram.counts[index] += 1;
                histogram.sum += value;
            }
            _ => debug_assert!(false, "the kind was checked before"),
        }
    }

    fn render(&self, text: &mut String, name: &str, labels: &str) {
        // INVARIANT: writing to a String cannot fail.
        match self {
            Self::Number(bits) => {
                let value = number(f64::from_bits(bits.load(Ordering::Relaxed)));
                let _ = writeln!(text, "{name}{} {value}", braced(labels));
            }
            Self::Histogram(histogram) => {
                let histogram = histogram.lock();
                let total: u64 = histogram.counts.iter().sum();
                let (braces, sum) = (braced(labels), number(histogram.sum));
                let _ = writeln!(text, "{name}_count{braces} {total}");
                let _ = writeln!(text, "{name}_sum{braces} {sum}");
                let comma = if labels.is_empty() { "" } else { "," };
                let mut below = 0;
                let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
                for (bound, count) in bounds.zip(&histogram.counts) {
                    below += count;
                    let le = number(bound);
                    let _ = writeln!(text, "{name}_bucket{{{labels}{comma}le=\"{le}\"}} {below}");
                }
            }
        }
    }
}

fn braced(labels: &str) -> String {
    if labels.is_empty() {
        String::new()
    } else {
        format!("{{{labels}}}")
    }
}

/// Returns a number as the text format writes it.
fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else if value != 0.0 && value.is_finite() && !(1e-5..1e16).contains(&value.abs()) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

fn check_name(name: &str, what: &str, may_have_colons: bool) -> Result<()> {
    let is_letter =
        |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || (may_have_colons && byte == b':');
    let is_name = match name.as_bytes() {
        [first, rest @ ..] => {
            is_letter(*first)
                && rest
                    .iter()
                    .all(|&byte| is_letter(byte) || byte.is_ascii_digit())
        }
        [] => false,
    };
    if is_name && name.len() <= MAX_TEXT {
        return Ok(());
    }
    let shown = name.chars().take(100).collect::<String>();
    Err(Error::invalid_arg(format!("invalid {what} name '{shown}'")))
}

fn check_length(text: &str, what: &str) -> Result<()> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    Err(Error::invalid_arg(format!(
        "the {what} has {} bytes, more than {MAX_TEXT}",
        text.len()
    )))
}

#[cfg(test)]
mod tests;
