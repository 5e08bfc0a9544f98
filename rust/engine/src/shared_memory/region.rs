// SPDX-License-Identifier: Apache-2.0

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{Errno, pread, pwrite};
use tritongw_cuda::IpcMemory;
use tritongw_types::{CudaIpcHandle, Error, Result};

use super::key::{object_path, unable_to_open};
use super::range::{FileRange, RangeError};

/// A registered region of a POSIX shared memory object, or of a GPU's memory.
#[derive(Debug)]
pub struct SharedMemoryRegion {
    name: String,
    range: FileRange,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Object { key: String, object: OwnedFd },
    Gpu(IpcMemory),
}

/// What a client is told about where a region lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionPlace<'a> {
    /// In a shared memory object.
    System {
        /// Its key, as the client wrote it.
        key: &'a str,
        /// Where the region begins in it.
        offset: u64,
    },
    /// In memory of a GPU.
    Cuda {
        /// Number of the GPU.
        device_id: i32,
    },
}

/// Why bytes of a region could not be moved.
#[derive(Debug)]
pub(super) enum CopyError {
    /// The object has become smaller than the region.
    Shrunk,
    /// The system refused.
    System(Errno),
    /// The GPU's driver refused.
    Gpu(Error),
}

impl From<Errno> for CopyError {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

impl SharedMemoryRegion {
    /// Opens the object and checks that the region lies in it.
    pub(super) fn open(name: &str, key: &str, offset: u64, byte_size: u64) -> Result<Self> {
        let path = object_path(name, key)?;
        // A link or a pipe under that name is no shared memory, and must not make anybody wait.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let object = open(path, flags, Mode::empty())
            .map_err(|source| unable_to_open(key).with_source(source))?;
        let stat = fstat(&object).map_err(|source| unable_to_open(key).with_source(source))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(unable_to_open(key));
        }
        let range = FileRange::of_file(offset, byte_size, file_size(stat.st_size))
            .filter(|range| range.byte_size() > 0)
            .ok_or_else(|| {
                Error::invalid_arg(format!(
                    "failed to register shared memory region '{name}': invalid args"
                ))
            })?;
        let key = key.to_owned();
        Ok(Self {
            name: name.to_owned(),
            range,
            place: Place::Object { key, object },
        })
    }

    /// Opens memory of a GPU that the client has lent by a handle (P090).
    pub(super) fn open_cuda(
        name: &str,
        handle: &CudaIpcHandle,
        device_id: i32,
        byte_size: u64,
    ) -> Result<Self> {
        let refused = || {
            Error::invalid_arg(format!(
                "failed to register CUDA shared memory region '{name}': invalid args"
            ))
        };
        let range = FileRange::of_file(0, byte_size, byte_size)
            .filter(|range| range.byte_size() > 0)
            .ok_or_else(refused)?;
        let memory = IpcMemory::open(device_id, handle, byte_size)
            .map_err(|source| refused().with_source(source))?;
        Ok(Self {
            name: name.to_owned(),
            range,
            place: Place::Gpu(memory),
        })
    }

    /// Returns the name under which clients refer to it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns where it lies.
    pub fn place(&self) -> RegionPlace<'_> {
        match &self.place {
            Place::Object { key, .. } => RegionPlace::System {
                key,
                offset: self.range.offset(),
            },
            Place::Gpu(memory) => RegionPlace::Cuda {
                device_id: memory.gpu(),
            },
        }
    }

    /// Returns its size.
    pub fn byte_size(&self) -> u64 {
        self.range.byte_size()
    }

    /// Returns a part of the region, which its object must still hold (P093).
    pub(super) fn part(&self, offset: u64, byte_size: u64) -> Result<FileRange> {
        let part = self
            .range
            .part(offset, byte_size)
            .map_err(|error| self.invalid_range(error))?;
        match self.holds(part) {
            Ok(()) => Ok(part),
            Err(CopyError::Shrunk) => Err(self.invalid_range(RangeError::Size)),
            Err(CopyError::Gpu(error)) => Err(error),
            Err(CopyError::System(errno)) => Err(Error::internal(format!(
                "failed to look at shared memory region '{}'",
                self.name
            ))
            .with_source(errno)),
        }
    }

    fn invalid_range(&self, error: RangeError) -> Error {
        let what = match error {
            RangeError::Offset => "offset",
            RangeError::Size => "offset + byte size",
        };
        Error::invalid_arg(format!(
            "Invalid {what} for shared memory region: '{}'",
            self.name
        ))
    }

    fn holds(&self, part: FileRange) -> Result<(), CopyError> {
        let Place::Object { object, .. } = &self.place else {
            return Ok(()); // An allocation keeps its size.
        };
        let stat = fstat(object)?;
        if part.lies_in(file_size(stat.st_size)) {
            Ok(())
        } else {
            Err(CopyError::Shrunk)
        }
    }

    /// Fills `target` with the beginning of a part.
    pub(super) fn read(&self, part: FileRange, target: &mut [u8]) -> Result<(), CopyError> {
        let object = match &self.place {
            Place::Object { object, .. } => object,
            Place::Gpu(memory) => {
                return memory.read(part.offset(), target).map_err(CopyError::Gpu);
            }
        };
        let mut offset = part.offset();
        let mut rest = target;
        while !rest.is_empty() {
            let count = match pread(object, &mut *rest, offset) {
                Ok(0) => return Err(CopyError::Shrunk),
                Err(Errno::INTR) => continue,
                result => result?,
            };
            rest = &mut rest[count..];
            offset += count as u64;
        }
        Ok(())
    }

    /// Appends a part to `target`, which has room for it and takes no more.
    pub(super) fn append(&self, part: FileRange, target: &mut Vec<u8>) -> Result<(), CopyError> {
        let end = target.len() + byte_size(part);
        let Place::Object { object, .. } = &self.place else {
            let start = target.len();
            target.resize(end, 0);
            return self.read(part, &mut target[start..]);
        };
        let mut offset = part.offset();
        while target.len() < end {
            match pread(object, spare_capacity(target), offset) {
                Ok(0) => return Err(CopyError::Shrunk),
                Ok(count) => offset += count as u64,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        target.truncate(end);
        Ok(())
    }

    /// Writes `data` to the beginning of a part that is at least as large.
    pub(super) fn write(&self, part: FileRange, data: &[u8]) -> Result<(), CopyError> {
        let object = match &self.place {
            Place::Object { object, .. } => object,
            Place::Gpu(memory) => return memory.write(part.offset(), data).map_err(CopyError::Gpu),
        };
        // Writing beyond its end would make the object grow again.
        self.holds(part)?;
        let mut offset = part.offset();
        let mut rest = data;
        while !rest.is_empty() {
            let count = match pwrite(object, rest, offset) {
                Ok(0) => return Err(Errno::IO.into()),
                Err(Errno::INTR) => continue,
                result => result?,
            };
            rest = &rest[count..];
            offset += count as u64;
        }
        Ok(())
    }
}

fn file_size(st_size: i64) -> u64 {
    u64::try_from(st_size).unwrap_or(0)
}

/// Returns the size of a part as memory counts it.
pub(super) fn byte_size(part: FileRange) -> usize {
    // INVARIANT: a part lies in a file that exists, and a pointer has 64 bits here.
    usize::try_from(part.byte_size()).unwrap_or(usize::MAX)
}
