// SPDX-License-Identifier: Apache-2.0
#![expect(unsafe_code, reason = "names memory that only the driver reads")]

use std::fmt;

use tritongw_types::{CudaIpcHandle, Error, Result};

use crate::device_memory::{LEGACY_STREAM, stream};
use crate::driver::{DeviceAddress, Driver, Functions, IpcHandle};

/// Memory of a GPU that another process has allocated and lent by a handle.
///
/// Its allocation stays as long as this value lives, whatever the other process does. Reads and
/// writes are copies, over when they return; the two processes order them among themselves.
pub struct IpcMemory {
    gpu: i32,
    address: DeviceAddress,
    byte_size: u64,
}

impl IpcMemory {
    /// Opens the allocation that `handle` stands for.
    ///
    /// # Errors
    /// If there is no such GPU, the driver does not know the handle, or the allocation has fewer
    /// than `byte_size` bytes.
    pub fn open(gpu: i32, handle: &CudaIpcHandle, byte_size: u64) -> Result<Self> {
        let driver = Driver::get()?;
        driver.on_gpu(gpu, |functions| {
            const LAZY_PEER_ACCESS: u32 = 1;
            let mut address = 0;
            // SAFETY: writes one address; whether the handle is one is the driver's to see.
            let opened = unsafe {
                (functions.open_handle)(&raw mut address, IpcHandle(*handle), LAZY_PEER_ACCESS)
            };
            driver.check("open a CUDA IPC handle", opened)?;
            let memory = Self {
                gpu,
                address,
                byte_size,
            };
            let (mut start, mut size) = (0, 0);
            // SAFETY: writes two numbers.
            let asked =
                unsafe { (functions.address_range)(&raw mut start, &raw mut size, address) };
            driver.check("get the size of shared GPU memory", asked)?;
            if byte_size > size as u64 {
                return Err(Error::invalid_arg(format!(
                    "the shared GPU memory has {size} bytes, not {byte_size}"
                )));
            }
            Ok(memory)
        })
    }

    /// Returns the number of the GPU.
    pub fn gpu(&self) -> i32 {
        self.gpu
    }

    /// Returns the size in bytes.
    pub fn byte_size(&self) -> u64 {
        self.byte_size
    }

    /// Fills `target` with what lies at `offset`.
    ///
    /// # Errors
    /// If the range does not lie in the memory, or what the driver says.
    pub fn read(&self, offset: u64, target: &mut [u8]) -> Result<()> {
        let address = self.range(offset, target.len())?;
        self.copy("read", |functions| {
            // SAFETY: the range lies in the allocation, which is open, and `target` has as many
            // bytes as are copied.
            unsafe { (functions.copy_to_host)(target.as_mut_ptr().cast(), address, target.len()) }
        })
    }

    /// Writes `source` at `offset`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn write(&self, offset: u64, source: &[u8]) -> Result<()> {
        let address = self.range(offset, source.len())?;
        self.copy("write", |functions| {
            // SAFETY: the range lies in the allocation, which is open and the other process has
            // lent for writing.
            let copied = unsafe {
                (functions.copy_to_device)(address, source.as_ptr().cast(), source.len())
            };
            if copied != 0 {
                return copied;
            }
            // The driver may have taken no more than a copy of its own so far.
            // SAFETY: the legacy default stream is always there.
            unsafe { (functions.synchronize_stream)(stream(LEGACY_STREAM)) }
        })
    }

    fn range(&self, offset: u64, byte_size: usize) -> Result<DeviceAddress> {
        let end = offset.checked_add(byte_size as u64);
        end.filter(|end| *end <= self.byte_size)
            .map(|_| self.address + offset)
            .ok_or_else(|| Error::internal("a range outside of shared GPU memory"))
    }

    fn copy(&self, verb: &str, run: impl FnOnce(&Functions) -> i32) -> Result<()> {
        let driver = Driver::get()?;
        driver.on_gpu(self.gpu, |functions| {
            driver.check(
                &format!("{verb} shared memory of GPU {}", self.gpu),
                run(functions),
            )
        })
    }
}

impl Drop for IpcMemory {
    fn drop(&mut self) {
        let closed = Driver::get().and_then(|driver| {
            driver.on_gpu(self.gpu, |functions| {
                // SAFETY: opened once by `open`, closed once here; nothing points there any more.
                let status = unsafe { (functions.close_handle)(self.address) };
                driver.check("close a CUDA IPC handle", status)
            })
        });
        if let Err(error) = closed {
            log::error!("{error}");
        }
    }
}

impl fmt::Debug for IpcMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IpcMemory")
            .field("gpu", &self.gpu)
            .field("byte_size", &self.byte_size)
            .finish_non_exhaustive()
    }
}
