// SPDX-License-Identifier: Apache-2.0
//! Which instance takes the next payload.

use std::cmp::Reverse;

use crate::InstanceIndex;

#[derive(Clone, Debug)]
struct Instance {
    in_flight: u32,
    is_available: bool,
    /// Ordinal of the completion that freed it last; 0 before the first.
    freed: u64,
    /// Weight by which it has its turns; 0 where none is set.
    priority: u64,
    /// Sum of the priorities of its turns.
    turns: u64,
}

impl Instance {
    fn idle(is_available: bool) -> Self {
        Self {
            in_flight: 0,
            is_available,
            freed: 0,
            priority: 0,
            turns: 0,
        }
    }
}

/// The instances of a model and what each holds.
#[derive(Debug)]
pub(crate) struct InstancePool {
    instances: Vec<Instance>,
    max_in_flight: u32,
    completions: u64,
}

impl InstancePool {
    pub(crate) fn new(count: usize, max_in_flight: u32) -> Self {
        Self {
            instances: vec![Instance::idle(true); count],
            max_in_flight: max_in_flight.max(1),
            completions: 0,
        }
    }

    /// Returns the instance for the next payload: the least loaded, among equals the one whose turn
    /// it is by priority, then the one freed last (its caches are warm), among those never used the
    /// lowest index.
    ///
    /// A walk over all of them, because a model has few and the order changes with every event.
    pub(crate) fn next_free(&self) -> Option<InstanceIndex> {
        self.instances
            .iter()
            .enumerate()
            .filter(|(_, instance)| instance.is_available)
            .filter(|(_, instance)| instance.in_flight < self.max_in_flight)
            .min_by_key(|(index, instance)| {
                let turn = instance.turns + instance.priority;
                (instance.in_flight, turn, Reverse(instance.freed), *index)
            })
            .map(|(index, _)| InstanceIndex(index))
    }

    pub(crate) fn occupy(&mut self, index: InstanceIndex) {
        let instance = &mut self.instances[index.0];
        instance.in_flight += 1;
        instance.turns += instance.priority;
    }

    /// Gives an instance its turns by priority: with 2 half as many as with 1. It makes up for none
    /// that others had before.
    pub(crate) fn set_priority(&mut self, index: InstanceIndex, priority: u32) {
        let others = self.instances.iter().enumerate();
        let others = others.filter(|(other, each)| *other != index.0 && each.priority > 0);
        let turns = others.map(|(_, each)| each.turns).min().unwrap_or(0);
        if let Some(instance) = self.instances.get_mut(index.0) {
            instance.priority = u64::from(priority);
            instance.turns = turns;
        }
    }

    /// Frees one slot; an instance that holds nothing, or that there is not, is left alone.
    pub(crate) fn release(&mut self, index: InstanceIndex) {
        let instance = self
            .instances
            .get_mut(index.0)
            .filter(|instance| instance.in_flight > 0);
        debug_assert!(
            instance.is_some(),
            "{index:?} completed a payload that it was not given"
        );
        let Some(instance) = instance else { return };
        self.completions += 1;
        instance.in_flight -= 1;
        instance.freed = self.completions;
    }

    pub(crate) fn set_available(&mut self, index: InstanceIndex, is_available: bool) {
        if let Some(instance) = self.instances.get_mut(index.0) {
            instance.is_available = is_available;
        }
    }

    /// Adds an instance that is not yet available.
    pub(crate) fn add(&mut self) -> InstanceIndex {
        self.instances.push(Instance::idle(false));
        InstanceIndex(self.instances.len() - 1)
    }

    pub(crate) fn set_max_in_flight(&mut self, max_in_flight: u32) {
        self.max_in_flight = max_in_flight.max(1);
    }

    /// Returns what one instance holds; nothing if there is no such instance.
    pub(crate) fn in_flight_on(&self, index: InstanceIndex) -> usize {
        self.instances
            .get(index.0)
            .map_or(0, |instance| instance.in_flight as usize)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.instances
            .iter()
            .map(|instance| instance.in_flight as usize)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pool: &mut InstancePool) -> Option<usize> {
        let index = pool.next_free()?;
        pool.occupy(index);
        Some(index.0)
    }

    #[test]
    fn the_instance_freed_last_is_used_first() {
        let mut pool = InstancePool::new(3, 1);
        let taken: Vec<_> = std::iter::from_fn(|| take(&mut pool)).collect();
        assert_eq!(taken, [0, 1, 2]);
        for index in [1, 0, 2] {
            pool.release(InstanceIndex(index));
        }
        let taken: Vec<_> = std::iter::from_fn(|| take(&mut pool)).collect();
        assert_eq!(taken, [2, 0, 1]);
    }

    #[test]
    fn an_added_instance_takes_its_turn_once_it_is_available() {
        let mut pool = InstancePool::new(1, 1);
        let added = pool.add();
        assert_eq!((take(&mut pool), take(&mut pool)), (Some(0), None));
        pool.set_available(added, true);
        assert_eq!(take(&mut pool), Some(1));
        assert_eq!(pool.in_flight_on(added), 1);
        pool.set_max_in_flight(2);
        assert_eq!(pool.next_free(), Some(InstanceIndex(0)));
    }

    #[test]
    fn free_instances_have_their_turns_by_priority() {
        let mut pool = InstancePool::new(2, 1);
        pool.set_priority(InstanceIndex(0), 3);
        pool.set_priority(InstanceIndex(1), 1);
        let mut counts = [0; 2];
        for _ in 0..40 {
            let index = take(&mut pool).expect("both are free");
            counts[index] += 1;
            pool.release(InstanceIndex(index));
        }
        assert_eq!(counts, [10, 30]);
        let added = pool.add();
        pool.set_available(added, true);
        pool.set_priority(added, 1);
        let next: Vec<_> = std::iter::from_fn(|| take(&mut pool)).collect();
        assert!(next.contains(&1) && next.contains(&2), "{next:?}");
        pool.release(added);
        pool.release(InstanceIndex(1));
        pool.release(InstanceIndex(0));
        let next: Vec<_> = (0..8)
            .filter_map(|_| {
                let index = take(&mut pool)?;
                pool.release(InstanceIndex(index));
                Some(index)
            })
            .collect();
        assert!(
            next.contains(&1),
            "what is new does not take all turns: {next:?}"
        );
    }

    #[test]
    fn an_idle_instance_goes_before_a_loaded_one() {
        let mut pool = InstancePool::new(2, 2);
        let taken: Vec<_> = std::iter::from_fn(|| take(&mut pool)).collect();
        assert_eq!(taken, [0, 1, 0, 1]);
        for index in [1, 1, 0] {
            pool.release(InstanceIndex(index));
        }
        assert_eq!(take(&mut pool), Some(1));
        assert_eq!(pool.in_flight(), 2);
    }
}
