// SPDX-License-Identifier: Apache-2.0
use std::num::NonZeroU64;

use smallvec::SmallVec;
use tritongw_engine::shared_memory::SharedMemoryReference;
use tritongw_types::{CName, Error};

use super::read_error::{NOT_UNSIGNED, ReadError, Result, missing_member, read_bool, read_string};
use super::shared_memory::SharedMemoryParameters;
use crate::json::{Reader, ValueKind};

/// One requested output of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadOutput {
    /// Name.
    pub name: CName,
    /// Whether its data should come behind the head of the response.
    pub is_binary: bool,
    /// How many classes are asked for in place of the data (P079).
    pub class_count: Option<NonZeroU64>,
    /// Where in shared memory its data should go, if it should go there.
    pub shared_memory: Option<Box<SharedMemoryReference>>,
}

impl HeadOutput {
    /// Makes an output whose data comes in the response, as JSON or binary.
    pub fn new(name: &str, is_binary: bool) -> Self {
        Self {
            name: CName::new(name),
            is_binary,
            class_count: None,
            shared_memory: None,
        }
    }
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
    /// Returns the outputs that the request named.
    pub fn named_outputs(&self) -> &[HeadOutput] {
        match self {
            Self::All { .. } => &[],
            Self::Each(outputs) => outputs,
        }
    }

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
    parameters.finish(name)
}

#[derive(Default)]
struct Parameters {
    is_binary: Option<bool>,
    class_count: Option<u64>,
    shared_memory: SharedMemoryParameters,
}

impl Parameters {
    fn read(&mut self, reader: &mut Reader<'_>, name: &str) -> Result<()> {
        match name {
            "binary_data" if self.is_binary.is_none() => {
                self.is_binary = Some(read_bool(reader, name)?);
            }
            "classification" if self.class_count.is_none() => {
                self.class_count = Some(read_class_count(reader)?);
            }
            _ => {
                if !self.shared_memory.read(reader, name)? {
                    reader.skip_value()?;
                }
            }
        }
        Ok(())
    }

    fn finish(self, name: CName) -> Result<HeadOutput> {
        let is_binary = self.is_binary.unwrap_or(false);
        // 0 asks for the data itself.
        let class_count = self.class_count.and_then(NonZeroU64::new);
        let shared_memory = self.shared_memory.finish(&name)?.map(Box::new);
        if shared_memory.is_some() {
            let excluded = [
                ("binary_data", is_binary),
                ("classification", class_count.is_some()),
            ];
            if let Some((parameter, _)) = excluded.iter().find(|(_, is_set)| *is_set) {
                return Err(Error::invalid_arg(format!(
                    "Output can't set both 'shared_memory_region' and '{parameter}'"
                ))
                .into());
            }
        }
        Ok(HeadOutput {
            name,
            is_binary,
            class_count,
            shared_memory,
        })
    }
}

fn read_class_count(reader: &mut Reader<'_>) -> Result<u64> {
    let number = match reader.kind() {
        ValueKind::Number => reader.read_number()?.as_u64(),
        _ => None,
    };
    number.ok_or_else(|| {
        Error::internal(format!("Unable to set 'classification': {NOT_UNSIGNED}")).into()
    })
}
