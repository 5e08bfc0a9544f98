// SPDX-License-Identifier: Apache-2.0
use std::ffi::{CStr, CString, c_int};
use std::path::Path;
use std::ptr::{NonNull, null_mut};

use libloading::Library;
use parking_lot::Mutex;
use tritongw_types::{Error, Result};

use super::logging;
use super::table::{
    API_VERSION, Api, OrtAllocator, OrtApiBase, OrtEnv, OrtMemoryInfo, OrtThreadingOptions, Status,
};

/// `OrtDeviceAllocator` and `OrtMemTypeDefault`: memory that we own.
const CALLERS_MEMORY: (c_int, c_int) = (0, 0);

/// Threads shared by all sessions (B010).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GlobalThreads {
    /// Threads within an operator; `None` leaves the choice to ORT.
    pub(crate) intra_op: Option<c_int>,
    /// Threads across operators; `None` leaves the choice to ORT.
    pub(crate) inter_op: Option<c_int>,
    /// Whether idle threads spin before they sleep.
    pub(crate) allow_spinning: bool,
}

/// The loaded library and its environment.
pub(crate) struct Runtime {
    pub(super) api: &'static Api,
    env: NonNull<OrtEnv>,
    pub(super) memory_info: NonNull<OrtMemoryInfo>,
    pub(super) allocator: NonNull<OrtAllocator>,
    version: String,
    has_global_threads: bool,
    /// Held while a session with OpenVINO is made.
    pub(super) openvino_sessions: Mutex<()>,
}

// SAFETY: ORT's environment, memory info and default allocator may be used by several threads at
// once (onnxruntime_c_api.h); only `drop` changes them, and it has them alone.
unsafe impl Send for Runtime {}
// SAFETY: as above.
unsafe impl Sync for Runtime {}

impl Runtime {
    /// Loads the library and makes its environment, with threads of its own where asked.
    ///
    /// # Errors
    /// A library that cannot be loaded, is no ONNX Runtime, or is too old.
    pub(crate) fn load(library: &Path, threads: Option<&GlobalThreads>) -> Result<Self> {
        let (api, version) = load_api(library)?;
        let env = create_env(api, threads)?;
        let (allocator_type, memory_type) = CALLERS_MEMORY;
        let mut memory_info = null_mut();
        let mut allocator = null_mut();
        // SAFETY: both only write the out-pointer they are given.
        api.check(unsafe {
            (api.create_cpu_memory_info)(allocator_type, memory_type, &raw mut memory_info)
        })?;
        // SAFETY: as above.
        api.check(unsafe { (api.get_allocator_with_default_options)(&raw mut allocator) })?;
        Ok(Self {
            api,
            env,
            memory_info: not_null(memory_info)?,
            allocator: not_null(allocator)?,
            version,
            has_global_threads: threads.is_some(),
            openvino_sessions: Mutex::new(()),
        })
    }

    /// Returns the version of the library, such as `1.24.1`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Returns whether sessions share the threads of the environment.
    pub(crate) fn has_global_threads(&self) -> bool {
        self.has_global_threads
    }

    pub(super) fn env(&self) -> *const OrtEnv {
        self.env.as_ptr()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // SAFETY: made in `load`, released once, and every session that uses them holds the
        // runtime. The default allocator belongs to ORT.
        unsafe {
            (self.api.release_memory_info)(self.memory_info.as_ptr());
            (self.api.release_env)(self.env.as_ptr());
        }
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Api {
    /// Turns a status into a result, in Triton's words.
    pub(super) fn check(&self, status: Status) -> Result<()> {
        if status.is_null() {
            return Ok(());
        }
        // SAFETY: a status that is not null is valid until it is released, here and once; its
        // message is NUL-terminated and copied before.
        let (code, message) = unsafe {
            let code = (self.get_error_code)(status);
            let message = CStr::from_ptr((self.get_error_message)(status));
            let message = message.to_string_lossy().into_owned();
            (self.release_status)(status);
            (code, message)
        };
        Err(Error::internal(format!(
            "onnx runtime error {code}: {message}"
        )))
    }
}

fn load_api(path: &Path) -> Result<(&'static Api, String)> {
    let failed = |source: libloading::Error| {
        let message = format!(
            "failed to load ONNX Runtime from '{}': {source}",
            path.display()
        );
        Error::internal(message).with_source(source)
    };
    // SAFETY: the initialisers of ONNX Runtime have no preconditions. That the file is what the
    // operator's configuration names it to be is all that can be known of a library.
    let library = unsafe { Library::new(path) }.map_err(failed)?;
    type GetApiBase = unsafe extern "C" fn() -> *const OrtApiBase;
    // SAFETY: the symbol has this signature in every version.
    let base = unsafe {
        let get_api_base = library
            .get::<GetApiBase>(c"OrtGetApiBase")
            .map_err(failed)?;
        get_api_base().as_ref()
    };
    let Some(base) = base else {
        return Err(Error::internal(format!(
            "'{}' has no ONNX Runtime API",
            path.display()
        )));
    };
    // SAFETY: both functions have no preconditions; the version is a static text.
    let (table, version) = unsafe {
        let version = CStr::from_ptr((base.get_version_string)());
        (
            (base.get_api)(API_VERSION),
            version.to_string_lossy().into_owned(),
        )
    };
    if table.is_null() {
        return Err(Error::unsupported(format!(
            "ONNX Runtime {version} in '{}' is too old: 1.{API_VERSION} or newer is needed",
            path.display()
        )));
    }
    // Threads of the library may outlive every session, so its code must never go away; that is
    // also what makes the functions 'static.
    std::mem::forget(library);
    // SAFETY: not null, and asked for with this version.
    let api = unsafe { Api::read(table) };
    Ok((Box::leak(Box::new(api)), version))
}

fn create_env(api: &'static Api, threads: Option<&GlobalThreads>) -> Result<NonNull<OrtEnv>> {
    let mut env = null_mut();
    let id = c"tritongw".as_ptr();
    let severity = logging::severity();
    let status = match threads {
        None => {
            // SAFETY: the logger takes no parameter and is 'static; ORT copies the id.
            unsafe {
                (api.create_env_with_custom_logger)(
                    logging::pass_on,
                    null_mut(),
                    severity,
                    id,
                    &raw mut env,
                )
            }
        }
        Some(threads) => {
            let options = ThreadingOptions::new(api, threads)?;
            // SAFETY: as above; the options are valid and only read.
            unsafe {
                (api.create_env_with_custom_logger_and_global_thread_pools)(
                    logging::pass_on,
                    null_mut(),
                    severity,
                    id,
                    options.raw.as_ptr(),
                    &raw mut env,
                )
            }
        }
    };
    api.check(status)?;
    not_null(env)
}

struct ThreadingOptions {
    api: &'static Api,
    raw: NonNull<OrtThreadingOptions>,
}

impl ThreadingOptions {
    fn new(api: &'static Api, threads: &GlobalThreads) -> Result<Self> {
        let mut raw = null_mut();
        // SAFETY: only writes the out-pointer.
        api.check(unsafe { (api.create_threading_options)(&raw mut raw) })?;
        let options = Self {
            api,
            raw: not_null(raw)?,
        };
        let raw = options.raw.as_ptr();
        // SAFETY: the options are valid, here and below.
        let status =
            unsafe { (api.set_global_spin_control)(raw, c_int::from(threads.allow_spinning)) };
        api.check(status)?;
        if let Some(count) = threads.intra_op {
            // SAFETY: as above.
            api.check(unsafe { (api.set_global_intra_op_num_threads)(raw, count) })?;
        }
        if let Some(count) = threads.inter_op {
            // SAFETY: as above.
            api.check(unsafe { (api.set_global_inter_op_num_threads)(raw, count) })?;
        }
        Ok(options)
    }
}

impl Drop for ThreadingOptions {
    fn drop(&mut self) {
        // SAFETY: made in `new`, released once.
        unsafe { (self.api.release_threading_options)(self.raw.as_ptr()) }
    }
}

/// Checks an out-pointer of a call that succeeded.
pub(super) fn not_null<T>(pointer: *mut T) -> Result<NonNull<T>> {
    NonNull::new(pointer).ok_or_else(|| Error::internal("onnx runtime returned a null pointer"))
}

/// Makes a C string; a text with a NUL byte has none.
pub(super) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|source| {
        Error::invalid_arg(format!("'{}' has a NUL byte", text.escape_debug())).with_source(source)
    })
}
