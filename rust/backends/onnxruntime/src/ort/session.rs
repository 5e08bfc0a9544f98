// SPDX-License-Identifier: Apache-2.0
use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use smallvec::SmallVec;
use tritongw_types::{Error, Result, Shape};

use super::element::ElementType;
use super::options::{RunOptions, SessionOptions, SessionSettings};
use super::output::OutputValue;
use super::runtime::{Runtime, not_null};
use super::table::{Api, OrtAllocator, OrtSession, OrtTypeInfo, OrtValue, Status};
use super::value::{RawValue, TensorView, WritableTensor, tensor_type_and_shape};

/// What a graph says of one of its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorInfo {
    pub(crate) name: CString,
    pub(crate) element_type: ElementType,
    /// Dimensions, -1 where variable.
    pub(crate) dims: Shape,
}

impl TensorInfo {
    pub(crate) fn name_text(&self) -> std::borrow::Cow<'_, str> {
        self.name.to_string_lossy()
    }
}

/// A loaded model.
pub(crate) struct Session {
    pub(super) runtime: Arc<Runtime>,
    raw: NonNull<OrtSession>,
}

// SAFETY: ORT allows `Run` on one session from several threads at once, and everything else that
// we call after it was made only reads.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

impl Session {
    /// Loads a model file; external data is found beside it.
    ///
    /// # Errors
    /// ORT's, with Triton's prefix.
    pub(crate) fn load(
        runtime: &Arc<Runtime>,
        model: &Path,
        settings: &SessionSettings,
    ) -> Result<Self> {
        let options = SessionOptions::new(runtime, settings)?;
        let path = CString::new(model.as_os_str().as_encoded_bytes())
            .map_err(|source| Error::invalid_arg("the path has a NUL byte").with_source(source))?;
        let mut raw = null_mut();
        // Triton: sessions with OpenVINO are not made by several threads at once.
        let _alone = settings
            .uses_openvino
            .then(|| runtime.openvino_sessions.lock());
        // SAFETY: environment, path and options are valid and outlive the call.
        runtime.api.check(unsafe {
            (runtime.api.create_session)(
                runtime.env(),
                path.as_ptr(),
                options.as_ptr(),
                &raw mut raw,
            )
        })?;
        Ok(Self {
            runtime: Arc::clone(runtime),
            raw: not_null(raw)?,
        })
    }

    /// Returns the inputs of the graph, in its order.
    pub(crate) fn inputs(&self) -> Result<Vec<TensorInfo>> {
        let api = self.api();
        self.infos(&Enumeration {
            count: api.session_get_input_count,
            name: api.session_get_input_name,
            type_info: api.session_get_input_type_info,
        })
    }

    /// Returns the outputs of the graph, in its order.
    pub(crate) fn outputs(&self) -> Result<Vec<TensorInfo>> {
        let api = self.api();
        self.infos(&Enumeration {
            count: api.session_get_output_count,
            name: api.session_get_output_name,
            type_info: api.session_get_output_type_info,
        })
    }

    /// Returns the initialisers that a request may replace (B013).
    pub(crate) fn overridable_initializers(&self) -> Result<Vec<TensorInfo>> {
        let api = self.api();
        self.infos(&Enumeration {
            count: api.session_get_overridable_initializer_count,
            name: api.session_get_overridable_initializer_name,
            type_info: api.session_get_overridable_initializer_type_info,
        })
    }

    /// Executes the model. `slots` names the outputs to compute: ORT writes into the tensor given
    /// with a name, or makes one where none is given. Returns those it made, in the order of
    /// `slots`.
    ///
    /// # Errors
    /// ORT's, with Triton's prefix.
    pub(crate) fn run(
        self: &Arc<Self>,
        options: &RunOptions,
        inputs: &[(&CStr, TensorView<'_>)],
        slots: &[(&CStr, Option<&WritableTensor>)],
    ) -> Result<SmallVec<[OutputValue; 4]>> {
        let input_names: SmallVec<[*const c_char; 8]> =
            inputs.iter().map(|(name, _)| name.as_ptr()).collect();
        let input_values: SmallVec<[*const OrtValue; 8]> = inputs
            .iter()
            .map(|(_, value)| value.as_ptr().cast_const())
            .collect();
        let output_names: SmallVec<[*const c_char; 8]> =
            slots.iter().map(|(name, _)| name.as_ptr()).collect();
        let mut output_values: SmallVec<[*mut OrtValue; 8]> = slots
            .iter()
            .map(|(_, slot)| slot.map_or(null_mut(), WritableTensor::as_ptr))
            .collect();
        // SAFETY: names and values are valid for the call, as many as their counts say. ORT reads
        // inputs, writes outputs into tensors given for that (writable by their type), and only replaces null entries.
        let status = unsafe {
            (self.api().run)(
                self.raw.as_ptr(),
                options.as_ptr(),
                input_names.as_ptr(),
                input_values.as_ptr(),
                input_values.len(),
                output_names.as_ptr(),
                output_names.len(),
                output_values.as_mut_ptr(),
            )
        };
        // Taken over before the status is looked at, so that nothing leaks.
        let slots = slots.iter().zip(&output_values);
        let made = slots.filter(|((_, slot), _)| slot.is_none());
        let made: SmallVec<[(&CStr, Option<RawValue>); 4]> = made
            .map(|((name, _), &raw)| (*name, self.take_over(raw)))
            .collect();
        self.api().check(status)?;
        let outputs = made.into_iter().map(|(name, value)| {
            let value = value.ok_or_else(|| Error::internal("onnx runtime left out an output"))?;
            let is_input = inputs.iter().any(|(input, _)| *input == name);
            OutputValue::new(value, is_input, Arc::clone(self))
        });
        outputs.collect()
    }

    /// Returns the library that loaded the model.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(super) fn api(&self) -> &'static Api {
        self.runtime.api
    }

    fn take_over(&self, raw: *mut OrtValue) -> Option<RawValue> {
        NonNull::new(raw).map(|raw| RawValue::new(self.api(), raw))
    }

    fn infos(&self, of: &Enumeration) -> Result<Vec<TensorInfo>> {
        let mut count = 0;
        // SAFETY: the session is valid; only the out-pointer is written.
        let status = unsafe { (of.count)(self.raw.as_ptr(), &raw mut count) };
        self.api().check(status)?;
        (0..count).map(|index| self.info(of, index)).collect()
    }

    fn info(&self, of: &Enumeration, index: usize) -> Result<TensorInfo> {
        let name = self.name(of, index)?;
        let api = self.api();
        let mut raw = null_mut();
        // SAFETY: the session is valid and the index below the count.
        api.check(unsafe { (of.type_info)(self.raw.as_ptr(), index, &raw mut raw) })?;
        let type_info = TypeInfo {
            api,
            raw: not_null(raw)?,
        };
        type_info.check_is_tensor(&name)?;
        let mut tensor_info = std::ptr::null();
        // SAFETY: the type info is valid and outlives what is cast from it.
        api.check(unsafe {
            (api.cast_type_info_to_tensor_info)(type_info.raw.as_ptr(), &raw mut tensor_info)
        })?;
        let tensor_info = not_null(tensor_info.cast_mut())?;
        // SAFETY: valid as long as the type info.
        let (element_type, dims) = unsafe { tensor_type_and_shape(api, tensor_info.as_ptr()) }?;
        Ok(TensorInfo {
            name,
            element_type,
            dims,
        })
    }

    fn name(&self, of: &Enumeration, index: usize) -> Result<CString> {
        let allocator = self.runtime.allocator.as_ptr();
        let mut raw = null_mut();
        // SAFETY: session and allocator are valid and the index below the count.
        let status = unsafe { (of.name)(self.raw.as_ptr(), index, allocator, &raw mut raw) };
        self.api().check(status)?;
        let raw = not_null(raw)?;
        // SAFETY: NUL-terminated, copied, and given back to the allocator it came from.
        unsafe {
            let name = CStr::from_ptr(raw.as_ptr()).to_owned();
            self.api()
                .check((self.api().allocator_free)(allocator, raw.as_ptr().cast()))?;
            Ok(name)
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: made in `load`, released once.
        unsafe { (self.api().release_session)(self.raw.as_ptr()) }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("runtime", &self.runtime)
            .finish_non_exhaustive()
    }
}

/// The three functions by which one kind of tensor is listed.
struct Enumeration {
    count: unsafe extern "C" fn(*const OrtSession, *mut usize) -> Status,
    name: unsafe extern "C" fn(
        *const OrtSession,
        usize,
        *mut OrtAllocator,
        *mut *mut c_char,
    ) -> Status,
    type_info: unsafe extern "C" fn(*const OrtSession, usize, *mut *mut OrtTypeInfo) -> Status,
}

struct TypeInfo {
    api: &'static Api,
    raw: NonNull<OrtTypeInfo>,
}

impl TypeInfo {
    fn check_is_tensor(&self, name: &CStr) -> Result<()> {
        let mut onnx_type = 0;
        // SAFETY: the type info is valid.
        self.api.check(unsafe {
            (self.api.get_onnx_type_from_type_info)(self.raw.as_ptr(), &raw mut onnx_type)
        })?;
        let type_name = match onnx_type {
            1 => return Ok(()),
            2 => "ONNX_TYPE_SEQUENCE",
            3 => "ONNX_TYPE_MAP",
            4 => "ONNX_TYPE_OPAQUE",
            5 => "ONNX_TYPE_SPARSETENSOR",
            6 => "ONNX_TYPE_OPTIONAL",
            _ => "ONNX_TYPE_UNKNOWN",
        };
        Err(Error::unsupported(format!(
            "Unsupported ONNX Type '{type_name}' for I/O '{}', expected 'ONNX_TYPE_TENSOR'.",
            name.to_string_lossy()
        )))
    }
}

impl Drop for TypeInfo {
    fn drop(&mut self) {
        // SAFETY: owned since it was asked for, released once.
        unsafe { (self.api.release_type_info)(self.raw.as_ptr()) }
    }
}
