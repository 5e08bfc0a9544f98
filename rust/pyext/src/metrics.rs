// SPDX-License-Identifier: Apache-2.0
//! `pb_utils.MetricFamily` and its metrics.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use pyo3::prelude::*;
use tritongw_backend_python::host::{MetricDesk, MetricService, NewMetric};
use tritongw_engine::{MetricKind, MetricUpdate};
use tritongw_types::Error;

use crate::error::model_exception;

/// Where metrics of this process go: to the server whose worker it is, or which runs in it; to a
/// registry that nobody reads where there is none.
static SERVICE: Mutex<Option<Arc<dyn MetricService>>> = Mutex::new(None);

/// Sends the metrics that are made from now on to `service`.
pub(crate) fn send_to(service: Arc<dyn MetricService>) {
    *SERVICE.lock() = Some(service);
}

fn service() -> Arc<dyn MetricService> {
    let nobody = || Arc::new(MetricDesk::new(Arc::default())) as Arc<dyn MetricService>;
    Arc::clone(SERVICE.lock().get_or_insert_with(nobody))
}

fn failed(what: &str, error: &Error) -> PyErr {
    model_exception(format!("{what}: {}", error.message()))
}

/// Metrics of one name, told by the server's metrics port. Letting it go ends its metrics.
#[pyclass(frozen, module = "tritongw._core")]
pub(crate) struct MetricFamily(Arc<Family>);

struct Family {
    service: Arc<dyn MetricService>,
    number: u64,
    kind: MetricKind,
    metrics: Mutex<HashSet<u64>>,
}

impl Drop for Family {
    fn drop(&mut self) {
        let metrics = std::mem::take(self.metrics.get_mut());
        for number in metrics {
            self.service.release(number);
        }
        self.service.release(self.number);
    }
}

#[pymethods]
impl MetricFamily {
    #[classattr]
    const COUNTER: u32 = 0;
    #[classattr]
    const GAUGE: u32 = 1;
    #[classattr]
    const HISTOGRAM: u32 = 2;

    #[new]
    fn new(py: Python<'_>, name: &str, description: &str, kind: u32) -> PyResult<Self> {
        let kind = match kind {
            Self::COUNTER => MetricKind::Counter,
            Self::GAUGE => MetricKind::Gauge,
            Self::HISTOGRAM => MetricKind::Histogram,
            _ => return Err(model_exception("Unknown metric kind")),
        };
        let service = service();
        let number = py
            .detach(|| service.new_family(name, description, kind))
            .map_err(|error| failed("Error when creating MetricFamily", &error))?;
        Ok(Self(Arc::new(Family {
            service,
            number,
            kind,
            metrics: Mutex::default(),
        })))
    }

    /// Return the metric with these labels; ``buckets`` are the upper bounds of a histogram.
    #[pyo3(name = "Metric", signature = (labels = None, buckets = None))]
    fn metric(
        &self,
        py: Python<'_>,
        labels: Option<BTreeMap<String, String>>,
        buckets: Option<Vec<f64>>,
    ) -> PyResult<Metric> {
        let family = &self.0;
        let metric = NewMetric {
            family: family.number,
            labels: labels.unwrap_or_default(),
            buckets,
        };
        let number = py
            .detach(|| family.service.new_metric(metric))
            .map_err(|error| failed("Error when creating Metric", &error))?;
        family.metrics.lock().insert(number);
        Ok(Metric {
            family: Arc::downgrade(family),
            number,
        })
    }
}

/// One metric of a family: the same for everybody who asks for the same labels.
#[pyclass(frozen, module = "tritongw._core")]
pub(crate) struct Metric {
    family: Weak<Family>,
    number: u64,
}

impl Metric {
    fn family(&self) -> PyResult<Arc<Family>> {
        self.family.upgrade().ok_or_else(|| {
            model_exception(
                "Invalid metric operation as the corresponding 'MetricFamily' has been deleted. \
                 The 'MetricFamily' object should be deleted AFTER its corresponding 'Metric' \
                 objects have been deleted.",
            )
        })
    }

    fn update(&self, py: Python<'_>, update: MetricUpdate, what: &str) -> PyResult<()> {
        let family = self.family()?;
        let updated = family
            .kind
            .check(update)
            .and_then(|()| py.detach(|| family.service.update(self.number, update)));
        updated.map_err(|error| failed(what, &error))
    }
}

impl Drop for Metric {
    fn drop(&mut self) {
        if let Some(family) = self.family.upgrade() {
            family.metrics.lock().remove(&self.number);
            family.service.release(self.number);
        }
    }
}

#[pymethods]
impl Metric {
    /// Add to a counter or a gauge.
    fn increment(&self, py: Python<'_>, value: f64) -> PyResult<()> {
        let update = MetricUpdate::Increment(value);
        self.update(py, update, "Failed to increment metric value")
    }

    /// Set a gauge.
    fn set(&self, py: Python<'_>, value: f64) -> PyResult<()> {
        let update = MetricUpdate::Set(value);
        self.update(py, update, "Failed to set metric value")
    }

    /// Count a value in a histogram.
    fn observe(&self, py: Python<'_>, value: f64) -> PyResult<()> {
        let update = MetricUpdate::Observe(value);
        self.update(py, update, "Failed to observe metric value")
    }

    /// Return the value of a counter or a gauge.
    fn value(&self, py: Python<'_>) -> PyResult<f64> {
        let family = self.family()?;
        py.detach(|| family.service.value(self.number))
            .map_err(|error| failed("Failed to get metric value", &error))
    }
}
