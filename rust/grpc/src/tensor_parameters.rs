// SPDX-License-Identifier: Apache-2.0
//! Parameters of single tensors: shared memory and classification (P145, P146).
//!
//! Triton: `ParseSharedMemoryParams` and `ParseClassificationParams` in `infer_handler.h`.

use std::num::NonZeroU64;

use tritongw_engine::shared_memory::SharedMemoryReference;
use tritongw_types::{CName, Error, Result};

use crate::codec::{InferParameter, Parameters};

const REGION: &str = "shared_memory_region";
const BYTE_SIZE: &str = "shared_memory_byte_size";
const OFFSET: &str = "shared_memory_offset";
const CLASSIFICATION: &str = "classification";

/// Returns the range of shared memory that a tensor names, if it names one.
///
/// # Errors
/// `InvalidArg` if a value has a wrong type, or one comes without the region or the region without
/// its size.
pub(crate) fn shared_memory(
    tensor: &str,
    parameters: &Parameters<'_>,
) -> Result<Option<SharedMemoryReference>> {
    if parameters.is_empty() {
        return Ok(None);
    }
    let offset = size(tensor, parameters, OFFSET)?;
    let byte_size = size(tensor, parameters, BYTE_SIZE)?;
    let region = match find(parameters, REGION) {
        None => {
            let alone = [(OFFSET, offset), (BYTE_SIZE, byte_size)];
            return match alone.iter().find(|(_, size)| size.is_some()) {
                None => Ok(None),
                Some((name, _)) => Err(Error::invalid_arg(format!(
                    "'{name}' can not be specified without '{REGION}' parameter for tensor \
                     '{tensor}'"
                ))),
            };
        }
        Some(InferParameter::String(region)) => CName::new(region),
        Some(_) => return Err(wrong_type(tensor, REGION, "string_param")),
    };
    let byte_size = byte_size.ok_or_else(|| {
        Error::invalid_arg(format!(
            "'{BYTE_SIZE}' must be specified along with '{REGION}' parameter for tensor '{tensor}'"
        ))
    })?;
    Ok(Some(SharedMemoryReference {
        region,
        offset: offset.unwrap_or(0),
        byte_size,
    }))
}

/// Returns how many classes of an output are asked for, if they are.
///
/// # Errors
/// `InvalidArg` if the value has a wrong type or is not positive, or the output also goes to
/// shared memory.
pub(crate) fn class_count(parameters: &Parameters<'_>) -> Result<Option<NonZeroU64>> {
    let count = match find(parameters, CLASSIFICATION) {
        None => return Ok(None),
        Some(InferParameter::Int64(count)) => count,
        Some(_) => {
            return Err(Error::invalid_arg(format!(
                "invalid value type for '{CLASSIFICATION}' parameter, expected int64_param"
            )));
        }
    };
    let count = u64::try_from(count).ok().and_then(NonZeroU64::new);
    let count = count.ok_or_else(|| {
        Error::invalid_arg(format!(
            "invalid value for '{CLASSIFICATION}' parameter, expected >= 0"
        ))
    })?;
    if find(parameters, REGION).is_some() {
        return Err(Error::invalid_arg(format!(
            "output can't set both '{REGION}' and '{CLASSIFICATION}'"
        )));
    }
    Ok(Some(count))
}

fn find<'a>(parameters: &Parameters<'a>, name: &str) -> Option<InferParameter<'a>> {
    parameters
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| *value)
}

/// Returns an offset or a size. Triton: a negative one wraps, and so lies beyond every region.
fn size(tensor: &str, parameters: &Parameters<'_>, name: &str) -> Result<Option<u64>> {
    match find(parameters, name) {
        None => Ok(None),
        Some(InferParameter::Int64(size)) => Ok(Some(size.cast_unsigned())),
        Some(_) => Err(wrong_type(tensor, name, "int64_param")),
    }
}

fn wrong_type(tensor: &str, name: &str, expected: &str) -> Error {
    Error::invalid_arg(format!(
        "invalid value type for '{name}' parameter for tensor '{tensor}', expected {expected}."
    ))
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;

    fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.expect_err("refused").message().to_owned()
    }

    /// Texts recorded from Triton 2.51.
    #[test]
    fn shared_memory_needs_a_region_and_its_size() {
        use InferParameter::{Bool, Int64, String};
        let of = |parameters: Parameters<'_>| shared_memory("IN", &parameters);
        assert_eq!(of(smallvec![]).expect("none"), None);
        assert_eq!(
            of(smallvec![("binary_data", Bool(true))]).expect("none"),
            None
        );
        let reference = SharedMemoryReference {
            region: CName::new("r"),
            offset: 0,
            byte_size: 8,
        };
        let mut parameters: Parameters<'_> =
            smallvec![(REGION, String("r")), (BYTE_SIZE, Int64(8))];
        assert_eq!(
            of(parameters.clone()).expect("valid"),
            Some(reference.clone())
        );
        parameters.push((OFFSET, Int64(-1)));
        let beyond = SharedMemoryReference {
            offset: u64::MAX,
            ..reference
        };
        assert_eq!(
            of(parameters).expect("for the region to refuse"),
            Some(beyond)
        );
        let alone = "can not be specified without 'shared_memory_region' parameter for tensor 'IN'";
        let wrong = "parameter for tensor 'IN', expected";
        let cases: [(Parameters<'_>, std::string::String); 6] = [
            (
                smallvec![(REGION, String("r"))],
                "'shared_memory_byte_size' must be specified along with 'shared_memory_region' \
                 parameter for tensor 'IN'"
                    .into(),
            ),
            (
                smallvec![(OFFSET, Int64(0))],
                format!("'shared_memory_offset' {alone}"),
            ),
            (
                smallvec![(BYTE_SIZE, Int64(8))],
                format!("'shared_memory_byte_size' {alone}"),
            ),
            (
                smallvec![(REGION, Int64(5)), (BYTE_SIZE, Int64(8))],
                format!("invalid value type for 'shared_memory_region' {wrong} string_param."),
            ),
            (
                smallvec![(REGION, String("r")), (BYTE_SIZE, String("8"))],
                format!("invalid value type for 'shared_memory_byte_size' {wrong} int64_param."),
            ),
            (
                smallvec![
                    (REGION, String("r")),
                    (BYTE_SIZE, Int64(8)),
                    (OFFSET, String("1"))
                ],
                format!("invalid value type for 'shared_memory_offset' {wrong} int64_param."),
            ),
        ];
        for (parameters, text) in cases {
            assert_eq!(refusal(of(parameters)), text);
        }
    }

    /// Texts recorded from Triton 2.51.
    #[test]
    fn classes_are_counted_by_a_positive_integer() {
        use InferParameter::{Int64, String};
        assert_eq!(class_count(&smallvec![]).expect("none"), None);
        let count = class_count(&smallvec![(CLASSIFICATION, Int64(3))]);
        assert_eq!(count.expect("valid"), NonZeroU64::new(3));
        for count in [0, -1] {
            let parameters = smallvec![(CLASSIFICATION, Int64(count))];
            assert_eq!(
                refusal(class_count(&parameters)),
                "invalid value for 'classification' parameter, expected >= 0"
            );
        }
        assert_eq!(
            refusal(class_count(&smallvec![(CLASSIFICATION, String("2"))])),
            "invalid value type for 'classification' parameter, expected int64_param"
        );
        assert_eq!(
            refusal(class_count(&smallvec![
                (CLASSIFICATION, Int64(1)),
                (REGION, String("r"))
            ])),
            "output can't set both 'shared_memory_region' and 'classification'"
        );
    }
}
