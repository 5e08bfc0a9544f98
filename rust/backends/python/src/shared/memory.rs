// SPDX-License-Identifier: Apache-2.0
//! Memory that two processes map, and the memory of one tensor in it.
//!
//! All raw pointers of this crate live here. **Invariant:** every access is checked against the
//! length of the mapping, which its seals keep either process from changing; whoever reads bytes
//! that the other process may still write copies them out before it looks at them.
#![expect(unsafe_code, reason = "maps memory and hands out pointers into it")]

use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// A memfd without a name in any file system, mapped whole.
///
/// Pages take up memory once they are written to, so that a large region costs only address space.
pub(crate) struct SharedMemory {
    address: NonNull<u8>,
    byte_size: usize,
    fd: OwnedFd,
}

// SAFETY: the mapping belongs to no thread, and lives as long as the value.
unsafe impl Send for SharedMemory {}
// SAFETY: shared access is by copying, by atomics, or through pointers whose holders each own a
// range of their own.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Makes zeroed memory whose size nobody can change; `label` shows in `/proc/<pid>/maps`.
    pub(crate) fn create(label: &str, byte_size: usize) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(label, flags)?;
        rustix::fs::ftruncate(&fd, byte_size as u64)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::map(fd, byte_size)
    }

    /// Maps memory that another process made, if its size is sealed.
    pub(crate) fn open(fd: OwnedFd) -> io::Result<Self> {
        let seals = rustix::fs::fcntl_get_seals(&fd)?;
        if !seals.contains(SealFlags::SHRINK | SealFlags::GROW) {
            return Err(io::Error::other("the size of shared memory is not sealed"));
        }
        let byte_size = usize::try_from(rustix::fs::fstat(&fd)?.st_size)
            .map_err(|_| io::Error::other("shared memory has no size"))?;
        Self::map(fd, byte_size)
    }

    fn map(fd: OwnedFd, byte_size: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses overlaps nothing.
        let address = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                byte_size,
                protection,
                MapFlags::SHARED | MapFlags::NORESERVE,
                &fd,
                0,
            )?
        };
        let address = NonNull::new(address.cast()).expect("INVARIANT: mmap gives no null address");
        Ok(Self {
            address,
            byte_size,
            fd,
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn byte_size(&self) -> usize {
        self.byte_size
    }

    /// Returns the address of a range, if it lies in the memory.
    fn range(&self, offset: usize, byte_size: usize) -> Option<NonNull<u8>> {
        let end = offset.checked_add(byte_size)?;
        if end > self.byte_size {
            return None;
        }
        // SAFETY: `offset` is at most the length of the mapping.
        Some(unsafe { self.address.add(offset) })
    }

    /// Copies bytes out; `false` if the range does not lie in the memory.
    #[must_use]
    pub(crate) fn read(&self, offset: usize, target: &mut [u8]) -> bool {
        let Some(source) = self.range(offset, target.len()) else {
            return false;
        };
        // SAFETY: the range is mapped, and `target` is private memory that cannot overlap it. The
        // other process may write meanwhile: then the copy holds some mix of bytes, which the
        // caller checks as it checks any other.
        unsafe {
            std::ptr::copy_nonoverlapping(source.as_ptr(), target.as_mut_ptr(), target.len());
        }
        true
    }

    /// Copies bytes in; `false` if the range does not lie in the memory.
    #[must_use]
    pub(crate) fn write(&self, offset: usize, source: &[u8]) -> bool {
        let Some(target) = self.range(offset, source.len()) else {
            return false;
        };
        // SAFETY: as in `read`; the range is this side's to write by the protocol, and if the
        // other process reads it too early it gets some mix of bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(source.as_ptr(), target.as_ptr(), source.len());
        }
        true
    }

    /// Returns a byte as an atomic.
    pub(crate) fn atomic_u8(&self, offset: usize) -> Option<&AtomicU8> {
        let address = self.range(offset, 1)?;
        // SAFETY: mapped as long as `self`, and used as an atomic on both sides.
        Some(unsafe { AtomicU8::from_ptr(address.as_ptr()) })
    }

    /// Returns an aligned word of four bytes as an atomic.
    pub(crate) fn atomic_u32(&self, offset: usize) -> Option<&AtomicU32> {
        let address = self.range(offset, 4).filter(|_| offset.is_multiple_of(4))?;
        // SAFETY: as in `atomic_u8`; the mapping begins at a page, so that the address is aligned.
        Some(unsafe { AtomicU32::from_ptr(address.as_ptr().cast()) })
    }

    /// Returns an aligned word of eight bytes as an atomic.
    pub(crate) fn atomic_u64(&self, offset: usize) -> Option<&AtomicU64> {
        let address = self.range(offset, 8).filter(|_| offset.is_multiple_of(8))?;
        // SAFETY: as in `atomic_u32`.
        Some(unsafe { AtomicU64::from_ptr(address.as_ptr().cast()) })
    }

    /// Returns where `data` lies in the memory, if it does.
    pub(crate) fn offset_of(&self, data: &[u8]) -> Option<usize> {
        let offset = (data.as_ptr() as usize).checked_sub(self.address.as_ptr() as usize)?;
        self.range(offset, data.len()).map(|_| offset)
    }

    /// Gives the pages of a range back to the system; they read as zeroes afterwards.
    pub(crate) fn discard(&self, offset: usize, byte_size: usize) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(error) = rustix::fs::fallocate(&self.fd, flags, offset as u64, byte_size as u64)
        {
            log::warn!("failed to give {byte_size} bytes of shared memory back: {error}");
        }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this address and length, and everything that
        // points into it holds the value alive.
        let unmapped = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.byte_size) };
        if let Err(error) = unmapped {
            log::error!("failed to unmap shared memory: {error}");
        }
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("byte_size", &self.byte_size)
            .finish_non_exhaustive()
    }
}

/// A range of [`SharedMemory`] that one holder owns; `T` says what happens when it lets go.
pub(crate) struct Block<T> {
    address: NonNull<u8>,
    byte_size: usize,
    // Keeps the mapping alive and, when dropped, frees the range.
    pub(crate) owner: T,
}

// SAFETY: the block owns its range, which belongs to no thread.
unsafe impl<T: Send> Send for Block<T> {}
// SAFETY: shared access only reads the range.
unsafe impl<T: Sync> Sync for Block<T> {}

impl<T> Block<T> {
    /// Takes a range; `None` if it does not lie in the memory.
    ///
    /// The caller's `owner` must keep `memory` alive, which the borrow of it cannot say, and must
    /// be the only one to hold the range.
    pub(crate) fn new(
        memory: &SharedMemory,
        offset: usize,
        byte_size: usize,
        owner: T,
    ) -> Option<Self> {
        let address = memory.range(offset, byte_size)?;
        Some(Self {
            address,
            byte_size,
            owner,
        })
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the range is mapped as long as `owner` lives, and this block alone holds it.
        unsafe { std::slice::from_raw_parts_mut(self.address.as_ptr(), self.byte_size) }
    }
}

impl<T> AsRef<[u8]> for Block<T> {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: as in `as_mut_slice`. The other process has given the range up; one that
        // writes nevertheless changes bytes of opaque numbers, which no check depends on:
        // `BYTES` tensors, whose lengths must hold, are copied out first.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.byte_size) }
    }
}

/// Memory of one input, as a Python model sees it: writable, for it belongs to one request.
///
/// Clones name the same bytes.
#[derive(Clone)]
pub struct TensorMemory {
    address: NonNull<u8>,
    byte_size: usize,
    owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the memory belongs to no thread; Python's rules, which let threads race on the contents
// of an array, apply to it, and Rust code reads it only through `as_slice`.
unsafe impl Send for TensorMemory {}
// SAFETY: see above.
unsafe impl Sync for TensorMemory {}

impl TensorMemory {
    /// Copies `data` to private memory, aligned for every element type.
    pub fn copy_of(data: &[u8]) -> Self {
        let mut words = vec![0_u128; data.len().div_ceil(size_of::<u128>())];
        let address = NonNull::from(words.as_mut_slice()).cast::<u8>();
        // SAFETY: the words are at least as long as `data`, and new.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), address.as_ptr(), data.len()) };
        Self {
            address,
            byte_size: data.len(),
            owner: Arc::new(PrivateWords { _words: words }),
        }
    }

    /// Takes a range of shared memory; `None` if it does not lie there. `owner` keeps `memory`
    /// alive, and the range taken.
    pub(crate) fn shared(
        memory: &SharedMemory,
        offset: usize,
        byte_size: usize,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Option<Self> {
        let address = memory.range(offset, byte_size)?;
        Some(Self {
            address,
            byte_size,
            owner,
        })
    }

    /// Takes over private memory; aligned as far as the allocator sees to it.
    pub(crate) fn from_vec(mut data: Vec<u8>) -> Self {
        Self {
            address: NonNull::from(data.as_mut_slice()).cast(),
            byte_size: data.len(),
            owner: Arc::new(PrivateBytes { _bytes: data }),
        }
    }

    /// Takes over memory that nobody else refers to; copies other memory.
    pub(crate) fn adopt(data: Bytes) -> Self {
        if !data.is_unique() {
            return Self::copy_of(&data);
        }
        let data = match data.try_into_mut() {
            Ok(data) => return Self::from_vec(data.into()),
            Err(data) => data,
        };
        // A mapping of shared memory, or memory that a runtime gave for one output.
        let address = NonNull::from(data.as_ref()).cast();
        Self {
            address,
            byte_size: data.len(),
            owner: Arc::new(data),
        }
    }

    /// Takes memory of another library.
    ///
    /// # Safety
    /// `byte_size` bytes at `address` must be readable and writable as long as `owner` lives.
    pub unsafe fn from_raw_parts(
        address: NonNull<u8>,
        byte_size: usize,
        owner: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self {
            address,
            byte_size,
            owner,
        }
    }

    /// Returns a part of the memory; `None` if it does not lie in it.
    pub fn slice(&self, offset: usize, byte_size: usize) -> Option<Self> {
        if offset.checked_add(byte_size)? > self.byte_size {
            return None;
        }
        // SAFETY: `offset` is at most the length.
        let address = unsafe { self.address.add(offset) };
        Some(Self {
            address,
            byte_size,
            owner: Arc::clone(&self.owner),
        })
    }

    /// Returns the address of the first byte, valid for reads and writes of
    /// [`Self::byte_size`] bytes while this value or a clone lives.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// Returns the size in bytes.
    pub fn byte_size(&self) -> usize {
        self.byte_size
    }

    /// Returns whether the address suits elements of `alignment` bytes.
    pub fn is_aligned(&self, alignment: usize) -> bool {
        (self.address.as_ptr() as usize).is_multiple_of(alignment)
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: mapped or allocated as long as `owner` lives. A model that writes to its input
        // from another thread meanwhile breaks only its own data: lengths in it are checked
        // against the slice at every use.
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.byte_size) }
    }
}

impl fmt::Debug for TensorMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorMemory")
            .field("byte_size", &self.byte_size)
            .finish_non_exhaustive()
    }
}

impl From<TensorMemory> for Bytes {
    fn from(memory: TensorMemory) -> Self {
        Self::from_owner(memory)
    }
}

impl AsRef<[u8]> for TensorMemory {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// As [`PrivateWords`].
struct PrivateBytes {
    _bytes: Vec<u8>,
}

/// Private memory that is reached only through the address taken before it went in here.
struct PrivateWords {
    _words: Vec<u128>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_mappings_see_what_one_writes() {
        let ours = SharedMemory::create("test", 8192).expect("memory");
        let fd = ours.fd().try_clone_to_owned().expect("fd");
        let theirs = SharedMemory::open(fd).expect("sealed");
        assert!(ours.write(8190, b"ab"));
        let mut seen = [0; 2];
        assert!(theirs.read(8190, &mut seen));
        assert_eq!(&seen, b"ab");
    }

    #[test]
    fn ranges_outside_are_refused() {
        let memory = SharedMemory::create("test", 4096).expect("memory");
        for (offset, byte_size) in [(4096, 1), (4095, 2), (usize::MAX, 1), (1, usize::MAX)] {
            assert!(
                memory.range(offset, byte_size).is_none(),
                "{offset} {byte_size}"
            );
        }
        assert!(memory.range(4096, 0).is_some());
        assert!(memory.atomic_u64(4096).is_none());
        assert!(memory.atomic_u64(4).is_none());
        assert!(!memory.write(4095, b"ab"));
    }

    #[test]
    fn memory_of_a_size_that_may_change_is_refused() {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("test", flags).expect("memfd");
        rustix::fs::ftruncate(&fd, 4096).expect("size");
        assert!(SharedMemory::open(fd).is_err());
    }

    #[test]
    fn tensor_memory_is_aligned_and_sliced() {
        let whole = TensorMemory::copy_of(&[1, 2, 3, 4, 5]);
        assert!(whole.is_aligned(16));
        let part = whole.slice(3, 2).expect("inside");
        drop(whole);
        assert_eq!(part.as_slice(), [4, 5]);
        assert!(part.slice(1, 2).is_none());
        assert!(part.slice(usize::MAX, 2).is_none());
    }
}
