// SPDX-License-Identifier: Apache-2.0
use std::borrow::Cow;

use bytes::Bytes;
use tritongw_engine::InputTensor;
use tritongw_engine::shared_memory::SharedMemoryReference;
use tritongw_types::{DataType, Error, Shape, ShapeError};

use super::data::{self, JsonData};
use super::read_error::{
    NOT_AN_ARRAY, NOT_UNSIGNED, ReadError, Result, missing_member, read_string, unable_to_parse,
};
use super::shared_memory::SharedMemoryParameters;
use crate::json::{Reader, ValueKind};

/// One input of a head.
#[derive(Clone, Debug)]
pub struct HeadInput {
    /// The tensor; its data is empty where the head does not hold it.
    pub tensor: InputTensor,
    /// How many bytes behind the head are this input's, if its data is there.
    pub binary_data_size: Option<u64>,
    /// Where in shared memory its data lies, if it is there.
    pub shared_memory: Option<SharedMemoryReference>,
}

/// What has been read of an input; duplicate members after the first are ignored, as RapidJSON
/// finds the first.
#[derive(Default)]
struct Fields<'a> {
    name: Option<Cow<'a, str>>,
    // Whether there was a name, known or not.
    has_data_type: bool,
    data_type: Option<DataType>,
    shape: Option<Shape>,
    data: Data<'a>,
    // The inner value is absent where it is no unsigned integer.
    binary_data_size: Option<Option<u64>>,
    shared_memory: SharedMemoryParameters,
}

/// The `data` member.
#[derive(Default)]
enum Data<'a> {
    #[default]
    Absent,
    Read(JsonData),
    /// Its type is not known yet: where it begins.
    Ahead(Reader<'a>),
}

/// Reads one element of `inputs`.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<HeadInput> {
    let mut fields = Fields::default();
    if reader.kind() == ValueKind::Object {
        reader.read_object(|reader, member| fields.read_member(reader, member))?;
    } else {
        reader.skip_value()?;
    }
    fields.finish()
}

impl<'a> Fields<'a> {
    fn read_member(&mut self, reader: &mut Reader<'a>, member: &str) -> Result<()> {
        match member {
            "name" if self.name.is_none() => self.name = Some(read_string(reader, member)?),
            "datatype" if !self.has_data_type => {
                self.data_type = DataType::from_protocol_str(&read_string(reader, member)?);
                self.has_data_type = true;
            }
            "shape" if self.shape.is_none() => self.shape = Some(read_shape(reader)?),
            "data" if matches!(self.data, Data::Absent) => self.data = self.read_data(reader)?,
            "parameters" if reader.kind() == ValueKind::Object => {
                reader.read_object(|reader, name| self.read_parameter(reader, name))?;
            }
            _ => reader.skip_value()?,
        }
        Ok(())
    }

    fn read_data(&self, reader: &mut Reader<'a>) -> Result<Data<'a>> {
        match self.data_type {
            Some(data_type) if data::has_json_form(data_type) => {
                let expected = self
                    .shape
                    .as_ref()
                    .and_then(|shape| shape.element_count().ok());
                data::read(reader, data_type, expected).map(Data::Read)
            }
            _ => {
                let ahead = reader.clone();
                reader.skip_value()?;
                Ok(Data::Ahead(ahead))
            }
        }
    }

    fn read_parameter(&mut self, reader: &mut Reader<'a>, name: &str) -> Result<()> {
        match name {
            "binary_data_size" if self.binary_data_size.is_none() => {
                let size = match reader.kind() {
                    ValueKind::Number => reader.read_number()?.as_u64(),
                    _ => {
                        reader.skip_value()?;
                        None
                    }
                };
                self.binary_data_size = Some(size);
            }
            _ => {
                if !self.shared_memory.read(reader, name)? {
                    reader.skip_value()?;
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<HeadInput> {
        self.check_one_source()?;
        let name = self.name.ok_or_else(|| missing_member("name"))?;
        if !self.has_data_type {
            return Err(missing_member("datatype"));
        }
        let data_type = self
            .data_type
            .ok_or_else(|| Error::invalid_arg(format!("invalid datatype for input {name}")))?;
        let shape = self.shape.ok_or_else(|| missing_member("shape"))?;
        let shared_memory = self.shared_memory.finish(&name)?;
        if shared_memory.is_some() {
            return Ok(HeadInput {
                tensor: InputTensor::new(&name, data_type, shape, Bytes::new()),
                binary_data_size: None,
                shared_memory,
            });
        }
        if let Some(size) = self.binary_data_size {
            let size = size.ok_or_else(|| unable_to_parse("binary_data_size", NOT_UNSIGNED))?;
            let tensor = InputTensor::new(&name, data_type, shape, Bytes::new());
            return Ok(HeadInput {
                tensor,
                binary_data_size: Some(size),
                shared_memory: None,
            });
        }
        let data = match self.data {
            Data::Read(data) => data,
            // An empty list says nothing that a 16-bit float has no form for.
            Data::Ahead(mut reader) if !data::has_json_form(data_type) => {
                match data::read(&mut reader, DataType::Uint16, None) {
                    Ok(data) if data.count == 0 => data,
                    _ => return Err(data_without_json_form(data_type, &name)),
                }
            }
            Data::Ahead(mut reader) => {
                data::read(&mut reader, data_type, shape.element_count().ok())?
            }
            Data::Absent => return Err(missing_member("data")),
        };
        check_count(data_type, &shape, data.count)?;
        let tensor = InputTensor::new(&name, data_type, shape, Bytes::from(data.bytes));
        Ok(HeadInput {
            tensor,
            binary_data_size: None,
            shared_memory: None,
        })
    }

    fn check_one_source(&self) -> Result<()> {
        let sources = [
            (" 'data'", !matches!(self.data, Data::Absent)),
            (" 'binary_data_size'", self.binary_data_size.is_some()),
            (" 'shared_memory_region'", self.shared_memory.is_set()),
        ];
        let given: Vec<_> = sources.iter().filter(|(_, is_set)| *is_set).collect();
        if given.len() == 1 {
            return Ok(());
        }
        let names: String = given.iter().map(|(name, _)| *name).collect();
        let what = if given.is_empty() {
            "no field is set".into()
        } else {
            format!("set{names}")
        };
        Err(Error::invalid_arg(format!(
            "Input must set only one of the following fields: 'data', 'binary_data_size' in \
             'parameters', 'shared_memory_region' in 'parameters'. But {what}"
        ))
        .into())
    }
}

fn read_shape(reader: &mut Reader<'_>) -> Result<Shape> {
    if reader.kind() != ValueKind::Array {
        return Err(unable_to_parse("shape", NOT_AN_ARRAY));
    }
    let mut shape = Shape::default();
    reader.read_array(|reader| {
        let dim = match reader.kind() {
            ValueKind::Number => reader.read_number()?.as_u64(),
            _ => None,
        };
        let dim = dim.ok_or_else(|| unable_to_parse("shape", NOT_UNSIGNED))?;
        let too_large = |_| unable_to_parse("shape", &format!("dimension {dim} is too large"));
        shape.push(i64::try_from(dim).map_err(too_large)?);
        Ok::<_, ReadError>(())
    })?;
    Ok(shape)
}

fn check_count(data_type: DataType, shape: &Shape, count: usize) -> Result<()> {
    match shape.element_count() {
        Ok(expected) if expected == count => Ok(()),
        // Left to the check against the model's shape, whose text says more. Triton: strings are
        // counted there as well.
        Ok(_) if shape.is_empty() || data_type == DataType::Bytes => Ok(()),
        Ok(_) => Err(wrong_element_count()),
        Err(error @ (ShapeError::Overflow | ShapeError::Negative(_))) => {
            Err(unable_to_parse("shape", &error.to_string()))
        }
    }
}

/// Says that a 16-bit float came as JSON (P053).
pub(crate) fn data_without_json_form(data_type: DataType, input: &str) -> ReadError {
    Error::invalid_arg(format!(
        "receiving {data_type} data via JSON is not supported. Please use the binary data format \
         for input {input}"
    ))
    .into()
}

/// Says that there are more elements or fewer than the shape has (P059).
pub(crate) fn wrong_element_count() -> ReadError {
    let message = "Unable to parse 'data': Shape does not match true shape of 'data' field";
    Error::internal(message).into()
}
