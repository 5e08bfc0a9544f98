// SPDX-License-Identifier: Apache-2.0
//! The arithmetic of offsets and sizes that clients send; pure.

use tritongw_types::CName;

/// A range of a region, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedMemoryReference {
    /// Name of the region.
    pub region: CName,
    /// Offset from the region's beginning, in bytes.
    pub offset: u64,
    /// Size in bytes.
    pub byte_size: u64,
}

/// A range of a file that lies within what it was cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileRange {
    offset: u64,
    byte_size: u64,
}

/// Which of the two numbers leads out of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeError {
    Offset,
    Size,
}

impl FileRange {
    /// Returns the range if it lies in a file of `file_size` bytes.
    pub(super) fn of_file(offset: u64, byte_size: u64, file_size: u64) -> Option<Self> {
        let end = offset.checked_add(byte_size)?;
        (end <= file_size).then_some(Self { offset, byte_size })
    }

    /// Returns the part of this range that begins at `offset` and has `byte_size` bytes.
    pub(super) fn part(self, offset: u64, byte_size: u64) -> Result<Self, RangeError> {
        if offset >= self.byte_size {
            return Err(RangeError::Offset);
        }
        let part = Self::of_file(offset, byte_size, self.byte_size).ok_or(RangeError::Size)?;
        Ok(Self {
            // INVARIANT: the end of this range does not overflow, and the part ends before it.
            offset: self.offset + part.offset,
            byte_size,
        })
    }

    /// Returns whether the range lies in a file that now has `file_size` bytes.
    pub(super) fn lies_in(self, file_size: u64) -> bool {
        Self::of_file(self.offset, self.byte_size, file_size).is_some()
    }

    pub(super) fn offset(self) -> u64 {
        self.offset
    }

    pub(super) fn byte_size(self) -> u64 {
        self.byte_size
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Small numbers, and those around the limits.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..40_u64,
            (0..40_u64).prop_map(|n| u64::MAX - n),
            any::<u64>()
        ]
    }

    proptest! {
        #[test]
        fn a_region_never_leaves_its_file(offset in number(), size in number(), file in number()) {
            let expected = u128::from(offset) + u128::from(size) <= u128::from(file);
            let range = FileRange::of_file(offset, size, file);
            prop_assert_eq!(range.is_some(), expected);
            if let Some(range) = range {
                prop_assert!(range.lies_in(file));
                prop_assert_eq!((range.offset(), range.byte_size()), (offset, size));
            }
        }

        #[test]
        fn a_part_never_leaves_its_region(
            base in number(), size in number(), offset in number(), byte_size in number(),
        ) {
            let Some(region) = FileRange::of_file(base, size, u64::MAX) else {
                return Ok(());
            };
            let end = u128::from(offset) + u128::from(byte_size);
            match region.part(offset, byte_size) {
                Ok(part) => {
                    prop_assert!(offset < size && end <= u128::from(size));
                    prop_assert_eq!(part.offset(), base + offset);
                    prop_assert_eq!(part.byte_size(), byte_size);
                    prop_assert!(part.lies_in(base + size));
                }
                Err(RangeError::Offset) => prop_assert!(offset >= size),
                Err(RangeError::Size) => prop_assert!(offset < size && end > u128::from(size)),
            }
        }
    }

    #[test]
    fn a_file_that_shrank_no_longer_holds_its_ranges() {
        let range = FileRange::of_file(8, 8, 16).expect("fits exactly");
        assert!(range.lies_in(17) && range.lies_in(16) && !range.lies_in(15) && !range.lies_in(0));
    }
}
