// SPDX-License-Identifier: Apache-2.0
use std::ffi::{CStr, c_int};
use std::ptr::{NonNull, null_mut};

use tritongw_types::Result;

use super::runtime::{Runtime, c_string, not_null};
use super::table::{Api, OrtRunOptions, OrtSessionOptions, Status};

/// How much ORT rewrites the graph; numbers are those of `GraphOptimizationLevel`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum OptimizationLevel {
    /// Not at all.
    DisableAll = 0,
    /// Redundant nodes go.
    Basic = 1,
    /// Nodes are fused.
    Extended = 2,
    /// Everything, layouts included.
    #[default]
    All = 99,
}

/// Order of the nodes; numbers are those of `ExecutionMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum ExecutionMode {
    /// One node after another.
    #[default]
    Sequential = 0,
    /// Independent branches at once.
    Parallel = 1,
}

/// What a session is made with. `None` leaves a choice to ORT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionSettings {
    pub(crate) optimization_level: OptimizationLevel,
    pub(crate) execution_mode: ExecutionMode,
    pub(crate) intra_op_thread_count: Option<c_int>,
    pub(crate) inter_op_thread_count: Option<c_int>,
    pub(crate) enable_mem_arena: Option<bool>,
    pub(crate) enable_mem_pattern: Option<bool>,
    /// ORT's own configuration entries, `session.…`.
    pub(crate) entries: Vec<(String, String)>,
    /// Libraries of custom operators, as the system's loader finds them (B009).
    pub(crate) custom_op_libraries: Vec<String>,
    /// Whether OpenVINO executes what it can (B005).
    pub(crate) uses_openvino: bool,
}

/// Options of the OpenVINO execution provider: Triton gives no others.
const OPENVINO: (&CStr, &[(&CStr, &CStr)]) = (c"OpenVINO", &[(c"device_type", c"CPU")]);

/// Options of a session, made from its settings.
pub(super) struct SessionOptions {
    api: &'static Api,
    raw: NonNull<OrtSessionOptions>,
}

impl SessionOptions {
    pub(super) fn new(runtime: &Runtime, settings: &SessionSettings) -> Result<Self> {
        let api = runtime.api;
        let mut raw = null_mut();
        // SAFETY: only writes the out-pointer.
        api.check(unsafe { (api.create_session_options)(&raw mut raw) })?;
        let options = Self {
            api,
            raw: not_null(raw)?,
        };
        options.set(
            api.set_session_graph_optimization_level,
            settings.optimization_level as c_int,
        )?;
        options.set(
            api.set_session_execution_mode,
            settings.execution_mode as c_int,
        )?;
        if runtime.has_global_threads() {
            options.switch(api.disable_per_session_threads)?;
        } else {
            if let Some(count) = settings.intra_op_thread_count {
                options.set(api.set_intra_op_num_threads, count)?;
            }
            if let Some(count) = settings.inter_op_thread_count {
                options.set(api.set_inter_op_num_threads, count)?;
            }
        }
        match settings.enable_mem_arena {
            Some(true) => options.switch(api.enable_cpu_mem_arena)?,
            Some(false) => options.switch(api.disable_cpu_mem_arena)?,
            None => {}
        }
        match settings.enable_mem_pattern {
            Some(true) => options.switch(api.enable_mem_pattern)?,
            Some(false) => options.switch(api.disable_mem_pattern)?,
            None => {}
        }
        for (key, value) in &settings.entries {
            options.add_entry(key, value)?;
        }
        if settings.uses_openvino {
            let (name, provider_options) = OPENVINO;
            options.append_execution_provider(name, provider_options)?;
        }
        for library in &settings.custom_op_libraries {
            options.register_custom_ops(library)?;
        }
        Ok(options)
    }

    pub(super) fn as_ptr(&self) -> *const OrtSessionOptions {
        self.raw.as_ptr()
    }

    fn set(
        &self,
        function: unsafe extern "C" fn(*mut OrtSessionOptions, c_int) -> Status,
        value: c_int,
    ) -> Result<()> {
        // SAFETY: the options are valid; ORT checks the value.
        self.api
            .check(unsafe { function(self.raw.as_ptr(), value) })
    }

    fn switch(
        &self,
        function: unsafe extern "C" fn(*mut OrtSessionOptions) -> Status,
    ) -> Result<()> {
        // SAFETY: the options are valid.
        self.api.check(unsafe { function(self.raw.as_ptr()) })
    }

    fn add_entry(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (c_string(key)?, c_string(value)?);
        // SAFETY: the options are valid; ORT copies both texts.
        self.api.check(unsafe {
            (self.api.add_session_config_entry)(self.raw.as_ptr(), key.as_ptr(), value.as_ptr())
        })
    }
}

impl SessionOptions {
    fn append_execution_provider(&self, name: &CStr, options: &[(&CStr, &CStr)]) -> Result<()> {
        let keys: Vec<_> = options.iter().map(|(key, _)| key.as_ptr()).collect();
        let values: Vec<_> = options.iter().map(|(_, value)| value.as_ptr()).collect();
        // SAFETY: the options are valid; ORT copies the texts, of which there are as many as said.
        self.api.check(unsafe {
            (self.api.session_options_append_execution_provider)(
                self.raw.as_ptr(),
                name.as_ptr(),
                keys.as_ptr(),
                values.as_ptr(),
                options.len(),
            )
        })
    }

    /// Loads a library of custom operators, which ORT keeps as long as a session uses it.
    fn register_custom_ops(&self, library: &str) -> Result<()> {
        let path = c_string(library)?;
        // SAFETY: the options are valid; ORT copies the path. That the library is what the
        // operator's configuration names it to be is all that can be known of it.
        self.api.check(unsafe {
            (self.api.register_custom_ops_library)(self.raw.as_ptr(), path.as_ptr())
        })
    }
}

impl Drop for SessionOptions {
    fn drop(&mut self) {
        // SAFETY: made in `new`, released once.
        unsafe { (self.api.release_session_options)(self.raw.as_ptr()) }
    }
}

/// What every execution of an instance is run with.
pub(crate) struct RunOptions {
    api: &'static Api,
    raw: NonNull<OrtRunOptions>,
}

// SAFETY: ORT only reads run options during an execution; they are changed when made, never after.
unsafe impl Send for RunOptions {}

impl RunOptions {
    /// Makes run options with these configuration entries.
    pub(crate) fn new(runtime: &Runtime, entries: &[(String, String)]) -> Result<Self> {
        let api = runtime.api;
        let mut raw = null_mut();
        // SAFETY: only writes the out-pointer.
        api.check(unsafe { (api.create_run_options)(&raw mut raw) })?;
        let options = Self {
            api,
            raw: not_null(raw)?,
        };
        for (key, value) in entries {
            let (key, value) = (c_string(key)?, c_string(value)?);
            // SAFETY: the options are valid; ORT copies both texts.
            api.check(unsafe {
                (api.add_run_config_entry)(options.raw.as_ptr(), key.as_ptr(), value.as_ptr())
            })?;
        }
        Ok(options)
    }
}

impl RunOptions {
    pub(super) fn as_ptr(&self) -> *const OrtRunOptions {
        self.raw.as_ptr()
    }
}

impl Drop for RunOptions {
    fn drop(&mut self) {
        // SAFETY: made in `new`, released once.
        unsafe { (self.api.release_run_options)(self.raw.as_ptr()) }
    }
}

impl std::fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunOptions").finish_non_exhaustive()
    }
}
