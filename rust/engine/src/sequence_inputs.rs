// SPDX-License-Identifier: Apache-2.0
//! What the scheduler adds to the requests of a sequence: control tensors, and null requests for
//! the empty slots of a batch (S034, S038, S039).

use std::sync::Arc;

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};
use tritongw_config::{BooleanControl, FalseTrueValues, SequenceControls};
use tritongw_types::{CName, CorrelationId, DataType, Shape, byte_size};

use crate::buffer::{HeapAllocator, InputBuffer};
use crate::request::{InferenceRequest, InputTensor, SequenceFlags};
use crate::response::{InferenceResponse, ResponseFlags};
use crate::response_sink::ResponseSink;

/// Requests as they travel in a payload.
type Requests = SmallVec<[Box<InferenceRequest>; 1]>;

/// The control tensors of one model.
#[derive(Debug)]
pub(crate) struct SequenceInputs {
    start: Option<Control>,
    end: Option<Control>,
    ready: Option<Control>,
    correlation_id: Option<(CName, DataType)>,
    shape: Shape,
}

/// A tensor that is one of two values.
#[derive(Debug)]
struct Control {
    tensor: CName,
    data_type: DataType,
    values: [Bytes; 2],
}

impl SequenceInputs {
    pub(crate) fn new(controls: &SequenceControls, is_batching: bool) -> Self {
        let control = |control: &Option<BooleanControl>| control.as_ref().map(Control::new);
        let id = controls.correlation_id.as_ref();
        Self {
            start: control(&controls.start),
            end: control(&controls.end),
            ready: control(&controls.ready),
            correlation_id: id.map(|control| (control.tensor.clone(), control.data_type)),
            shape: if is_batching {
                Shape::from([1, 1])
            } else {
                Shape::from([1])
            },
        }
    }

    /// Returns whether an id can be written into its tensor, if there is one (S026); no id can.
    pub(crate) fn accepts(&self, id: &CorrelationId) -> bool {
        let Some((_, data_type)) = &self.correlation_id else {
            return true;
        };
        let is_text = matches!(id, CorrelationId::String(_));
        !id.is_set() || is_text == (*data_type == DataType::Bytes)
    }

    /// Gives the requests of a payload their control tensors, and its empty slots null requests.
    pub(crate) fn complete(&self, requests: &mut Requests, null_slots: &[usize]) {
        for request in requests.iter_mut() {
            self.add_controls(request);
        }
        let Some(first) = requests.first().filter(|_| !null_slots.is_empty()) else {
            return;
        };
        let null = null_request(first);
        for slot in null_slots {
            // INVARIANT: slots ascend, and those before this one are filled.
            requests.insert(*slot, null_request(&null));
            self.add_controls(&mut requests[*slot]);
        }
    }

    fn add_controls(&self, request: &mut InferenceRequest) {
        request.clear_override_inputs();
        let (is_ready, flags) = (!request.is_null(), request.flags());
        let values = [
            (&self.start, flags.contains(SequenceFlags::START)),
            (&self.end, flags.contains(SequenceFlags::END)),
            (&self.ready, is_ready),
        ];
        for (control, value) in values {
            if let Some(control) = control {
                let data = control.values[usize::from(value)].clone();
                self.add(request, &control.tensor, control.data_type, data);
            }
        }
        if let Some((tensor, data_type)) = &self.correlation_id {
            let data = id_data(request.correlation_id(), *data_type);
            self.add(request, tensor, *data_type, data);
        }
    }

    fn add(&self, request: &mut InferenceRequest, tensor: &CName, kind: DataType, data: Bytes) {
        let input = InputTensor::new(tensor, kind, self.shape.clone(), data);
        request.add_override_input(input);
    }
}

impl Control {
    fn new(control: &BooleanControl) -> Self {
        let values = match control.values {
            FalseTrueValues::Int32(values) => values.map(|value| value.to_le_bytes().to_vec()),
            FalseTrueValues::Fp32(values) => values.map(|value| value.to_le_bytes().to_vec()),
            FalseTrueValues::Bool(values) => values.map(|value| vec![u8::from(value)]),
        };
        Self {
            tensor: control.tensor.clone(),
            data_type: control.values.data_type(),
            values: values.map(Bytes::from),
        }
    }
}

/// Returns an id as a tensor's data: of a number the low bytes, as Triton has it.
fn id_data(id: &CorrelationId, data_type: DataType) -> Bytes {
    match (id, data_type) {
        (CorrelationId::String(id), DataType::Bytes) => bytes_element(id),
        (CorrelationId::UInt(0), DataType::Bytes) => bytes_element(""),
        (CorrelationId::UInt(id), DataType::Bytes) => bytes_element(&id.to_string()),
        (CorrelationId::UInt(id), _) => {
            let size = data_type.element_size().unwrap_or(0);
            Bytes::from(id.to_le_bytes()[..size].to_vec())
        }
        (CorrelationId::String(_), _) => {
            Bytes::from(vec![0; data_type.element_size().unwrap_or(0)])
        }
    }
}

fn bytes_element(text: &str) -> Bytes {
    // INVARIANT: doors refuse texts that are longer.
    let length = u32::try_from(text.len()).unwrap_or(0);
    let mut data = length.to_le_bytes().to_vec();
    data.extend_from_slice(&text.as_bytes()[..length as usize]);
    Bytes::from(data)
}

/// Returns a request with the shapes of `request`, whose data is zeros or empty texts, and whose
/// response nobody takes.
fn null_request(request: &InferenceRequest) -> Box<InferenceRequest> {
    let mut null = InferenceRequest::new_null(Arc::clone(request.model()));
    for input in request.original_inputs() {
        let data = if request.is_null() {
            // Of one null request another is made: they share the zeros.
            input.data.clone()
        } else {
            smallvec![InputBuffer::Host(zeros(input))]
        };
        let input = InputTensor {
            data,
            ..input.clone()
        };
        // INVARIANT: names of one request do not repeat.
        let _ = null.add_input(input);
    }
    for output in request.requested_outputs() {
        let _ = null.add_requested_output(output);
    }
    null.batch_size = request.batch_size();
    null.set_response_handler(Arc::new(HeapAllocator), Arc::new(NullSink));
    null
}

fn zeros(input: &InputTensor) -> Bytes {
    let size = match byte_size(input.data_type, &input.shape) {
        Ok(Some(size)) => size,
        // Each text is a length and nothing else.
        _ => {
            let count = input.shape.element_count().unwrap_or(0);
            count.saturating_mul(size_of::<u32>())
        }
    };
    Bytes::from(vec![0; size])
}

/// Where the responses of null requests go.
struct NullSink;

impl ResponseSink for NullSink {
    fn respond(&self, _response: Option<Box<InferenceResponse>>, _flags: ResponseFlags) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_takes_the_form_of_its_tensor() {
        let number = CorrelationId::UInt(0x0102_0304_0506_0708);
        let table = [
            (&number, DataType::Uint64, vec![8, 7, 6, 5, 4, 3, 2, 1]),
            (&number, DataType::Int32, vec![8, 7, 6, 5]),
            (
                &CorrelationId::String("ab".into()),
                DataType::Bytes,
                vec![2, 0, 0, 0, b'a', b'b'],
            ),
            (
                &CorrelationId::UInt(7),
                DataType::Bytes,
                vec![1, 0, 0, 0, b'7'],
            ),
            (&CorrelationId::UInt(0), DataType::Bytes, vec![0; 4]),
        ];
        for (id, data_type, expected) in table {
            assert_eq!(id_data(id, data_type), expected, "{id:?} {data_type}");
        }
    }
}
