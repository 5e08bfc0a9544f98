// SPDX-License-Identifier: Apache-2.0
//! CPU and memory of the host (X018, X019, X042), read from `/proc`.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::monotonic_ns;
use crate::metrics::family;

/// Measures the host when asked, and not again within the interval. Needs no thread: the CPU's
/// utilisation is that of the time since the last measurement.
#[derive(Debug)]
pub(crate) struct HostMeter {
    interval_ns: u64,
    last: Mutex<Measurement>,
}

/// Numbers of one moment; those that cannot be read are left out of the text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measurement {
    at_ns: u64,
    ticks: Option<CpuTicks>,
    utilization: Option<f64>,
    memory: Option<Memory>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    total_bytes: u64,
    used_bytes: u64,
}

/// Time of all CPUs since the host started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuTicks {
    total: u64,
    idle: u64,
}

impl HostMeter {
    /// Takes the first measurement.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval_ns: u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX),
            last: Mutex::new(Measurement::take(&Measurement::default())),
        }
    }

    /// Returns numbers that are no older than the interval.
    pub(crate) fn measure(&self) -> Measurement {
        let mut last = self.last.lock();
        if monotonic_ns().saturating_sub(last.at_ns) >= self.interval_ns {
            *last = Measurement::take(&last);
        }
        *last
    }
}

impl Measurement {
    fn take(last: &Self) -> Self {
        let stat = fs::read_to_string("/proc/stat").ok();
        let memory = fs::read_to_string("/proc/meminfo").ok();
        let ticks = stat.as_deref().and_then(parse_ticks);
        // Without an earlier measurement: since the host started.
        let before = last.ticks.unwrap_or(CpuTicks { total: 0, idle: 0 });
        Self {
            at_ns: monotonic_ns(),
            ticks,
            utilization: ticks.map(|ticks| utilization(before, ticks)),
            memory: memory.as_deref().and_then(parse_memory),
        }
    }

    pub(crate) fn render(&self, text: &mut String) {
        if let Some(utilization) = self.utilization {
            const NAME: &str = "nv_cpu_utilization";
            family(text, NAME, "gauge", "CPU utilization rate [0.0 - 1.0]");
            let _ = writeln!(text, "{NAME} {utilization}");
        }
        let Some(memory) = self.memory else {
            return;
        };
        let gauges = [
            (
                "nv_cpu_memory_total_bytes",
                "CPU total memory (RAM), in bytes",
                memory.total_bytes,
            ),
            (
                "nv_cpu_memory_used_bytes",
                "CPU used memory (RAM), in bytes",
                memory.used_bytes,
            ),
        ];
        for (name, help, value) in gauges {
            family(text, name, "gauge", help);
            let _ = writeln!(text, "{name} {value}");
        }
    }
}

/// Returns the memory of the machine.
pub(crate) fn total_memory_bytes() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    parse_memory(&meminfo).map(|memory| memory.total_bytes)
}

/// Returns the busy share of the time between two moments.
fn utilization(before: CpuTicks, now: CpuTicks) -> f64 {
    let total = now.total.saturating_sub(before.total);
    let idle = now.idle.saturating_sub(before.idle).min(total);
    if total == 0 {
        return 0.0;
    }
    (total - idle) as f64 / total as f64
}

/// Reads the line of all CPUs: user, nice, system, idle, iowait, irq, softirq, steal; the guests'
/// time behind them is part of user and nice.
fn parse_ticks(stat: &str) -> Option<CpuTicks> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    let idle = fields.get(3)? + fields.get(4).unwrap_or(&0);
    Some(CpuTicks {
        total: fields.iter().sum(),
        idle,
    })
}

fn parse_memory(meminfo: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    let total_bytes = field("MemTotal:")?;
    let used_bytes = total_bytes.saturating_sub(field("MemAvailable:")?);
    Some(Memory {
        total_bytes,
        used_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_total_less_available() {
        let text = "MemTotal:       100 kB\nMemFree:  10 kB\nMemAvailable:   40 kB\n";
        let expected = Memory {
            total_bytes: 102_400,
            used_bytes: 61_440,
        };
        assert_eq!(parse_memory(text), Some(expected));
        assert_eq!(parse_memory("MemTotal: x"), None);
    }

    #[test]
    fn the_host_is_measured_again_after_the_interval() {
        let lasting = HostMeter::new(Duration::MAX);
        assert_eq!(lasting.measure().at_ns, lasting.measure().at_ns);
        let fleeting = HostMeter::new(Duration::ZERO);
        assert_ne!(fleeting.measure().at_ns, fleeting.measure().at_ns);
    }

    #[test]
    fn utilization_is_the_busy_share_of_the_time_between() {
        let text = "cpu  10 0 20 60 10 0 0 0 99 99\ncpu0 1 1 1 1\n";
        let ticks = parse_ticks(text).expect("a line of all CPUs");
        assert_eq!(
            ticks,
            CpuTicks {
                total: 100,
                idle: 70
            }
        );
        let later = CpuTicks {
            total: 140,
            idle: 80,
        };
        assert_eq!(utilization(ticks, later), 0.75);
        assert_eq!(utilization(ticks, ticks), 0.0);
        assert_eq!(parse_ticks("cpu x"), None);
    }
}
