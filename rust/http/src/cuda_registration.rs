// SPDX-License-Identifier: Apache-2.0
//! The body by which a client registers memory of a GPU (P022, P090).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tritongw_types::{CudaIpcHandle, Error, Result};

use crate::json::{Reader, SyntaxError, ValueKind};
use crate::shared_memory::{read_text, read_unsigned};

/// The body of a registration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CudaRegistration {
    pub(crate) handle: CudaIpcHandle,
    pub(crate) device_id: i64,
    pub(crate) byte_size: u64,
}

/// Its members as they come; the first of a name counts, and is `Err` if it has a wrong type.
#[derive(Default)]
struct Members {
    handle: Option<Result<String>>,
    device_id: Option<Result<u64>>,
    byte_size: Option<Result<u64>>,
}

impl CudaRegistration {
    /// Reads the body, whose faults are named in Triton's order.
    pub(crate) fn read(text: &[u8]) -> Result<Self> {
        let mut members = Members::default();
        Reader::new(text).read_document(|reader| match reader.kind() {
            ValueKind::Object => reader.read_object(|reader, member| members.read(reader, member)),
            _ => reader.skip_value(),
        })?;
        let handle = members.handle.ok_or_else(|| {
            Error::invalid_arg("Shared memory register request has no 'raw_handle' field")
        })??;
        let byte_size = members.byte_size.ok_or_else(|| missing("byte_size"))??;
        let device_id = members.device_id.ok_or_else(|| missing("device_id"))??;
        let handle = STANDARD.decode(handle).ok();
        let handle = handle.and_then(|handle| CudaIpcHandle::try_from(handle).ok());
        Ok(Self {
            handle: handle.ok_or_else(|| {
                Error::invalid_arg("'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t")
            })?,
            device_id: i64::try_from(device_id).unwrap_or(i64::MAX),
            byte_size,
        })
    }
}

impl Members {
    fn read(&mut self, reader: &mut Reader<'_>, member: &str) -> Result<(), SyntaxError> {
        match member {
            "raw_handle" if self.handle.is_none() => self.handle = Some(read_handle(reader)?),
            "device_id" if self.device_id.is_none() => {
                self.device_id = Some(read_unsigned(reader)?);
            }
            "byte_size" if self.byte_size.is_none() => {
                self.byte_size = Some(read_unsigned(reader)?);
            }
            _ => reader.skip_value()?,
        }
        Ok(())
    }
}

fn read_handle(reader: &mut Reader<'_>) -> Result<Result<String>, SyntaxError> {
    let mut text = None;
    if reader.kind() != ValueKind::Object {
        reader.skip_value()?;
        return Ok(Err(missing("b64")));
    }
    reader.read_object(|reader, member| {
        if member == "b64" && text.is_none() {
            text = Some(read_text(reader)?);
            return Ok::<_, SyntaxError>(());
        }
        reader.skip_value()
    })?;
    Ok(text.unwrap_or_else(|| Err(missing("b64"))))
}

fn missing(member: &str) -> Error {
    Error::internal(format!(
        "attempt to access non-existing object member '{member}'"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> String {
        STANDARD.encode([7; 64])
    }

    #[test]
    fn a_registration_is_read_in_any_order() {
        let text = format!(
            r#"{{"byte_size":8,"x":[1],"device_id":1,"raw_handle":{{"y":0,"b64":"{}"}}}}"#,
            handle()
        );
        let expected = CudaRegistration {
            handle: [7; 64],
            device_id: 1,
            byte_size: 8,
        };
        assert_eq!(
            CudaRegistration::read(text.as_bytes()).expect("valid"),
            expected
        );
    }

    /// Texts and statuses recorded from Triton 2.51.
    #[test]
    fn wrong_registrations_are_refused_in_tritons_words() {
        let valid = handle();
        let no_member = |member| format!("attempt to access non-existing object member '{member}'");
        let unsigned = "attempt to access JSON non-unsigned-integer as unsigned-integer".to_owned();
        let no_handle = "Shared memory register request has no 'raw_handle' field".to_owned();
        let no_base64 = "'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t".to_owned();
        let with = |rest: &str| format!(r#"{{"raw_handle":{{"b64":"{valid}"}}{rest}}}"#);
        let cases = [
            ("{}".to_owned(), 400, no_handle.clone()),
            ("[]".to_owned(), 400, no_handle),
            (r#"{"raw_handle":{}}"#.to_owned(), 500, no_member("b64")),
            (r#"{"raw_handle":"x"}"#.to_owned(), 500, no_member("b64")),
            (
                r#"{"raw_handle":{"b64":5}}"#.to_owned(),
                500,
                "attempt to access JSON non-string as string".to_owned(),
            ),
            (with(""), 500, no_member("byte_size")),
            (with(r#","device_id":0"#), 500, no_member("byte_size")),
            (with(r#","byte_size":5"#), 500, no_member("device_id")),
            (
                with(r#","device_id":"0","byte_size":5"#),
                500,
                unsigned.clone(),
            ),
            (with(r#","device_id":-1,"byte_size":5"#), 500, unsigned),
            (
                r#"{"raw_handle":{"b64":"!!!"},"device_id":0,"byte_size":5}"#.to_owned(),
                400,
                no_base64.clone(),
            ),
            (
                r#"{"raw_handle":{"b64":"AAAA"},"device_id":0,"byte_size":5}"#.to_owned(),
                400,
                no_base64,
            ),
        ];
        for (text, status, message) in cases {
            let error = CudaRegistration::read(text.as_bytes()).expect_err(&text);
            assert_eq!(
                (error.code().http_status(), error.message()),
                (status, message.as_str()),
                "{text}"
            );
        }
    }
}
