// SPDX-License-Identifier: Apache-2.0
use std::fmt;

/// Element type of a tensor; discriminants are the numbers of the `DataType` enum in
/// `model_config.proto` and of `TRITONSERVER_DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DataType {
    /// One byte per element, 0 or 1.
    Bool = 1,
    /// Unsigned 8-bit integer.
    Uint8 = 2,
    /// Unsigned 16-bit integer.
    Uint16 = 3,
    /// Unsigned 32-bit integer.
    Uint32 = 4,
    /// Unsigned 64-bit integer.
    Uint64 = 5,
    /// Signed 8-bit integer.
    Int8 = 6,
    /// Signed 16-bit integer.
    Int16 = 7,
    /// Signed 32-bit integer.
    Int32 = 8,
    /// Signed 64-bit integer.
    Int64 = 9,
    /// IEEE 754 half precision.
    Fp16 = 10,
    /// IEEE 754 single precision.
    Fp32 = 11,
    /// IEEE 754 double precision.
    Fp64 = 12,
    /// Variable-length byte strings; `TYPE_STRING` in a model configuration.
    Bytes = 13,
    /// bfloat16: the upper half of an `Fp32`.
    Bf16 = 14,
}

impl DataType {
    /// Every data type, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
        Self::Bf16,
    ];

    /// Returns the size of one element in bytes, `None` for [`DataType::Bytes`].
    pub const fn element_size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }

    /// Returns the name used by the inference protocol, for example `FP32` or `BYTES`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
            Self::Bf16 => "BF16",
        }
    }

    /// Returns the name used in a model configuration, for example `TYPE_FP32` or `TYPE_STRING`.
    pub const fn as_config_str(self) -> &'static str {
        match self {
            Self::Bool => "TYPE_BOOL",
            Self::Uint8 => "TYPE_UINT8",
            Self::Uint16 => "TYPE_UINT16",
            Self::Uint32 => "TYPE_UINT32",
            Self::Uint64 => "TYPE_UINT64",
            Self::Int8 => "TYPE_INT8",
            Self::Int16 => "TYPE_INT16",
            Self::Int32 => "TYPE_INT32",
            Self::Int64 => "TYPE_INT64",
            Self::Fp16 => "TYPE_FP16",
            Self::Fp32 => "TYPE_FP32",
            Self::Fp64 => "TYPE_FP64",
            Self::Bytes => "TYPE_STRING",
            Self::Bf16 => "TYPE_BF16",
        }
    }

    /// Returns the data type with this protocol name, if there is one. Names are case-sensitive.
    pub fn from_protocol_str(name: &str) -> Option<Self> {
        Some(match name {
            "BOOL" => Self::Bool,
            "UINT8" => Self::Uint8,
            "UINT16" => Self::Uint16,
            "UINT32" => Self::Uint32,
            "UINT64" => Self::Uint64,
            "INT8" => Self::Int8,
            "INT16" => Self::Int16,
            "INT32" => Self::Int32,
            "INT64" => Self::Int64,
            "FP16" => Self::Fp16,
            "FP32" => Self::Fp32,
            "FP64" => Self::Fp64,
            "BYTES" => Self::Bytes,
            "BF16" => Self::Bf16,
            _ => return None,
        })
    }

    /// Returns the data type with this number, if there is one; 0 (`TYPE_INVALID`) is none.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|t| *t as u32 == number)
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_round_trip() {
        for data_type in DataType::ALL {
            assert_eq!(DataType::from_number(data_type as u32), Some(data_type));
            assert_eq!(
                DataType::from_protocol_str(data_type.as_str()),
                Some(data_type)
            );
        }
    }

    #[test]
    fn only_bytes_has_no_fixed_size() {
        let without: Vec<_> = DataType::ALL
            .into_iter()
            .filter(|t| t.element_size().is_none())
            .collect();
        assert_eq!(without, [DataType::Bytes]);
    }

    #[test]
    fn unknown_names_and_numbers_are_none() {
        assert_eq!(DataType::from_protocol_str("fp32"), None);
        assert_eq!(DataType::from_protocol_str("STRING"), None);
        assert_eq!(DataType::from_number(0), None);
        assert_eq!(DataType::from_number(15), None);
    }
}
