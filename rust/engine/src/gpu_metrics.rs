// SPDX-License-Identifier: Apache-2.0
//! What GPUs are doing (X020-X023, X042, X043).

use std::fmt::Write;
use std::time::Duration;

use parking_lot::Mutex;
use tritongw_cuda::{Gpu, GpuMeter, GpuSample};

use crate::clock::monotonic_ns;
use crate::metrics::family;

/// Measures GPUs when asked, and not again within the interval.
#[derive(Debug)]
pub(crate) struct GpuMetrics {
    meter: GpuMeter,
    interval_ns: u64,
    last: Mutex<Measurement>,
}

#[derive(Debug)]
struct Measurement {
    at_ns: u64,
    samples: Vec<GpuSample>,
}

/// A metric family with at most one number for each GPU.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&GpuSample) -> Option<f64>,
}

const FAMILIES: [Family; 6] = [
    Family {
        name: "nv_gpu_utilization",
        kind: "gauge",
        help: "GPU utilization rate [0.0 - 1.0)",
        value: |sample| sample.utilization,
    },
    Family {
        name: "nv_gpu_memory_total_bytes",
        kind: "gauge",
        help: "GPU total memory, in bytes",
        value: |sample| sample.memory_total_bytes.map(|bytes| bytes as f64),
    },
    Family {
        name: "nv_gpu_memory_used_bytes",
        kind: "gauge",
        help: "GPU used memory, in bytes",
        value: |sample| sample.memory_used_bytes.map(|bytes| bytes as f64),
    },
    Family {
        name: "nv_gpu_power_usage",
        kind: "gauge",
        help: "GPU power usage in watts",
        value: |sample| sample.power_watts,
    },
    Family {
        name: "nv_gpu_power_limit",
        kind: "gauge",
        help: "GPU power management limit in watts",
        value: |sample| sample.power_limit_watts,
    },
    Family {
        name: "nv_energy_consumption",
        kind: "counter",
        help: "GPU energy consumption in joules since the Triton Server started",
        value: |sample| sample.energy_joules,
    },
];

impl GpuMetrics {
    /// Begins to measure; `None` if there is no GPU, or none that can be measured.
    pub(crate) fn start(gpus: &[Gpu], interval: Duration) -> Option<Self> {
        if gpus.is_empty() {
            return None;
        }
        let meter = GpuMeter::new(gpus)
            .inspect_err(|error| log::warn!("GPU metrics will not be available: {error}"))
            .ok()?;
        for gpu in gpus {
            log::info!("Collecting metrics for GPU {}: {}", gpu.id, gpu.name);
        }
        let first = Measurement::take(&meter);
        Some(Self {
            meter,
            interval_ns: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            last: Mutex::new(first),
        })
    }

    /// Adds numbers that are no older than the interval.
    pub(crate) fn render(&self, text: &mut String) {
        let mut last = self.last.lock();
        if monotonic_ns().saturating_sub(last.at_ns) >= self.interval_ns {
            *last = Measurement::take(&self.meter);
        }
        render(&last.samples, text);
    }
}

impl Measurement {
    fn take(meter: &GpuMeter) -> Self {
        Self {
            at_ns: monotonic_ns(),
            samples: meter.measure(),
        }
    }
}

fn render(samples: &[GpuSample], text: &mut String) {
    for Family {
        name,
        kind,
        help,
        value,
    } in FAMILIES
    {
        family(text, name, kind, help);
        for sample in samples {
            if let Some(value) = value(sample) {
                // INVARIANT: writing to a String cannot fail.
                let _ = writeln!(text, "{name}{{gpu_uuid=\"{}\"}} {value}", sample.uuid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gpu_does_not_tell_is_left_out() {
        let telling = GpuSample {
            uuid: "GPU-0".to_owned(),
            utilization: Some(0.5),
            memory_total_bytes: Some(85_520_809_984),
            memory_used_bytes: Some(1),
            power_watts: Some(70.25),
            power_limit_watts: Some(700.0),
            energy_joules: Some(0.0),
        };
        let silent = GpuSample {
            uuid: "GPU-1".to_owned(),
            ..GpuSample::default()
        };
        let mut text = String::new();
        render(&[telling, silent], &mut text);
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "nv_gpu_utilization{gpu_uuid=\"GPU-0\"} 0.5",
            "nv_gpu_memory_total_bytes{gpu_uuid=\"GPU-0\"} 85520809984",
            "nv_gpu_memory_used_bytes{gpu_uuid=\"GPU-0\"} 1",
            "nv_gpu_power_usage{gpu_uuid=\"GPU-0\"} 70.25",
            "nv_gpu_power_limit{gpu_uuid=\"GPU-0\"} 700",
            "nv_energy_consumption{gpu_uuid=\"GPU-0\"} 0",
        ];
        assert_eq!(samples, expected);
        assert_eq!(text.matches("# TYPE").count(), 6);
    }

    #[test]
    fn without_a_gpu_nothing_is_measured() {
        assert!(GpuMetrics::start(&[], Duration::ZERO).is_none());
    }
}
