// SPDX-License-Identifier: Apache-2.0
//! Doubly linked lists that share one vector: any element is removed in O(1), and a slot that was
//! used once is used again, so that a queue at its usual length allocates nothing.

/// Where a value lies; valid until the value is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotId(u32);

#[derive(Debug)]
struct Slot<T> {
    /// `None` while the slot is free; free slots are chained through `next`.
    value: Option<T>,
    previous: Option<SlotId>,
    next: Option<SlotId>,
}

/// Ends and length of one list.
#[derive(Debug, Default)]
pub(crate) struct List {
    head: Option<SlotId>,
    tail: Option<SlotId>,
    len: usize,
}

impl List {
    pub(crate) fn head(&self) -> Option<SlotId> {
        self.head
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// The vector behind the lists.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Option<SlotId>,
    len: usize,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: None,
            len: 0,
        }
    }

    /// Returns the number of values in all lists.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, id: SlotId) -> Option<&T> {
        self.slots.get(id.0 as usize)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: SlotId) -> Option<&mut T> {
        self.slots.get_mut(id.0 as usize)?.value.as_mut()
    }

    pub(crate) fn next(&self, id: SlotId) -> Option<SlotId> {
        self.slot(id).next
    }

    /// Returns the slot that the next [`Self::push_back`] will use.
    pub(crate) fn vacant(&self) -> SlotId {
        let end = || u32::try_from(self.slots.len()).expect("invariant: fewer than 2^32 queued");
        self.free.unwrap_or_else(|| SlotId(end()))
    }

    pub(crate) fn push_back(&mut self, list: &mut List, value: T) -> SlotId {
        let id = self.vacant();
        if self.free.is_some() {
            self.free = self.slot(id).next;
            self.slot_mut(id).value = Some(value);
        } else {
            self.slots.push(Slot {
                value: Some(value),
                previous: None,
                next: None,
            });
        }
        self.len += 1;
        self.link_back(list, id);
        id
    }

    /// Takes a value out of the list that it is in.
    pub(crate) fn remove(&mut self, list: &mut List, id: SlotId) -> Option<T> {
        let value = self.slots.get_mut(id.0 as usize)?.value.take()?;
        self.unlink(list, id);
        self.slot_mut(id).next = self.free;
        self.free = Some(id);
        self.len -= 1;
        Some(value)
    }

    /// Moves a value from one list to the end of another.
    pub(crate) fn move_to_back(&mut self, from: &mut List, to: &mut List, id: SlotId) {
        self.unlink(from, id);
        self.link_back(to, id);
    }

    fn link_back(&mut self, list: &mut List, id: SlotId) {
        let slot = self.slot_mut(id);
        slot.previous = list.tail;
        slot.next = None;
        match list.tail.replace(id) {
            Some(tail) => self.slot_mut(tail).next = Some(id),
            None => list.head = Some(id),
        }
        list.len += 1;
    }

    fn unlink(&mut self, list: &mut List, id: SlotId) {
        let (previous, next) = (self.slot(id).previous, self.slot(id).next);
        match previous {
            Some(previous) => self.slot_mut(previous).next = next,
            None => list.head = next,
        }
        match next {
            Some(next) => self.slot_mut(next).previous = previous,
            None => list.tail = previous,
        }
        list.len -= 1;
    }

    fn slot(&self, id: SlotId) -> &Slot<T> {
        &self.slots[id.0 as usize]
    }

    fn slot_mut(&mut self, id: SlotId) -> &mut Slot<T> {
        &mut self.slots[id.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(slab: &Slab<char>, list: &List) -> String {
        std::iter::successors(list.head(), |id| slab.next(*id))
            .filter_map(|id| slab.get(id))
            .collect()
    }

    #[test]
    fn values_leave_from_anywhere_and_change_lists() {
        let (mut slab, mut main, mut other) = (Slab::new(), List::default(), List::default());
        let ids: Vec<_> = "abcd"
            .chars()
            .map(|c| slab.push_back(&mut main, c))
            .collect();

        assert_eq!(slab.remove(&mut main, ids[1]), Some('b'));
        slab.move_to_back(&mut main, &mut other, ids[3]);
        slab.move_to_back(&mut main, &mut other, ids[0]);
        assert_eq!(
            (values(&slab, &main), values(&slab, &other)),
            ("c".into(), "da".into())
        );
        assert_eq!((slab.len(), main.len(), other.len()), (3, 1, 2));

        assert_eq!(slab.remove(&mut main, ids[1]), None, "the slot is free");
        assert_eq!(
            slab.push_back(&mut main, 'e'),
            ids[1],
            "the free slot is used again"
        );
        assert_eq!(values(&slab, &main), "ce");
    }
}
