// SPDX-License-Identifier: Apache-2.0
//! Regions that clients register, and what they cannot do with them (P085-P095).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tritongw_engine::buffer::{OutputBuffer, RequestBuffer, RequestMemory, ResponseAllocator};
use tritongw_engine::shared_memory::{
    RegionKind, RegionPlace, SharedMemoryAllocator, SharedMemoryManager, SharedMemoryReference,
    SharedMemorySlice,
};
use tritongw_types::{CName, Error, ErrorCode, MemoryLocation, Result};

#[test]
fn regions_are_registered_listed_and_unregistered() {
    let object = Object::new(&[0; 64]);
    let manager = SharedMemoryManager::new(true, Vec::new());
    manager
        .register_system("whole", &object.key, 0, 64)
        .expect("fits");
    manager
        .register_system("end", &object.key[1..], 63, 1)
        .expect("keys go without a slash too");
    let regions = manager.regions(RegionKind::System, None).expect("all");
    let listed: Vec<_> = regions
        .iter()
        .map(|region| (region.name().to_owned(), region.place(), region.byte_size()))
        .collect();
    let place = |key, offset| RegionPlace::System { key, offset };
    let key = object.key.as_str();
    assert_eq!(
        listed,
        [
            ("end".into(), place(&key[1..], 63), 1),
            ("whole".into(), place(key, 0), 64)
        ]
    );
    let one = manager
        .regions(RegionKind::System, Some("whole"))
        .expect("registered");
    assert_eq!((one.len(), one[0].place()), (1, place(key, 0)));
    manager
        .unregister(RegionKind::System, Some("whole"))
        .expect("allowed");
    manager
        .unregister(RegionKind::System, Some("whole"))
        .expect("unknown is no error");
    assert_eq!(
        manager
            .regions(RegionKind::System, None)
            .expect("one left")
            .len(),
        1
    );
    manager
        .unregister(RegionKind::System, None)
        .expect("allowed");
    assert!(
        manager
            .regions(RegionKind::System, None)
            .expect("none left")
            .is_empty()
    );
}

#[test]
fn registration_is_refused_in_tritons_words() {
    let object = Object::new(&[0; 64]);
    let manager = SharedMemoryManager::new(true, Vec::new());
    let key = object.key.as_str();
    manager.register_system("a", key, 0, 64).expect("fits");
    let invalid = "failed to register shared memory region 'b': invalid args";
    let cases = [
        (
            "a",
            key,
            0,
            64,
            ErrorCode::AlreadyExists,
            "shared memory region 'a' already in manager",
        ),
        ("b", key, 0, 65, ErrorCode::InvalidArg, invalid),
        ("b", key, 64, 1, ErrorCode::InvalidArg, invalid),
        ("b", key, 0, 0, ErrorCode::InvalidArg, invalid),
        ("b", key, u64::MAX, 2, ErrorCode::InvalidArg, invalid),
        ("b", key, 1, u64::MAX, ErrorCode::InvalidArg, invalid),
        (
            "b",
            "/tritongw_no_such_object",
            0,
            1,
            ErrorCode::Internal,
            "Unable to open shared memory region: '/tritongw_no_such_object'",
        ),
        (
            "",
            key,
            0,
            1,
            ErrorCode::InvalidArg,
            "shared memory region must have a name that is not empty",
        ),
    ];
    for (name, key, offset, byte_size, code, text) in cases {
        let error = manager
            .register_system(name, key, offset, byte_size)
            .expect_err(text);
        assert_eq!((error.code(), error.message()), (code, text));
    }
    let error = manager
        .register_cuda("c", &[0; 64], 0, 1)
        .expect_err("no GPU");
    assert_eq!(error.code(), ErrorCode::InvalidArg);
    assert_eq!(
        error.message(),
        "failed to register CUDA shared memory region: 'c', GPUs not supported"
    );
}

#[test]
fn links_and_directories_are_no_shared_memory() {
    let secret = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&secret, "secret").expect("written");
    let link = Object::new(b"");
    fs::remove_file(&link.path).expect("there");
    symlink(secret.path(), &link.path).expect("linked");
    let manager = SharedMemoryManager::new(true, Vec::new());
    let error = manager
        .register_system("link", &link.key, 0, 6)
        .expect_err("not followed");
    assert_eq!(
        error.message(),
        format!("Unable to open shared memory region: '{}'", link.key)
    );
    fs::remove_file(&link.path).expect("there");
    fs::create_dir(&link.path).expect("made");
    let refused = manager.register_system("directory", &link.key, 0, 1);
    fs::remove_dir(&link.path).expect("empty");
    assert_eq!(refused.expect_err("no file").code(), ErrorCode::Internal);
}

#[test]
fn without_leave_a_client_can_only_ask() {
    let object = Object::new(&[0; 4]);
    let manager = SharedMemoryManager::new(false, Vec::new());
    let expected = "Client shared memory is disabled. Start the server with \
                    '--allow-client-shm=true' to enable.";
    let refusals = [
        manager.register_system("a", &object.key, 0, 4),
        manager.register_cuda("a", &[0; 64], 0, 1),
        manager.unregister(RegionKind::System, None),
        manager.unregister(RegionKind::Cuda, None),
        manager.slice(&reference("a", 0, 4)).map(drop),
    ];
    for refusal in refusals {
        let error = refusal.expect_err("off");
        assert_eq!(
            (error.code(), error.message()),
            (ErrorCode::Unsupported, expected)
        );
    }
    assert!(
        manager
            .regions(RegionKind::System, None)
            .expect("answers")
            .is_empty()
    );
    manager.regions(RegionKind::Cuda, None).expect("answers");
}

#[test]
fn status_of_unknown_regions_is_not_found() {
    let object = Object::new(&[0; 4]);
    let manager = SharedMemoryManager::new(true, Vec::new());
    manager
        .register_system("a", &object.key, 0, 4)
        .expect("fits");
    let text = |error: Error| {
        assert_eq!(error.code(), ErrorCode::NotFound);
        error.message().to_owned()
    };
    let system = manager
        .regions(RegionKind::System, Some("x"))
        .expect_err("unknown");
    assert_eq!(
        text(system),
        "Unable to find system shared memory region: 'x'"
    );
    let cuda = manager
        .regions(RegionKind::Cuda, Some("x"))
        .expect_err("unknown");
    assert_eq!(text(cuda), "Unable to find cuda shared memory region: 'x'");
    let cuda = manager
        .regions(RegionKind::Cuda, Some("a"))
        .expect_err("of the other kind");
    assert_eq!(
        text(cuda),
        "The region named 'a' is registered as system shared memory, not CUDA shared memory"
    );
}

#[test]
fn a_range_is_read_where_the_region_and_its_offset_say() {
    let object = Object::new(b"0123456789");
    let manager = registered(&object, 2, 6);
    assert_eq!(read(&manager, 0, 6).expect("whole"), "234567");
    assert_eq!(read(&manager, 4, 2).expect("end"), "67");
    assert_eq!(read(&manager, 0, 0).expect("nothing"), "");
    let cases = [
        (6, 1, "Invalid offset for shared memory region: 'r'"),
        (u64::MAX, 1, "Invalid offset for shared memory region: 'r'"),
        (
            0,
            7,
            "Invalid offset + byte size for shared memory region: 'r'",
        ),
        (
            5,
            2,
            "Invalid offset + byte size for shared memory region: 'r'",
        ),
        (
            1,
            u64::MAX,
            "Invalid offset + byte size for shared memory region: 'r'",
        ),
    ];
    for (offset, byte_size, text) in cases {
        let error = read(&manager, offset, byte_size).expect_err(text);
        assert_eq!(
            (error.code(), error.message()),
            (ErrorCode::InvalidArg, text)
        );
    }
    let error = manager.slice(&reference("x", 0, 1)).expect_err("unknown");
    assert_eq!(error.code(), ErrorCode::NotFound);
    assert_eq!(error.message(), "Unable to find shared memory region: 'x'");
}

#[test]
fn what_was_read_does_not_change_when_the_client_writes_again() {
    let object = Object::new(b"before");
    let manager = registered(&object, 0, 6);
    let data = slice(&manager, 0, 6).read(None).expect("read");
    object.overwrite(b"after!");
    assert_eq!(data, "before");
}

#[test]
fn an_object_cut_short_is_an_error_and_kills_nobody() {
    let object = Object::new(&[7; 3 * 4096]);
    let manager = registered(&object, 0, 3 * 4096);
    let held = slice(&manager, 4096, 2 * 4096);
    let output = slice(&manager, 0, 2 * 4096);
    object.truncate(4096);
    let text = "Invalid offset + byte size for shared memory region: 'r'";
    let error = held.read(None).expect_err("gone");
    assert_eq!(
        (error.code(), error.message()),
        (ErrorCode::InvalidArg, text)
    );
    let error = read(&manager, 0, 4097).expect_err("gone");
    assert_eq!(
        (error.code(), error.message()),
        (ErrorCode::InvalidArg, text)
    );
    assert_eq!(read(&manager, 0, 4096).expect("still there"), [7; 4096][..]);
    let mut allocator = SharedMemoryAllocator::default();
    allocator.place(&CName::new("OUT"), output);
    let data = Bytes::from(vec![1; 2 * 4096]);
    let error = allocator
        .adopt(&CName::new("OUT"), data)
        .expect_err("no longer there");
    assert_eq!(error.message(), text);
    assert_eq!(
        object.contents().len(),
        4096,
        "not grown again by the server"
    );
}

#[test]
fn inputs_land_in_the_memory_the_model_wants() {
    let object = Object::new(&[9; 32]);
    let manager = registered(&object, 0, 32);
    let memory = Arc::new(Recording::default());
    let wanted: Arc<dyn RequestMemory> = Arc::<Recording>::clone(&memory);
    let data = slice(&manager, 8, 16).read(Some(&wanted)).expect("read");
    assert_eq!(data, [9; 16][..]);
    assert_eq!(*memory.given.lock(), [data.as_ptr().addr()]);
    // A request too small for it goes to the heap.
    assert_eq!(
        slice(&manager, 0, 4)
            .read(Some(&wanted))
            .expect("read")
            .len(),
        4
    );
    assert_eq!(memory.given.lock().len(), 1);
}

#[test]
fn a_region_in_use_is_released_with_its_last_request() {
    let object = Object::new(&[1; 8]);
    let manager = registered(&object, 0, 8);
    let input = slice(&manager, 0, 4).read(None).expect("read");
    let output = slice(&manager, 4, 4);
    manager
        .unregister(RegionKind::System, Some("r"))
        .expect("allowed");
    let is_there = || manager.regions(RegionKind::System, Some("r")).is_ok();
    assert!(is_there(), "two requests use it");
    drop(input);
    assert!(is_there(), "one request uses it");
    drop(output);
    assert!(!is_there());
    manager
        .register_system("r", &object.key, 0, 8)
        .expect("the name is free again");
    drop(slice(&manager, 0, 8));
    assert!(is_there(), "used, but not unregistered");
}

#[test]
fn outputs_go_to_their_range_and_others_to_the_heap() {
    let object = Object::new(&[0; 16]);
    let manager = registered(&object, 0, 16);
    let mut allocator = SharedMemoryAllocator::default();
    allocator.place(&CName::new("A"), slice(&manager, 4, 4));
    assert!(allocator.places("A") && !allocator.places("B"));
    // Data that the backend holds is written at once, at the beginning of the range.
    let adopted = allocator
        .adopt(&CName::new("A"), Bytes::from_static(b"abc"))
        .expect("fits");
    assert_eq!(adopted.byte_size(), 3);
    assert_eq!(&object.contents()[..8], b"\0\0\0\0abc\0");
    // Memory that the backend fills is written when the response is sent.
    let allocated = allocator.allocate(&CName::new("A"), 4, MemoryLocation::CPU);
    let OutputBuffer::Custom(mut memory) = allocated.expect("fits") else {
        panic!("not the client's memory");
    };
    memory
        .as_mut_slice()
        .expect("host memory")
        .copy_from_slice(b"wxyz");
    assert_eq!(&object.contents()[4..8], b"abc\0");
    memory.settle().expect("written");
    assert_eq!(&object.contents()[4..9], b"wxyz\0");
    let heap = allocator.allocate(&CName::new("B"), 4, MemoryLocation::CPU);
    assert!(matches!(heap, Ok(OutputBuffer::Heap(_))));
    let adopted = allocator.adopt(&CName::new("B"), Bytes::from_static(b"abc"));
    assert!(matches!(adopted, Ok(OutputBuffer::Adopted(_))));
}

#[test]
fn an_output_that_does_not_fit_is_refused_before_anything_is_written() {
    let object = Object::new(&[0; 16]);
    let manager = registered(&object, 0, 16);
    let mut allocator = SharedMemoryAllocator::default();
    allocator.place(&CName::new("OUT"), slice(&manager, 0, 4));
    let text = "shared memory size specified with the request for output 'OUT' (4 bytes) should be \
                at least 5 bytes to hold the results";
    let refusals = [
        allocator.allocate(&CName::new("OUT"), 5, MemoryLocation::CPU),
        allocator.adopt(&CName::new("OUT"), Bytes::from_static(b"abcde")),
    ];
    for refusal in refusals {
        let error = refusal.expect_err("too small");
        assert_eq!((error.code(), error.message()), (ErrorCode::Internal, text));
    }
    assert_eq!(object.contents(), [0; 16]);
}

/// A shared memory object that is removed with its test.
struct Object {
    key: String,
    path: PathBuf,
}

impl Object {
    fn new(contents: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let key = format!("/tritongw_test_{}_{number}", std::process::id());
        let path = PathBuf::from(format!("/dev/shm{key}"));
        fs::write(&path, contents).expect("shared memory");
        Self { key, path }
    }

    fn overwrite(&self, contents: &[u8]) {
        fs::write(&self.path, contents).expect("shared memory");
    }

    fn truncate(&self, byte_size: u64) {
        let file = fs::File::options().write(true).open(&self.path);
        file.and_then(|file| file.set_len(byte_size))
            .expect("shared memory");
    }

    fn contents(&self) -> Vec<u8> {
        fs::read(&self.path).expect("shared memory")
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // A test that put something else in its place has removed it itself.
        let _ = fs::remove_file(&self.path);
    }
}

/// Gives memory for 16 bytes or more, and remembers where.
#[derive(Default)]
struct Recording {
    given: Arc<Mutex<Vec<usize>>>,
}

struct Recorded(Vec<u8>);

impl RequestMemory for Recording {
    fn allocate(&self, byte_size: usize, _: usize) -> Option<Box<dyn RequestBuffer>> {
        let memory = vec![0_u8; byte_size];
        (byte_size >= 16).then(|| {
            self.given.lock().push(memory.as_ptr().addr());
            Box::new(Recorded(memory)) as _
        })
    }
}

impl RequestBuffer for Recorded {
    fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn freeze(self: Box<Self>) -> Bytes {
        Bytes::from(self.0)
    }
}

fn reference(region: &str, offset: u64, byte_size: u64) -> SharedMemoryReference {
    SharedMemoryReference {
        region: CName::new(region),
        offset,
        byte_size,
    }
}

/// Returns a manager with one region, named `r`.
fn registered(object: &Object, offset: u64, byte_size: u64) -> SharedMemoryManager {
    let manager = SharedMemoryManager::new(true, Vec::new());
    manager
        .register_system("r", &object.key, offset, byte_size)
        .expect("the object holds it");
    manager
}

fn slice(manager: &SharedMemoryManager, offset: u64, byte_size: u64) -> SharedMemorySlice {
    manager
        .slice(&reference("r", offset, byte_size))
        .expect("the region holds it")
}

fn read(manager: &SharedMemoryManager, offset: u64, byte_size: u64) -> Result<Bytes> {
    manager
        .slice(&reference("r", offset, byte_size))?
        .read(None)
}
