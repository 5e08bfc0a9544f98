// SPDX-License-Identifier: Apache-2.0
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use tritongw_types::{Error, ErrorCode};

create_exception!(
    tritongw._core,
    TritonModelException,
    PyException,
    "Raised by ``pb_utils`` when it is used in a way it does not allow."
);

/// An error with which a model answers a request.
#[pyclass(frozen, module = "tritongw._core")]
#[derive(Debug)]
pub(crate) struct TritonError {
    code: ErrorCode,
    message: String,
}

#[pymethods]
impl TritonError {
    #[classattr]
    const UNKNOWN: u32 = ErrorCode::Unknown as u32;
    #[classattr]
    const INTERNAL: u32 = ErrorCode::Internal as u32;
    #[classattr]
    const NOT_FOUND: u32 = ErrorCode::NotFound as u32;
    #[classattr]
    const INVALID_ARG: u32 = ErrorCode::InvalidArg as u32;
    #[classattr]
    const UNAVAILABLE: u32 = ErrorCode::Unavailable as u32;
    #[classattr]
    const UNSUPPORTED: u32 = ErrorCode::Unsupported as u32;
    #[classattr]
    const ALREADY_EXISTS: u32 = ErrorCode::AlreadyExists as u32;
    #[classattr]
    const CANCELLED: u32 = ErrorCode::Cancelled as u32;

    #[new]
    #[pyo3(signature = (message, code = ErrorCode::Internal as u32))]
    fn new(message: String, code: u32) -> PyResult<Self> {
        let code = ErrorCode::from_number(code)
            .ok_or_else(|| model_exception(format!("unknown error code {code}")))?;
        Ok(Self { code, message })
    }

    /// Return the code.
    fn code(&self) -> u32 {
        self.code as u32
    }

    /// Return the message.
    fn message(&self) -> &str {
        &self.message
    }
}

impl TritonError {
    pub(crate) fn of(error: &Error) -> Self {
        Self {
            code: error.code(),
            message: error.message().to_owned(),
        }
    }

    pub(crate) fn to_error(&self) -> Error {
        Error::new(self.code, self.message.as_str())
    }
}

/// Makes a `TritonModelException`.
pub(crate) fn model_exception(message: impl Into<String>) -> PyErr {
    TritonModelException::new_err(message.into())
}

/// Turns an engine error into the exception that a model sees.
pub(crate) fn to_exception(error: &Error) -> PyErr {
    model_exception(error.message())
}
