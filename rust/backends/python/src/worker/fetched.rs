// SPDX-License-Identifier: Apache-2.0
//! Outputs that lie in GPUs' memory, on their way to the server.

use std::sync::Arc;

use smallvec::SmallVec;
use tritongw_types::Result;

use crate::host::{HostOutput, OutputData};
use crate::shared::channel::INLINE_LIMIT;
use crate::shared::memory::{Block, SharedMemory};
use crate::shared::message::SlabRange;

/// What was copied from GPUs, in the order of the outputs, with `None` for those that lay on the
/// host; empty if all did.
pub(super) type FetchedOutputs = SmallVec<[Option<Fetched>; 2]>;

/// Data of an output that lay in a GPU's memory.
pub(super) enum Fetched {
    /// Little of it, for the message itself.
    Inline(Vec<u8>),
    /// Where the server reads it.
    Slab(SlabRange),
}

/// Returns what was copied of the output at `index`.
pub(super) fn fetched_of(fetched: &[Option<Fetched>], index: usize) -> Option<&Fetched> {
    fetched.get(index).and_then(Option::as_ref)
}

/// Copies what lies in GPUs' memory to the host; `reserve` gives memory of that size which the
/// server reads. Blocks until the GPUs have computed.
pub(super) fn fetch_outputs(
    outputs: &[HostOutput<'_>],
    mut reserve: impl FnMut(usize) -> Result<(SlabRange, Block<Arc<SharedMemory>>)>,
) -> Result<FetchedOutputs> {
    let lies_on_gpu = |output: &HostOutput<'_>| matches!(output.data, OutputData::Device(_));
    if !outputs.iter().any(lies_on_gpu) {
        return Ok(SmallVec::new());
    }
    let fetch = |output: &HostOutput<'_>| {
        let OutputData::Device(memory) = output.data else {
            return Ok(None);
        };
        if memory.byte_size() <= INLINE_LIMIT {
            return memory.to_vec().map(Fetched::Inline).map(Some);
        }
        let (range, mut block) = reserve(memory.byte_size())?;
        memory.copy_to(block.as_mut_slice())?;
        Ok(Some(Fetched::Slab(range)))
    };
    outputs.iter().map(fetch).collect()
}
