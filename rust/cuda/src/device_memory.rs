// SPDX-License-Identifier: Apache-2.0
#![expect(unsafe_code, reason = "names memory that only the driver reads")]

use std::any::Any;
use std::fmt;
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::Arc;

use tritongw_types::{Error, Result};

use crate::driver::{DeviceAddress, Driver, Stream};

/// The number by which DLPack and the driver name the stream that waits for all others which do
/// not opt out of that.
pub const LEGACY_STREAM: u64 = 1;

/// Contiguous memory of a GPU that somebody else has allocated.
///
/// Its contents are complete for whatever the legacy default stream does next.
#[derive(Clone)]
pub struct DeviceMemory {
    gpu: i32,
    address: DeviceAddress,
    byte_size: usize,
    // Keeps the memory allocated.
    _owner: Arc<dyn Any + Send + Sync>,
}

impl DeviceMemory {
    /// Takes memory of another library.
    ///
    /// # Errors
    /// If CUDA's driver does not work: then nobody could read the memory.
    ///
    /// # Safety
    /// `byte_size` bytes at `address` must be allocated on that GPU in this process as long as
    /// `owner` lives, and be written only in the order of the legacy default stream.
    pub unsafe fn from_raw_parts(
        gpu: i32,
        address: u64,
        byte_size: usize,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Result<Self> {
        Driver::get()?;
        Ok(Self {
            gpu,
            address,
            byte_size,
            _owner: owner,
        })
    }

    /// Returns the number of the GPU.
    pub fn gpu(&self) -> i32 {
        self.gpu
    }

    /// Returns the address, which means nothing to this processor.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Returns the size in bytes.
    pub fn byte_size(&self) -> usize {
        self.byte_size
    }

    /// Copies everything to host memory of the same size; blocks until the GPU has computed it.
    ///
    /// # Errors
    /// What the driver says, which may be the failure of an earlier computation.
    pub fn copy_to(&self, target: &mut [u8]) -> Result<()> {
        if target.len() != self.byte_size {
            let (has, wanted) = (target.len(), self.byte_size);
            return Err(Error::internal(format!(
                "{wanted} bytes of GPU memory do not fit {has} bytes"
            )));
        }
        if target.is_empty() {
            return Ok(());
        }
        let driver = Driver::get()?;
        driver.on_gpu(self.gpu, |functions| {
            // SAFETY: `target` has as many bytes as are copied, and the memory is allocated as
            // long as the owner lives, by the word of whoever made this value. The copy is one of
            // the legacy default stream and over when the call returns.
            let status = unsafe {
                (functions.copy_to_host)(target.as_mut_ptr().cast(), self.address, target.len())
            };
            let what = format!("copy {} bytes from GPU {}", self.byte_size, self.gpu);
            driver.check(&what, status)
        })
    }

    /// Copies everything to new host memory.
    ///
    /// # Errors
    /// As [`Self::copy_to`].
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        let mut copy = vec![0; self.byte_size];
        self.copy_to(&mut copy)?;
        Ok(copy)
    }

    /// Blocks until the contents are complete, for a reader whose stream nobody knows.
    ///
    /// # Errors
    /// As [`Self::copy_to`].
    pub fn wait_until_complete(&self) -> Result<()> {
        let driver = Driver::get()?;
        driver.on_gpu(self.gpu, |functions| {
            // SAFETY: the legacy default stream is always there.
            let status = unsafe { (functions.synchronize_stream)(stream(LEGACY_STREAM)) };
            driver.check(&format!("wait for GPU {}", self.gpu), status)
        })
    }

    /// Has a stream of the process, by its handle, wait until the contents are complete; blocks
    /// nobody else.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Safety
    /// `reader` must be the handle of a stream of the GPU that is alive.
    pub unsafe fn order_before(&self, reader: u64) -> Result<()> {
        if reader == LEGACY_STREAM {
            return Ok(());
        }
        let driver = Driver::get()?;
        let what = format!("order streams of GPU {}", self.gpu);
        driver.on_gpu(self.gpu, |functions| {
            const WITHOUT_TIMING: u32 = 2;
            let mut event = null_mut();
            // SAFETY: writes one handle.
            let created = unsafe { (functions.create_event)(&raw mut event, WITHOUT_TIMING) };
            driver.check(&what, created)?;
            // SAFETY: the event is alive, so is the stream by the caller's word; CUDA frees an
            // event that is waited for once nobody waits any more.
            let statuses = unsafe {
                [
                    (functions.record_event)(event, stream(LEGACY_STREAM)),
                    (functions.wait_for_event)(stream(reader), event, 0),
                    (functions.destroy_event)(event),
                ]
            };
            statuses
                .into_iter()
                .try_for_each(|status| driver.check(&what, status))
        })
    }
}

impl fmt::Debug for DeviceMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceMemory")
            .field("gpu", &self.gpu)
            .field("byte_size", &self.byte_size)
            .finish_non_exhaustive()
    }
}

pub(crate) fn stream(handle: u64) -> Stream {
    without_provenance_mut(handle as usize)
}
