// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tritongw_engine::InferenceRequest;
use tritongw_engine::buffer::InputBuffer;
use tritongw_types::{DataType, Shape, byte_size, bytes_element_count};

use crate::host::OutputData;
use crate::shared::channel::ReleaseFlags;
use crate::shared::memory::{Block, SharedMemory};
use crate::shared::message::SlabRange;

/// Outputs of at least this many bytes are handed out as they lie in the slab; copying fewer is
/// cheaper than keeping track of them.
const ADOPT_LIMIT: usize = 16 * 1024;

/// The server's view of a worker's output slab.
#[derive(Debug)]
pub(crate) struct OutputSlab {
    memory: Arc<SharedMemory>,
    flags: ReleaseFlags,
}

/// A range of the slab, and the duty to tell the worker when it is free again.
struct OutputLease {
    flags: ReleaseFlags,
    slot: usize,
    _memory: Arc<SharedMemory>,
}

impl Drop for OutputLease {
    fn drop(&mut self) {
        if let Some(flag) = self.flags.get(self.slot) {
            flag.store(1, Ordering::Release);
        }
    }
}

impl OutputSlab {
    pub(crate) fn new(memory: Arc<SharedMemory>, flags: ReleaseFlags) -> Self {
        Self { memory, flags }
    }

    /// Takes a range that the worker gave up; `None` if it does not lie in the slab.
    fn block(&self, range: SlabRange) -> Option<Block<OutputLease>> {
        let slot = range.slot as usize;
        self.flags.get(slot)?;
        let (flags, memory) = (self.flags.clone(), Arc::clone(&self.memory));
        let lease = OutputLease {
            flags,
            slot,
            _memory: memory,
        };
        let (offset, size) = (
            range.offset.try_into().ok()?,
            range.byte_size.try_into().ok()?,
        );
        Block::new(&self.memory, offset, size, lease)
    }

    /// Copies a range out and frees it; `None` if it does not lie in the slab.
    pub(crate) fn copy_out(&self, range: SlabRange) -> Option<Vec<u8>> {
        self.block(range).map(|block| block.as_ref().to_vec())
    }

    /// Returns an output's data; `None` if it does not lie in the slab.
    pub(crate) fn output(&self, data_type: DataType, range: SlabRange) -> Option<OutputData<'_>> {
        let block = self.block(range)?;
        Some(if is_adopted(data_type, block.as_ref().len()) {
            OutputData::Owned(Bytes::from_owner(block))
        } else {
            OutputData::Owned(Bytes::copy_from_slice(block.as_ref()))
        })
    }
}

/// Returns an output's data that lies in memory a worker may write to.
pub(crate) fn adopted(data_type: DataType, data: Bytes) -> OutputData<'static> {
    OutputData::Owned(if is_adopted(data_type, data.len()) {
        data
    } else {
        Bytes::copy_from_slice(&data)
    })
}

/// Returns the part of a request's inputs that `data` is, for a model that answers with what it
/// got; `None` if `data` lies elsewhere, or has to be copied.
pub(crate) fn part_of_inputs(
    request: &InferenceRequest,
    data_type: DataType,
    data: &[u8],
) -> Option<Bytes> {
    if !is_adopted(data_type, data.len()) {
        return None;
    }
    let buffers = request.inputs().flat_map(|input| &input.data);
    buffers
        .filter_map(|buffer| match buffer {
            InputBuffer::Host(memory) => Some(memory),
            InputBuffer::Device { .. } => None,
        })
        .find_map(|memory| {
            let begin = (data.as_ptr() as usize).checked_sub(memory.as_ptr() as usize)?;
            let end = begin.checked_add(data.len())?;
            (end <= memory.len()).then(|| memory.slice(begin..end))
        })
}

/// Returns whether an output is handed out where it lies. Copied is what matters to the server: a
/// worker that still writes could change the lengths of BYTES elements after they were checked.
fn is_adopted(data_type: DataType, byte_size: usize) -> bool {
    data_type != DataType::Bytes && byte_size >= ADOPT_LIMIT
}

/// Checks that data has the size that type and shape ask for; the text says what is wrong.
pub(crate) fn check_size(data_type: DataType, shape: &Shape, data: &[u8]) -> Result<(), String> {
    let expected = byte_size(data_type, shape).map_err(|error| error.to_string())?;
    match expected {
        Some(expected) if expected == data.len() => Ok(()),
        Some(expected) => Err(format!(
            "shape {shape} of type {} takes {expected} bytes, found {}",
            data_type.as_str(),
            data.len()
        )),
        None => {
            let count = bytes_element_count(data).map_err(|error| error.to_string())?;
            let expected = shape.element_count().map_err(|error| error.to_string())?;
            if count == expected {
                return Ok(());
            }
            Err(format!(
                "shape {shape} has {expected} elements, found {count}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::channel::{PAGE_SIZE, ServerChannel};

    fn slab() -> (OutputSlab, Arc<SharedMemory>, ReleaseFlags) {
        let channel = ServerChannel::new(16 * PAGE_SIZE).expect("memory");
        let (memory, flags) = (channel.output_slab, channel.release_flags);
        (
            OutputSlab::new(Arc::clone(&memory), flags.clone()),
            memory,
            flags,
        )
    }

    #[test]
    fn a_large_output_is_adopted_and_released_when_dropped() {
        let (slab, memory, flags) = slab();
        let range = SlabRange {
            offset: 4096,
            byte_size: 16384,
            slot: 9,
        };
        let flag = flags.get(9).expect("a slot");
        let OutputData::Owned(data) = slab.output(DataType::Fp32, range).expect("inside") else {
            panic!("outputs of a slab are owned");
        };
        assert_eq!(memory.offset_of(&data), Some(4096));
        assert_eq!(flag.load(Ordering::Acquire), 0);
        drop(data);
        assert_eq!(flag.load(Ordering::Acquire), 1);
    }

    #[test]
    fn texts_are_copied_before_they_are_checked() {
        let (slab, memory, flags) = slab();
        let range = SlabRange {
            offset: 0,
            byte_size: 16384,
            slot: 0,
        };
        let OutputData::Owned(data) = slab.output(DataType::Bytes, range).expect("inside") else {
            panic!("outputs of a slab are owned");
        };
        assert_eq!(memory.offset_of(&data), None);
        assert_eq!(flags.get(0).expect("a slot").load(Ordering::Acquire), 1);
    }

    #[test]
    fn ranges_and_slots_outside_are_refused() {
        let (slab, _memory, _flags) = slab();
        for (offset, byte_size, slot) in [
            (16 * 4096, 1, 0),
            (0, 16 * 4096 + 1, 0),
            (u64::MAX, 2, 0),
            (2, u64::MAX, 0),
            (0, 1, 4096),
            (0, 1, u32::MAX),
        ] {
            let range = SlabRange {
                offset,
                byte_size,
                slot,
            };
            assert!(slab.output(DataType::Uint8, range).is_none(), "{range:?}");
        }
    }

    #[test]
    fn sizes_must_fit_shapes() {
        let shape = Shape::from([2]);
        assert_eq!(check_size(DataType::Fp32, &shape, &[0; 8]), Ok(()));
        assert_eq!(
            check_size(DataType::Fp32, &shape, &[0; 7]),
            Err("shape [2] of type FP32 takes 8 bytes, found 7".to_owned())
        );
        assert_eq!(check_size(DataType::Bytes, &shape, &[0; 8]), Ok(()));
        assert_eq!(
            check_size(DataType::Bytes, &shape, &[0; 4]),
            Err("shape [2] has 2 elements, found 1".to_owned())
        );
        assert!(check_size(DataType::Bytes, &shape, &[255; 8]).is_err());
        assert!(check_size(DataType::Int8, &Shape::from([-1]), &[]).is_err());
    }
}
