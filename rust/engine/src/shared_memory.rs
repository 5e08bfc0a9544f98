// SPDX-License-Identifier: Apache-2.0
//! Memory that clients share with the server: regions by name, ranges of them as inputs and
//! outputs (P085-P095).
//!
//! Memory of a GPU is shared in the same way: by copies out of the client's allocation, and into it.
//!
//! A region in host memory is a file descriptor, never a mapping: inputs are copied out of it with `pread` when
//! the request comes in, outputs are copied into it with `pwrite`. So a client that truncates its
//! object afterwards gets an error where a mapping would kill the server with `SIGBUS`, and a
//! client that rewrites its object while the request runs changes nothing that has been checked:
//! no kernel of a backend ever sees an index move under its hands. The price is one copy of the
//! inputs, into the memory the model wants its requests in, so that a Python worker needs no other,
//! or else into a buffer of an earlier copy.
//!
//! Start with [`SharedMemoryManager`].

mod allocator;
mod buffer_pool;
mod copy_budget;
mod key;
mod manager;
mod range;
mod region;

pub use allocator::SharedMemoryAllocator;
pub use manager::{RegionKind, SharedMemoryManager, SharedMemorySlice};
pub use range::SharedMemoryReference;
pub use region::{RegionPlace, SharedMemoryRegion};
