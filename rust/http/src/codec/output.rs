// SPDX-License-Identifier: Apache-2.0
use smallvec::SmallVec;
use tritongw_types::{CName, Error};

use super::read_error::{ReadError, Result, missing_member, read_bool, read_string};
use crate::json::{Reader, ValueKind};

/// One requested output of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadOutput {
    /// Name.
    pub name: CName,
    /// Whether its data should come behind the head of the response.
    pub is_binary: bool,
}

/// Which outputs go as binary data behind the head of the response.
#[derive(Clone, Debug)]
pub enum OutputEncoding {
    /// All or none: the request named no output (P076).
    All {
        /// Whether they are binary.
        is_binary: bool,
    },
    /// Each as the request said; those it did not name are JSON.
    Each(SmallVec<[HeadOutput; 2]>),
}

impl OutputEncoding {
    /// Returns whether the output of that name is binary.
    pub fn is_binary(&self, name: &str) -> bool {
        match self {
            Self::All { is_binary } => *is_binary,
            Self::Each(outputs) => outputs
                .iter()
                .any(|output| output.is_binary && output.name == *name),
        }
    }
}

/// Reads one element of `outputs`.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<HeadOutput> {
    let mut name = None;
    let mut parameters = Parameters::default();
    if reader.kind() == ValueKind::Object {
        reader.read_object(|reader, member| match member {
            "name" if name.is_none() => {
                name = Some(CName::new(&read_string(reader, member)?));
                Ok(())
            }
            "parameters" if reader.kind() == ValueKind::Object => {
                reader.read_object(|reader, name| parameters.read(reader, name))
            }
            _ => Ok::<_, ReadError>(reader.skip_value()?),
        })?;
    } else {
        reader.skip_value()?;
    }
    let name = name.ok_or_else(|| missing_member("name"))?;
    if let Some(feature) = parameters.unsupported {
        return Err(Error::unsupported(format!(
            "{feature} is not supported, requested for output '{name}'"
        ))
        .into());
    }
    Ok(HeadOutput {
        name,
        is_binary: parameters.is_binary.unwrap_or(false),
    })
}

#[derive(Default)]
struct Parameters {
    is_binary: Option<bool>,
    unsupported: Option<&'static str>,
}

impl Parameters {
    fn read(&mut self, reader: &mut Reader<'_>, name: &str) -> Result<()> {
        match name {
            "binary_data" if self.is_binary.is_none() => {
                self.is_binary = Some(read_bool(reader, name)?);
                return Ok(());
            }
            "classification" => self.unsupported = Some("classification"),
            "shared_memory_region" => self.unsupported = Some("client shared memory"),
            _ => {}
        }
        Ok(reader.skip_value()?)
    }
}
