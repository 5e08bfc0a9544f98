// SPDX-License-Identifier: Apache-2.0
//! The words every other crate speaks: data types, shapes, errors, names, memory locations.
//!
//! Owns the vocabulary of the inference protocol and its arithmetic (element counts, byte sizes).
//! **Invariant:** nothing here knows a runtime, a wire format, a clock, or a file; every size
//! computation is checked. Start with [`DataType`], [`Shape`] and [`Error`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bytes_tensor;
mod correlation;
mod data_type;
mod error;
mod memory;
mod name;
mod parameter;
mod restriction;
mod safe_name;
mod shape;

pub use bytes_tensor::{BytesElements, BytesTensorError, bytes_element_count};
pub use correlation::CorrelationId;
pub use data_type::DataType;
pub use error::{Error, ErrorCode, Result};
pub use memory::{BufferAttributes, CudaIpcHandle, MemoryLocation, MemoryType};
pub use name::CName;
pub use parameter::{Parameter, ParameterValue};
pub use restriction::{ApiGroup, ApiKey, RestrictedApis};
pub use safe_name::{SafeName, UnsafeNameError};
pub use shape::{Shape, ShapeError, WILDCARD_DIM, byte_size};
