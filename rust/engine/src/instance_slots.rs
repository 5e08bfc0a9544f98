// SPDX-License-Identifier: Apache-2.0
//! The instances of a model by their index in the scheduler, which come and go while it serves.
//!
//! **Invariant:** an index names one instance from [`InstanceSlots::reserve`] to
//! [`InstanceSlots::free`]; only then may another one have it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tritongw_scheduler::InstanceIndex;
use tritongw_types::Error;

use crate::backend::{Availability, ReadyCheck};
use crate::instance::ModelInstance;

/// Instances by index; `None` where there is none, or none yet.
pub(crate) type Instances = Vec<Option<Arc<ModelInstance>>>;

/// Where a slot is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotState {
    /// Nobody's.
    Free,
    /// Its instance is being made.
    Opening,
    /// Its instance takes requests.
    Open,
    /// Its instance is there and takes none (S090).
    Passive,
    /// Its instance finishes what it has.
    Closing,
}

struct Slot {
    state: SlotState,
    availability: Availability,
    // Calls to other models that its executions wait for.
    calls: isize,
}

impl Slot {
    fn is_open(&self) -> bool {
        self.state == SlotState::Open
    }
}

/// The slots of one model.
#[derive(Default)]
pub(crate) struct InstanceSlots {
    // Read for every request, without a lock.
    instances: ArcSwap<Instances>,
    slots: Mutex<Vec<Slot>>,
    // Whether any instance has ever failed for good; until then requests need not look.
    may_have_failed: AtomicBool,
}

impl InstanceSlots {
    /// Returns the instances of this moment.
    pub(crate) fn load(&self) -> Guard<Arc<Instances>> {
        self.instances.load()
    }

    /// Sets a slot aside for an instance to be made; `add` is asked for a new index where no slot
    /// is free.
    pub(crate) fn reserve(&self, add: impl FnOnce() -> InstanceIndex) -> InstanceIndex {
        let mut slots = self.slots.lock();
        let slot = Slot {
            state: SlotState::Opening,
            availability: Availability::Available,
            calls: 0,
        };
        let is_free = |slot: &Slot| slot.state == SlotState::Free;
        match slots.iter().position(is_free) {
            Some(index) => {
                slots[index] = slot;
                InstanceIndex(index)
            }
            None => {
                let index = add();
                debug_assert_eq!(index.0, slots.len(), "machine and slots grow together");
                slots.push(slot);
                index
            }
        }
    }

    /// Puts instances into the slots reserved for them; what happened before is remembered.
    pub(crate) fn open(&self, opened: &[(InstanceIndex, Arc<ModelInstance>)]) {
        let mut slots = self.slots.lock();
        self.instances.rcu(|instances| {
            let mut instances = Instances::clone(instances);
            for (index, instance) in opened {
                if instances.len() <= index.0 {
                    instances.resize(index.0 + 1, None);
                }
                instances[index.0] = Some(Arc::clone(instance));
            }
            instances
        });
        for (index, instance) in opened {
            slots[index.0].state = if instance.signature().is_passive {
                SlotState::Passive
            } else {
                SlotState::Open
            };
        }
    }

    /// Returns which of the open instances can be given something: not one that waits for a call,
    /// unless there is no other.
    pub(crate) fn availability(&self) -> Vec<(InstanceIndex, bool)> {
        let slots = self.slots.lock();
        let open = || slots.iter().enumerate().filter(|(_, slot)| slot.is_open());
        let is_alone = open().nth(1).is_none();
        let can_take = |slot: &Slot| {
            matches!(slot.availability, Availability::Available) && (is_alone || slot.calls <= 0)
        };
        open()
            .map(|(index, slot)| (InstanceIndex(index), can_take(slot)))
            .collect()
    }

    /// Notes calls that an instance begins or ends to wait for; returns whether it matters to
    /// others.
    pub(crate) fn note_calls(&self, index: InstanceIndex, change: isize) -> bool {
        let mut slots = self.slots.lock();
        let is_alone = slots.iter().filter(|slot| slot.is_open()).nth(1).is_none();
        let Some(slot) = slots.get_mut(index.0) else {
            return false;
        };
        let was_waiting = slot.calls > 0;
        slot.calls += change;
        !is_alone && was_waiting != (slot.calls > 0)
    }

    /// Returns the numbers of the instances that take requests.
    pub(crate) fn open_indices(&self) -> Vec<usize> {
        let slots = self.slots.lock();
        let open = slots.iter().enumerate().filter(|(_, slot)| slot.is_open());
        open.map(|(index, _)| index).collect()
    }

    /// Marks an instance that is to get no further request.
    pub(crate) fn close(&self, index: InstanceIndex) {
        if let Some(slot) = self.slots.lock().get_mut(index.0) {
            slot.state = SlotState::Closing;
        }
    }

    /// Gives a slot back, once its instance has ended or could not be made.
    pub(crate) fn free(&self, index: InstanceIndex) {
        let mut slots = self.slots.lock();
        self.instances.rcu(|instances| {
            let mut instances = Instances::clone(instances);
            if let Some(instance) = instances.get_mut(index.0) {
                *instance = None;
            }
            instances
        });
        if let Some(slot) = slots.get_mut(index.0) {
            slot.state = SlotState::Free;
        }
    }

    /// Returns the instances that take requests, and the passive ones.
    pub(crate) fn open_instances(&self) -> Vec<(InstanceIndex, Arc<ModelInstance>)> {
        let slots = self.slots.lock();
        let instances = self.instances.load();
        let open = instances.iter().zip(slots.iter()).enumerate();
        open.filter(|(_, (_, slot))| matches!(slot.state, SlotState::Open | SlotState::Passive))
            .filter_map(|(index, (instance, _))| Some((InstanceIndex(index), instance.clone()?)))
            .collect()
    }

    /// Notes what an instance can do; returns whether it counts already, and still.
    pub(crate) fn set_availability(
        &self,
        index: InstanceIndex,
        availability: Availability,
    ) -> bool {
        if matches!(availability, Availability::Failed(_)) {
            self.may_have_failed.store(true, Ordering::Release);
        }
        match self.slots.lock().get_mut(index.0) {
            Some(slot) => {
                slot.availability = availability;
                slot.state == SlotState::Open
            }
            None => false,
        }
    }

    /// Returns why the model could not execute now, if some instance is out of service.
    pub(crate) fn unavailable_reason(&self) -> Option<String> {
        let slots = self.slots.lock();
        let mut open = slots.iter().filter(|slot| slot.state == SlotState::Open);
        open.find_map(|slot| match &slot.availability {
            Availability::Available => None,
            Availability::Restarting => Some("a model instance is restarting".to_owned()),
            Availability::Failed(error) => Some(error.message().to_owned()),
        })
    }

    /// Returns the checks of the instances that take requests, as far as they have one.
    pub(crate) fn ready_checks(&self) -> Vec<Arc<dyn ReadyCheck>> {
        let slots = self.slots.lock();
        let instances = self.instances.load();
        let open = instances.iter().zip(slots.iter());
        open.filter(|(_, slot)| slot.is_open())
            .filter_map(|(instance, _)| instance.as_ref()?.ready_check().cloned())
            .collect()
    }

    /// Returns the error to refuse requests with, if every instance has failed for good.
    pub(crate) fn failure(&self) -> Option<Error> {
        if !self.may_have_failed.load(Ordering::Acquire) {
            return None;
        }
        let slots = self.slots.lock();
        let mut errors = slots
            .iter()
            .filter(|slot| slot.state == SlotState::Open)
            .map(|slot| match &slot.availability {
                Availability::Failed(error) => Some(error),
                Availability::Available | Availability::Restarting => None,
            });
        let first = errors.next()??;
        errors.all(|error| error.is_some()).then(|| first.clone())
    }
}
