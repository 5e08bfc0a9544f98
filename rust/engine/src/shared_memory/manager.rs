// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tritongw_types::{CudaIpcHandle, Error, ErrorCode, Result};

use super::buffer_pool::BufferPool;
use super::copy_budget::{CopyBudget, CopyShare};
use super::range::{FileRange, SharedMemoryReference};
use super::region::{CopyError, RegionPlace, SharedMemoryRegion, byte_size};
use crate::buffer::RequestMemory;

/// Regions at the same time; each holds a file descriptor.
const MAX_REGIONS: usize = 4096;
/// Longest name of a region, in bytes.
const MAX_NAME_LENGTH: usize = 1024;

/// The regions that clients have registered.
///
/// Does nothing for clients, beside telling that there is nothing, unless it was made to allow them
/// (P085).
#[derive(Debug)]
pub struct SharedMemoryManager {
    is_allowed: bool,
    // Numbers of the GPUs there are.
    gpus: Vec<i32>,
    regions: Arc<Mutex<Regions>>,
    budget: Arc<CopyBudget>,
    buffers: Arc<BufferPool>,
}

#[derive(Debug, Default)]
struct Regions(BTreeMap<String, Registration>);

#[derive(Debug)]
struct Registration {
    region: Arc<SharedMemoryRegion>,
    use_count: usize,
    is_unregistering: bool,
}

impl SharedMemoryManager {
    /// Makes a manager without regions, for memory of the host and of these GPUs.
    pub fn new(is_allowed: bool, gpus: Vec<i32>) -> Self {
        Self {
            is_allowed,
            gpus,
            regions: Arc::default(),
            budget: CopyBudget::of_machine(),
            buffers: Arc::default(),
        }
    }

    fn check_allowed(&self) -> Result<()> {
        if self.is_allowed {
            return Ok(());
        }
        Err(Error::unsupported(
            "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to \
             enable.",
        ))
    }

    /// Registers a region of the POSIX shared memory object `key` (P086-P089).
    ///
    /// # Errors
    /// With Triton's texts if there is such a region, the key is not for clients, or the object
    /// cannot be opened or does not hold the region; `Unavailable` if there are too many regions.
    pub fn register_system(
        &self,
        name: &str,
        key: &str,
        offset: u64,
        byte_size: u64,
    ) -> Result<()> {
        self.check_allowed()?;
        check_name(name)?;
        self.register(name, || {
            SharedMemoryRegion::open(name, key, offset, byte_size)
        })
    }

    fn register(
        &self,
        name: &str,
        open: impl FnOnce() -> Result<SharedMemoryRegion>,
    ) -> Result<()> {
        if self.regions.lock().0.contains_key(name) {
            return Err(already_there(name));
        }
        let region = open()?;
        let mut regions = self.regions.lock();
        if regions.0.len() >= MAX_REGIONS {
            return Err(Error::unavailable(format!(
                "cannot register shared memory region '{name}': {MAX_REGIONS} regions are \
                 registered, and no more can be"
            )));
        }
        match regions.0.entry(name.to_owned()) {
            Entry::Occupied(_) => Err(already_there(name)),
            Entry::Vacant(vacant) => {
                vacant.insert(Registration {
                    region: Arc::new(region),
                    use_count: 0,
                    is_unregistering: false,
                });
                Ok(())
            }
        }
    }

    /// Checks that memory of GPUs can be registered at all, before its handle is looked at (P090).
    ///
    /// # Errors
    /// With Triton's text if there is no GPU.
    pub fn check_cuda(&self, name: &str) -> Result<()> {
        self.check_allowed()?;
        if self.gpus.is_empty() {
            return Err(Error::invalid_arg(format!(
                "failed to register CUDA shared memory region: '{name}', GPUs not supported"
            )));
        }
        Ok(())
    }

    /// Registers memory that a client has allocated on a GPU and lends by a CUDA IPC handle (P090).
    ///
    /// # Errors
    /// As [`Self::register_system`]; and if there is no such GPU, the handle is not one, or stands
    /// for less memory.
    pub fn register_cuda(
        &self,
        name: &str,
        handle: &CudaIpcHandle,
        device_id: i64,
        byte_size: u64,
    ) -> Result<()> {
        self.check_cuda(name)?;
        check_name(name)?;
        let gpu = self.gpus.iter().find(|gpu| i64::from(**gpu) == device_id);
        self.register(name, || match gpu {
            Some(gpu) => SharedMemoryRegion::open_cuda(name, handle, *gpu, byte_size),
            None => Err(Error::invalid_arg(format!(
                "failed to register CUDA shared memory region '{name}': invalid args"
            ))),
        })
    }

    /// Ends a region of a kind, or all of it without a name; one that requests use ends with the
    /// last of them (P092). One that is unknown, or of the other kind, is no error.
    ///
    /// # Errors
    /// `Unsupported` where clients are not allowed.
    pub fn unregister(&self, kind: RegionKind, name: Option<&str>) -> Result<()> {
        self.check_allowed()?;
        let mut regions = self.regions.lock();
        regions.0.retain(|known, registration| {
            let is_meant = name.is_none_or(|name| name == known);
            registration.is_unregistering |= is_meant && kind.is_of(&registration.region);
            !registration.is_over()
        });
        Ok(())
    }

    /// Returns the region of that kind and name, or all of the kind, by name (P091).
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, or it is of the other kind.
    pub fn regions(
        &self,
        kind: RegionKind,
        name: Option<&str>,
    ) -> Result<Vec<Arc<SharedMemoryRegion>>> {
        let regions = self.regions.lock();
        let Some(name) = name else {
            let all = regions.0.values();
            let all = all.map(|registration| &registration.region);
            return Ok(all.filter(|region| kind.is_of(region)).cloned().collect());
        };
        match regions.0.get(name) {
            None => Err(Error::not_found(kind.unknown(name))),
            Some(found) if kind.is_of(&found.region) => Ok(vec![Arc::clone(&found.region)]),
            Some(_) => Err(Error::not_found(kind.other(name))),
        }
    }

    /// Returns the range a request names; its region stays until the slice, and all that was read
    /// from it, is dropped.
    ///
    /// # Errors
    /// With the texts of P093 if there is no such region, or it does not hold the range.
    pub fn slice(&self, reference: &SharedMemoryReference) -> Result<SharedMemorySlice> {
        self.check_allowed()?;
        let usage = Arc::new(self.begin_use(&reference.region)?);
        let part = usage.region.part(reference.offset, reference.byte_size)?;
        Ok(SharedMemorySlice {
            usage,
            part,
            budget: Arc::clone(&self.budget),
            buffers: Arc::clone(&self.buffers),
        })
    }

    fn begin_use(&self, name: &str) -> Result<RegionUse> {
        let mut regions = self.regions.lock();
        let registration = regions.0.get_mut(name).ok_or_else(|| {
            Error::not_found(format!("Unable to find shared memory region: '{name}'"))
        })?;
        registration.use_count += 1;
        Ok(RegionUse {
            regions: Arc::clone(&self.regions),
            region: Arc::clone(&registration.region),
        })
    }
}

/// Kinds of shared memory, each with registrations of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// Objects of the system.
    System,
    /// Memory of GPUs.
    Cuda,
}

impl RegionKind {
    fn is_of(self, region: &SharedMemoryRegion) -> bool {
        match region.place() {
            RegionPlace::System { .. } => self == Self::System,
            RegionPlace::Cuda { .. } => self == Self::Cuda,
        }
    }

    fn unknown(self, name: &str) -> String {
        let kind = match self {
            Self::System => "system",
            Self::Cuda => "cuda",
        };
        format!("Unable to find {kind} shared memory region: '{name}'")
    }

    fn other(self, name: &str) -> String {
        let (found, wanted) = match self {
            Self::System => ("CUDA", "system"),
            Self::Cuda => ("system", "CUDA"),
        };
        format!(
            "The region named '{name}' is registered as {found} shared memory, not {wanted} shared \
             memory"
        )
    }
}

impl Registration {
    fn is_over(&self) -> bool {
        self.is_unregistering && self.use_count == 0
    }
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid_arg(
            "shared memory region must have a name that is not empty",
        ));
    }
    if name.len() > MAX_NAME_LENGTH {
        return Err(Error::invalid_arg(format!(
            "name of shared memory region is longer than {MAX_NAME_LENGTH} bytes"
        )));
    }
    Ok(())
}

fn already_there(name: &str) -> Error {
    Error::new(
        ErrorCode::AlreadyExists,
        format!("shared memory region '{name}' already in manager"),
    )
}

/// Keeps a region registered, or at least there.
struct RegionUse {
    regions: Arc<Mutex<Regions>>,
    region: Arc<SharedMemoryRegion>,
}

impl Drop for RegionUse {
    fn drop(&mut self) {
        let mut regions = self.regions.lock();
        // INVARIANT: a region in use stays in the map, so the name cannot be another's by now.
        let Entry::Occupied(mut entry) = regions.0.entry(self.region.name().to_owned()) else {
            return;
        };
        entry.get_mut().use_count -= 1;
        if entry.get().is_over() {
            entry.remove();
        }
    }
}

impl fmt::Debug for RegionUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegionUse").field(&self.region).finish()
    }
}

/// A range of a region, in use by a request.
#[derive(Debug)]
pub struct SharedMemorySlice {
    usage: Arc<RegionUse>,
    part: FileRange,
    budget: Arc<CopyBudget>,
    buffers: Arc<BufferPool>,
}

impl SharedMemorySlice {
    /// Returns the size in bytes.
    pub fn byte_size(&self) -> usize {
        byte_size(self.part)
    }

    /// Returns a copy that the client can no longer reach, in `memory` where it has room.
    ///
    /// # Errors
    /// `InvalidArg` if the object has shrunk since; `Unavailable` if copies take too much memory.
    pub fn read(&self, memory: Option<&Arc<dyn RequestMemory>>) -> Result<Bytes> {
        let data = match memory.and_then(|memory| memory.allocate(self.byte_size(), 0)) {
            Some(mut buffer) => {
                self.usage
                    .region
                    .read(self.part, buffer.as_mut_slice())
                    .map_err(|error| self.copy_error(error, "read"))?;
                buffer.freeze()
            }
            None => Bytes::from_owner(self.copy()?),
        };
        Ok(Bytes::from_owner(InputCopy {
            data,
            _usage: Arc::clone(&self.usage),
        }))
    }

    fn copy(&self) -> Result<PooledCopy> {
        let region = &self.usage.region;
        let size = self.byte_size();
        let share = self.budget.take(self.part.byte_size()).ok_or_else(|| {
            Error::unavailable(format!(
                "cannot read {size} bytes of shared memory region '{}': inputs from shared memory \
                 would take more than {} bytes",
                region.name(),
                self.budget.limit()
            ))
        })?;
        let mut copy = PooledCopy {
            data: Vec::new(),
            pool: Arc::clone(&self.buffers),
            _share: share,
        };
        let failed = |error| self.copy_error(error, "read");
        if let Some(data) = self.buffers.take(size) {
            copy.data = data;
            region.read(self.part, &mut copy.data).map_err(failed)?;
            return Ok(copy);
        }
        copy.data.try_reserve_exact(size).map_err(|source| {
            Error::unavailable(format!("failed to allocate {size} bytes for an input"))
                .with_source(source)
        })?;
        region.append(self.part, &mut copy.data).map_err(failed)?;
        Ok(copy)
    }

    /// Writes `data` to the beginning of the range.
    ///
    /// # Errors
    /// `Internal` with the text of P094 if the range is too small, or the object has shrunk.
    pub(super) fn write(&self, output: &str, data: &[u8]) -> Result<()> {
        self.check_room(output, data.len())?;
        self.usage
            .region
            .write(self.part, data)
            .map_err(|error| self.copy_error(error, "write"))
    }

    /// Checks that `byte_size` bytes of `output` fit.
    pub(super) fn check_room(&self, output: &str, byte_size: usize) -> Result<()> {
        let room = self.byte_size();
        if byte_size <= room {
            return Ok(());
        }
        Err(Error::internal(format!(
            "shared memory size specified with the request for output '{output}' ({room} bytes) \
             should be at least {byte_size} bytes to hold the results"
        )))
    }

    fn copy_error(&self, error: CopyError, verb: &str) -> Error {
        let name = self.usage.region.name();
        match error {
            CopyError::Shrunk => Error::invalid_arg(format!(
                "Invalid offset + byte size for shared memory region: '{name}'"
            )),
            CopyError::System(errno) => {
                Error::internal(format!("failed to {verb} shared memory region '{name}'"))
                    .with_source(errno)
            }
            CopyError::Gpu(source) => {
                Error::internal(format!("failed to {verb} shared memory region '{name}'"))
                    .with_source(source)
            }
        }
    }
}

/// An input's private copy: as long as it lives, the client's region counts as in use (P092).
struct InputCopy {
    data: Bytes,
    _usage: Arc<RegionUse>,
}

impl AsRef<[u8]> for InputCopy {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// A copy in memory of our own, which goes back to the pool.
struct PooledCopy {
    data: Vec<u8>,
    pool: Arc<BufferPool>,
    _share: CopyShare,
}

impl AsRef<[u8]> for PooledCopy {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for PooledCopy {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.data));
    }
}
