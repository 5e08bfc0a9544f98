// SPDX-License-Identifier: Apache-2.0
use tritongw_protocol::pb;
use tritongw_protocol::pb::model_metrics::metric_control::MetricOptions;
use tritongw_types::{Error, Result};

/// Settings of one metric family of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricControl {
    /// Name of the family, not empty.
    pub family: String,
    /// Upper bounds of the histogram, at least one.
    pub buckets: Vec<f64>,
}

pub(super) fn from_message(message: &pb::ModelConfig) -> Result<Vec<MetricControl>> {
    let controls = message
        .model_metrics
        .iter()
        .flat_map(|metrics| &metrics.metric_control);
    controls.map(metric_control).collect()
}

fn metric_control(message: &pb::model_metrics::MetricControl) -> Result<MetricControl> {
    let Some(identifier) = &message.metric_identifier else {
        return Err(Error::invalid_arg(
            "metric control must specify 'metric_identifier'",
        ));
    };
    if identifier.family.is_empty() {
        return Err(Error::invalid_arg(
            "metric identifier must specify non-empty 'family'",
        ));
    }
    let Some(MetricOptions::HistogramOptions(options)) = &message.metric_options else {
        return Err(Error::invalid_arg(
            "metric control must specify 'histogram_options'",
        ));
    };
    if options.buckets.is_empty() {
        return Err(Error::invalid_arg(
            "histogram options must specify non-empty 'buckets'",
        ));
    }
    Ok(MetricControl {
        family: identifier.family.clone(),
        buckets: options.buckets.clone(),
    })
}
