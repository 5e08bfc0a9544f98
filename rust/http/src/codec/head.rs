// SPDX-License-Identifier: Apache-2.0
use smallvec::SmallVec;
use tritongw_types::{CName, Error};

use super::input::{self, HeadInput};
use super::output::{self, HeadOutput, OutputEncoding};
use super::parameter::{self, HeadParameter};
use super::read_error::{
    NOT_AN_ARRAY, ReadError, Result, missing_member, read_bool, read_string, unable_to_parse,
};
use crate::json::{Reader, ValueKind};

/// Inputs, outputs or parameters of one request, each. Triton sets no limit; finding duplicates
/// takes time by the square of the number.
const MAX_ITEMS: usize = 4096;

/// The JSON of an inference request (P050): everything but binary tensors.
#[derive(Clone, Debug, Default)]
pub struct InferHead {
    /// Id of the request, empty if there is none.
    pub id: CName,
    /// Parameters, in order, without `binary_data_output`.
    pub parameters: Vec<HeadParameter>,
    /// Inputs, in order.
    pub inputs: SmallVec<[HeadInput; 2]>,
    /// Requested outputs, in order; `None` if the member is missing.
    pub outputs: Option<SmallVec<[HeadOutput; 2]>>,
    /// Whether outputs are binary where the request names none.
    pub binary_data_output: bool,
}

impl InferHead {
    /// Takes the requested outputs as the encoding of the response.
    pub fn take_output_encoding(&mut self) -> OutputEncoding {
        match self.outputs.take() {
            Some(outputs) if !outputs.is_empty() => OutputEncoding::Each(outputs),
            _ => OutputEncoding::All {
                is_binary: self.binary_data_output,
            },
        }
    }
}

/// Reads a head in one pass, numbers straight into the tensors' bytes.
///
/// # Errors
/// With Triton's texts (P053, P059, P060). Where a text is neither JSON nor a request, the first
/// is said, as if it had been read whole before.
pub fn parse_infer_head(text: &[u8]) -> tritongw_types::Result<InferHead> {
    let mut head = HeadReader::default();
    match head.read(&mut Reader::new(text)) {
        Ok(()) => Ok(head.head),
        Err(ReadError::Syntax(error)) => Err(error.into()),
        Err(ReadError::Invalid(error)) => {
            Reader::new(text).read_document(Reader::skip_value)?;
            Err(error)
        }
    }
}

#[derive(Default)]
struct HeadReader {
    head: InferHead,
    has_id: bool,
    has_parameters: bool,
    has_inputs: bool,
}

impl HeadReader {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        reader.read_document(|reader| {
            if reader.kind() != ValueKind::Object {
                return Ok::<_, ReadError>(reader.skip_value()?);
            }
            reader.read_object(|reader, member| self.read_member(reader, member))
        })?;
        if !self.has_inputs {
            return Err(missing_member("inputs"));
        }
        Ok(())
    }

    fn read_member(&mut self, reader: &mut Reader<'_>, member: &str) -> Result<()> {
        match member {
            "id" if !self.has_id => {
                self.head.id = CName::new(&read_string(reader, member)?);
                self.has_id = true;
            }
            "parameters" if !self.has_parameters => {
                self.read_parameters(reader)?;
                self.has_parameters = true;
            }
            "inputs" if !self.has_inputs => {
                self.head.inputs = read_list(reader, member, input::read)?;
                self.has_inputs = true;
            }
            "outputs" if self.head.outputs.is_none() => {
                self.head.outputs = Some(read_list(reader, member, output::read)?);
            }
            _ => reader.skip_value()?,
        }
        Ok(())
    }

    fn read_parameters(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        if reader.kind() != ValueKind::Object {
            return Err(Error::internal(
                "failed to get request params.: attempt to get members for non-object",
            )
            .into());
        }
        reader.read_object(|reader, name| {
            if name == "binary_data_output" {
                self.head.binary_data_output = read_bool(reader, name)?;
                return Ok(());
            }
            let value = parameter::read(reader, name)?;
            check_room("parameters", self.head.parameters.len())?;
            self.head.parameters.push(HeadParameter {
                name: CName::new(name),
                value,
            });
            Ok::<_, ReadError>(())
        })
    }
}

fn read_list<T>(
    reader: &mut Reader<'_>,
    member: &str,
    read: impl Fn(&mut Reader<'_>) -> Result<T>,
) -> Result<SmallVec<[T; 2]>> {
    if reader.kind() != ValueKind::Array {
        return Err(unable_to_parse(member, NOT_AN_ARRAY));
    }
    let mut items = SmallVec::new();
    reader.read_array(|reader| {
        check_room(member, items.len())?;
        items.push(read(reader)?);
        Ok::<_, ReadError>(())
    })?;
    Ok(items)
}

fn check_room(member: &str, count: usize) -> Result<()> {
    if count < MAX_ITEMS {
        return Ok(());
    }
    let message = format!("request has more than {MAX_ITEMS} {member}");
    Err(Error::invalid_arg(message).into())
}
