// SPDX-License-Identifier: Apache-2.0
use std::ffi::c_int;

use tritongw_types::DataType;

/// Element type by ONNX's number (`ONNXTensorElementDataType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ElementType(pub(super) c_int);

/// Every pair of types that mean the same; BF16 is missing as it is in Triton (M037).
const PAIRS: [(c_int, DataType); 13] = [
    (1, DataType::Fp32),
    (2, DataType::Uint8),
    (3, DataType::Int8),
    (4, DataType::Uint16),
    (5, DataType::Int16),
    (6, DataType::Int32),
    (7, DataType::Int64),
    (8, DataType::Bytes),
    (9, DataType::Bool),
    (10, DataType::Fp16),
    (11, DataType::Fp64),
    (12, DataType::Uint32),
    (13, DataType::Uint64),
];

impl ElementType {
    /// Returns ONNX's type for a data type; `None` for BF16.
    pub(crate) fn from_data_type(data_type: DataType) -> Option<Self> {
        PAIRS
            .iter()
            .find(|pair| pair.1 == data_type)
            .map(|pair| Self(pair.0))
    }

    /// Returns the data type; `None` where Triton has none: complex numbers, BF16, 4 and 8 bits.
    pub(crate) fn data_type(self) -> Option<DataType> {
        PAIRS
            .iter()
            .find(|pair| pair.0 == self.0)
            .map(|pair| pair.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_but_bf16_has_its_number() {
        for data_type in DataType::ALL {
            let element = ElementType::from_data_type(data_type);
            assert_eq!(element.is_none(), data_type == DataType::Bf16);
            if let Some(element) = element {
                assert_eq!(element.data_type(), Some(data_type));
            }
        }
    }

    #[test]
    fn complex_and_small_types_are_none() {
        for number in [0, 14, 15, 16, 17, 22, 99] {
            assert_eq!(ElementType(number).data_type(), None);
        }
    }
}
