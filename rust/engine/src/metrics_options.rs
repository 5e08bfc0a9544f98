// SPDX-License-Identifier: Apache-2.0
//! What is measured, and how (C076, C079, C080, C089, X037-X040).

use std::time::Duration;

use tritongw_types::{Error, Result};

use crate::quantile_sketch::Quantile;

/// What is measured, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsOptions {
    /// Whether counters count; without them the families of durations are gone too (X037).
    pub counter_latencies: bool,
    /// Whether there is a histogram of first responses (X038).
    pub histogram_latencies: bool,
    /// Whether there are summaries (X039).
    pub summary_latencies: bool,
    /// What the summaries answer (X040).
    pub summary_quantiles: Vec<Quantile>,
    /// Whether the host's CPU and memory are told (C076).
    pub reports_cpu: bool,
    /// Whether GPUs are told, where there are any (C075).
    pub reports_gpus: bool,
    /// How old the numbers of host and GPUs may be (C079).
    pub interval: Duration,
    /// Size of the pinned pool, as asked for (C089).
    pub pinned_memory_pool_byte_size: u64,
}

impl Default for MetricsOptions {
    fn default() -> Self {
        let quantiles = [
            (0.5, 0.05),
            (0.9, 0.01),
            (0.95, 0.001),
            (0.99, 0.001),
            (0.999, 0.001),
        ];
        let target = |(quantile, error)| Quantile { quantile, error };
        Self {
            counter_latencies: true,
            histogram_latencies: false,
            summary_latencies: false,
            summary_quantiles: quantiles.map(target).to_vec(),
            reports_cpu: true,
            reports_gpus: true,
            interval: Duration::from_secs(2),
            pinned_memory_pool_byte_size: 1 << 28,
        }
    }
}

impl MetricsOptions {
    /// Applies one setting of `--metrics-config`; returns whether there is such a setting.
    ///
    /// # Errors
    /// `InvalidArg` if the setting cannot have the value. Triton takes such a boolean for false
    /// and leaves such quantiles out.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool> {
        match name {
            "counter_latencies" => self.counter_latencies = boolean(name, value)?,
            "histogram_latencies" => self.histogram_latencies = boolean(name, value)?,
            "summary_latencies" => self.summary_latencies = boolean(name, value)?,
            "summary_quantiles" => self.summary_quantiles = quantiles(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn boolean(name: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(Error::invalid_arg(format!(
            "metrics setting '{name}' must be true or false, got '{value}'"
        ))),
    }
}

fn quantiles(value: &str) -> Result<Vec<Quantile>> {
    let quantile = |pair: &str| {
        let (quantile, error) = pair.split_once(':')?;
        let share = |text: &str| {
            let number: f64 = text.trim().parse().ok()?;
            (number > 0.0 && number < 1.0).then_some(number)
        };
        Some(Quantile {
            quantile: share(quantile)?,
            error: share(error)?,
        })
    };
    let quantiles: Option<Vec<_>> = value.split(',').map(quantile).collect();
    quantiles.ok_or_else(|| {
        Error::invalid_arg(format!(
            "summary quantiles must be of the form '<quantile>:<error>,...' with numbers between 0 \
             and 1, got '{value}'"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_by_name() {
        let mut options = MetricsOptions::default();
        assert!(options.set("summary_latencies", "True").expect("valid"));
        assert!(
            options
                .set("summary_quantiles", "0.5:0.05,0.9:0.01")
                .expect("valid")
        );
        assert!(options.summary_latencies);
        let expected = [(0.5, 0.05), (0.9, 0.01)];
        assert_eq!(
            options.summary_quantiles,
            expected.map(|(quantile, error)| Quantile { quantile, error })
        );
        assert!(!options.set("no_such_setting", "1").expect("valid"));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let mut options = MetricsOptions::default();
        options
            .set("counter_latencies", "maybe")
            .expect_err("no boolean");
        for value in ["", "0.5", "0.5:0", "1:0.1", "a:b", "0.5:0.1,"] {
            options.set("summary_quantiles", value).expect_err(value);
        }
        assert_eq!(options, MetricsOptions::default());
    }
}
