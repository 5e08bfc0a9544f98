// SPDX-License-Identifier: Apache-2.0

/// Kind of memory; numbers are those of `TRITONSERVER_MemoryType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MemoryType {
    /// Ordinary host memory.
    #[default]
    Cpu = 0,
    /// Host memory pinned for device copies.
    CpuPinned = 1,
    /// Device memory.
    Gpu = 2,
}

/// Where a buffer lies: kind of memory and device id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemoryLocation {
    /// Kind of memory.
    pub memory_type: MemoryType,
    /// Device id; 0 for host memory.
    pub id: i64,
}

impl MemoryLocation {
    /// Host memory.
    pub const CPU: Self = Self {
        memory_type: MemoryType::Cpu,
        id: 0,
    };
}

/// Opaque handle by which another process maps device memory (`cudaIpcMemHandle_t`).
pub type CudaIpcHandle = [u8; 64];

/// What is known of a buffer beside its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BufferAttributes {
    /// Size in bytes.
    pub byte_size: usize,
    /// Where the buffer lies.
    pub location: MemoryLocation,
    /// Set for device memory that another process may map.
    pub cuda_ipc_handle: Option<Box<CudaIpcHandle>>,
}
