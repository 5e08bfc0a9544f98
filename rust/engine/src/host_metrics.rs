// SPDX-License-Identifier: Apache-2.0
//! CPU and memory of the host (X018, X019), read from `/proc`.

use std::fmt::Write;
use std::fs;

use crate::metrics::family;

/// Numbers of this moment; those that cannot be read are left out of the text.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HostMetrics {
    memory: Option<Memory>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    total_bytes: u64,
    used_bytes: u64,
}

impl HostMetrics {
    pub(crate) fn read() -> Self {
        let memory = fs::read_to_string("/proc/meminfo").ok();
        Self {
            memory: memory.as_deref().and_then(parse_memory),
        }
    }

    pub(crate) fn render(&self, text: &mut String) {
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
    HostMetrics::read().memory.map(|memory| memory.total_bytes)
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
}
