// SPDX-License-Identifier: Apache-2.0

use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{Errno, pread, pwrite};
use tritongw_types::{Error, Result};

use super::key::{object_path, unable_to_open};
use super::range::{FileRange, RangeError};

/// A registered region of a POSIX shared memory object.
#[derive(Debug)]
pub struct SharedMemoryRegion {
    name: String,
    key: String,
    range: FileRange,
    object: OwnedFd,
}

/// Why bytes of a region could not be moved.
#[derive(Clone, Copy, Debug)]
pub(super) enum CopyError {
    /// The object has become smaller than the region.
    Shrunk,
    /// The system refused.
    System(Errno),
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
        Ok(Self {
            name: name.to_owned(),
            key: key.to_owned(),
            range,
            object,
        })
    }

    /// Returns the name under which clients refer to it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the key of the object, as the client wrote it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns where the region begins in the object.
    pub fn offset(&self) -> u64 {
        self.range.offset()
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
        let stat = fstat(&self.object)?;
        if part.lies_in(file_size(stat.st_size)) {
            Ok(())
        } else {
            Err(CopyError::Shrunk)
        }
    }

    /// Fills `target` with the beginning of a part.
    pub(super) fn read(&self, part: FileRange, target: &mut [u8]) -> Result<(), CopyError> {
        let mut offset = part.offset();
        let mut rest = target;
        while !rest.is_empty() {
            let count = match pread(&self.object, &mut *rest, offset) {
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
        let mut offset = part.offset();
        while target.len() < end {
            match pread(&self.object, spare_capacity(target), offset) {
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
        // Writing beyond its end would make the object grow again.
        self.holds(part)?;
        let mut offset = part.offset();
        let mut rest = data;
        while !rest.is_empty() {
            let count = match pwrite(&self.object, rest, offset) {
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
