// SPDX-License-Identifier: Apache-2.0
//! From flat JSON to a request (P112, P113).

use std::borrow::Cow;
use std::sync::Arc;

use tritongw_config::ModelInput;
use tritongw_engine::{InferenceRequest, InputTensor, Model};
use tritongw_types::{Error, Result, Shape};

use crate::codec::{
    self, ReadError, data_without_json_form, has_json_form, read_custom_parameter, read_scalars,
};
use crate::json::{Reader, ValueKind};

/// Reads a request: members with the name of an input are tensors, `id` is the id, members of
/// `parameters` count as members, all others are parameters of the model.
///
/// # Errors
/// With Triton's texts.
pub(super) fn read(model: &Arc<Model>, text: &[u8]) -> Result<Box<InferenceRequest>> {
    let mut request = InferenceRequest::new(Arc::clone(model));
    // The first pass also finds whether it is JSON at all, which is said first.
    let id = read_id(text).map_err(into_error)?;
    request.set_id(&id.unwrap_or_default());
    let mut mapping = Mapping {
        model,
        request: &mut request,
    };
    let read = Reader::new(text)
        .read_document(|reader| reader.read_object(|reader, name| mapping.member(reader, name)));
    read.map_err(into_error)?;
    Ok(request)
}

fn read_id(text: &[u8]) -> Result<Option<String>, ReadError> {
    let mut id = None;
    let mut is_object = false;
    Reader::new(text).read_document(|reader| {
        if reader.kind() != ValueKind::Object {
            return Ok::<_, ReadError>(reader.skip_value()?);
        }
        is_object = true;
        reader.read_object(|reader, name| {
            if name != "id" || id.is_some() {
                return Ok::<_, ReadError>(reader.skip_value()?);
            }
            // What is wrong with it is said only if all of it is JSON.
            id = Some(codec::read_string(&mut reader.clone(), name).map(Cow::into_owned));
            Ok(reader.skip_value()?)
        })
    })?;
    if !is_object {
        return Err(Error::internal("attempt to get members for non-object").into());
    }
    id.transpose()
}

fn into_error(error: ReadError) -> Error {
    match error {
        ReadError::Syntax(error) => error.into(),
        ReadError::Invalid(error) => error,
    }
}

struct Mapping<'a> {
    model: &'a Model,
    request: &'a mut InferenceRequest,
}

impl Mapping<'_> {
    fn member(&mut self, reader: &mut Reader<'_>, name: &str) -> Result<(), ReadError> {
        match name {
            "parameters" => self.group(reader, name),
            _ => self.value(reader, name),
        }
    }

    fn group(&mut self, reader: &mut Reader<'_>, name: &str) -> Result<(), ReadError> {
        if reader.kind() != ValueKind::Object {
            return Err(Error::internal(format!(
                "Expected JSON object for keyword: '{name}': attempt to access JSON non-object as \
                 object"
            ))
            .into());
        }
        reader
            .read_object(|reader, name| self.value(reader, name))
            .map_err(|error| match error {
                ReadError::Invalid(error) => ReadError::Invalid(
                    error.map_message(|text| format!("Converting keyword: '{name}': {text}")),
                ),
                syntax @ ReadError::Syntax(_) => syntax,
            })
    }

    fn value(&mut self, reader: &mut Reader<'_>, name: &str) -> Result<(), ReadError> {
        let model = self.model;
        if let Some(input) = model.config().input(name) {
            let tensor = read_tensor(reader, input, model.config().full_input_shape(input))?;
            return Ok(self.request.add_input(tensor)?);
        }
        if name == "id" {
            return Ok(reader.skip_value()?);
        }
        if name.starts_with("triton_") {
            return Err(codec::reserved_parameter());
        }
        let value = read_custom_parameter(reader, name)?;
        self.request.add_parameter(name, value.into_parameter());
        Ok(())
    }
}

fn read_tensor(
    reader: &mut Reader<'_>,
    input: &ModelInput,
    shape: Shape,
) -> Result<InputTensor, ReadError> {
    if !has_json_form(input.data_type) {
        return Err(data_without_json_form(input.data_type, &input.name));
    }
    let count = count_elements(&mut reader.clone())?;
    let shape = fill(shape, count).ok_or_else(|| {
        Error::invalid_arg(format!(
            "The schema can not convert input '{}' to tensor with proper shape",
            input.name
        ))
    })?;
    let data = read_scalars(reader, input.data_type, count)?;
    if data.count != count {
        return Err(codec::wrong_element_count());
    }
    let bytes = data.bytes.into();
    Ok(InputTensor::new(&input.name, input.data_type, shape, bytes))
}

/// Counts the elements of an array without looking into them; anything else is one.
fn count_elements(reader: &mut Reader<'_>) -> Result<usize, ReadError> {
    if reader.kind() != ValueKind::Array {
        return Ok(1);
    }
    let mut count = 0;
    reader.read_array(|reader| {
        count += 1;
        Ok::<_, ReadError>(reader.skip_value()?)
    })?;
    Ok(count)
}

/// Makes a model's shape fit `count` elements: fixed dimensions take their share, the innermost
/// variable one the rest, other variable ones are 1. `None` if that does not come out even.
fn fill(mut shape: Shape, count: usize) -> Option<Shape> {
    let mut rest = i64::try_from(count).ok()?;
    let dims = shape.as_mut_slice();
    for dim in dims.iter().filter(|dim| **dim >= 0) {
        if rest.checked_rem(*dim)? != 0 {
            return None;
        }
        rest /= dim;
    }
    for dim in dims.iter_mut().rev().filter(|dim| **dim < 0) {
        *dim = std::mem::replace(&mut rest, 1);
    }
    (rest == 1).then_some(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_take_their_elements_from_the_inside() {
        for (dims, count, expected) in [
            (&[-1, 1][..], 1, Some(&[1, 1][..])),
            (&[-1, 1], 3, Some(&[3, 1])),
            (&[-1, 2, -1], 4, Some(&[1, 2, 2])),
            (&[-1, 2, -1], 0, Some(&[1, 2, 0])),
            (&[-1, 2, -1], 3, None),
            (&[-1, -1], 5, Some(&[1, 5])),
            (&[4], 4, Some(&[4])),
            (&[4], 8, None),
            (&[4], 0, None),
            (&[0], 0, None),
            (&[], 1, Some(&[])),
            (&[], 2, None),
        ] {
            let filled = fill(dims.iter().copied().collect(), count);
            let expected = expected.map(|dims| dims.iter().copied().collect::<Shape>());
            assert_eq!(filled, expected, "{dims:?} {count}");
        }
    }
}
