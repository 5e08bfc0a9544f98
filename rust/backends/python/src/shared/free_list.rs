// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

/// Keeps the free ranges of a region: first fit at the lowest offset, neighbours joined.
///
/// Low offsets are used again first, so that what was written lately is written again and the far
/// end of a region stays untouched.
#[derive(Debug)]
pub(crate) struct FreeList {
    // Offset of each free range, and its length; no two touch.
    free: BTreeMap<usize, usize>,
    byte_size: usize,
}

impl FreeList {
    pub(crate) fn new(byte_size: usize) -> Self {
        Self {
            free: BTreeMap::from([(0, byte_size)]),
            byte_size,
        }
    }

    /// Takes `byte_size` bytes, at least one, and returns their offset.
    pub(crate) fn take(&mut self, byte_size: usize) -> Option<usize> {
        let (&offset, &found) = self.free.iter().find(|&(_, &length)| length >= byte_size)?;
        self.free.remove(&offset);
        if found > byte_size {
            self.free.insert(offset + byte_size, found - byte_size);
        }
        Some(offset)
    }

    /// Returns where the last range in use ends.
    pub(crate) fn end_of_use(&self) -> usize {
        match self.free.last_key_value() {
            Some((&offset, &length)) if offset + length == self.byte_size => offset,
            _ => self.byte_size,
        }
    }

    /// Takes back what [`Self::take`] gave.
    pub(crate) fn give_back(&mut self, offset: usize, byte_size: usize) {
        let (mut start, mut length) = (offset, byte_size);
        if let Some((&before, &before_length)) = self.free.range(..offset).next_back()
            && before + before_length == offset
        {
            self.free.remove(&before);
            start = before;
            length += before_length;
        }
        if let Some(after_length) = self.free.remove(&(offset + byte_size)) {
            length += after_length;
        }
        self.free.insert(start, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn low_offsets_come_first_and_again() {
        let mut list = FreeList::new(100);
        assert_eq!(list.take(40), Some(0));
        assert_eq!(list.take(40), Some(40));
        assert_eq!(list.take(40), None);
        list.give_back(0, 40);
        assert_eq!(list.take(10), Some(0));
        assert_eq!(list.take(20), Some(10));
        assert_eq!(list.take(20), Some(80));
        assert_eq!(list.end_of_use(), 100);
        list.give_back(80, 20);
        assert_eq!(list.end_of_use(), 80);
    }

    proptest! {
        #[test]
        fn taken_ranges_never_overlap_and_all_come_back(
            steps in prop::collection::vec((1_usize..300, any::<prop::sample::Index>()), 1..200)
        ) {
            let mut list = FreeList::new(1000);
            let mut taken: Vec<(usize, usize)> = Vec::new();
            for (byte_size, index) in steps {
                if let Some(offset) = list.take(byte_size) {
                    for &(other, length) in &taken {
                        prop_assert!(offset + byte_size <= other || other + length <= offset);
                    }
                    taken.push((offset, byte_size));
                } else if !taken.is_empty() {
                    let (offset, length) = taken.swap_remove(index.index(taken.len()));
                    list.give_back(offset, length);
                }
            }
            for (offset, length) in taken {
                list.give_back(offset, length);
            }
            prop_assert_eq!(list.free, BTreeMap::from([(0, 1000)]));
        }
    }
}
