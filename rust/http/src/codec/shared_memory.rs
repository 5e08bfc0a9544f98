// SPDX-License-Identifier: Apache-2.0
//! The parameters by which a tensor's data lies in a client's shared memory (P093, P095).

use tritongw_engine::shared_memory::SharedMemoryReference;
use tritongw_types::{CName, Error};

use super::read_error::{NOT_UNSIGNED, Result, read_string, unable_to_parse};
use crate::json::{Reader, ValueKind};

const REGION: &str = "shared_memory_region";
const BYTE_SIZE: &str = "shared_memory_byte_size";
const OFFSET: &str = "shared_memory_offset";

/// What has been read of them; without a region the others mean nothing, as in Triton.
#[derive(Debug, Default)]
pub(super) struct SharedMemoryParameters {
    region: Option<CName>,
    byte_size: Size,
    offset: Size,
}

#[derive(Clone, Copy, Debug, Default)]
enum Size {
    #[default]
    Absent,
    Given(u64),
    NotUnsigned,
}

impl SharedMemoryParameters {
    /// Reads the value of parameter `name`; returns whether it is one of these.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, name: &str) -> Result<bool> {
        match name {
            REGION if self.region.is_none() => {
                self.region = Some(CName::new(&read_string(reader, name)?));
            }
            BYTE_SIZE => self.byte_size.read(reader)?,
            OFFSET => self.offset.read(reader)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns whether the data lies in shared memory.
    pub(super) fn is_set(&self) -> bool {
        self.region.is_some()
    }

    /// Returns the range that `tensor` names, if it names one.
    pub(super) fn finish(self, tensor: &str) -> Result<Option<SharedMemoryReference>> {
        let Some(region) = self.region else {
            return Ok(None);
        };
        let byte_size = self.byte_size.get(BYTE_SIZE)?.ok_or_else(|| {
            Error::invalid_arg(format!(
                "'{BYTE_SIZE}' must be specified along with '{REGION}' parameter for tensor \
                 '{tensor}'"
            ))
        })?;
        Ok(Some(SharedMemoryReference {
            region,
            offset: self.offset.get(OFFSET)?.unwrap_or(0),
            byte_size,
        }))
    }
}

impl Size {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let number = match reader.kind() {
            ValueKind::Number => reader.read_number()?.as_u64(),
            _ => {
                reader.skip_value()?;
                None
            }
        };
        if let Self::Absent = self {
            *self = number.map_or(Self::NotUnsigned, Self::Given);
        }
        Ok(())
    }

    fn get(self, name: &str) -> Result<Option<u64>> {
        match self {
            Self::Absent => Ok(None),
            Self::Given(number) => Ok(Some(number)),
            Self::NotUnsigned => Err(unable_to_parse(name, NOT_UNSIGNED)),
        }
    }
}
