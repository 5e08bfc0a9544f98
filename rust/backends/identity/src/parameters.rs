// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::time::Duration;

use tritongw_config::whole_number_parameter;
use tritongw_types::Result;

/// Parameters of a model, all of them for tests (B080).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) delays: Delays,
    /// What the backend adds to traces, if anything (`enable_custom_tracing`).
    pub(crate) tracing: Option<CustomTracing>,
}

impl Parameters {
    pub(crate) fn read(parameters: &BTreeMap<String, String>) -> Result<Self> {
        let is_traced = parameters
            .get("enable_custom_tracing")
            .is_some_and(|value| value == "true");
        Ok(Self {
            delays: Delays::read(parameters)?,
            tracing: is_traced
                .then(|| CustomTracing::read(parameters))
                .transpose()?,
        })
    }
}

/// Delays of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delays {
    /// Of the load (`creation_delay_sec`).
    pub(crate) creation: Duration,
    /// Of each execution (`execute_delay_ms`).
    execution: Duration,
    /// How much longer it is for each further instance (`instance_wise_delay_multiplier`).
    instance_multiplier: u64,
}

impl Delays {
    fn read(parameters: &BTreeMap<String, String>) -> Result<Self> {
        let number = |name| whole_number_parameter(parameters, name);
        Ok(Self {
            creation: Duration::from_secs(number("creation_delay_sec")?),
            execution: Duration::from_millis(number("execute_delay_ms")?),
            instance_multiplier: number("instance_wise_delay_multiplier")?,
        })
    }

    /// Returns the delay of an instance, which are counted from 0: never less than that of the
    /// first.
    pub(crate) fn of_instance(&self, number: u64) -> Duration {
        let multiplier = self.instance_multiplier.saturating_mul(number).max(1);
        let multiplier = u32::try_from(multiplier).unwrap_or(u32::MAX);
        self.execution.saturating_mul(multiplier)
    }
}

/// Spans within spans that are noted for each traced request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CustomTracing {
    /// How deep they go, at most [`MAX_SPANS`] (`nested_span_count`).
    pub(crate) span_count: u64,
    /// An activity without a span comes with the first of so many spans; 0 is never
    /// (`single_activity_frequency`).
    pub(crate) activity_frequency: u64,
}

/// Bounds what a trace of one request can hold.
const MAX_SPANS: u64 = 1000;

impl CustomTracing {
    fn read(parameters: &BTreeMap<String, String>) -> Result<Self> {
        let span_count = whole_number_parameter(parameters, "nested_span_count")?;
        Ok(Self {
            span_count: span_count.min(MAX_SPANS),
            activity_frequency: whole_number_parameter(parameters, "single_activity_frequency")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Parameters> {
        Parameters::read(
            &pairs
                .iter()
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        )
    }

    #[test]
    fn there_is_no_delay_and_no_trace_unless_asked_for() {
        let parameters = read(&[("nested_span_count", "3")]).expect("valid");
        let delays = parameters.delays;
        assert_eq!(
            (delays.creation, delays.of_instance(1)),
            (Duration::ZERO, Duration::ZERO)
        );
        assert_eq!(parameters.tracing, None);
    }

    #[test]
    fn instance_wise_delays_grow_with_the_instance() {
        let same = read(&[("execute_delay_ms", "5")]).expect("valid").delays;
        assert_eq!(same.of_instance(3), Duration::from_millis(5));
        let wise = [
            ("execute_delay_ms", "5"),
            ("instance_wise_delay_multiplier", "2"),
        ];
        let wise = read(&wise).expect("valid").delays;
        let delays = [0, 1, 3].map(|number| wise.of_instance(number).as_millis());
        assert_eq!(delays, [5, 10, 30]);
    }

    #[test]
    fn spans_are_counted_within_limits() {
        let tracing = |count| {
            let pairs = [
                ("enable_custom_tracing", "true"),
                ("nested_span_count", count),
                ("single_activity_frequency", "3"),
            ];
            read(&pairs).expect("valid").tracing.expect("enabled")
        };
        let (span_count, activity_frequency) = (6, 3);
        let expected = CustomTracing {
            span_count,
            activity_frequency,
        };
        assert_eq!(tracing("6"), expected);
        assert_eq!(tracing("1000000000").span_count, MAX_SPANS);
    }

    #[test]
    fn a_delay_that_is_no_number_is_refused() {
        let error = read(&[("creation_delay_sec", "soon")]).expect_err("no number");
        assert_eq!(
            error.message(),
            "parameter 'creation_delay_sec' must be a non-negative integer, got 'soon'"
        );
    }
}
