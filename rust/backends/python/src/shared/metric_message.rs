// SPDX-License-Identifier: Apache-2.0
//! What a worker asks of the server's metrics, and the answers.

use serde::{Deserialize, Serialize};
use tritongw_engine::{MetricKind, MetricUpdate};
use tritongw_types::{Error, ErrorCode, Result};

use crate::host::{MetricService, NewMetric};

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum MetricRequest {
    /// Answered with a number.
    NewFamily {
        name: String,
        help: String,
        kind: u32,
    },
    /// Answered with a number. Numbers travel by their bits: JSON has no infinity.
    NewMetric {
        family: u64,
        labels: std::collections::BTreeMap<String, String>,
        buckets: Option<Vec<u64>>,
    },
    /// Not answered.
    Update { metric: u64, kind: u32, bits: u64 },
    /// Answered with a value.
    Value { metric: u64 },
    /// Not answered.
    Release { number: u64 },
}

/// The bits of a number or of a value, or an error's code and text.
pub(crate) type MetricAnswer = std::result::Result<u64, (u32, String)>;

/// Does what a worker asks; `None` where no answer is due.
pub(crate) fn serve(service: &dyn MetricService, request: MetricRequest) -> Option<MetricAnswer> {
    let answer = match request {
        MetricRequest::NewFamily { name, help, kind } => {
            kind_of(kind).and_then(|kind| service.new_family(&name, &help, kind))
        }
        MetricRequest::NewMetric {
            family,
            labels,
            buckets,
        } => service.new_metric(NewMetric {
            family,
            labels,
            buckets: buckets.map(|all| all.into_iter().map(f64::from_bits).collect()),
        }),
        MetricRequest::Value { metric } => service.value(metric).map(f64::to_bits),
        MetricRequest::Update { metric, kind, bits } => {
            let updated = update_of(kind, bits).and_then(|update| service.update(metric, update));
            if let Err(error) = updated {
                log::warn!(
                    "a metric of a Python model is as it was: {}",
                    error.message()
                );
            }
            return None;
        }
        MetricRequest::Release { number } => {
            service.release(number);
            return None;
        }
    };
    Some(answer.map_err(|error| (error.code() as u32, error.message().to_owned())))
}

/// Returns what an answer says.
pub(crate) fn read(answer: MetricAnswer) -> Result<u64> {
    answer.map_err(|(code, message)| {
        let code = ErrorCode::from_number(code).unwrap_or(ErrorCode::Internal);
        Error::new(code, message)
    })
}

pub(crate) fn kind_number(kind: MetricKind) -> u32 {
    match kind {
        MetricKind::Counter => 0,
        MetricKind::Gauge => 1,
        MetricKind::Histogram => 2,
    }
}

fn kind_of(number: u32) -> Result<MetricKind> {
    match number {
        0 => Ok(MetricKind::Counter),
        1 => Ok(MetricKind::Gauge),
        2 => Ok(MetricKind::Histogram),
        _ => Err(Error::invalid_arg("Unknown metric kind")),
    }
}

pub(crate) fn update_numbers(update: MetricUpdate) -> (u32, u64) {
    match update {
        MetricUpdate::Increment(value) => (0, value.to_bits()),
        MetricUpdate::Set(value) => (1, value.to_bits()),
        MetricUpdate::Observe(value) => (2, value.to_bits()),
    }
}

fn update_of(kind: u32, bits: u64) -> Result<MetricUpdate> {
    let value = f64::from_bits(bits);
    match kind {
        0 => Ok(MetricUpdate::Increment(value)),
        1 => Ok(MetricUpdate::Set(value)),
        2 => Ok(MetricUpdate::Observe(value)),
        _ => Err(Error::invalid_arg("unknown change of a metric")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::MetricDesk;
    use tritongw_engine::MetricRegistry;

    /// Sends a request through the wire's form.
    fn ask(desk: &MetricDesk, request: &MetricRequest) -> Option<Result<u64>> {
        let json = serde_json::to_string(request).expect("JSON");
        let request = serde_json::from_str(&json).expect("what was written");
        serve(desk, request).map(read)
    }

    #[test]
    fn a_metric_lives_by_messages() {
        let desk = MetricDesk::new(Arc::new(MetricRegistry::default()));
        let kind = kind_number(MetricKind::Histogram);
        let (name, help) = ("h".to_owned(), "H.".to_owned());
        let family = ask(&desk, &MetricRequest::NewFamily { name, help, kind });
        let family = family.expect("an answer").expect("a family");
        let new_metric = MetricRequest::NewMetric {
            family,
            labels: Default::default(),
            buckets: Some(vec![1.0_f64.to_bits(), f64::INFINITY.to_bits()]),
        };
        let metric = ask(&desk, &new_metric)
            .expect("an answer")
            .expect("a metric");
        let (kind, bits) = update_numbers(MetricUpdate::Observe(f64::INFINITY));
        assert!(ask(&desk, &MetricRequest::Update { metric, kind, bits }).is_none());
        let error = ask(&desk, &MetricRequest::Value { metric }).expect("an answer");
        let error = error.expect_err("histograms have no value");
        assert_eq!(error.code(), ErrorCode::Unsupported);
        assert!(ask(&desk, &MetricRequest::Release { number: metric }).is_none());
    }
}
