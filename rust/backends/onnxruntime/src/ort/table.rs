// SPDX-License-Identifier: Apache-2.0
//! The part of ONNX Runtime's C API that we call.
//!
//! The library hands out a table of function pointers that only ever grows at its end, so that a
//! position is part of the ABI. The number before each function is its position in `struct OrtApi`
//! of `onnxruntime_c_api.h`.

use std::ffi::{c_char, c_int, c_void};

/// Version of the table that we ask for: every later library still serves it.
pub(super) const API_VERSION: u32 = 17;

macro_rules! opaque {
    ($($name:ident)*) => {
        $(#[repr(C)]
        #[derive(Debug)]
        pub(super) struct $name {
            _opaque: [u8; 0],
        })*
    };
}

opaque! {
    OrtEnv OrtStatus OrtMemoryInfo OrtSession OrtValue OrtRunOptions OrtTypeInfo
    OrtTensorTypeAndShapeInfo OrtSessionOptions OrtAllocator OrtThreadingOptions
}

pub(super) type Status = *mut OrtStatus;

/// Receives ORT's log: parameter, severity, category, logger id, place in the code, message.
pub(super) type LogFunction = unsafe extern "C" fn(
    *mut c_void,
    c_int,
    *const c_char,
    *const c_char,
    *const c_char,
    *const c_char,
);

/// What `OrtGetApiBase`, the library's one entry point, returns.
#[repr(C)]
pub(super) struct OrtApiBase {
    pub(super) get_api: unsafe extern "C" fn(u32) -> *const *const c_void,
    pub(super) get_version_string: unsafe extern "C" fn() -> *const c_char,
}

macro_rules! functions {
    ($($position:literal $name:ident($($argument:ty),* $(,)?) $(-> $result:ty)?;)*) => {
        /// Functions of the C API, copied out of the library's table.
        pub(super) struct Api {
            $(pub(super) $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Api {
            /// Copies the functions out of a table.
            ///
            /// # Safety
            /// `table` must be what `GetApi(API_VERSION)` returned, and not null.
            pub(super) unsafe fn read(table: *const *const c_void) -> Self {
                Self {
                    $($name: {
                        // SAFETY: a table of API_VERSION has more than `position` entries.
                        let function = unsafe { *table.add($position) };
                        // SAFETY: the entry at this position has this signature in every version
                        // of the library, and a C function pointer has a data pointer's size.
                        unsafe {
                            std::mem::transmute::<
                                *const c_void,
                                unsafe extern "C" fn($($argument),*) $(-> $result)?,
                            >(function)
                        }
                    },)*
                }
            }
        }
    };
}

functions! {
    1 get_error_code(*const OrtStatus) -> c_int;
    2 get_error_message(*const OrtStatus) -> *const c_char;
    4 create_env_with_custom_logger(
        LogFunction, *mut c_void, c_int, *const c_char, *mut *mut OrtEnv,
    ) -> Status;
    7 create_session(
        *const OrtEnv, *const c_char, *const OrtSessionOptions, *mut *mut OrtSession,
    ) -> Status;
    9 run(
        *mut OrtSession, *const OrtRunOptions, *const *const c_char, *const *const OrtValue, usize,
        *const *const c_char, usize, *mut *mut OrtValue,
    ) -> Status;
    10 create_session_options(*mut *mut OrtSessionOptions) -> Status;
    13 set_session_execution_mode(*mut OrtSessionOptions, c_int) -> Status;
    16 enable_mem_pattern(*mut OrtSessionOptions) -> Status;
    17 disable_mem_pattern(*mut OrtSessionOptions) -> Status;
    18 enable_cpu_mem_arena(*mut OrtSessionOptions) -> Status;
    19 disable_cpu_mem_arena(*mut OrtSessionOptions) -> Status;
    23 set_session_graph_optimization_level(*mut OrtSessionOptions, c_int) -> Status;
    24 set_intra_op_num_threads(*mut OrtSessionOptions, c_int) -> Status;
    25 set_inter_op_num_threads(*mut OrtSessionOptions, c_int) -> Status;
    30 session_get_input_count(*const OrtSession, *mut usize) -> Status;
    31 session_get_output_count(*const OrtSession, *mut usize) -> Status;
    32 session_get_overridable_initializer_count(*const OrtSession, *mut usize) -> Status;
    33 session_get_input_type_info(*const OrtSession, usize, *mut *mut OrtTypeInfo) -> Status;
    34 session_get_output_type_info(*const OrtSession, usize, *mut *mut OrtTypeInfo) -> Status;
    35 session_get_overridable_initializer_type_info(
        *const OrtSession, usize, *mut *mut OrtTypeInfo,
    ) -> Status;
    36 session_get_input_name(
        *const OrtSession, usize, *mut OrtAllocator, *mut *mut c_char,
    ) -> Status;
    37 session_get_output_name(
        *const OrtSession, usize, *mut OrtAllocator, *mut *mut c_char,
    ) -> Status;
    38 session_get_overridable_initializer_name(
        *const OrtSession, usize, *mut OrtAllocator, *mut *mut c_char,
    ) -> Status;
    39 create_run_options(*mut *mut OrtRunOptions) -> Status;
    48 create_tensor_as_ort_value(
        *mut OrtAllocator, *const i64, usize, c_int, *mut *mut OrtValue,
    ) -> Status;
    49 create_tensor_with_data_as_ort_value(
        *const OrtMemoryInfo, *mut c_void, usize, *const i64, usize, c_int, *mut *mut OrtValue,
    ) -> Status;
    51 get_tensor_mutable_data(*mut OrtValue, *mut *mut c_void) -> Status;
    53 get_string_tensor_data_length(*const OrtValue, *mut usize) -> Status;
    54 get_string_tensor_content(
        *const OrtValue, *mut c_void, usize, *mut usize, usize,
    ) -> Status;
    55 cast_type_info_to_tensor_info(
        *const OrtTypeInfo, *mut *const OrtTensorTypeAndShapeInfo,
    ) -> Status;
    56 get_onnx_type_from_type_info(*const OrtTypeInfo, *mut c_int) -> Status;
    60 get_tensor_element_type(*const OrtTensorTypeAndShapeInfo, *mut c_int) -> Status;
    61 get_dimensions_count(*const OrtTensorTypeAndShapeInfo, *mut usize) -> Status;
    62 get_dimensions(*const OrtTensorTypeAndShapeInfo, *mut i64, usize) -> Status;
    65 get_tensor_type_and_shape(
        *const OrtValue, *mut *mut OrtTensorTypeAndShapeInfo,
    ) -> Status;
    69 create_cpu_memory_info(c_int, c_int, *mut *mut OrtMemoryInfo) -> Status;
    76 allocator_free(*mut OrtAllocator, *mut c_void) -> Status;
    78 get_allocator_with_default_options(*mut *mut OrtAllocator) -> Status;
    92 release_env(*mut OrtEnv);
    93 release_status(*mut OrtStatus);
    94 release_memory_info(*mut OrtMemoryInfo);
    95 release_session(*mut OrtSession);
    96 release_value(*mut OrtValue);
    97 release_run_options(*mut OrtRunOptions);
    98 release_type_info(*mut OrtTypeInfo);
    99 release_tensor_type_and_shape_info(*mut OrtTensorTypeAndShapeInfo);
    100 release_session_options(*mut OrtSessionOptions);
    120 disable_per_session_threads(*mut OrtSessionOptions) -> Status;
    121 create_threading_options(*mut *mut OrtThreadingOptions) -> Status;
    122 release_threading_options(*mut OrtThreadingOptions);
    130 add_session_config_entry(*mut OrtSessionOptions, *const c_char, *const c_char) -> Status;
    147 set_global_intra_op_num_threads(*mut OrtThreadingOptions, c_int) -> Status;
    148 set_global_inter_op_num_threads(*mut OrtThreadingOptions, c_int) -> Status;
    149 set_global_spin_control(*mut OrtThreadingOptions, c_int) -> Status;
    151 create_env_with_custom_logger_and_global_thread_pools(
        LogFunction, *mut c_void, c_int, *const c_char, *const OrtThreadingOptions,
        *mut *mut OrtEnv,
    ) -> Status;
    165 add_run_config_entry(*mut OrtRunOptions, *const c_char, *const c_char) -> Status;
    216 session_options_append_execution_provider(
        *mut OrtSessionOptions, *const c_char, *const *const c_char, *const *const c_char, usize,
    ) -> Status;
    228 register_custom_ops_library(*mut OrtSessionOptions, *const c_char) -> Status;
    252 get_resized_string_tensor_element_buffer(
        *mut OrtValue, usize, usize, *mut *mut c_char,
    ) -> Status;
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}
