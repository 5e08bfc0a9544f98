// SPDX-License-Identifier: Apache-2.0
//! Custom metrics as a host makes and changes them, wherever the server's registry is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tritongw_engine::{Metric, MetricFamily, MetricKind, MetricRegistry, MetricUpdate};
use tritongw_types::{Error, Result};

/// Families and metrics that one process may hold.
const MAX_HELD: usize = 200_000;

/// A metric to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewMetric {
    /// What [`MetricService::new_family`] gave.
    pub family: u64,
    /// Labels by name.
    pub labels: BTreeMap<String, String>,
    /// Upper bounds of a histogram.
    pub buckets: Option<Vec<f64>>,
}

/// Makes and changes metrics for the models of a process, by numbers. Callable from any thread.
pub trait MetricService: Send + Sync {
    /// Returns the number of a family, made if there is none of that name.
    ///
    /// # Errors
    /// As [`MetricRegistry::family`].
    fn new_family(&self, name: &str, help: &str, kind: MetricKind) -> Result<u64>;

    /// Returns the number of a holder of a metric.
    ///
    /// # Errors
    /// As [`MetricFamily::metric`].
    fn new_metric(&self, metric: NewMetric) -> Result<u64>;

    /// Changes a metric, which takes changes of that sort.
    ///
    /// # Errors
    /// If the server is gone.
    fn update(&self, metric: u64, update: MetricUpdate) -> Result<()>;

    /// Returns the value, all changes by this thread included.
    ///
    /// # Errors
    /// For histograms, and if the server is gone.
    fn value(&self, metric: u64) -> Result<f64>;

    /// Lets go of a family or a metric.
    fn release(&self, number: u64);
}

/// What one process holds in a registry; dropping it lets go of everything.
#[derive(Debug)]
pub struct MetricDesk {
    registry: Arc<MetricRegistry>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    families: HashMap<u64, Arc<MetricFamily>>,
    metrics: HashMap<u64, Arc<Metric>>,
    last_number: u64,
}

impl Held {
    fn next_number(&mut self) -> Result<u64> {
        if self.families.len() + self.metrics.len() >= MAX_HELD {
            let message = format!("a model holds at most {MAX_HELD} metrics");
            return Err(Error::unavailable(message));
        }
        self.last_number += 1;
        Ok(self.last_number)
    }
}

impl MetricDesk {
    /// Makes a desk that holds nothing.
    pub fn new(registry: Arc<MetricRegistry>) -> Self {
        Self {
            registry,
            held: Mutex::default(),
        }
    }

    fn metric(&self, number: u64) -> Result<Arc<Metric>> {
        let held = self.held.lock();
        let found = held.metrics.get(&number).map(Arc::clone);
        found.ok_or_else(|| Error::internal(format!("no metric has the number {number}")))
    }
}

impl MetricService for MetricDesk {
    fn new_family(&self, name: &str, help: &str, kind: MetricKind) -> Result<u64> {
        let family = self.registry.family(name, help, kind)?;
        let mut held = self.held.lock();
        let number = held.next_number()?;
        held.families.insert(number, family);
        Ok(number)
    }

    fn new_metric(&self, metric: NewMetric) -> Result<u64> {
        let family = self.held.lock().families.get(&metric.family).cloned();
        let family = family.ok_or_else(|| Error::internal("no such metric family"))?;
        let made = family.metric(&metric.labels, metric.buckets.as_deref())?;
        let mut held = self.held.lock();
        let number = held.next_number()?;
        held.metrics.insert(number, Arc::new(made));
        Ok(number)
    }

    fn update(&self, metric: u64, update: MetricUpdate) -> Result<()> {
        self.metric(metric)?.update(update)
    }

    fn value(&self, metric: u64) -> Result<f64> {
        self.metric(metric)?.value()
    }

    fn release(&self, number: u64) {
        let released = {
            let mut held = self.held.lock();
            (held.families.remove(&number), held.metrics.remove(&number))
        };
        drop(released); // After the lock: the family's own is taken here.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_what_is_held() {
        let registry = Arc::new(MetricRegistry::default());
        let (one, other) = (
            MetricDesk::new(Arc::clone(&registry)),
            MetricDesk::new(registry),
        );
        let make = |desk: &MetricDesk| {
            let family = desk
                .new_family("f", "F.", MetricKind::Counter)
                .expect("a family");
            let metric = NewMetric {
                family,
                labels: BTreeMap::new(),
                buckets: None,
            };
            desk.new_metric(metric).expect("a metric")
        };
        let (first, second) = (make(&one), make(&other));
        one.update(first, MetricUpdate::Increment(2.0))
            .expect("held");
        assert_eq!(other.value(second).expect("held"), 2.0);
        drop(one);
        assert_eq!(other.value(second).expect("held"), 2.0);
        other.release(second);
        assert!(other.value(second).is_err());
        assert_eq!(
            other.value(make(&other)).expect("held"),
            0.0,
            "nobody held it"
        );
    }
}
