// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;
use std::time::Duration;

use tritongw_config::whole_number_parameter;
use tritongw_types::Result;

/// Delays for tests, from the model's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delays {
    /// Of the load (`creation_delay_sec`).
    pub(crate) creation: Duration,
    /// Of each execution (`execute_delay_ms`).
    execution: Duration,
    /// Whether instances differ in theirs (`instance_wise_delay_multiplier`).
    is_instance_wise: bool,
}

impl Delays {
    pub(crate) fn read(parameters: &BTreeMap<String, String>) -> Result<Self> {
        let number = |name| whole_number_parameter(parameters, name);
        Ok(Self {
            creation: Duration::from_secs(number("creation_delay_sec")?),
            execution: Duration::from_millis(number("execute_delay_ms")?),
            is_instance_wise: number("instance_wise_delay_multiplier")? > 0,
        })
    }

    /// Returns the delay of an instance. Triton: an instance-wise delay is multiplied by the
    /// number of the device, whatever the multiplier says.
    pub(crate) fn of_instance(&self, device_id: i32) -> Duration {
        let multiplier = if self.is_instance_wise {
            device_id.max(1).unsigned_abs()
        } else {
            1
        };
        self.execution.saturating_mul(multiplier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Delays> {
        Delays::read(
            &pairs
                .iter()
                .map(|&(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        )
    }

    #[test]
    fn there_is_no_delay_unless_asked_for() {
        let delays = read(&[]).expect("nothing to read");
        assert_eq!(
            (delays.creation, delays.of_instance(0)),
            (Duration::ZERO, Duration::ZERO)
        );
    }

    #[test]
    fn instance_wise_delays_grow_with_the_device() {
        let same = read(&[("execute_delay_ms", "5")]).expect("valid");
        assert_eq!(same.of_instance(3), Duration::from_millis(5));
        let wise = [
            ("execute_delay_ms", "5"),
            ("instance_wise_delay_multiplier", "7"),
        ];
        let wise = read(&wise).expect("valid");
        assert_eq!(wise.of_instance(0), Duration::from_millis(5));
        assert_eq!(wise.of_instance(3), Duration::from_millis(15));
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
