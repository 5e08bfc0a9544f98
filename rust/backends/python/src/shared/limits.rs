// SPDX-License-Identifier: Apache-2.0
//! What a worker may take of the machine.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// Limits that a worker sets on itself before any of the model's code runs; its children inherit
/// them. They bound mistakes: no sandbox for code that means harm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerLimits {
    /// Bytes of private memory beyond those that the worker takes before it loads the model.
    /// Tensors in shared memory do not count.
    pub(crate) memory_bytes: Option<u64>,
    /// Descriptors.
    pub(crate) open_files: Option<u64>,
    /// Cores to run on; all if empty.
    pub(crate) cores: Vec<usize>,
}

impl WorkerLimits {
    /// Sets the limits on this process. Called while it has one thread: cores are a matter of
    /// each thread, inherited by those it starts.
    ///
    /// # Errors
    /// If the system refuses one.
    pub(crate) fn apply(&self) -> io::Result<()> {
        if !self.cores.is_empty() {
            let mut cores = CpuSet::new();
            for &core in self.cores.iter().filter(|&&core| core < CpuSet::MAX_CPU) {
                cores.set(core);
            }
            sched_setaffinity(None, &cores)?;
        }
        if let Some(count) = self.open_files {
            set_limit(Resource::Nofile, count)?;
        }
        if let Some(bytes) = self.memory_bytes {
            // The kernel holds this to what is writable and not shared: code, slabs and files
            // that are only read are left out, unlike in the limit on address space.
            set_limit(Resource::Data, private_bytes()?.saturating_add(bytes))?;
        }
        Ok(())
    }
}

fn set_limit(resource: Resource, value: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    Ok(setrlimit(resource, limit)?)
}

/// Returns what the limit on private memory counts of this process now.
fn private_bytes() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmData:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.and_then(|kib| kib.checked_mul(1024))
        .ok_or_else(|| io::Error::other("/proc/self/status does not say how much memory is in use"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limits_change_nothing() {
        let before = rustix::process::getrlimit(Resource::Data);
        WorkerLimits::default().apply().expect("nothing to refuse");
        let after = rustix::process::getrlimit(Resource::Data);
        assert_eq!(before.current, after.current);
    }

    #[test]
    fn memory_in_use_is_known() {
        assert!(private_bytes().expect("the kernel says it") > 0);
    }
}
