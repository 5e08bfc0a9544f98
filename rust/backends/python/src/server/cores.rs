// SPDX-License-Identifier: Apache-2.0
//! Which cores the instances that may use only some of them run on.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::thread::{CpuSet, sched_getaffinity};
use tritongw_types::{Error, Result};

/// The cores of this server, and how many instances run on each.
#[derive(Debug, Default)]
pub(crate) struct CoreTable(Mutex<BTreeMap<usize, usize>>);

/// Some cores, counted as taken until dropped.
#[derive(Debug)]
pub(crate) struct CoreShare {
    table: Arc<CoreTable>,
    cores: Vec<usize>,
}

impl CoreTable {
    /// Finds the cores that this process may use.
    pub(crate) fn of_this_process() -> Self {
        let cores = sched_getaffinity(None).unwrap_or_else(|error| {
            log::warn!("failed to find the cores of this process: {error}");
            CpuSet::new()
        });
        let cores = (0..CpuSet::MAX_CPU).filter(|&core| cores.is_set(core));
        Self(Mutex::new(cores.map(|core| (core, 0)).collect()))
    }

    /// Takes the `count` cores on which the fewest instances run, of those that the calling thread
    /// may use.
    ///
    /// # Errors
    /// If there are not so many.
    pub(crate) fn take(self: &Arc<Self>, count: usize) -> Result<CoreShare> {
        let allowed = sched_getaffinity(None).ok();
        self.take_of(count, |core| {
            allowed.is_none_or(|allowed| core < CpuSet::MAX_CPU && allowed.is_set(core))
        })
    }

    fn take_of(
        self: &Arc<Self>,
        count: usize,
        is_allowed: impl Fn(usize) -> bool,
    ) -> Result<CoreShare> {
        let mut uses = self.0.lock();
        let allowed = uses.iter().filter(|(core, _)| is_allowed(**core));
        let mut by_use: Vec<_> = allowed.map(|(&core, &uses)| (uses, core)).collect();
        if count > by_use.len() {
            return Err(Error::invalid_arg(format!(
                "{count} cores are asked for, the server has {}",
                by_use.len()
            )));
        }
        by_use.sort_unstable();
        let mut cores: Vec<_> = by_use.iter().take(count).map(|&(_, core)| core).collect();
        cores.sort_unstable();
        for core in &cores {
            *uses.entry(*core).or_default() += 1;
        }
        Ok(CoreShare {
            table: Arc::clone(self),
            cores,
        })
    }
}

impl CoreShare {
    /// Returns the cores, ascending.
    pub(crate) fn cores(&self) -> &[usize] {
        &self.cores
    }
}

impl Drop for CoreShare {
    fn drop(&mut self) {
        let mut uses = self.table.0.lock();
        for core in &self.cores {
            if let Some(uses) = uses.get_mut(core) {
                *uses = uses.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_spread_over_the_cores() {
        let cores = [2, 3, 5].map(|core| (core, 0));
        let table = Arc::new(CoreTable(Mutex::new(cores.into())));
        let take = |count| table.take_of(count, |_| true);
        let first = take(2).expect("enough");
        assert_eq!(first.cores(), [2, 3]);
        let second = take(2).expect("enough");
        assert_eq!(second.cores(), [2, 5]);
        drop(first);
        assert_eq!(take(1).expect("enough").cores(), [3]);
        let error = take(4).expect_err("too many");
        assert_eq!(error.message(), "4 cores are asked for, the server has 3");
        let some = table.take_of(1, |core| core == 5).expect("enough");
        assert_eq!(some.cores(), [5]);
        let error = table.take_of(2, |core| core == 5).expect_err("too many");
        assert_eq!(error.message(), "2 cores are asked for, the server has 1");
    }

    #[test]
    fn the_cores_of_this_process_are_found() {
        assert!(!CoreTable::of_this_process().0.lock().is_empty());
    }
}
