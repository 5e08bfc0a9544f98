// SPDX-License-Identifier: Apache-2.0
//! The shared memory extensions: registering, unregistering and listing regions (P018-P023,
//! P085-P092).

use hyper::{Response, StatusCode};
use tritongw_engine::Server;
use tritongw_engine::shared_memory::{RegionKind, RegionPlace};
use tritongw_types::{Error, Result};

use crate::body::RequestBody;
use crate::cuda_registration::CudaRegistration;
use crate::door::Door;
use crate::json::{Reader, SyntaxError, ValueKind, Writer};
use crate::refusal::Refusal;
use crate::response::{self, ResponseBody};
use crate::route::{Endpoint, Route, SharedMemoryKind};

/// Answers a request to one of the extensions.
pub(crate) async fn answer(
    door: &Door,
    route: &Route<'_>,
    kind: SharedMemoryKind,
    body: &mut RequestBody<'_>,
) -> Result<Response<ResponseBody>, Refusal> {
    let manager = door.server.shared_memory();
    let region = route.region();
    match (route.endpoint, kind) {
        (Endpoint::SharedMemoryStatus(_), _) => {
            let status = status(&door.server, kind, region.as_deref())?;
            return Ok(response::json(status));
        }
        (Endpoint::SharedMemoryRegister(_), SharedMemoryKind::System) => {
            let text = body.receive(door.max_input_size, None).await?;
            let registration = SystemRegistration::read(&text)?;
            manager.register_system(
                region.as_deref().unwrap_or_default(),
                &registration.key,
                registration.offset,
                registration.byte_size,
            )?;
        }
        (Endpoint::SharedMemoryRegister(_), SharedMemoryKind::Cuda) => {
            let name = region.as_deref().unwrap_or_default();
            manager.check_cuda(name)?;
            let text = body.receive(door.max_input_size, None).await?;
            let CudaRegistration {
                handle,
                device_id,
                byte_size,
            } = CudaRegistration::read(&text)?;
            manager.register_cuda(name, &handle, device_id, byte_size)?;
        }
        (_, kind) => manager.unregister(kind.region_kind(), region.as_deref())?,
    }
    Ok(response::empty(StatusCode::OK))
}

fn status(server: &Server, kind: SharedMemoryKind, region: Option<&str>) -> Result<Vec<u8>> {
    let manager = server.shared_memory();
    let mut writer = Writer::with_capacity(256);
    writer.begin_array();
    for region in manager.regions(kind.region_kind(), region)? {
        writer.begin_object();
        writer.key("name");
        writer.string(region.name());
        match region.place() {
            RegionPlace::System { key, offset } => {
                writer.key("key");
                writer.string(key);
                writer.key("offset");
                writer.integer(offset);
            }
            RegionPlace::Cuda { device_id } => {
                writer.key("device_id");
                writer.integer(device_id);
            }
        }
        writer.key("byte_size");
        writer.integer(region.byte_size());
        writer.end_object();
    }
    writer.end_array();
    Ok(writer.into_bytes())
}

impl SharedMemoryKind {
    fn region_kind(self) -> RegionKind {
        match self {
            Self::System => RegionKind::System,
            Self::Cuda => RegionKind::Cuda,
        }
    }
}

/// The body of a registration.
#[derive(Debug, PartialEq, Eq)]
struct SystemRegistration {
    key: String,
    offset: u64,
    byte_size: u64,
}

/// Its members as they come; the first of a name counts, and is `Err` if it has a wrong type.
#[derive(Default)]
struct Members {
    key: Option<Result<String>>,
    offset: Option<Result<u64>>,
    byte_size: Option<Result<u64>>,
}

impl SystemRegistration {
    fn read(text: &[u8]) -> Result<Self> {
        let mut members = Members::default();
        Reader::new(text).read_document(|reader| {
            if reader.kind() == ValueKind::Object {
                reader.read_object(|reader, member| members.read(reader, member))
            } else {
                reader.skip_value()
            }
        })?;
        let missing = |member: &str| {
            let message = format!("Shared memory register request has no '{member}' field");
            Error::invalid_arg(message)
        };
        Ok(Self {
            key: members.key.ok_or_else(|| missing("key"))??,
            offset: members.offset.unwrap_or(Ok(0))?,
            byte_size: members.byte_size.ok_or_else(|| missing("byte_size"))??,
        })
    }
}

impl Members {
    fn read(&mut self, reader: &mut Reader<'_>, member: &str) -> Result<(), SyntaxError> {
        match member {
            "key" if self.key.is_none() => self.key = Some(read_text(reader)?),
            "offset" if self.offset.is_none() => self.offset = Some(read_unsigned(reader)?),
            "byte_size" if self.byte_size.is_none() => {
                self.byte_size = Some(read_unsigned(reader)?);
            }
            _ => reader.skip_value()?,
        }
        Ok(())
    }
}

pub(crate) fn read_text(reader: &mut Reader<'_>) -> Result<Result<String>, SyntaxError> {
    if reader.kind() != ValueKind::String {
        reader.skip_value()?;
        return Ok(Err(Error::internal(
            "attempt to access JSON non-string as string",
        )));
    }
    let text = reader.read_string()?;
    Ok(Ok(String::from_utf8_lossy(&text).into_owned()))
}

pub(crate) fn read_unsigned(reader: &mut Reader<'_>) -> Result<Result<u64>, SyntaxError> {
    let number = match reader.kind() {
        ValueKind::Number => reader.read_number()?.as_u64(),
        _ => {
            reader.skip_value()?;
            None
        }
    };
    Ok(number.ok_or_else(|| {
        Error::internal("attempt to access JSON non-unsigned-integer as unsigned-integer")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_read_in_any_order() {
        let text = br#"{"byte_size":8,"x":[1],"key":"/k","key":5,"offset":3}"#;
        let expected = SystemRegistration {
            key: "/k".to_owned(),
            offset: 3,
            byte_size: 8,
        };
        assert_eq!(SystemRegistration::read(text).expect("valid"), expected);
        let text = br#"{"key":"","byte_size":18446744073709551615}"#;
        let least = SystemRegistration::read(text).expect("valid");
        assert_eq!((least.offset, least.byte_size), (0, u64::MAX));
    }

    /// Texts and statuses recorded from Triton 2.51, save that of no JSON (P060).
    #[test]
    fn wrong_registrations_are_refused_in_tritons_words() {
        let string = "attempt to access JSON non-string as string";
        let unsigned = "attempt to access JSON non-unsigned-integer as unsigned-integer";
        let cases = [
            (
                "[]",
                400,
                "Shared memory register request has no 'key' field",
            ),
            (
                "{}",
                400,
                "Shared memory register request has no 'key' field",
            ),
            (r#"{"key":5}"#, 500, string),
            (
                r#"{"key":"/x"}"#,
                400,
                "Shared memory register request has no 'byte_size' field",
            ),
            (r#"{"key":"/x","byte_size":-1}"#, 500, unsigned),
            (r#"{"key":"/x","byte_size":"4"}"#, 500, unsigned),
            (r#"{"key":"/x","offset":[],"byte_size":4}"#, 500, unsigned),
            (
                "",
                400,
                "failed to parse the request JSON buffer: The document is empty. at 0",
            ),
        ];
        for (text, status, message) in cases {
            let error = SystemRegistration::read(text.as_bytes()).expect_err(text);
            assert_eq!(
                (error.code().http_status(), error.message()),
                (status, message),
                "{text}"
            );
        }
    }
}
